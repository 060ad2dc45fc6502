"""Which ten features of a model are watched: those that its splits divide most training data by, or that weigh most."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream.scoring import Model
from stream.scoring.forest import Forest
from stream.scoring.histograms import Histogram, Training
from stream.scoring.usage import of_most_used, split_cover
from tests.forests import some_forest


def spread_over(width: float) -> Histogram:
    return Histogram(np.array([0.0, width]), np.array([1.0, 0.0, 1.0, 0.0]))


def cover_by_walking(forest: Forest) -> dict[int, float]:
    assert forest.cover is not None
    found: dict[int, float] = {}
    cover = forest.cover.tolist()

    def walk(split: int, leaf: int, count: int) -> None:
        if count > 1:
            feature, left = int(forest.features[split]), int(forest.lefts[split])
            found[feature] = found.get(feature, 0.0) + sum(cover[leaf : leaf + count])
            walk(split + 1, leaf, left)
            walk(split + left, leaf + left, count - left)

    split = leaf = 0
    for leaves in forest.leaves.tolist():
        walk(split, leaf, leaves)
        split, leaf = split + leaves - 1, leaf + leaves
    return found


@pytest.mark.parametrize("seed", range(8))
def test_a_split_counts_by_the_training_data_that_it_divides(seed: int) -> None:
    forest = some_forest(seed, 9, 20, 6)
    assert split_cover(forest) == pytest.approx(cover_by_walking(forest))
    features, counts = np.unique(forest.features, return_counts=True)
    bare = split_cover(replace(forest, cover=None))
    assert bare == dict(zip(features.tolist(), counts.tolist(), strict=True))


def test_a_forest_without_a_split_uses_nothing() -> None:
    forest = some_forest(1, 3, 1, 4)
    assert split_cover(forest) == {}
    score = spread_over(1.0)
    kept = of_most_used(Model("m", "trees", forest=forest), Training(score, ((0, spread_over(1.0)),)))
    assert (kept.score, kept.features) == (score, ())


def test_ten_of_many_are_kept_by_weight_times_spread_in_the_catalogues_order() -> None:
    # Feature 3 weighs most and hardly varies; the twelfth varies and weighs nothing.
    weights = tuple((index, {3: 100.0, 11: 0.0}.get(index, -1.0 - index / 10)) for index in range(12))
    histograms = tuple((index, spread_over(1e-6 if index == 3 else 2.0)) for index in range(14))
    kept = of_most_used(Model("m", "linear", weights=weights), Training(None, histograms))
    assert [index for index, _ in kept.features] == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]
    named = of_most_used(Model("m", "linear", weights=weights), Training(None, histograms[3:5]))
    assert [index for index, _ in named.features] == [3, 4]
