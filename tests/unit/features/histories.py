"""Histories of one voter: events of every kind over some weeks, and the orders in which they may come."""

from __future__ import annotations

import random
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.features import FEATURES, fold
from stream.records import KIND, USE_FOLD, VOTER
from stream.signals import SIGNAL
from tests.oracle_record import TYPES, Signal
from tests.voters import features_of

BEGIN_MS = 1_790_000_000_000
DAY_MS = 86_400_000
KINDS = (*TYPES, "profile.updated")


@dataclass(frozen=True)
class Event:
    """One event as it is folded."""

    kind: str
    time_ms: int
    signal: Signal


def signal_of(chance: random.Random, kind: str) -> Signal:
    """Return what an event of a kind may say."""
    signal = Signal()
    if kind.startswith("social."):
        signal.side = chance.randrange(5)
        signal.issues = [chance.choice([0, 0, 0, 10]) for _ in range(12)]
        if kind == "social.comment":
            signal.favour, signal.against = chance.choice([0, 10, 255]), chance.choice([0, 0, 20])
    elif kind == "site.page_view":
        signal.page, signal.origin, signal.device = chance.randrange(8), chance.randrange(8), chance.randrange(5)
        signal.device_bit = chance.choice([0, 1, 7, 16])
        signal.issues[chance.randrange(12)] = chance.choice([0, 10])
    elif kind.startswith("donation."):
        signal.amount, signal.method = chance.choice([0.5, 5.0, 27.1, 1e6]), chance.randrange(4)
    elif kind.startswith("message."):
        signal.channel = chance.randrange(7)
    elif kind == "event.rsvp":
        signal.answer = chance.randrange(4)
    elif kind == "canvass.contacted":
        signal.support = chance.randrange(6)
    elif kind == "profile.updated":
        signal.region, signal.age_band, signal.zone = chance.choice([0, 3, 65535]), chance.choice([0, 2]), 0
    return signal


def history(seed: int, length: int = 120, days: float = 60.0) -> list[Event]:
    """Return a voter's events in the order of their time: some at one moment, some in bursts, some months apart."""
    chance = random.Random(seed)
    favourites = chance.sample(KINDS, 5)
    now_ms, events = BEGIN_MS + chance.randrange(DAY_MS), []
    for _ in range(length):
        mean_ms = days * DAY_MS / length
        now_ms += int(chance.choice([0.0, 1000.0, 40_000.0, mean_ms, 3 * mean_ms]) * chance.expovariate(1.0))
        kind = chance.choice(favourites if chance.random() < 0.6 else KINDS)
        events.append(Event(kind, now_ms, signal_of(chance, kind)))
    return events


def shuffled(events: list[Event], seed: int, most_days: float = 27.0) -> list[Event]:
    """Return the events as they may come: each up to so many days late."""
    chance = random.Random(seed)
    late = {id(event): chance.random() * most_days * DAY_MS if chance.random() < 0.5 else 0.0 for event in events}
    return sorted(events, key=lambda event: event.time_ms + late[id(event)])


def folded(events: list[Event], now_ms: list[int] | None = None) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the record (VOTER[1]) after the events, and the row after each; log time is the latest event's."""
    n = len(events)
    records, rows = np.zeros(1, VOTER), np.empty((n, len(FEATURES)))
    times = np.array([event.time_ms for event in events])
    now = np.maximum.accumulate(times) if now_ms is None else np.array(now_ms)
    kinds = np.array([KIND[event.kind] for event in events])
    said = np.array([(*astuple(event.signal), (0, 0, 0)) for event in events], _ordered())
    signals = np.zeros(n, SIGNAL)
    for name in said.dtype.names or ():
        signals[name] = said[name]
    zeros, use = np.zeros(n, np.int64), np.full(n, USE_FOLD)
    fold(records, zeros, kinds, times, now, signals, use, 0, n, np.arange(len(FEATURES)), rows)
    return records, rows


def features_at(events: list[Event], at_ms: int) -> dict[str, float]:
    """Return every feature after the events, at a later time."""
    return features_of(folded(events)[0], at_ms)[0]


def _ordered() -> np.dtype[Any]:
    """Return SIGNAL's fields in the order of the oracle's."""
    names = [*Signal.__dataclass_fields__, "reserved"]
    return np.dtype([(name, SIGNAL.fields[name][0]) for name in names])  # type: ignore[index]
