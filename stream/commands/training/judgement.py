"""A finished model judged: its own kernel's scores of the voters who were held out for that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.commands.classes import OTHER
from stream.commands.training import judging
from stream.commands.training.judging import Bin, Floats, Group
from stream.commands.training.recipes import Recipe, matching
from stream.commands.training.rows import CALIBRATE, FIT, TEST, Rows
from stream.features import FEATURES
from stream.records import MAX_MODELS, USE_FOLD
from stream.scoring import compile_models, read_model, score
from stream.signals import OTHER_BAND, OTHER_REGION

GROUPS: Final[Mapping[str, str]] = {"region": "*region*", "age band": "*age_band*", "language": "*language*"}
"""What groups are formed by, and the pattern of the feature that says it."""
_MOST_GROUPS: Final = 24
_UNLISTED: Final[Mapping[str, int]] = {"region": OTHER_REGION, "age band": OTHER_BAND, "language": OTHER_BAND}
"""By what groups are formed by, the code of what is said and not listed."""
_REST: Final = "all the rest"
_NOT_SAID: Final = "not said"


@dataclass(frozen=True, slots=True)
class Counts:
    """What rows there are of one part."""

    rows: int
    voters: int
    positives: int
    rate: float
    """Of positives, by weight."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that a card says of a model."""

    counts: Mapping[str, Counts]
    """By part: fit, calibrate, test."""
    auc: float
    """NaN for an effect, which has none, as the next three."""
    auc_error: float
    """With voters for independent."""
    log_loss: float
    plain_loss: float
    """The log loss of giving everybody the same chance."""
    bins: tuple[Bin, ...]
    gain: Floats
    groups: Mapping[str, Sequence[Group]]
    """By what they are formed by; empty where the catalogue does not say it."""
    qini: Floats | None = None
    qini_coefficient: float = 0.0
    effect: float = 0.0
    """Of the treatment, on average."""
    effect_error: float = 0.0
    reached: float = 1.0


def scored(content: bytes, features: NDArray[np.float32]) -> Floats:
    """Return the scores (float64[n]) that the kernel gives rows (float32[n, catalogue]) by a model file."""
    model = read_model(content, FEATURES)
    compiled = compile_models([model], np.ones(MAX_MODELS, np.uint32))
    rows = features[:, compiled.columns].astype(np.float64)
    out = np.empty((len(rows), MAX_MODELS))
    score(compiled, rows, np.full(len(rows), USE_FOLD, np.int64), 0, len(rows), out)
    return out[:, 0]


def judge(recipe: Recipe, rows: Rows, content: bytes, codes: Mapping[str, Sequence[str]]) -> Judgement:
    """Judge a model file by the rows that are to TEST.

    ``codes`` gives by what groups are formed by the names of its codes from 1 up (0: not said).
    """
    test = rows.take(rows.parts == TEST)
    scores = scored(content, test.features)
    parts = {"fit": FIT, "calibrate": CALIBRATE, "test": TEST}
    counts = {name: _counts(rows.take(rows.parts == part)) for name, part in parts.items()}
    values = _values(recipe, test)
    bins = tuple(judging.calibration(scores, values, test.weights, test.voters))
    groups = _groups(test, scores, values, codes)
    if test.treated is not None:
        curve = judging.qini(scores, test.labels, test.treated, test.weights)
        effect, error = _effect(test)
        none = math.nan
        return Judgement(
            counts,
            *(none, none, none, none),
            bins,
            curve,
            groups,
            qini=curve,
            qini_coefficient=judging.qini_coefficient(curve),
            effect=effect,
            effect_error=error,
            reached=rows.reached,
        )
    area = judging.auc(scores, test.labels, test.weights)
    people = [len(np.unique(test.voters[test.labels == label])) for label in (1, 0)]
    alike = np.full(len(test), counts["test"].rate)
    return Judgement(
        counts,
        area,
        judging.auc_error(area, *people),
        judging.log_loss(scores, test.labels, test.weights),
        judging.log_loss(alike, test.labels, test.weights),
        bins,
        judging.gain(scores, test.labels, test.weights),
        groups,
    )


def _values(recipe: Recipe, rows: Rows) -> Floats:
    """Return what the scores estimate: labels, or labels whose mean is the effect (Athey & Imbens 2016)."""
    if rows.treated is None or recipe.holdout is None:
        return rows.labels
    share = 1 - recipe.holdout.share
    # Around their mean: a constant taken off changes no effect, and much of the spread.
    middle = float(np.average(rows.labels, weights=rows.weights))
    return np.asarray((rows.labels - middle) * (rows.treated - share) / (share * (1 - share)), np.float64)


def _counts(rows: Rows) -> Counts:
    rate = float(np.average(rows.labels, weights=rows.weights)) if len(rows) else 0.0
    return Counts(len(rows), len(np.unique(rows.voters)), int(rows.labels.sum()), rate)


def _effect(rows: Rows) -> tuple[float, float]:
    """Return the difference of the rates of treated and held out, and its standard error."""
    means, variance = [], 0.0
    for treated in (1.0, 0.0):
        here = rows.treated == treated
        mean = float(np.average(rows.labels[here], weights=rows.weights[here]))
        means.append(mean)
        variance += mean * (1 - mean) / max(len(np.unique(rows.voters[here])), 1)
    return means[0] - means[1], variance**0.5


def _groups(rows: Rows, scores: Floats, values: Floats, codes: Mapping[str, Sequence[str]]) -> dict[str, list[Group]]:
    found = {}
    for what, pattern in GROUPS.items():
        places = matching(pattern, rows.names)
        if places:
            column = np.nan_to_num(rows.features[:, places[0]]).astype(np.int64)
            coded = _named(column, codes.get(what, ()), _UNLISTED[what])
            is_effect = rows.treated is not None
            found[what] = judging.groups(*coded, scores, values, rows.weights, rows.voters, is_effect=is_effect)
    return found


def _named(column: NDArray[np.int64], names: Sequence[str], unlisted: int) -> tuple[NDArray[Any], list[str]]:
    """Return places and names of groups: the most frequent codes each, the rest together."""
    said = {0: _NOT_SAID, unlisted: OTHER}
    values, counts = np.unique(column, return_counts=True)
    kept = np.sort(values[np.argsort(-counts, kind="stable")][:_MOST_GROUPS]).tolist()
    titles = [said.get(code) or (names[code - 1] if code <= len(names) else f"code {code}") for code in kept]
    place = {code: at for at, code in enumerate(kept)}
    places = np.array([place.get(code, len(kept)) for code in column.tolist()], np.int64)
    return places, [*titles, _REST]
