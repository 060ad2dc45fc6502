"""Contributions of imported models against those of the libraries that trained them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import treelite
import xgboost
from numpy.typing import NDArray
from sklearn import ensemble

from stream.commands.imports import import_model
from stream.features import FEATURES
from stream.scoring import compile_models, explain, read_model
from tests.contracts.test_imported_models import CATEGORY, LIGHTGBM, NAMES, edges, lightgbm_of, table, widened


def explained(file: Path, rows: NDArray[np.float32], features: Path | None = None) -> NDArray[np.float64]:
    """Return what each column contributes, and in the last one what is expected, as LightGBM and XGBoost give it."""
    content = import_model(file, "m", features=features).content
    models = compile_models([read_model(content, FEATURES)], np.ones(8, np.uint32))
    found = explain(models, rows[:, models.columns].astype(np.float64), np.arange(len(rows)), 0)
    assert found is not None
    whole = np.zeros((len(rows), rows.shape[1] + 1))
    whole[:, models.columns] = found
    whole[:, -1] = models.expected[0]
    return whole


@pytest.mark.parametrize("case", LIGHTGBM)
def test_lightgbms_contributions_come_out_within_a_millionth(case: str, tmp_path: Path) -> None:
    params, has_missing, categories = LIGHTGBM[case]
    whole, missing, label = table(1)
    booster = lightgbm_of(params, missing if has_missing else whole, label, categories)
    booster.save_model(tmp_path / "model.txt")
    rows = edges(missing[:300])
    # LightGBM's contributions are to the sum, ours to what the link is applied to.
    expected = booster.predict(rows, pred_contrib=True) * params.get("sigmoid", 1.0)
    np.testing.assert_allclose(explained(tmp_path / "model.txt", rows), expected, rtol=0, atol=1e-9)


def test_contributions_of_categories_up_to_the_largest_code_come_out_within_a_millionth(tmp_path: Path) -> None:
    _, missing, label = table(1)
    booster = lightgbm_of({"objective": "binary"}, widened(missing), label, (CATEGORY,))
    booster.save_model(tmp_path / "model.txt")
    rows = edges(widened(missing)[:300])
    assert (rows[:, CATEGORY] == 65535).any()
    expected = booster.predict(rows, pred_contrib=True)
    np.testing.assert_allclose(explained(tmp_path / "model.txt", rows), expected, rtol=0, atol=1e-9)


def test_contributions_to_an_averaged_forest_add_up_to_its_average(tmp_path: Path) -> None:
    _, missing, label = table(2)
    params = {"objective": "binary", "boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1}
    booster = lightgbm_of(params, missing, label, ())
    booster.save_model(tmp_path / "model.txt")
    rows = edges(missing[:300])
    found = explained(tmp_path / "model.txt", rows)
    # What LightGBM calls raw is the sum over all twelve trees also where it averages them.
    np.testing.assert_allclose(found.sum(axis=1), booster.predict(rows, raw_score=True) / 12, rtol=1e-9)
    np.testing.assert_allclose(found, booster.predict(rows, pred_contrib=True) / 12, rtol=0, atol=1e-9)


@pytest.mark.parametrize("objective", ["binary:logistic", "count:poisson"])
def test_xgboosts_contributions_come_out_to_the_precision_of_singles(objective: str, tmp_path: Path) -> None:
    _, missing, label = table(3)
    types = ["c" if column == CATEGORY else "q" for column in range(6)]

    def matrix(rows: Any, target: Any = None) -> Any:
        return xgboost.DMatrix(rows, target, feature_names=list(NAMES), feature_types=types, enable_categorical=True)

    params = {"objective": objective, "max_cat_to_onehot": 2, "seed": 1, "verbosity": 0}
    model = xgboost.train(params, matrix(missing, label), 12)
    model.save_model(tmp_path / "model.json")
    rows = missing[:300]
    found = explained(tmp_path / "model.json", rows)
    np.testing.assert_allclose(found, model.predict(matrix(rows), pred_contribs=True), rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", [ensemble.ExtraTreesRegressor, ensemble.HistGradientBoostingRegressor])
def test_scikit_learns_cover_gives_the_mean_that_it_was_trained_on(kind: Any, tmp_path: Path) -> None:
    rows, _, label = table(4)
    model = kind(random_state=1).fit(rows, label)
    file, names = tmp_path / "model.tl", tmp_path / "names.txt"
    treelite.sklearn.import_model(model).serialize(file)
    names.write_text("\n".join(NAMES))
    found = explained(file, rows[:300], names)
    np.testing.assert_allclose(found[0, -1], label.mean(), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), model.predict(rows[:300]), atol=1e-6)
