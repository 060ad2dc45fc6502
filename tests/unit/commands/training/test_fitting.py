"""Fitting: repeatable, calibrated by others than it was fitted to, and an effect found where there is one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from sklearn import linear_model

from stream.commands.training import fitting
from stream.commands.training.judging import Floats, auc
from stream.commands.training.recipes import Holdout, Recipe
from stream.commands.training.rows import CALIBRATE, FIT, TEST, Rows
from stream.errors import ConfigurationError

RECIPE = Recipe("gives", "donation.completed within 7d", "1d", rounds=40, parameters={"min_data_in_leaf": 20})
NAMES = ("a", "b", "c")


def some_rows(seed: int, n: int = 6000) -> Rows:
    """Return rows whose label goes by ``a`` and, by its parity, ``b``."""
    chance = np.random.default_rng(seed)
    features = chance.normal(size=(n, 3)).astype(np.float32)
    features[:, 1] = chance.integers(0, 12, n)
    z = 1.5 * features[:, 0] + np.where(features[:, 1] % 2, 1.0, -1.0) - 1
    labels = (chance.random(n) < 1 / (1 + np.exp(-z))).astype(np.float64)
    everybody = np.arange(n)
    parts = np.choose(everybody % 4, [TEST, CALIBRATE, FIT, FIT])
    people = np.array([f"v{number}" for number in range(n)])
    return Rows(people, everybody, np.zeros(n, np.int64), labels, np.ones(n), parts, features, NAMES)


def of_an_experiment(seed: int) -> Rows:
    """Return rows of which the treatment moves those with ``a`` above 0.5, and nobody else."""
    rows = some_rows(seed, 12_000)
    chance = np.random.default_rng(seed + 1)
    treated = (chance.random(len(rows)) < 0.5).astype(np.float64)
    moved = (rows.features[:, 0] > 0.5) & (treated == 1)
    labels = np.where(moved, chance.random(len(rows)) < 0.8, chance.random(len(rows)) < 0.3).astype(np.float64)
    return replace(rows, labels=labels, treated=treated)


def test_same_rows_and_recipe_give_the_same_model() -> None:
    first, again = fitting.fit(RECIPE, some_rows(1)), fitting.fit(RECIPE, some_rows(1))
    assert first == again
    assert fitting.fit(RECIPE, some_rows(2)).text != first.text


def test_rows_to_test_change_nothing() -> None:
    rows = some_rows(1)
    labels = np.where(rows.parts == TEST, 1 - rows.labels, rows.labels)
    assert fitting.fit(RECIPE, replace(rows, labels=labels)) == fitting.fit(RECIPE, rows)


def test_rows_to_calibrate_change_the_calibration_alone() -> None:
    rows = some_rows(1)
    labels = np.where((rows.parts == CALIBRATE) & (rows.voters % 3 > 0), 0.0, rows.labels)
    one, other = fitting.fit(RECIPE, rows), fitting.fit(RECIPE, replace(rows, labels=labels))
    assert one.text == other.text
    assert other.intercept < one.intercept


def test_weights_count_as_repeated_rows_do() -> None:
    raw, labels = np.linspace(-3, 3, 400), np.tile([1.0, 0, 0, 1], 100)
    weights = np.tile([1.0, 3.0], 200)
    repeated = np.repeat(np.arange(400), weights.astype(np.int64))
    assert fitting.platt(raw, labels, weights) == pytest.approx(
        fitting.platt(raw[repeated], labels[repeated], np.ones(len(repeated))), abs=0.02
    )


def test_platts_line_is_what_the_chances_were_drawn_by() -> None:
    chance = np.random.default_rng(5)
    raw = chance.normal(size=50_000)
    labels = (chance.random(50_000) < 1 / (1 + np.exp(-(0.6 * raw - 1.2)))).astype(np.float64)
    assert fitting.platt(raw, labels, np.ones(50_000)) == pytest.approx((0.6, -1.2), abs=0.05)


def test_scores_that_tell_classes_apart_wholly_stay_finite() -> None:
    raw = np.array([-2.0, -1, 1, 2] * 50)
    slope, intercept = fitting.platt(raw, (raw > 0).astype(np.float64), np.ones(200))
    assert 1 < slope < 100
    assert abs(intercept) < 1


@pytest.mark.parametrize("seed", range(4))
def test_overfitted_sum_is_calibrated_to_the_least_loss(seed: int) -> None:
    rows = some_rows(seed, 2000)
    recipe = replace(RECIPE, rounds=300, parameters={"num_leaves": 31, "learning_rate": 0.1, "min_data_in_leaf": 5})
    model = fitting.fit(recipe, rows)
    second = rows.take(rows.parts == CALIBRATE)
    raw = np.asarray(lightgbm.Booster(model_str=model.text).predict(second.features, raw_score=True))
    assert np.abs(raw).max() > 8

    # As without the two rows towards the middle, nearly.
    plain = linear_model.LogisticRegression(C=1e9).fit(raw[:, None], second.labels)
    assert 0 < model.slope < 1
    assert model.slope == pytest.approx(plain.coef_[0, 0], abs=0.02)
    assert model.intercept == pytest.approx(plain.intercept_[0], abs=0.02)


def test_far_sums_do_not_drive_the_steps_away() -> None:
    chance = np.random.default_rng(7)
    sums = chance.normal(size=4000)
    labels = (chance.random(4000) < 1 / (1 + np.exp(-sums))).astype(np.float64)
    slope, intercept = fitting.platt(1000 * sums + 500, labels, chance.choice([1.0, 20.0], 4000))
    assert slope == pytest.approx(0.001, rel=0.15)
    assert intercept == pytest.approx(-0.5, abs=0.15)


@pytest.mark.parametrize("raw", [np.tile([1.0, -1.0], 200), np.zeros(400), np.full(400, 3.0)])
def test_sum_that_ranks_no_better_than_chance_is_refused(raw: Floats) -> None:
    with pytest.raises(ConfigurationError, match=r"slope is -?[0-9.e-]+, expected one above 0.*fewer rounds"):
        fitting.platt(raw, np.tile([0.0, 1.0], 200), np.ones(400))


def test_calibration_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_STEPS", 2)
    with pytest.raises(ConfigurationError, match="comes to no end in 2 steps, at slope"):
        test_platts_line_is_what_the_chances_were_drawn_by()


def test_straight_line_keeps_the_ranking() -> None:
    raw, values = np.linspace(0, 1, 100), np.linspace(1, 0, 100)
    slope, intercept = fitting.straight(raw, values, np.ones(100))
    assert slope == 0.1
    assert intercept == pytest.approx(0.45)


def test_categories_are_split_as_such() -> None:
    plain = fitting.fit(RECIPE, some_rows(3))
    split = fitting.fit(replace(RECIPE, categorical=("b",)), some_rows(3))
    assert "num_cat=0" in plain.text
    assert any(line.startswith("num_cat=") and line != "num_cat=0" for line in split.text.splitlines())


def test_effect_is_found_where_it_is() -> None:
    rows = of_an_experiment(1)
    recipe = replace(RECIPE, holdout=Holdout("letter", 0.5, ""))
    outcome = fitting.outcome_of(recipe, rows)
    moved = rows.features[:, 0] > 0.5
    assert outcome[moved].mean() == pytest.approx(0.5, abs=0.08)
    assert outcome[~moved].mean() == pytest.approx(0.0, abs=0.05)
    # What is known of the outcome otherwise is taken off, so that it spreads less than twice the label does.
    assert outcome.std() < 2 * np.sqrt((rows.labels**2).mean())
    model = fitting.fit(recipe, rows)
    test = rows.take(rows.parts == TEST)
    raw = np.asarray(lightgbm.Booster(model_str=model.text).predict(test.features))
    found = model.slope * raw + model.intercept
    persuadable = (test.features[:, 0] > 0.5).astype(np.float64)
    assert auc(found, persuadable, test.weights) > 0.95
    assert found[persuadable == 1].mean() == pytest.approx(0.5, abs=0.12)


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ConfigurationError, match=r"lightgbm is not installed: .*`uv sync --inexact --extra train`"):
        fitting.fit(RECIPE, some_rows(1, 200))


def test_library_that_lacks_openmp_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = "libgomp.so.1: cannot open shared object file"
    (tmp_path / "lightgbm.py").write_text(f"raise OSError({lacking!r})")
    monkeypatch.delitem(sys.modules, "lightgbm")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match=f"lightgbm cannot be loaded: {lacking}.*apt install libgomp1"):
        fitting.fit(RECIPE, some_rows(1, 200))
