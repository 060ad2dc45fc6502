"""What a model's training data were like, as histograms in its file, and how far from them other data are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.errors import ConfigurationError, quoted
from stream.scoring.forest import unknown_feature
from stream.strictness import number_of, refuse_keys

MOST_EDGES: Final = 64
MOST_FEATURES: Final = 10
"""That a model file has histograms of."""
SHARE_FLOOR: Final = 1e-4
"""A bin's share counts as at least this: an empty one would make the index infinite."""
_MOST_COUNT: Final = 1e30
_FEW: Final = 10
"""Distinct values that each have a bin; of more it is tenths."""
_NARROW: Final = 1e-6
"""Half the width of a constant's bin, as a part of it (of 1, if it is nearer to 0)."""


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """How often a number fell where."""

    edges: NDArray[np.float64]
    """float64[k], ascending, k at least 1."""
    counts: NDArray[np.float64]
    """float64[k + 2]: rows, or sums of weights, up to and with each edge, above the last one, and without a value."""

    def count(self, values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return float64[k + 2]: how ``values`` float64[n], each as often as its weight says, fall into these bins."""
        bins = np.searchsorted(self.edges, values)
        bins[np.isnan(values)] = len(self.edges) + 1
        counts: NDArray[np.float64] = np.bincount(bins, weights, len(self.edges) + 2).astype(np.float64, copy=False)
        return counts

    def stability_index(self, found: NDArray[np.float64]) -> float:
        """Return the population stability index of ``found`` float64[k + 2], not all 0, against this histogram.

        The sum over the bins of (a - e) ln(a / e), a and e being the shares found and expected, from SHARE_FLOOR up
        (Siddiqi, Credit Risk Scorecards, 2006, chapter 8; Jeffreys' divergence). By custom below 0.1 is no change to
        speak of, above 0.25 a large one; without any it is about (bins - 1) (1 / rows found + 1 / rows expected).
        """
        actual = np.maximum(found / found.sum(), SHARE_FLOOR)
        expected = np.maximum(self.counts / self.counts.sum(), SHARE_FLOOR)
        return float(((actual - expected) * np.log(actual / expected)).sum())

    def spread(self) -> float:
        """Return the standard deviation, as far as bins tell it; the outermost count as their edge."""
        middles = np.concatenate(
            [self.edges[:1], self.edges[:-1] / 2 + self.edges[1:] / 2, self.edges[-1:]],
        )
        counts = self.counts[:-1]
        if not counts.sum():
            return 0.0
        mean = np.average(middles, weights=counts)
        return float(np.sqrt(np.average((middles - mean) ** 2, weights=counts)))


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """What a model was trained on."""

    score: Histogram | None
    """Of its scores, as they are after calibration and link."""
    features: tuple[tuple[int, Histogram], ...]
    """By catalogue index, in order."""


def histogram_of(values: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> Histogram:
    """Return a histogram of ``values`` float64[n], with ``weights`` float64[n] (1 each where None).

    Where there are few distinct values each has a bin, and what lies beside all of them another; else the edges are
    deciles. They lie between values, not on them, so that a single falls where its double does. Raises ValueError where
    no value is finite, or all of those weigh nothing.
    """
    weights = np.ones(len(values)) if weights is None else weights
    finite = np.isfinite(values)
    distinct, place = np.unique(values[finite], return_inverse=True)
    weight = np.bincount(place, weights[finite], len(distinct))
    if not weight.sum() > 0:
        message = f"{len(values)} values, of which {int(finite.sum())} are finite, expected some that weigh something"
        raise ValueError(message)
    between = distinct[:-1] / 2 + distinct[1:] / 2
    if len(distinct) <= _FEW:
        half = np.diff(distinct).min() / 2 if len(distinct) > 1 else _NARROW * max(abs(distinct[0]), 1.0)
        edges = np.array([distinct[0] - half, *between, distinct[-1] + half])
    else:
        shares = np.cumsum(weight) / weight.sum()
        edges = between[np.minimum(np.searchsorted(shares, np.arange(1, _FEW) / _FEW), len(between) - 1)]
    empty = Histogram(np.unique(edges), np.zeros(0))
    return Histogram(empty.edges, empty.count(values, weights))


def read_training(
    value: object, catalogue: Sequence[str], asked: Collection[int], what: str, most: int = MOST_FEATURES
) -> Training:
    """Return the histograms in a model file's ``training``; ``asked`` are the catalogue indices that it may name.

    Raises ConfigurationError, quoting what is wrong and saying what was expected, for anything unusable.
    """
    what = f"{what}: training"
    fields = _object(value, what, "an object of score and features")
    refuse_keys(fields, (), ("score", "features"), what)
    named = _object(fields.get("features", {}), f"{what}.features", "an object of feature names and histograms")
    if len(named) > most:
        message = f"{what}.features names {len(named)} features, expected at most {most}"
        raise ConfigurationError(message)
    index = {feature: at for at, feature in enumerate(catalogue)}
    for name in named:
        if name not in index:
            raise ConfigurationError(unknown_feature(name, catalogue, what))
        if index[name] not in asked:
            message = f"{what}.features names {quoted(name)}, expected features that the model asks for"
            raise ConfigurationError(message)
    score = _histogram(fields["score"], f"{what}.score") if "score" in fields else None
    if score is None and not named:
        message = f"{what} is {quoted(value)}, expected a histogram of score, of features, or both"
        raise ConfigurationError(message)
    found = ((index[name], _histogram(item, f"{what}.features.{name}")) for name, item in named.items())
    return Training(score, tuple(sorted(found, key=lambda pair: pair[0])))


def write_training(training: Training, catalogue: Sequence[str]) -> dict[str, Any]:
    """Return the object that ``read_training`` reads."""
    fields: dict[str, Any] = {} if training.score is None else {"score": _written(training.score)}
    if training.features:
        fields["features"] = {catalogue[index]: _written(histogram) for index, histogram in training.features}
    return fields


def _written(histogram: Histogram) -> dict[str, Any]:
    *counts, missing = histogram.counts.tolist()
    beside = {"missing": missing} if missing else {}
    return {"edges": histogram.edges.tolist(), "counts": counts, **beside}


def _histogram(value: object, what: str) -> Histogram:
    fields = _object(value, what, "an object of edges and counts")
    refuse_keys(fields, ("edges", "counts"), ("missing",), what)
    edges, counts = fields["edges"], fields["counts"]
    if not isinstance(edges, list) or not 1 <= len(edges) <= MOST_EDGES:
        message = f"{what}.edges is {quoted(edges)}, expected a list of 1 to {MOST_EDGES} numbers"
        raise ConfigurationError(message)
    places = np.array([number_of(edge, f"{what}.edges: an edge") for edge in edges])
    if np.any(places[1:] <= places[:-1]):
        message = f"{what}.edges is {quoted(edges)}, expected each to be larger than the one before"
        raise ConfigurationError(message)
    if not isinstance(counts, list) or len(counts) != len(edges) + 1:
        message = f"{what}.counts is {quoted(counts)}, expected a list of {len(edges) + 1} numbers, one more than edges"
        raise ConfigurationError(message)
    found = [_count(count, f"{what}.counts: a count") for count in counts]
    found.append(_count(fields.get("missing", 0), f"{what}.missing"))
    if not any(found):
        message = f"{what}.counts is {quoted(counts)}, expected at least one above 0"
        raise ConfigurationError(message)
    return Histogram(places, np.array(found))


def _object(value: object, what: str, expected: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        message = f"{what} is {quoted(value)}, expected {expected}"
        raise ConfigurationError(message)
    return value


def _count(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_COUNT:
        message = f"{what} is {quoted(value)}, expected a number from 0 to {_MOST_COUNT:g}"
        raise ConfigurationError(message)
    return float(value)
