"""How far scores and features have come from the training data, over a sliding day of the log; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.scoring.files import Model
from stream.scoring.histograms import Histogram
from stream.versions import ACTIVE

HOURS: Final = 24
"""That the window has, the hour that is under way among them."""
LEAST_ROWS: Final = 500
"""Looked at, before there is an index: of fewer it is noise for the most part."""
_HOUR_MS: Final = 3_600_000
_FEW_ROWS: Final = 16
_MOST_EVERY: Final = 128
_BATCHES_AT_ONCE: Final = 32
_MOST_WAITING: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """The score of a model's version, or a feature of its active one."""

    model: str
    sha256: str
    role: str
    feature: str
    """Empty: the score."""
    column: int
    """Of the scores, or of the feature rows."""
    training: Histogram


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """All that is watched under one configuration: features, then scores."""

    features: tuple[Watched, ...]
    scores: tuple[Watched, ...]
    places: NDArray[np.int64]
    """int64[f]: the features' columns of a feature row."""
    columns: NDArray[np.int64]
    """int64[s]: the scores' columns."""

    @property
    def all(self) -> tuple[Watched, ...]:
        """Return features, then scores."""
        return (*self.features, *self.scores)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What some of the folded rows of a batch have in what is watched."""

    watch: Watch
    hour: int
    """Of log time, at the last of the rows."""
    every: int
    """How many rows each stands for."""
    values: NDArray[np.float64]
    """float64[n, f + s], in the order of ``watch.all``."""
    canaries: NDArray[np.int64]
    """int64[n]: bit ``m`` is set where model slot ``m``'s score is its canary's."""


@dataclass(slots=True, eq=False)
class _Window:
    """Counts of one that is watched, by hour of log time."""

    training: Histogram
    counts: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    rows: dict[int, int] = field(default_factory=dict)
    """How many were looked at."""

    def add(self, hour: int, values: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        self.counts[hour] = self.counts.get(hour, 0.0) + self.training.count(values, weights)
        self.rows[hour] = self.rows.get(hour, 0) + int(np.count_nonzero(weights))

    def drop(self, oldest: int) -> None:
        for hour in [hour for hour in self.counts if hour < oldest]:
            del self.counts[hour], self.rows[hour]


def watch(
    models: Iterable[tuple[Model, str, str, int]], columns: NDArray[np.int64], catalogue: Sequence[str]
) -> Watch | None:
    """Return what there is to watch, None if no model says what it was trained on.

    Of each model its version's sha256, role and column of scores; ``columns`` int64[c] are the catalogue indices of a
    feature row, ascending. Features are those of active versions: all versions' rows are the same.
    """
    features, scores = [], []
    for model, sha256, role, column in models:
        if model.training is None:
            continue
        if model.training.score is not None:
            scores.append(Watched(model.name, sha256, role, "", column, model.training.score))
        for index, histogram in model.training.features if role == ACTIVE else ():
            place = int(np.searchsorted(columns, index))
            features.append(Watched(model.name, sha256, role, catalogue[index], place, histogram))
    if not features and not scores:
        return None
    places = np.array([one.column for one in features], np.int64)
    return Watch(tuple(features), tuple(scores), places, np.array([one.column for one in scores], np.int64))


def sample(
    watch: Watch,
    folded: NDArray[np.int64],
    rows: NDArray[np.float64],
    scores: NDArray[np.float64],
    canaries: NDArray[np.int64],
    now: NDArray[np.int64],
) -> Sample | None:
    """Return what is watched in each k-th of the ``folded`` rows (int64[n], ascending); None where there are none.

    k is 1 plus a sixteenth of how many there are, at most 128: each row of few, and of more so many that looking at
    them takes next to nothing for an event. ``rows`` float64[m, c], ``scores`` float64[m, models], ``canaries``,
    ``now`` (ms) int64[m].
    """
    if not len(folded):
        return None
    every = min(1 + len(folded) // _FEW_ROWS, _MOST_EVERY)
    picked = folded[::every]
    values = np.concatenate([rows[np.ix_(picked, watch.places)], scores[np.ix_(picked, watch.columns)]], axis=1)
    return Sample(watch, int(now[picked[-1]]) // _HOUR_MS, every, values, canaries[picked])


class Drift:
    """Counts of all partitions of a worker together, by hour of log time; what is older than a day is dropped."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._watch: Watch | None = None
        self._waiting: dict[tuple[Watch, int], list[Sample]] = {}
        self._windows: dict[tuple[str, str, str, str], _Window] = {}
        self._newest = 0

    def take(self, watch: Watch | None, samples: Sequence[Sample]) -> None:
        """Count samples of a batch; ``watch`` is what is watched after it (None: nothing)."""
        self._watch = watch
        for one in samples:
            waiting = self._waiting.setdefault((one.watch, one.hour), [])
            waiting.append(one)
            if len(waiting) >= _BATCHES_AT_ONCE:
                self._count(one.watch, one.hour, self._waiting.pop((one.watch, one.hour)))
        if len(self._waiting) > _MOST_WAITING:
            self._count_all()

    def indices(self) -> Iterator[tuple[Watched, float]]:
        """Give the population stability index of each that is watched now and was seen in LEAST_ROWS rows."""
        self._count_all()
        for one in self._watch.all if self._watch is not None else ():
            window = self._windows.get(_key(one))
            if window is not None and sum(window.rows.values()) >= LEAST_ROWS:
                yield one, one.training.stability_index(np.sum(list(window.counts.values()), axis=0))

    def _count_all(self) -> None:
        while self._waiting:
            (watch, hour), samples = self._waiting.popitem()
            self._count(watch, hour, samples)

    def _count(self, watch: Watch, hour: int, samples: Sequence[Sample]) -> None:
        if hour > self._newest:
            self._newest = hour
            for window in self._windows.values():
                window.drop(hour - HOURS + 1)
            self._windows = {key: window for key, window in self._windows.items() if window.counts}
        elif hour <= self._newest - HOURS:
            return
        values = np.concatenate([one.values for one in samples])
        canaries = np.concatenate([one.canaries for one in samples])
        weights = np.repeat([float(one.every) for one in samples], [len(one.values) for one in samples])
        for at, one in enumerate(watch.all):
            window = self._windows.setdefault(_key(one), _Window(one.training))
            own = weights
            if one.role == ACTIVE and not one.feature:
                # Where a canary scored, the score is not the active version's.
                own = np.where(canaries >> one.column & 1 == 0, weights, 0.0)
            window.add(hour, values[:, at], own)


def _key(one: Watched) -> tuple[str, str, str, str]:
    return one.model, one.sha256, one.role, one.feature
