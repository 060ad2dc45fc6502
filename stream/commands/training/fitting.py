"""LightGBM fitted to rows, and its sum calibrated: repeatable to the bit on one build of LightGBM."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.commands.training.recipes import Recipe, matching
from stream.commands.training.rows import CALIBRATE, FIT, Rows
from stream.errors import ConfigurationError, not_installed

_STEPS: Final = 100
_RIDGE: Final = 1e-12
"""Added to the curvature, so that there is some where all sums are alike."""
_CLOSE: Final = 1e-18
"""Twice what a step may still be expected to take off the loss where it is the last."""
_ROUNDING: Final = 1e-12
"""By which part a loss may seem to rise without doing so."""
_SIMPLER: Final = "a longer log, fewer rounds or fewer num_leaves"
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
    lightgbm = library()
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
    lightgbm = library()
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

    By Newton's steps, halved while the loss rises, towards the middle by one positive and one other (Platt 1999; Lin,
    Lin & Weng 2007). Raises ConfigurationError where they come to no end, or to a slope that turns the ranking around.
    """
    scale = weights / weights.mean()
    positives, others = float((scale * labels).sum()), float((scale * (1 - labels)).sum())
    target = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (others + 2))
    share = scale / len(scale)
    # From here rather than from slope 1, at which an overfitted sum leaves no curvature to step by.
    at = np.array([0.0, math.log((positives + 1) / (others + 1))])
    loss = _loss(at, raw, target, share)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(at[0] * raw + at[1], -500, 500)))
        off, bend = share * (p - target), share * p * (1 - p)
        gradient = np.array([(off * raw).sum(), off.sum()])
        mixed = float((bend * raw).sum())
        hessian = np.array([[(bend * raw * raw).sum() + _RIDGE, mixed], [mixed, bend.sum() + _RIDGE]])
        step = np.linalg.solve(hessian, gradient)
        if float(gradient @ step) < _CLOSE:
            break
        tried = _loss(at - step, raw, target, share)
        while tried > loss * (1 + _ROUNDING):
            step /= 2
            tried = _loss(at - step, raw, target, share)
        at, loss = at - step, tried
    else:
        message = f"the calibration comes to no end in {_STEPS} steps, at slope {at[0]:.3g}: {_SIMPLER}"
        raise ConfigurationError(message)
    slope, intercept = at.tolist()
    if not slope > 0:
        message = (
            f"the calibration's slope is {slope:.3g}, expected one above 0: the trees rank the voters who calibrate "
            f"no better than chance does; {_SIMPLER}"
        )
        raise ConfigurationError(message)
    return slope, intercept


def _loss(at: Floats, raw: Floats, target: Floats, share: Floats) -> float:
    """Return the mean log loss at a slope and intercept (float64[2])."""
    sums = at[0] * raw + at[1]
    return float((share * (np.logaddexp(0, sums) - target * sums)).sum())


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


def library() -> Any:
    """Return ``lightgbm``; raise ConfigurationError where it is not installed, or cannot be loaded."""
    # Its threads would spin beside each other's on what one has to do.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        import lightgbm  # noqa: PLC0415 (an extra, which may not be installed)
    except ImportError as error:
        raise ConfigurationError(not_installed("lightgbm", "train")) from error
    except OSError as error:
        message = f"lightgbm cannot be loaded: {error}: it needs OpenMP (Debian, Ubuntu: apt install libgomp1)"
        raise ConfigurationError(message) from error
    return lightgbm
