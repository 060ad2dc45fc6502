"""How good scores are: ranking, probabilities, gains, and the same by group, weighted, with what chance may explain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
GAIN_POINTS: Final = 101
_TINY: Final = 1e-12
_GAP_AUC: Final = 0.05
_GAP_RATE: Final = 0.1
_SIGNIFICANT: Final = 2.0
_FEWEST: Final = 20
"""Positives and others that a group needs to be judged."""


def auc(scores: Floats, labels: Floats, weights: Floats) -> float:
    """Return the area under the ROC curve: the chance that a positive is ranked over another, ties by half.

    All float64[n]. NaN where there are only positives, or none. Mann and Whitney's U by weights (Hanley & McNeil 1982).
    """
    order = np.argsort(scores, kind="stable")
    ranked, positive = scores[order], weights[order] * labels[order]
    negative = weights[order] - positive
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    won, lost = np.add.reduceat(positive, starts), np.add.reduceat(negative, starts)
    below = np.cumsum(lost) - lost
    total = positive.sum() * negative.sum()
    return float((won * (below + lost / 2)).sum() / total) if total > 0 else math.nan


def auc_error(area: float, positives: float, others: float) -> float:
    """Return the standard error of an AUC of so many independent cases (Hanley & McNeil, Radiology 143, 1982)."""
    if not (positives > 1 and others > 1):
        return math.nan
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (positives - 1) * (first - area**2) + (others - 1) * (second - area**2)
    return math.sqrt(spread / (positives * others))


def log_loss(chances: Floats, labels: Floats, weights: Floats) -> float:
    """Return the mean negative log likelihood in nats."""
    p = np.clip(chances, _TINY, 1 - _TINY)
    return float(np.average(-(labels * np.log(p) + (1 - labels) * np.log(1 - p)), weights=weights))


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows of about the same score."""

    predicted: float
    """The mean score."""
    observed: float
    """The mean of what came."""
    error: float
    """The standard error of that."""
    rows: int


def calibration(
    scores: Floats, values: Floats, weights: Floats, voters: NDArray[np.int64], bins: int = 10
) -> list[Bin]:
    """Return up to ``bins`` bins of equal weight, from the lowest scores up.

    ``values`` is what the scores estimate, ``voters`` int64[n]: rows of one voter are not independent, so errors are
    those of sums by voter.
    """
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    number = np.minimum((reached * bins - 1e-9).astype(np.int64), bins - 1)
    # Equal scores are one bin's.
    starts = np.append(True, scores[order][1:] != scores[order][:-1])
    number = number[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    found = []
    for one in np.unique(number).tolist():
        rows = order[number == one]
        mean = float(np.average(values[rows], weights=weights[rows]))
        error = _clustered(weights[rows] * (values[rows] - mean), voters[rows]) / float(weights[rows].sum())
        found.append(Bin(float(np.average(scores[rows], weights=weights[rows])), mean, error, len(rows)))
    return found


def gain(scores: Floats, labels: Floats, weights: Floats) -> Floats:
    """Return float64[GAIN_POINTS]: which share of the positives the best 0 %, 1 %, ... 100 % of the rows hold."""
    order = np.argsort(-scores, kind="stable")
    share = np.append(0.0, np.cumsum(weights[order]) / weights.sum())
    held = np.append(0.0, np.cumsum((weights * labels)[order]) / max(float((weights * labels).sum()), _TINY))
    return np.asarray(np.interp(np.linspace(0, 1, GAIN_POINTS), share, held), np.float64)


def qini(scores: Floats, labels: Floats, treated: Floats, weights: Floats) -> Floats:
    """Return float64[GAIN_POINTS]: by share of the rows treated, best first, how many more positives that brings.

    As a share of all rows: among the best k, positives of the treated less those of the others, scaled to as many
    treated (Radcliffe 2007). ``treated`` float64[n] is 1 or 0.
    """
    order = np.argsort(-scores, kind="stable")
    w, y, t = weights[order], labels[order], treated[order]
    many, few = np.cumsum(w * t), np.cumsum(w * (1 - t))
    more = np.cumsum(w * t * y) - np.cumsum(w * (1 - t) * y) * many / np.maximum(few, _TINY)
    curve = np.append(0.0, np.where(few > 0, more, 0.0) / max(float(many[-1]), _TINY))
    share = np.append(0.0, np.cumsum(w) / w.sum())
    return np.asarray(np.interp(np.linspace(0, 1, GAIN_POINTS), share, curve), np.float64)


def qini_coefficient(curve: Floats) -> float:
    """Return the area between a Qini curve and the straight line to its end, which treating at random gives."""
    return float(np.mean(curve - np.linspace(0, curve[-1], len(curve))))


@dataclass(frozen=True, slots=True)
class Group:
    """How well the model does for some of the voters."""

    name: str
    rows: int
    voters: int
    rate: float
    """The mean of what came."""
    predicted: float
    """The mean score."""
    auc: float
    gaps: tuple[str, ...]
    """What is worse here than for all, more than chance explains."""
    judged: bool = True
    """False: too few to say."""


def groups(
    codes: NDArray[Any],
    names: Sequence[str],
    scores: Floats,
    values: Floats,
    weights: Floats,
    voters: NDArray[np.int64],
    *,
    is_effect: bool = False,
) -> list[Group]:
    """Judge the rows of each code (int64[n], places in ``names``) by themselves, in the order of ``names``.

    ``values`` are labels, or where ``is_effect`` what estimates an effect, which has no AUC. A gap is an AUC lower by
    more than 0.05 than that of all rows, or a mean off by more than a tenth from the mean score, either by more than
    two standard errors, with voters, not rows, for independent.
    """
    whole = math.nan if is_effect else auc(scores, values, weights)
    found = []
    for code in np.unique(codes).tolist():
        here = codes == code
        y, p, w, who = values[here], scores[here], weights[here], voters[here]
        people = len(np.unique(who))
        rate, predicted = float(np.average(y, weights=w)), float(np.average(p, weights=w))
        error = _clustered(w * (y - p), who) / float(w.sum())
        area, gaps, judged = math.nan, list[str](), people >= 2 * _FEWEST
        if not is_effect:
            positives, others = len(np.unique(who[y == 1])), len(np.unique(who[y == 0]))
            area, judged = auc(p, y, w), min(positives, others) >= _FEWEST
            if judged and whole - area > max(_GAP_AUC, _SIGNIFICANT * auc_error(area, positives, others)):
                gaps.append("ranks worse")
        if judged and abs(rate - predicted) > max(_GAP_RATE * abs(rate), _SIGNIFICANT * error):
            gaps.append("scores too high" if predicted > rate else "scores too low")
        found.append(Group(names[code], int(here.sum()), people, rate, predicted, area, tuple(gaps), judged))
    return found


def _clustered(deviations: Floats, voters: NDArray[np.int64]) -> float:
    """Return the standard error of a sum of deviations, those of one voter taken together."""
    _, places = np.unique(voters, return_inverse=True)
    return float(np.sqrt((np.bincount(places, weights=deviations) ** 2).sum()))
