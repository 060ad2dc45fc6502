"""Real people: the American National Election Study of 1996, as statsmodels ships it (public domain).

944 people who meant to vote for Clinton or for Dole; their nine answers stand in the place of features.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray
from statsmodels.datasets import anes96

from stream.commands.training.fitting import Fitted, fit
from stream.commands.training.judgement import judge, scored
from stream.commands.training.recipes import Recipe
from stream.commands.training.rows import CALIBRATE, FIT, TEST, Rows
from stream.commands.training.training import model_file
from stream.features import FEATURES

ANSWERS = ("popul", "TVnews", "selfLR", "ClinLR", "DoleLR", "PID", "age", "educ", "income")
RECIPE = Recipe("dole", "said in 1996", "1d", parameters={"min_data_in_leaf": 10, "num_leaves": 8}, rounds=60)


@cache
def people() -> Rows:
    """Return the people as rows whose first features are their answers."""
    data = anes96.load_pandas().data
    n = len(data)
    features = np.zeros((n, len(FEATURES)), np.float32)
    features[:, : len(ANSWERS)] = data[list(ANSWERS)].to_numpy(np.float32)
    everybody = np.arange(n)
    parts = np.choose(everybody % 4, [TEST, CALIBRATE, FIT, FIT])
    ids = np.array([f"respondent-{number}" for number in range(n)])
    labels = data["vote"].to_numpy(np.float64)
    return Rows(ids, everybody, np.zeros(n, np.int64), labels, np.ones(n), parts, features, tuple(FEATURES))


@cache
def fitted() -> Fitted:
    return fit(RECIPE, people())


def bare(model: Fitted) -> Fitted:
    """Return the model without calibration and link: what is left is its raw score."""
    text = model.text.replace("objective=binary sigmoid:1", "objective=regression")
    assert text != model.text
    return Fitted(text, 1.0, 0.0, model.gains, model.trees, model.library)


def rows_on_thresholds() -> NDArray[np.float32]:
    """Return all people, and each once more with one answer missing or far off."""
    rows = people().features
    odd = rows.copy()
    which = np.arange(len(rows)) % len(ANSWERS)
    odd[np.arange(len(rows)), which] = np.where(which % 2, np.float32(np.nan), np.float32(-1e9))
    return np.concatenate([rows, odd])


def test_study_is_the_one_that_was_looked_at() -> None:
    assert len(people()) == 944
    assert people().labels.mean() == pytest.approx(0.4163, abs=1e-4)
    assert "public domain" in anes96.COPYRIGHT


def test_kernel_gives_lightgbms_raw_scores_to_the_bit(tmp_path: Path) -> None:
    content = model_file(RECIPE, bare(fitted()), tmp_path).content
    rows = rows_on_thresholds()
    booster = lightgbm.Booster(model_str=fitted().text)
    assert scored(content, rows).tobytes() == np.asarray(booster.predict(rows, raw_score=True)).tobytes()


def test_kernel_gives_the_calibrated_chance(tmp_path: Path) -> None:
    content = model_file(RECIPE, fitted(), tmp_path).content
    rows = rows_on_thresholds()
    raw = np.asarray(lightgbm.Booster(model_str=fitted().text).predict(rows, raw_score=True))
    expected = 1 / (1 + np.exp(-(fitted().slope * raw + fitted().intercept)))
    np.testing.assert_allclose(scored(content, rows), expected, rtol=1e-12)


def test_model_foretells_the_votes_of_people_it_never_saw(tmp_path: Path) -> None:
    content = model_file(RECIPE, fitted(), tmp_path).content
    found = judge(RECIPE, people(), content, {})
    assert found.counts["test"].rows == 236
    assert found.auc > 0.95
    assert found.log_loss < 0.45 * found.plain_loss
    # Which party they lean to says most, as everybody knows.
    assert FEATURES.index(fitted().gains[0][0]) == ANSWERS.index("PID")
