"""Rows for training, moment by moment: the second pass reads features, from records that know only what came before."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.commands.labels import Label
from stream.commands.moments import NEGATIVE, SPLIT, Schedule, drawn, hashed
from stream.commands.outcomes import Cuts, Outcomes
from stream.commands.replay import Derived, RecordFile, Replay
from stream.errors import StateMismatchError
from stream.features import FEATURES, read_rows
from stream.records import CONSENT_ERASED, CONSENT_NO

TRAIN: Final = 0
TEST: Final = 1
EMBARGO: Final = 2
SPLITS: Final = ("train", "test", "embargo")
"""By code, what a row is for; an embargoed row lies before the time from which rows test, and its horizon behind."""

_ALL: Final = np.arange(len(FEATURES), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Design:
    """Which rows there are, and what they are for."""

    label: Label
    schedule: Schedule
    negatives: float = 1.0
    """Share of the rows that are kept of those whose label is not 1; each stands for ``1 / negatives``."""
    test: float = 0.2
    """Share of the voters that test; with a ``cutoff_ms`` of no meaning."""
    cutoff_ms: int | None = None
    """The moment from which rows test; None: voters are drawn for that."""

    @property
    def seed(self) -> int:
        """The seed of all that is drawn."""
        return self.schedule.seed

    def splits(self, voters: NDArray[np.uint64], moment_ms: int) -> NDArray[np.int8]:
        """Return what rows of the voters (``hashed``) at a moment are for (int8[n], by place in SPLITS)."""
        if self.cutoff_ms is None:
            return np.where(drawn(voters, SPLIT, self.seed) < self.test, TEST, TRAIN).astype(np.int8)
        code = TEST if moment_ms >= self.cutoff_ms else TRAIN
        if code == TRAIN and moment_ms + self.label.horizon_ms > self.cutoff_ms:
            code = EMBARGO
        return np.full(len(voters), code, np.int8)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one moment; one element for each."""

    moment_ms: int
    voters: list[str]
    labels: NDArray[np.int8]
    """1, 0; of censored rows without meaning."""
    weights: NDArray[np.float32]
    censored: NDArray[np.bool_]
    splits: NDArray[np.int8]
    """By place in SPLITS."""
    features: NDArray[np.float32]
    """float32[n, len(FEATURES)], as models of trees are given them."""


@dataclass(slots=True)
class Counts:
    """How many rows there were, and what became of them."""

    voters: int = 0
    """Seen, whether they have rows or not."""
    barred: int = 0
    """Of these, those who were erased, or are without consent at the log's end."""
    candidates: int = 0
    """Rows before any was left out."""
    unanswered: int = 0
    """Left out, since nothing that the label is among came within the horizon."""
    without_consent: int = 0
    """Left out, since the voter had withdrawn consent at that moment, or had done nothing yet."""


class Sampler:
    """Looks at one partition's voters at each moment."""

    def __init__(self, design: Design, outcomes: Outcomes, barred: Set[int], end_ms: int) -> None:
        """Take what the first pass found: of labels, of ``barred`` voters (``hashed``), and where the log ends."""
        self._design = design
        self._outcomes = outcomes
        self._barred = np.array(sorted(barred), np.uint64)
        self._end_ms = end_ms
        self._names: list[str] = []
        self._voters = np.empty(0, np.uint64)
        self._phases = np.empty(0, np.int64)
        self._places = np.empty(0, np.int64)
        self._stops = np.empty(0, np.int64)
        self.counts = Counts()

    def rows(self, moment_ms: int, records: RecordFile) -> Rows | None:
        """Return the rows of a moment, by hash of voter; ``records`` are as of the last row of the log before it."""
        self._meet(records.since(len(self._names)))
        design = self._design
        seen = np.flatnonzero(self._phases == design.schedule.phase_at(moment_ms))
        places = self._places[seen]
        decided, labels, ended = self._outcomes.decide(places, self._stops[seen], moment_ms)
        self._places[seen] = places
        censored = ~decided & (ended | (moment_ms + design.label.horizon_ms > self._end_ms))
        known = decided | censored | (not design.label.among)
        kept = known & (labels | (drawn(self._voters[seen], NEGATIVE, design.seed, moment_ms) < design.negatives))
        self.counts.candidates += len(seen)
        self.counts.unanswered += int(np.count_nonzero(~known))
        chosen = np.flatnonzero(kept)
        chosen = chosen[np.argsort(self._voters[seen[chosen]], kind="stable")]
        found = records.read([self._names[voter] for voter in seen[chosen].tolist()])
        usable = (found["last_seen_ms"] != 0) & (found["consent"] != CONSENT_NO) & (found["consent"] != CONSENT_ERASED)
        self.counts.without_consent += len(found) - int(np.count_nonzero(usable))
        if not usable.any():
            return None
        chosen = chosen[usable]
        weights = np.where(labels[chosen], 1.0, 1.0 / design.negatives).astype(np.float32)
        return Rows(
            moment_ms,
            [self._names[voter] for voter in seen[chosen].tolist()],
            labels[chosen].astype(np.int8),
            weights,
            censored[chosen],
            design.splits(self._voters[seen[chosen]], moment_ms),
            features_at(moment_ms, found[usable]),
        )

    def _meet(self, names: list[str]) -> None:
        """Take voters who came into the log since the last moment."""
        if not names:
            return
        voters = hashed(names)
        phases = self._design.schedule.phases_of(voters)
        barred = np.isin(voters, self._barred)
        phases[barred] = -1
        starts, stops = self._outcomes.places(voters)
        self._names += names
        self._voters = np.concatenate([self._voters, voters])
        self._phases = np.concatenate([self._phases, phases])
        self._places = np.concatenate([self._places, starts])
        self._stops = np.concatenate([self._stops, stops])
        self.counts.voters += len(names)
        self.counts.barred += int(np.count_nonzero(barred))


def features_at(moment_ms: int, records: NDArray[Any]) -> NDArray[np.float32]:
    """Return every feature (float32[n, len(FEATURES)]) of ``records`` (VOTER[n]) at a moment, by log time in ms."""
    rows = np.empty((len(records), len(FEATURES)))
    read_rows(records.copy(), moment_ms, 0, len(records), _ALL, rows)
    with np.errstate(over="ignore"):
        return rows.astype(np.float32)


async def sample(
    replay: Replay,
    cuts: Cuts,
    sampler: Sampler,
    take: Callable[[Rows, int], None],
    passed: Callable[[int], None] = lambda _offset: None,
) -> None:
    """Replay the log up to each moment, and hand its rows with the moment's offset to ``take``.

    ``passed`` is told the offset reached. Raises StateMismatchError where the log reads differently than before.
    """

    async def leave(_derived: Derived) -> None:
        passed(replay.header.offset)

    for moment_ms, offset in zip(cuts.moments.tolist(), cuts.offsets.tolist(), strict=True):
        await replay.to(offset, leave)
        if replay.header.log_time_ms >= moment_ms:
            message = (
                f"before offset {offset} the log's time is {replay.header.log_time_ms}, though the moment "
                f"{moment_ms} is to come: its rows would know the future"
            )
            raise StateMismatchError(message)
        rows = sampler.rows(moment_ms, replay.records)
        if rows is not None:
            take(rows, offset)
