"""Figures of merit against scikit-learn's, counting by hand, and cases whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from stream.commands.training import judging


def case(seed: int, n: int = 400) -> tuple[judging.Floats, judging.Floats, judging.Floats]:
    """Return scores with ties, labels that go with them, and weights."""
    chance = np.random.default_rng(seed)
    scores = chance.integers(1, 20, n) / 20
    labels = (chance.random(n) < scores).astype(np.float64)
    return scores, labels, chance.choice([1.0, 2.5, 10.0], n)


@pytest.mark.parametrize("seed", range(5))
def test_auc_and_log_loss_are_scikit_learns(seed: int) -> None:
    scores, labels, weights = case(seed)
    expected = metrics.roc_auc_score(labels, scores, sample_weight=weights)
    assert judging.auc(scores, labels, weights) == pytest.approx(expected, abs=1e-12)
    expected = metrics.log_loss(labels, scores, sample_weight=weights)
    assert judging.log_loss(scores, labels, weights) == pytest.approx(expected, abs=1e-12)


def test_auc_of_one_class_is_none() -> None:
    assert math.isnan(judging.auc(np.array([0.1, 0.2]), np.ones(2), np.ones(2)))


def test_aucs_error_is_the_spread_of_repetitions() -> None:
    found, errors = [], []
    for seed in range(200):
        scores, labels, _ = case(seed, 300)
        area = judging.auc(scores, labels, np.ones(300))
        found.append(area)
        errors.append(judging.auc_error(area, float(labels.sum()), float(300 - labels.sum())))
    assert np.std(found) == pytest.approx(np.mean(errors), rel=0.25)


def test_bins_hold_a_tenth_each_and_equal_scores_together() -> None:
    chance = np.random.default_rng(1)
    scores = np.append(chance.random(900), np.full(600, 0.5))
    labels = (chance.random(1500) < scores).astype(np.float64)
    bins = judging.calibration(scores, labels, np.ones(1500), np.arange(1500))
    assert sum(one.rows for one in bins) == 1500
    assert [one.predicted for one in bins] == sorted(one.predicted for one in bins)
    assert sum(one.rows >= 600 for one in bins) == 1
    assert all(abs(one.predicted - one.observed) < 4 * one.error for one in bins)


def test_error_counts_voters_rather_than_rows() -> None:
    scores, labels, _ = case(2, 500)
    alone = judging.calibration(scores, labels, np.ones(500), np.arange(500), bins=1)
    again = judging.calibration(
        np.tile(scores, 4), np.tile(labels, 4), np.ones(2000), np.tile(np.arange(500), 4), bins=1
    )
    assert again[0].error == pytest.approx(alone[0].error)


def test_gain_is_counted_from_the_best() -> None:
    labels = np.array([1.0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    scores = np.array([0.9, 0.8, 0.7, *[0.1] * 7])
    curve = judging.gain(scores, labels, np.ones(10))
    assert curve[[0, 10, 20, 30, 100]] == pytest.approx([0, 0.5, 0.5, 1, 1])


def test_qini_of_a_known_experiment() -> None:
    # The first half is persuaded by the treatment, nobody else ever.
    n = 4000
    treated = (np.arange(n) % 2).astype(np.float64)
    persuadable = np.arange(n) < n // 2
    labels = treated * persuadable
    curve = judging.qini(-np.arange(n, dtype=np.float64), labels, treated, np.ones(n))
    assert curve[50] == pytest.approx(0.5, abs=1e-3)
    assert curve[100] == pytest.approx(0.5, abs=1e-3)
    assert judging.qini_coefficient(curve) == pytest.approx(0.125, abs=2e-3)
    blind = judging.qini(np.random.default_rng(1).random(n), labels, treated, np.ones(n))
    assert abs(judging.qini_coefficient(blind)) < 0.02


def test_group_that_is_served_worse_is_marked() -> None:
    chance = np.random.default_rng(4)
    n = 6000
    codes = np.repeat([0, 1, 2], [2900, 2900, 200])
    scores = chance.random(n)
    # In the second group the score says nothing; the third is rarer than foretold.
    truth = np.where(codes == 1, 0.5, np.where(codes == 2, scores / 3, scores))
    labels = (chance.random(n) < truth).astype(np.float64)
    names = ["fine", "blind", "rare", "never met"]
    found = judging.groups(codes, names, scores, labels, np.ones(n), np.arange(n))
    assert [one.name for one in found] == names[:3]
    assert found[0].gaps == ()
    assert found[1].gaps == ("ranks worse",)
    assert found[2].gaps == ("scores too high",)


def test_group_of_few_is_not_judged() -> None:
    scores, labels, weights = case(3, 100)
    codes = np.where(np.arange(100) < 30, 0, 1)
    found = judging.groups(codes, ["few", "more"], scores, labels, weights, np.arange(100) % 60)
    assert not found[0].judged
    assert found[0].gaps == ()
