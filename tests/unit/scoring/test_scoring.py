"""Scores against plain arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream.records import MAX_MODELS, USE_DUPLICATE, USE_FOLD
from stream.scoring import Model, compile_models, score

LINEAR = Model("a", "linear", 0.5, ((2, 2.0), (7, -1.0)))
LOGISTIC = Model("b", "logistic", -1.0, ((0, 1.0), (7, 3.0)))
CALIBRATED = Model("c", "logistic", 0.0, ((2, 1.0),), (2.0, 0.25))
TAGS = np.array([11, 0, 12, 13, 0, 0, 0, 0], np.uint32)


def test_columns_are_the_features_that_any_model_weighs() -> None:
    models = compile_models([LINEAR, None, LOGISTIC], TAGS)
    assert models.columns.tolist() == [0, 2, 7]
    assert models.tags.tolist() == [11, 0, 12, 0, 0, 0, 0, 0]


def test_every_model_scores_every_row() -> None:
    models = compile_models([LINEAR, None, LOGISTIC, CALIBRATED], TAGS)
    rows = np.array([[0.25, 1.5, 0.5], [0.0, 0.0, 0.0]])
    out = np.full((2, MAX_MODELS), 9.0)
    score(models, rows, np.full(2, USE_FOLD, np.int64), 0, 2, out)
    assert out[0, 0] == 0.5 + 2.0 * 1.5 - 0.5
    assert out[0, 2] == pytest.approx(1 / (1 + math.exp(-(-1.0 + 0.25 + 1.5))), rel=1e-14)
    assert out[0, 3] == pytest.approx(1 / (1 + math.exp(-(2.0 * 1.5 + 0.25))), rel=1e-14)
    assert out[1].tolist() == [models.empty[0], 9.0, models.empty[2], models.empty[3], 9.0, 9.0, 9.0, 9.0]


def test_empty_score_is_that_of_a_voter_of_whom_nothing_is_known() -> None:
    models = compile_models([LINEAR, None, LOGISTIC, CALIBRATED], TAGS)
    assert models.empty[0] == 0.5
    assert models.empty[2] == pytest.approx(1 / (1 + math.e), rel=1e-14)
    assert models.empty[3] == pytest.approx(1 / (1 + math.exp(-0.25)), rel=1e-14)


def test_rows_that_may_not_be_used_are_not_scored() -> None:
    models = compile_models([LINEAR], TAGS)
    out = np.full((3, MAX_MODELS), 9.0)
    score(models, np.ones((3, 2)), np.array([USE_FOLD, USE_DUPLICATE, USE_FOLD]), 0, 2, out)
    assert out[:, 0].tolist() == [1.5, 9.0, 9.0]


def test_order_of_the_weights_is_the_order_of_the_sum() -> None:
    # In any other order the small one would survive or the large ones would not cancel.
    models = compile_models([Model("a", "linear", 1e16, ((0, 1.0), (1, -1e16)))], TAGS)
    out = np.zeros((1, MAX_MODELS))
    score(models, np.ones((1, 2)), np.full(1, USE_FOLD, np.int64), 0, 1, out)
    assert out[0, 0] == 0.0


def test_largest_numbers_that_a_file_may_hold_give_finite_scores() -> None:
    weights = tuple((index, (-1.0) ** index * 1e100) for index in range(52))
    models = compile_models([Model("a", "linear", 1e100, weights, (1e100, 1e100))], TAGS)
    out = np.zeros((1, MAX_MODELS))
    score(models, np.full((1, 52), 1e13), np.full(1, USE_FOLD, np.int64), 0, 1, out)
    assert np.isfinite(out).all()
