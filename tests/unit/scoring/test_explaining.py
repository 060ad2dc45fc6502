"""Contributions against Shapley values by their definition, in plain Python over every set of features."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stream.errors import ConfigurationError
from stream.records import MAX_MODELS, USE_FOLD
from stream.scoring import Model, compile_models, explain, read_model, score
from stream.scoring.forest import Forest
from stream.scoring.forest_kernels import lay_out
from stream.scoring.quadrature import gauss_legendre
from stream.scoring.shapley_kernels import LANES, ROWS
from tests.forests import shapley_of, some_forest, some_rows, sum_of
from tests.unit.scoring.test_files import FEATURES, content

TAGS = np.array([11, 12, 0, 0, 0, 0, 0, 0], np.uint32)


def explained(forest: Forest, rows: Any, calibration: tuple[float, float] | None = None) -> tuple[Any, float]:
    """Return contributions by row and feature of those that the forest asks for, and what they are added to."""
    models = compile_models([Model("m", "trees", forest=forest, calibration=calibration)], TAGS)
    whole = np.zeros(rows.shape)
    found = explain(models, np.ascontiguousarray(rows[:, models.columns]), np.arange(len(rows)), 0)
    assert found is not None
    whole[:, models.columns] = found
    return whole, float(models.expected[0])


def chain(leaves: int, features: int, seed: int) -> Forest:
    """Return one tree as deep as its leaves are many, its splits' longer side now on the left, now on the right."""
    chance = np.random.default_rng(seed)
    lefts = np.array([1 if side else count - 1 for count, side in _sides(chance, leaves)], np.int64)
    firsts, count = np.empty(leaves - 1, np.int64), np.array([leaves], np.int64)
    assert lay_out(count, lefts, firsts) == -1
    return Forest(
        leaves=count,
        features=chance.integers(0, features, leaves - 1),
        thresholds=chance.normal(size=leaves - 1).astype(np.float32),
        rules=chance.integers(0, 5, leaves - 1).astype(np.uint8),
        lefts=lefts,
        firsts=firsts,
        values=chance.normal(size=leaves),
        categories={},
        cover=chance.integers(1, 1000, leaves).astype(np.float64),
    )


def _sides(chance: np.random.Generator, leaves: int) -> list[tuple[int, bool]]:
    return [(count, bool(chance.random() < 0.5)) for count in range(leaves, 1, -1)]


@pytest.mark.parametrize("most", [1, 2, 5, 12, 40])
@pytest.mark.parametrize("seed", range(4))
def test_contributions_are_shapley_values(seed: int, most: int) -> None:
    forest, rows = some_forest(seed, 4, most, 5), some_rows(seed, 12, 5)
    found, expected = explained(forest, rows, (0.7, -0.2))
    for row, contributions in zip(rows, found, strict=True):
        values, nothing = shapley_of(forest, row, 5)
        assert contributions == pytest.approx([0.7 * value / forest.divisor for value in values], rel=1e-11, abs=1e-13)
        assert expected == pytest.approx(0.7 * (nothing / forest.divisor + forest.base) - 0.2, rel=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_contributions_add_up_to_the_score_before_its_link(seed: int) -> None:
    forest, rows = some_forest(seed, 30, 100, 40), some_rows(seed, 30, 40)
    found, expected = explained(forest, rows)
    sums = [sum_of(forest, row) / forest.divisor + forest.base for row in rows]
    np.testing.assert_allclose(found.sum(axis=1) + expected, sums, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("features", [3, 52])
def test_deepest_tree_adds_up(features: int) -> None:
    forest, rows = chain(4096, features, 1), some_rows(2, 5, features)
    found, expected = explained(forest, rows)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1) + expected, [sum_of(forest, row) for row in rows], rtol=1e-9)


def test_long_chain_gives_shapley_values() -> None:
    forest, rows = chain(60, 4, 3), some_rows(4, 6, 4)
    found, _ = explained(forest, rows)
    for row, contributions in zip(rows, found, strict=True):
        assert contributions == pytest.approx(shapley_of(forest, row, 4)[0], rel=1e-9, abs=1e-12)


