"""Imported models against the libraries that trained them, on rows of singles, edges of every kind among them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import treelite
import xgboost
from numpy.typing import NDArray
from sklearn import ensemble

from stream.commands.imports import import_model
from stream.errors import ConfigurationError
from stream.features import FEATURES
from stream.records import MAX_MODELS, USE_FOLD
from stream.scoring import compile_models, read_model, score

ROWS = 1500
NAMES = FEATURES[:6]
CATEGORY = 4
"""The column of categories: integers from 0 to 69."""


def table(seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Return rows without and with missing values, and a label."""
    chance = np.random.default_rng(seed)
    rows = chance.normal(size=(ROWS, 6)).astype(np.float32)
    rows[:, CATEGORY] = chance.integers(0, 70, ROWS)
    rows[:, 5] = chance.integers(0, 3, ROWS) * (chance.random(ROWS) < 0.5)
    label = (rows[:, 0] + rows[:, 1] * (rows[:, CATEGORY] % 3) + rows[:, 5] > 0).astype(np.int64)
    missing = rows.copy()
    missing[chance.random(rows.shape) < 0.1] = np.nan
    return rows, missing, label


def widened(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows whose categories are spread as far as a feature of the catalogue has them: up to 65535."""
    wide = rows.copy()
    wide[:, CATEGORY] = np.where(rows[:, CATEGORY] == 69, np.float32(65535), rows[:, CATEGORY] * 900)
    return wide


def edges(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows with what is on the border of being missing, a category, or a number."""
    odd = np.full((4, 6), np.nan, np.float32)
    odd[1:, CATEGORY] = -0.5, 1e9, 3.7
    return np.concatenate([rows, np.where(rows == 0, np.float32(1e-36), rows), rows * -100, odd])


def scored(
    file: Path, rows: NDArray[np.float32], features: Path | None = None, number: int | None = None
) -> NDArray[np.float64]:
    """Return what the imported model gives."""
    content = import_model(file, "m", features=features, number=number).content
    models = compile_models([read_model(content, FEATURES)], np.ones(MAX_MODELS, np.uint32))
    out = np.empty((len(rows), MAX_MODELS))
    score(models, rows[:, models.columns].astype(np.float64), np.full(len(rows), USE_FOLD, np.int64), 0, len(rows), out)
    return out[:, 0]


LIGHTGBM: dict[str, tuple[dict[str, Any], bool, Sequence[int]]] = {
    "binary": ({"objective": "binary"}, False, ()),
    "missing": ({"objective": "binary", "sigmoid": 1.7}, True, ()),
    "zero_as_missing": ({"objective": "binary", "zero_as_missing": True}, True, ()),
    "none_missing": ({"objective": "regression", "use_missing": False}, True, ()),
    "categories": ({"objective": "binary"}, True, (CATEGORY, 5)),
    "dart": ({"objective": "binary", "boosting": "dart"}, True, (CATEGORY,)),
    "poisson": ({"objective": "poisson"}, True, ()),
    "huber": ({"objective": "huber"}, True, ()),
}


def lightgbm_of(params: dict[str, Any], rows: Any, label: Any, categories: Sequence[int]) -> Any:
    common = {
        "verbose": -1,
        "num_leaves": 40,
        "min_data_in_leaf": 3,
        "cat_smooth": 1,
        "min_data_per_group": 2,
        "seed": 1,
    }
    data = lightgbm.Dataset(rows, label, feature_name=list(NAMES), categorical_feature=list(categories))
    return lightgbm.train({**common, **params}, data, 12)


@pytest.mark.parametrize("case", LIGHTGBM)
def test_lightgbms_sums_come_out_bit_for_bit(case: str, tmp_path: Path) -> None:
    params, has_missing, categories = LIGHTGBM[case]
    whole, missing, label = table(1)
    booster = lightgbm_of(params, missing if has_missing else whole, label, categories)
    file = tmp_path / "model.txt"
    booster.save_model(file)
    rows = edges(missing)
    np.testing.assert_allclose(scored(file, rows), booster.predict(rows), rtol=1e-12)
    # The sums alone: as a model whose link is the identity.
    text = file.read_text()
    file.write_text(text.replace(f"objective={text.split('objective=')[1].splitlines()[0]}", "objective=regression"))
    assert scored(file, rows).tobytes() == booster.predict(rows, raw_score=True).tobytes()


def test_categories_up_to_the_largest_code_come_out_bit_for_bit(tmp_path: Path) -> None:
    _, missing, label = table(1)
    wide = widened(missing)
    booster = lightgbm_of({"objective": "regression"}, wide, label, (CATEGORY,))
    file = tmp_path / "model.txt"
    booster.save_model(file)
    rows = np.concatenate([edges(wide), wide[:300]])
    rows[-300:, CATEGORY] = np.resize([65534.0, 65535.0, 65535.5, 65536.0, 65567.0, 1e6], 300)
    found = scored(file, rows)
    assert found.tobytes() == booster.predict(rows).tobytes()
    # One by one, as rows of small batches are walked.
    assert [scored(file, row[None])[0] for row in rows[-12:]] == found[-12:].tolist()
    forest = read_model(import_model(file, "m").content, FEATURES).forest
    assert forest is not None
    assert any(65535 in members for members in forest.categories.values())


def test_lightgbms_random_forest_is_averaged(tmp_path: Path) -> None:
    _, missing, label = table(2)
    params = {"objective": "binary", "boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1}
    booster = lightgbm_of(params, missing, label, ())
    booster.save_model(tmp_path / "model.txt")
    np.testing.assert_allclose(
        scored(tmp_path / "model.txt", edges(missing)), booster.predict(edges(missing)), rtol=1e-12
    )


@pytest.mark.parametrize("form", ["json", "ubj"])
@pytest.mark.parametrize("booster", ["gbtree", "dart"])
@pytest.mark.parametrize("objective", ["binary:logistic", "reg:squarederror", "count:poisson"])
def test_xgboosts_scores_come_out_within_a_millionth(objective: str, booster: str, form: str, tmp_path: Path) -> None:
    _, missing, label = table(3)
    types = ["c" if column == CATEGORY else "q" for column in range(6)]

    def matrix(rows: Any, target: Any = None) -> Any:
        return xgboost.DMatrix(rows, target, feature_names=list(NAMES), feature_types=types, enable_categorical=True)

    params = {"objective": objective, "booster": booster, "max_cat_to_onehot": 2, "seed": 1, "verbosity": 0}
    if booster == "dart":
        params |= {"rate_drop": 0.2}
    model = xgboost.train(params, matrix(missing, label), 12)
    file, names = tmp_path / f"model.{form}", tmp_path / "names.txt"
    model.save_model(file)
    names.write_text("\n".join(NAMES))
    found = scored(file, missing, names if form == "ubj" else None)
    np.testing.assert_allclose(found, model.predict(matrix(missing)), rtol=1e-5, atol=1e-6)
    form_name = "json" if form == "json" else "ubjson"
    reference = treelite.gtil.predict(treelite.frontend.load_xgboost_model(file, format_choice=form_name), missing)
    np.testing.assert_allclose(found, reference.ravel(), atol=1e-6)


SKLEARN: dict[str, Callable[[], Any]] = {
    "random_forest": lambda: ensemble.RandomForestClassifier(12, max_depth=9, random_state=1),
    "extra_trees": lambda: ensemble.ExtraTreesRegressor(12, max_depth=9, random_state=1),
    "gradient_boosting": lambda: ensemble.GradientBoostingClassifier(n_estimators=12, random_state=1),
    "histogram": lambda: ensemble.HistGradientBoostingClassifier(max_iter=12, categorical_features=[CATEGORY]),
    "histogram_regressor": lambda: ensemble.HistGradientBoostingRegressor(max_iter=12),
}


@pytest.mark.parametrize("case", SKLEARN)
def test_scikit_learns_scores_come_out_within_a_millionth(case: str, tmp_path: Path) -> None:
    rows, _, label = table(4)
    model = SKLEARN[case]().fit(rows, label)
    file, names = tmp_path / "model.tl", tmp_path / "names.txt"
    treelite.sklearn.import_model(model).serialize(file)
    names.write_text("\n".join(NAMES))
    expected = model.predict_proba(rows)[:, 1] if hasattr(model, "predict_proba") else model.predict(rows)
    np.testing.assert_allclose(scored(file, rows, names), expected, atol=1e-6)


def test_xgboosts_json_names_its_own_columns(tmp_path: Path) -> None:
    rows, _, label = table(5)
    model = xgboost.train({"max_depth": 3}, xgboost.DMatrix(rows, label, feature_names=list(NAMES)), 3)
    model.save_model(tmp_path / "model.json")
    made = import_model(tmp_path / "model.json", "m")
    assert set(made.features) <= set(NAMES)
    assert made.trees == 3
    assert set(json.loads(made.content)["features"]) == set(made.features)


# --- several classes -----------------------------------------------------------------------------------------


def three_classes() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rows, missing, label = table(5)
    return missing, label + (rows[:, 1] > 0.3)


@pytest.mark.parametrize("boosting", ["gbdt", "rf"])
def test_each_class_of_lightgbms_one_against_all_is_scored_by_itself(boosting: str, tmp_path: Path) -> None:
    rows, label = three_classes()
    params = {"objective": "multiclassova", "num_class": 3, "sigmoid": 1.3, "boosting": boosting}
    booster = lightgbm_of({**params, "bagging_fraction": 0.5, "bagging_freq": 1}, rows, label, (CATEGORY,))
    booster.save_model(tmp_path / "model.txt")
    seen = edges(rows)
    expected = booster.predict(seen)
    for number in range(3):
        found = scored(tmp_path / "model.txt", seen, number=number)
        np.testing.assert_allclose(found, expected[:, number], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [ensemble.RandomForestClassifier, ensemble.ExtraTreesClassifier])
def test_each_class_of_an_averaged_forest_has_its_probability(kind: Any, tmp_path: Path) -> None:
    rows, label = three_classes()
    filled = np.nan_to_num(rows)
    model = kind(20, max_depth=8, random_state=1).fit(filled, label)
    file, names = tmp_path / "model.tl", tmp_path / "names.txt"
    treelite.sklearn.import_model(model).serialize(file)
    names.write_text("\n".join(NAMES))
    found = [scored(file, filled, names, number) for number in range(3)]
    np.testing.assert_allclose(np.stack(found, axis=1), model.predict_proba(filled), rtol=0, atol=1e-6)
    with pytest.raises(ConfigurationError, match="has 3 classes: say which one is scored by --class, from 0 to 2"):
        scored(file, filled, names)


def test_classes_that_treelite_says_are_scored_by_themselves_are(tmp_path: Path) -> None:
    rows, label = three_classes()
    booster = lightgbm_of({"objective": "multiclassova", "num_class": 3}, rows, label, ())
    booster.save_model(tmp_path / "model.txt")
    file, names = tmp_path / "model.tl", tmp_path / "names.txt"
    treelite.frontend.load_lightgbm_model(tmp_path / "model.txt").serialize(file)
    names.write_text("\n".join(NAMES))
    expected = booster.predict(rows)
    for number in range(3):
        np.testing.assert_allclose(scored(file, rows, names, number), expected[:, number], rtol=0, atol=1e-6)


@pytest.mark.parametrize("tool", ["LightGBM", "XGBoost", "XGBoost's labels", "scikit-learn", "histograms"])
def test_classes_that_share_their_sums_are_refused_with_what_to_do_instead(tool: str, tmp_path: Path) -> None:
    rows, label = three_classes()
    file, names = tmp_path / "model.tl", tmp_path / "names.txt"
    names.write_text("\n".join(NAMES))
    if tool == "LightGBM":
        file = tmp_path / "model.txt"
        lightgbm_of({"objective": "multiclass", "num_class": 3}, rows, label, ()).save_model(file)
    elif tool.startswith("XGBoost"):
        file = tmp_path / "model.json"
        objective = "multi:softprob" if tool == "XGBoost" else "multi:softmax"
        matrix = xgboost.DMatrix(rows, label, feature_names=list(NAMES))
        xgboost.train({"objective": objective, "num_class": 3}, matrix, 2).save_model(file)
    else:
        kinds: list[Any] = [ensemble.GradientBoostingClassifier, ensemble.HistGradientBoostingClassifier]
        model = kinds[tool == "histograms"](random_state=1, max_depth=2)
        treelite.sklearn.import_model(model.fit(np.nan_to_num(rows[:200]), label[:200])).serialize(file)
    for number in (None, 1):
        with pytest.raises(ConfigurationError, match=r"is not read: softmax makes .* train one model for each class"):
            scored(file, rows, None if tool == "LightGBM" else names, number)
