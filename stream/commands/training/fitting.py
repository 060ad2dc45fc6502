"""LightGBM fitted to rows, and its sum calibrated: repeatable to the bit on one build of LightGBM."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.commands.training.recipes import Recipe, matching
from stream.commands.training.rows import CALIBRATE, FIT, Rows, missing
from stream.errors import ConfigurationError

_STEPS: Final = 50
_FOLDS: Final = 3
_EXPECTING: Final = 80
"""Trees that foretell an outcome whatever the treatment."""
_PARAMETERS: Final = {"num_leaves": 15, "learning_rate": 0.05, "min_data_in_leaf": 50, "lambda_l2": 1.0}
_FIXED: Final = {
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
    "feature_pre_filter": False,
}
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model as LightGBM has it, and its calibration."""

    text: str
    """LightGBM's text model; its features are named as the catalogue does."""
    slope: float
    intercept: float
    gains: tuple[tuple[str, float], ...]
    """(feature, share of what all splits gained), most first; features without a split are left out."""
    trees: int
    library: str
    """LightGBM's version."""


def fit(recipe: Recipe, rows: Rows) -> Fitted:
    """Fit the recipe's model to the rows that are to FIT, and calibrate it by those that are to CALIBRATE.

    Raises ConfigurationError where LightGBM is not installed, or refuses.
    """
    lightgbm = _lightgbm()
    places = recipe.columns(rows.names)
    names = [rows.names[place] for place in places]
    chosen = {rows.names[place] for pattern in recipe.categorical for place in matching(pattern, rows.names)}
    categorical = [at for at, name in enumerate(names) if name in chosen]
    first, second = (rows.take(rows.parts == part) for part in (FIT, CALIBRATE))
    parameters = {**_PARAMETERS, **recipe.parameters, **_FIXED, "seed": recipe.seed}
    outcome = outcome_of(recipe, rows)
    targets = {FIT: outcome[rows.parts == FIT], CALIBRATE: outcome[rows.parts == CALIBRATE]}
    objective = "binary" if rows.treated is None else "regression"
    booster = _train(
        lightgbm,
        {**parameters, "objective": objective},
        first.features[:, places],
        targets[FIT],
        first.weights,
        names,
        categorical,
        recipe.rounds,
    )
    raw = np.asarray(booster.predict(second.features[:, places], raw_score=True), np.float64)
    calibrate = platt if rows.treated is None else straight
    slope, intercept = calibrate(raw, targets[CALIBRATE], second.weights)
    gains = np.asarray(booster.feature_importance("gain"), np.float64)
    shares = gains / max(float(gains.sum()), 1e-300)
    order = np.argsort(-shares, kind="stable").tolist()
    return Fitted(
        booster.model_to_string(),
        slope,
        intercept,
        tuple((names[at], float(shares[at])) for at in order if shares[at] > 0),
        booster.num_trees(),
        str(lightgbm.__version__),
    )


def outcome_of(recipe: Recipe, rows: Rows) -> Floats:
    """Return what is estimated (float64[n]): the label, or where there is a holdout the transformed outcome.

    Its mean at any features is the effect of the treatment there (Athey & Imbens, PNAS 113, 2016, section 3): outcome
    times (t - p) / (p (1 - p)). From the outcome its expectation whatever the treatment is taken first, which changes
    no mean and takes off most of the spread; it is foretold from all features there are, and fitted to other voters
    than those whose rows it is used for.
    """
    if rows.treated is None:
        return rows.labels
    lightgbm = _lightgbm()
    share = 1 - recipe.holdout.share if recipe.holdout is not None else float(rows.treated.mean())
    expected = np.empty(len(rows))
    folds = rows.voters % _FOLDS
    for fold in range(_FOLDS):
        known = (folds != fold) & (rows.parts == FIT)
        booster = _train(
            lightgbm,
            {**_PARAMETERS, **_FIXED, "feature_fraction": 0.5, "seed": recipe.seed, "objective": "binary"},
            rows.features[known],
            rows.labels[known],
            rows.weights[known],
            rows.names,
            [],
            _EXPECTING,
        )
        expected[folds == fold] = booster.predict(rows.features[folds == fold])
    return np.asarray((rows.labels - expected) * (rows.treated - share) / (share * (1 - share)), np.float64)


def platt(raw: Floats, labels: Floats, weights: Floats) -> tuple[float, float]:
    """Return slope and intercept that make ``1 / (1 + exp(-(slope raw + intercept)))`` likeliest (float64[n] each).

    By Newton's steps, towards the middle by one positive and one other (Platt 1999; Lin, Lin & Weng 2007).
    """
    scale = weights / weights.mean()
    positives, others = float((scale * labels).sum()), float((scale * (1 - labels)).sum())
    target = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (others + 2))
    slope, intercept = 1.0, 0.0
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(slope * raw + intercept, -500, 500)))
        off, bend = scale * (p - target), scale * p * (1 - p)
        gradient = np.array([(off * raw).sum(), off.sum()])
        mixed = float((bend * raw).sum())
        hessian = np.array([[(bend * raw * raw).sum() + 1e-9, mixed], [mixed, bend.sum() + 1e-9]])
        step = np.linalg.solve(hessian, gradient)
        slope, intercept = slope - float(step[0]), intercept - float(step[1])
        if float(np.abs(step).max()) < 1e-10:
            break
    return slope, intercept


def straight(raw: Floats, values: Floats, weights: Floats) -> tuple[float, float]:
    """Return slope and intercept of the straight line of least squares from ``raw`` to ``values``.

    The slope is at least a tenth, so that the ranking stays.
    """
    middle, mean = float(np.average(raw, weights=weights)), float(np.average(values, weights=weights))
    spread = float(np.average((raw - middle) ** 2, weights=weights))
    slope = float(np.average((raw - middle) * (values - mean), weights=weights)) / max(spread, 1e-300)
    slope = min(max(slope, 0.1), 10.0)
    return slope, mean - slope * middle


def _train(
    lightgbm: Any,
    parameters: dict[str, Any],
    features: NDArray[np.float32],
    target: Floats,
    weights: Floats,
    names: Sequence[str],
    categorical: Sequence[int],
    rounds: int,
) -> Any:
    data = lightgbm.Dataset(
        features, target, weight=weights, feature_name=list(names), categorical_feature=list(categorical)
    )
    try:
        return lightgbm.train(parameters, data, rounds)
    except lightgbm.basic.LightGBMError as error:
        message = f"LightGBM refuses: {error}"
        raise ConfigurationError(message) from error


def _lightgbm() -> Any:
    # Its threads would spin beside each other's on what one has to do.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        import lightgbm  # noqa: PLC0415 (an extra, which may not be installed)
    except ImportError as error:
        raise ConfigurationError(missing("lightgbm")) from error
    return lightgbm