def test_shares_that_fall_to_nothing_give_no_nan() -> None:
    forest = replace(chain(400, 2, 5), cover=10.0 ** -np.arange(400.0).clip(0, 300))
    found, expected = explained(forest, some_rows(6, 20, 2))
    np.testing.assert_allclose(found.sum(axis=1) + expected, [sum_of(forest, row) for row in some_rows(6, 20, 2)])


@pytest.mark.parametrize("seed", [4, 5])
@pytest.mark.parametrize(
    ("n", "most"),
    [
        (4, 20),
        (5, 20),
        (17, 20),
        (LANES, 20),
        (LANES + 1, 20),
        (2 * LANES + 2, 60),
        (2 * LANES + 2, 200),
        (ROWS + 1, 20),
    ],
)
def test_row_is_explained_alike_beside_any_others(n: int, most: int, seed: int) -> None:
    forest, rows = some_forest(seed, 5, most, 8), some_rows(seed, n, 8)
    whole, _ = explained(forest, rows)
    alone = [explained(forest, row[None])[0] for row in rows]
    assert whole.tobytes() == np.concatenate(alone).tobytes()


def test_only_picked_rows_are_explained_in_their_order() -> None:
    forest, rows = some_forest(1, 5, 20, 8), some_rows(1, 30, 8)
    models = compile_models([None, Model("m", "trees", forest=forest)], TAGS)
    columns = np.ascontiguousarray(rows[:, models.columns])
    whole = explain(models, columns, np.arange(30), 1)
    some = explain(models, columns, np.array([7, 3, 7]), 1)
    none = explain(models, columns, np.empty(0, np.int64), 1)
    assert whole is not None
    assert some is not None
    assert none is not None
    assert some.tobytes() == whole[[7, 3, 7]].tobytes()
    assert none.shape == (0, len(models.columns))


def test_model_of_trees_without_cover_cannot_be_explained() -> None:
    forest = replace(some_forest(1, 5, 20, 8), cover=None)
    models = compile_models([Model("m", "trees", forest=forest)], TAGS)
    assert explain(models, np.zeros((1, len(models.columns))), np.zeros(1, np.int64), 0) is None
    assert np.isnan(models.expected).all()


def test_weights_contribute_by_deviation_from_the_mean() -> None:
    data = content(means={"shares": 1.5}, calibration={"slope": 2.0, "intercept": 0.25})
    linear, other = read_model(data, FEATURES), Model("o", "logistic", -1.0, ((0, 9.0), (2, 1.0)))
    models = compile_models([other, linear], TAGS)
    rows = np.array([[0.0, 0.0, 0.0], [3.0, 4.0, 5.0]])
    found = explain(models, rows, np.array([1, 0]), 1)
    assert found is not None
    assert found.tolist() == [[2 * -0.5 * 3, 2 * 2 * 2.5, 0.0], [0.0, 2 * 2 * -1.5, 0.0]]
    assert models.expected.tolist()[:2] == [-1.0, 2 * (0.1 + 2 * 1.5) + 0.25]
    out = np.empty((2, MAX_MODELS))
    score(models, rows, np.full(2, USE_FOLD, np.int64), 0, 2, out)
    assert out[1, 1] == pytest.approx(models.expected[1] + found[0].sum(), rel=1e-14)


@pytest.mark.parametrize(
    ("means", "message"),
    [
        ({"days": 1}, "means names 'days', expected features that have a weight"),
        ({"day": 1}, "unknown feature 'day'"),
        ({"likes": "1"}, "mean of 'likes' is '1', expected a number"),
        ([], r"means is \[\], expected an object"),
    ],
)
def test_unusable_means_are_quoted(means: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_model(content(means=means), FEATURES)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 26, 40])
def test_quadrature_is_that_of_gauss_and_legendre(count: int) -> None:
    places, weights = np.polynomial.legendre.leggauss(count)
    found = gauss_legendre(count)
    np.testing.assert_allclose(found[0], (places + 1) / 2, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(found[1], weights / 2, rtol=1e-12)
    assert (np.diff(found[0]) > 0).all()
