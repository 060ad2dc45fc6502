"""Rows for training, told a second time in plain Python: moments, labels, censoring, splits and what is drawn.

It shares no code with the package. Features are those that the package reads off the oracle's own record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xxhash

from tests.logs import TOPIC, Log
from tests.oracle import ERASED, NO, Partition
from tests.oracle_events import Event
from tests.oracle_record import Voter
from tests.oracle_signals import KNOWN_CHANNELS, KNOWN_METHODS, class_of

HOUR_MS = 3_600_000
MASK = 2**64 - 1
Judge = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Asked:
    """What rows are asked for."""

    type: str
    """Or beginnings of some, with a space between them."""
    horizon_ms: int
    every_ms: int
    fits: Judge = lambda _data: True
    among: Judge | None = None
    negatives: float = 1.0
    test: float = 0.2
    by_time: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Expected:
    """One row; ``label`` None where it is censored."""

    label: int | None
    weight: float
    split: str
    record: bytes = field(repr=False)
    """The voter's, as of the last row of the log before the moment."""


@dataclass(frozen=True)
class Seen:
    """An event that was used."""

    voter: str
    now: int
    time: int
    data: Mapping[str, Any]
    ends: bool = False
    """Consent is withdrawn: nothing is known of the voter from here on."""


class Watched(Partition):
    """A partition that notes the events of some types that were used."""

    def __init__(self, log: Log, kind: str) -> None:
        super().__init__(log.partition, log.count, log.contents, TOPIC, log.start, log.secrets)
        self.kinds = tuple(kind.split())
        self.seen: list[Seen] = []

    def fold(self, event: Event, voter: Voter) -> Sequence[float]:
        if event.type.startswith(self.kinds):
            time = self.now if event.time is None else event.time
            self.seen.append(Seen(event.voter, self.now, time, self.classed(event)))
        return super().fold(event, voter)

    def gate(self, offset: int, event: Event) -> None:
        before = self.totals["suppressed"] + self.totals["duplicates"]
        super().gate(offset, event)
        if event.type == "consent.withdrawn" and before == self.totals["suppressed"] + self.totals["duplicates"]:
            self.seen.append(Seen(event.voter, self.now, 2**63, {}, ends=True))

    def classed(self, event: Event) -> Mapping[str, Any]:
        """Return an event's data with what the taxonomy makes of channel and method."""
        data = dict(event.data or {})
        if event.type.startswith("message."):
            data["channel"] = class_of(data["channel"], self.taxonomy.get("channels", KNOWN_CHANNELS))
        if event.type.startswith("donation.") and data.get("method"):
            data["method"] = class_of(data["method"], self.taxonomy.get("methods", KNOWN_METHODS))
        return data


def splitmix(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def draw(voter: str, purpose: int, seed: int, moment: int = 0) -> float:
    key = splitmix((splitmix((seed + purpose) & MASK) + moment) & MASK)
    return (splitmix(xxhash.xxh3_64_intdigest(voter.encode()) ^ key) >> 11) / 2**53


def times(log: Log, asked: Asked) -> list[int]:
    """Return the log time at each row."""
    partition = Watched(log, asked.type)
    found = []
    for row in log.rows:
        partition.feed(row)
        found.append(partition.now)
    return found


def moments_of(voter: str, asked: Asked, begin: int, end: int) -> list[int]:
    """Return a voter's moments after ``begin``, up to ``end``."""
    phases = max(1, asked.every_ms // HOUR_MS)
    phase = int(draw(voter, 1, asked.seed) * phases) * (asked.every_ms // phases)
    first = begin // asked.every_ms * asked.every_ms + phase
    return [moment for moment in range(first, end + 1, asked.every_ms) if moment > begin]


def rows_of(logs: list[Log], asked: Asked) -> dict[tuple[str, int], Expected]:
    """Return every row, by voter and moment."""
    periods = []
    for log in logs:
        known = [now for now in times(log, asked) if now > 0]
        if known:
            periods.append((known[0], known[-1]))
    cutoff = None
    if asked.by_time:
        begin, until = min(begin for begin, _ in periods), min(end for _, end in periods) - asked.horizon_ms
        cutoff = begin + round((until - begin) * (1 - asked.test))
    found: dict[tuple[str, int], Expected] = {}
    for log in logs:
        found |= rows_of_partition(log, asked, cutoff)
    return found


def rows_of_partition(log: Log, asked: Asked, cutoff: int | None) -> dict[tuple[str, int], Expected]:
    now = times(log, asked)
    known = [time for time in now if time > 0]
    if not known:
        return {}
    partition = Watched(log, asked.type)
    records: dict[tuple[str, int], bytes] = {}
    looked_until = known[0]
    for row, time in zip(log.rows, now, strict=True):
        if time > looked_until:
            for name, voter in partition.voters.items():
                if voter.last_ms and voter.consent not in {NO, ERASED}:
                    for moment in moments_of(name, asked, looked_until, time):
                        records[name, moment] = voter.pack()
            looked_until = time
        partition.feed(row)
    barred = {name for name, voter in partition.voters.items() if voter.consent in {NO, ERASED}}
    found = {}
    for (name, moment), record in records.items():
        expected = None if name in barred else decide(partition, name, moment, record, asked, (now[-1], cutoff))
        if expected is not None:
            found[name, moment] = expected
    return found


def decide(
    partition: Watched, name: str, moment: int, record: bytes, asked: Asked, ends: tuple[int, int | None]
) -> Expected | None:
    """Return a voter's row of a moment, None where there is none; ``ends`` are the log's, and where tests begin."""
    end, cutoff = ends
    events = [
        event
        for event in partition.seen
        if event.voter == name and moment < event.now <= moment + asked.horizon_ms and event.time > moment
    ]
    gone = any(event.ends for event in events)
    if asked.among is None:
        label: int | None = 1 if any(asked.fits(event.data) for event in events if not event.ends) else None
    else:
        answers = [asked.fits(event.data) for event in events if not event.ends and asked.among(event.data)]
        label = int(answers[0]) if answers else None
    if gone:
        label = None
    elif label is None:
        complete = moment + asked.horizon_ms <= end
        if complete and asked.among is not None:
            return None
        label = 0 if complete else None
    if label != 1 and draw(name, 3, asked.seed, moment) >= asked.negatives:
        return None
    split = "test" if draw(name, 2, asked.seed) < asked.test else "train"
    if cutoff is not None:
        split = "test" if moment >= cutoff else "train"
        if split == "train" and moment + asked.horizon_ms > cutoff:
            split = "embargo"
    return Expected(label, 1.0 if label == 1 else 1 / asked.negatives, split, record)
