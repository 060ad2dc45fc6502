"""Which features a trigger names: by size, then by the catalogue, none that contributes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream.scoring import Model, compile_models, explain, rank, ranking
from stream.scoring.compiling import work
from tests.forests import some_forest, some_rows

TAGS = np.array([11, 12, 13, 0, 0, 0], np.uint32)
WIDE = Model(
    "w", "linear", 0.0, tuple((index, weight) for index, weight in enumerate((1.0, -3.0, 2.0, 0.5, 3.0, -0.25)))
)
NARROW = Model("n", "logistic", 0.0, ((1, 1.0), (4, 0.0)))


def test_five_strongest_come_by_size_then_by_the_catalogue() -> None:
    models = compile_models([WIDE, NARROW], TAGS)
    found = rank(models, np.ones((2, 6)), np.array([1]), np.array([0]))
    assert found.counts.tolist() == [5]
    assert found.features.tolist() == [1, 4, 2, 0, 3]
    assert found.contributions.tolist() == [-3.0, 3.0, 2.0, 1.0, 0.5]


def test_features_that_contribute_nothing_are_left_out() -> None:
    models = compile_models([WIDE, NARROW], TAGS)
    rows = np.array([[0.0, 0.0, 7.0, 0.0, 1.0, 0.0], [0.0] * 6, [0.0, 2.0, 0.0, 0.0, 5.0, 0.0]])
    found = rank(models, rows, np.array([0, 1, 2, 2]), np.array([0, 0, 1, 0]))
    assert found.counts.tolist() == [2, 0, 1, 2]
    assert found.features.tolist() == [2, 4, 1, 4, 1]
    assert found.values.tolist() == [7.0, 1.0, 2.0, 5.0, 2.0]
    assert found.contributions.tolist() == [14.0, 3.0, 2.0, 15.0, -6.0]


def test_model_too_large_to_be_explained_in_time_leaves_the_others_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    forest = replace(some_forest(3, 5, 20, 8), categories={})
    models = compile_models([Model("t", "trees", forest=forest), NARROW], TAGS)
    shapley = models.forests[0][1].shapley
    assert shapley is not None
    assert shapley.work == len(forest.features) * shapley.points.shape[1]
    assert [work(models, slot) for slot in (0, 1, 2)] == [shapley.work, 0, 0]
    rows = np.ascontiguousarray(np.abs(some_rows(1, 2, 8))[:, models.columns])
    rows[:] = np.where(np.isnan(rows), 0.0, rows) + 1.0
    picked, slots = np.array([0, 0]), np.array([0, 1])
    monkeypatch.setattr(ranking, "MOST_WORK", shapley.work)
    assert rank(models, rows, picked, slots).counts.tolist() == [5, 1]
    monkeypatch.setattr(ranking, "MOST_WORK", shapley.work - 1)
    assert rank(models, rows, picked, slots).counts.tolist() == [0, 1]
    assert explain(models, rows, picked, 0) is not None


def test_trees_are_ranked_beside_weights_and_say_nothing_without_cover() -> None:
    forest = replace(some_forest(3, 5, 20, 8), categories={})
    trees, mute = Model("t", "trees", forest=forest), Model("u", "trees", forest=replace(forest, cover=None))
    models = compile_models([trees, mute, NARROW], TAGS)
    rows = np.ascontiguousarray(some_rows(1, 3, 8)[:, models.columns])
    whole = explain(models, rows, np.arange(3), 0)
    assert whole is not None
    found = rank(models, rows, np.arange(3), np.array([0, 1, 0]))
    sizes = [np.sort(np.abs(row))[::-1][:5] for row in whole[[0, 2]]]
    assert found.counts.tolist() == [np.count_nonzero(sizes[0]), 0, np.count_nonzero(sizes[1])]
    assert np.abs(found.contributions).tolist() == [size for row in sizes for size in row if size]


def test_nothing_fired_ranks_nothing() -> None:
    none = np.empty(0, np.int64)
    found = rank(compile_models([], TAGS), np.empty((4, 0)), none, none)
    assert (len(found.counts), len(found.features)) == (0, 0)
