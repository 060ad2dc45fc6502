"""Histograms of training data: where values fall, how far others are from them, and what is refused in a file."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from stream.errors import ConfigurationError
from stream.scoring.histograms import Histogram, Training, histogram_of, read_training, write_training

FEATURES = ("likes", "shares", "days", *(f"f{number}" for number in range(20)))
THREE = {"edges": [0.0, 1.0, 2.0], "counts": [5, 3, 0, 2], "missing": 1}


def read(value: object, asked: tuple[int, ...] = (0, 2)) -> Training:
    return read_training(value, FEATURES, asked, "model 'm'")


def histogram(edges: list[float], counts: list[float]) -> Histogram:
    return Histogram(np.array(edges), np.array(counts, np.float64))


def test_a_value_on_an_edge_falls_below_it_and_nan_into_a_bin_of_its_own() -> None:
    values = np.array([-math.inf, -1.0, 0.0, 1e-9, 1.0, 2.0, 2.5, math.inf, math.nan])
    found = histogram([0.0, 1.0, 2.0], [1, 1, 1, 1, 1]).count(values, np.arange(1.0, 10.0))
    assert found.tolist() == [1 + 2 + 3, 4 + 5, 6, 7 + 8, 9]


def test_index_is_the_published_sum_over_bins() -> None:
    expected, found = [20.0, 30.0, 50.0, 0.0], [10.0, 30.0, 60.0, 0.0]
    index = histogram([1.0, 2.0], expected).stability_index(np.array(found))
    shares = [(0.1, 0.2), (0.3, 0.3), (0.6, 0.5)]
    assert index == pytest.approx(sum((a - e) * math.log(a / e) for a, e in shares), abs=1e-15)
    assert index == pytest.approx(0.0693147 + 0.0182322, abs=1e-6)


def test_the_same_shares_have_no_index_and_an_empty_bin_a_bounded_one() -> None:
    one = histogram([1.0], [300, 700, 0])
    assert one.stability_index(np.array([3.0, 7.0, 0.0])) == pytest.approx(0.0, abs=1e-12)
    empty = one.stability_index(np.array([10.0, 0.0, 0.0]))
    by_hand = (1 - 0.3) * math.log(1 / 0.3) + (1e-4 - 0.7) * math.log(1e-4 / 0.7)
    assert empty == pytest.approx(by_hand)
    assert empty == pytest.approx(one.stability_index(np.array([1e9, 0.0, 0.0])))


def test_values_that_are_missing_now_and_were_not_in_training_are_drift() -> None:
    one = histogram([1.0], [500, 500, 0])
    assert one.stability_index(np.array([400.0, 400.0, 200.0])) > 1.0


@pytest.mark.parametrize("constant", [0.0, 3.0, -2.5, 1e9])
def test_a_constant_has_a_bin_and_whatever_lies_beside_it_another(constant: float) -> None:
    found = histogram_of(np.full(50, constant))
    assert found.counts.tolist() == [0.0, 50.0, 0.0, 0.0]
    assert found.edges[0] < constant < found.edges[1]
    beside = found.count(np.array([constant - abs(constant) - 1, constant + abs(constant) + 1]), np.ones(2))
    assert beside.tolist() == [1.0, 0.0, 1.0, 0.0]


def test_few_values_have_a_bin_each_with_their_weights() -> None:
    found = histogram_of(np.array([0.7, 0.0, 0.7, 0.1, math.nan]), np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert found.counts.tolist() == [0.0, 2.0, 4.0, 4.0, 0.0, 5.0]
    singles = np.array([0.7, 0.0, 0.1], np.float32).astype(np.float64)
    assert found.count(singles, np.ones(3)).tolist() == [0.0, 1.0, 1.0, 1.0, 0.0, 0.0]


def test_many_values_have_tenths_by_weight_and_a_heavy_one_is_one_bin() -> None:
    chance = np.random.default_rng(5)
    values = chance.exponential(size=5000)
    found = histogram_of(values)
    assert found.counts[:-1] / 5000 == pytest.approx(np.full(10, 0.1), abs=0.002)
    assert found.stability_index(found.count(values, np.ones(5000))) == pytest.approx(0.0, abs=1e-12)
    values[:3500] = 0.0
    heavy = histogram_of(values)
    assert heavy.counts[0] == 3500
    assert 3 <= len(heavy.edges) <= 9
    weighed = histogram_of(values, np.where(values == 0.0, 1.0, 100.0))
    assert weighed.counts[-2] == pytest.approx(weighed.counts[:-1].sum() / 10, rel=0.05)


def test_values_of_which_none_counts_are_refused() -> None:
    for values, weights in ((np.array([np.nan, np.inf]), None), (np.ones(3), np.zeros(3)), (np.zeros(0), None)):
        with pytest.raises(ValueError, match="expected some that weigh something"):
            histogram_of(values, weights)


def test_spread_is_the_standard_deviation_of_the_bins() -> None:
    assert histogram([0.0, 1.0, 2.0], [1, 0, 0, 1, 9]).spread() == 1.0
    assert histogram([0.0, 1.0], [0, 7, 0, 0]).spread() == 0.0
    assert histogram([0.0, 1.0], [0, 0, 0, 7]).spread() == 0.0
    values = np.random.default_rng(1).normal(5, 2, 100_000)
    assert histogram_of(values).spread() == pytest.approx(2.0, rel=0.2)


def test_what_is_read_is_written_again() -> None:
    value = {"score": {"edges": [0.5], "counts": [1.0, 2.0]}, "features": {"days": THREE, "likes": THREE}}
    training = read(value)
    assert training.score is not None
    assert [index for index, _ in training.features] == [0, 2]
    assert training.features[0][1].counts.tolist() == [5.0, 3.0, 0.0, 2.0, 1.0]
    assert write_training(training, FEATURES) == value
    assert write_training(read({"score": THREE}), FEATURES) == {"score": THREE}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], r"training is \[\], expected an object"),
        ({}, r"training is {}, expected a histogram of score, of features, or both"),
        ({"features": {}}, "expected a histogram of score, of features, or both"),
        ({"scores": THREE}, "unknown key 'scores'"),
        ({"features": []}, r"training.features is \[\], expected an object of feature names"),
        ({"features": {"age": THREE}}, "unknown feature 'age'"),
        ({"features": {"shares": THREE}}, "features names 'shares', expected features that the model asks for"),
        ({"features": {f"f{number}": THREE for number in range(11)}}, "names 11 features, expected at most 10"),
        ({"score": 5}, "training.score is 5, expected an object of edges and counts"),
        ({"score": {"edges": [1]}}, "lacks the key 'counts'"),
        ({"score": {**THREE, "width": 1}}, "unknown key 'width'"),
        ({"score": {"edges": [], "counts": [1]}}, r"edges is \[\], expected a list of 1 to 64 numbers"),
        ({"score": {"edges": list(range(65)), "counts": [1] * 66}}, "expected a list of 1 to 64 numbers"),
        ({"score": {"edges": ["1"], "counts": [1, 1]}}, "an edge is '1', expected a number"),
        ({"score": {"edges": [math.nan], "counts": [1, 1]}}, "an edge is nan, expected a number"),
        ({"score": {"edges": [1, 1], "counts": [1, 1, 1]}}, r"edges is \[1, 1\], expected each to be larger"),
        ({"score": {"edges": [2, 1], "counts": [1, 1, 1]}}, "expected each to be larger than the one before"),
        ({"score": {"edges": [1, 2], "counts": [1, 1]}}, r"counts is \[1, 1\], expected a list of 3 numbers"),
        ({"score": {"edges": [1], "counts": [1, -1]}}, "a count is -1, expected a number from 0 to 1e"),
        ({"score": {"edges": [1], "counts": [1, True]}}, "a count is True"),
        ({"score": {"edges": [1], "counts": [1, math.inf]}}, "a count is inf"),
        ({"score": {"edges": [1], "counts": [0, 0]}}, r"counts is \[0, 0\], expected at least one above 0"),
        ({"score": {**THREE, "missing": "x"}}, "missing is 'x'"),
        ({"features": {"days": {"edges": [1], "counts": "x"}}}, "features.days.counts is 'x'"),
    ],
)
def test_what_is_wrong_is_quoted(value: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read(value)
