"""The benchmark's job: four weeks of events of voters, ten of each, about 238 bytes each, about 2 % of them triggers.

Every peer does the same with them. A voter's score is the sum, over the types of WEIGHTS, of weight times the count
decayed with HALF_LIFE_MS, as of log time (the append time of the record); a trigger leaves where it reaches THRESHOLD,
and the voter can trigger again once it has come down to REARM.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

HALF_LIFE_MS: Final = 604_800_000.0
THRESHOLD: Final = 8.0
REARM: Final = 7.0
WEIGHTS: Final = {
    "social.like": 1.0,
    "social.share": 2.0,
    "social.comment": 1.5,
    "social.follow": 2.5,
    "site.page_view": 0.5,
    "donation.started": 3.0,
}
EVENTS_PER_VOTER: Final = 10
SPAN_MS: Final = 28 * 86_400_000
"""Event time from the first event to the last, however many there are: it makes 2 % of them triggers."""
START_MS: Final = 1_767_225_600_000
TWICE: Final = 0.01
BROKEN: Final = 0.001
MISROUTED: Final = 0.002
"""Shares of the skewed workload's events that arrive twice, unreadable, or under another key than their voter's."""

_DATA: Final = {
    "social.like": b'{"post":"p-481","platform":"x"}',
    "social.share": b'{"post":"p-481","platform":"x"}',
    "social.comment": b'{"post":"p-481","text":"well"}',
    "social.follow": b'{"account":"candidate"}',
    "site.page_view": b'{"url":"https://example.org/a"}',
    "donation.started": b'{"form":"spring-campaign"}',
}


def voter(number: int) -> str:
    """Return the id of a voter by number."""
    return f"voter-{number:06d}"


def events(count: int, voters: int, seed: int, end_ms: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of ``count`` CloudEvents of ``voters`` voters drawn uniformly, in the order of their time.

    The first has the time ``end_ms - SPAN_MS`` (ms since the epoch), the last just before ``end_ms``.
    """
    generator = np.random.default_rng(seed)
    types = list(WEIGHTS)
    stamps = (end_ms - SPAN_MS + np.arange(count) * SPAN_MS // count).astype("datetime64[ms]").astype(str)
    chosen = generator.integers(0, voters, count).tolist()
    kinds = generator.integers(0, len(types), count).tolist()
    for number, (who, kind) in enumerate(zip(chosen, kinds, strict=True)):
        name = types[kind]
        key = voter(who).encode()
        yield key, _event(number, name, key, stamps[number])


def _event(number: int, name: str, key: bytes, time: str) -> bytes:
    return (
        b'{"specversion":"1.0","id":"e-%09d","source":"/trackers/load","type":"%b","subject":"%b",'
        b'"time":"%bZ","datacontenttype":"application/json","data":%b}'
        % (number, name.encode(), key, time.encode(), _DATA[name])
    )


class Skewed:
    """Voters of whom few do most (Zipf's law), acting now; some events arrive twice, broken, or under a wrong key."""

    def __init__(self, seed: int, voters: int, exponent: float = 1.1) -> None:
        """Draw ``voters`` people; the one of rank r does 1 / r ** ``exponent`` as much as the first."""
        self.voters = voters
        self._chance = np.random.default_rng(seed)
        activity = np.arange(1, voters + 1, dtype=np.float64) ** -exponent
        self._activity = np.cumsum(activity / activity.sum())
        # Who is busy has nothing to do with the number, and so with the partition.
        self._ranked = self._chance.permutation(voters)
        self._number = 0

    def everybody(self, now_ms: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of one event of each voter, at ``now_ms`` (ms since the epoch)."""
        time = str(np.datetime64(now_ms, "ms"))
        for who in range(self.voters):
            yield self._next(who, "social.like", time)

    def at(self, now_ms: int, count: int) -> list[tuple[bytes, bytes]]:
        """Return (key, value) of ``count`` events at ``now_ms``, in the order in which they are sent."""
        time, names = str(np.datetime64(now_ms, "ms")), list(WEIGHTS)
        ranks = np.minimum(np.searchsorted(self._activity, self._chance.random(count)), self.voters - 1)
        voters = self._ranked[ranks].tolist()
        kinds = self._chance.integers(0, len(names), count).tolist()
        flaws = self._chance.random(count).tolist()
        sent: list[tuple[bytes, bytes]] = []
        for who, kind, flaw in zip(voters, kinds, flaws, strict=True):
            key, value = self._next(who, names[kind], time)
            if flaw < TWICE:
                sent.append((key, value))
            elif flaw > 1.0 - BROKEN:
                value = value[:-1]
            elif flaw > 1.0 - BROKEN - MISROUTED:
                key = b"device-%d" % self._number
            sent.append((key, value))
        return sent[:count]

    def _next(self, who: int, name: str, time: str) -> tuple[bytes, bytes]:
        self._number += 1
        key = voter(who).encode()
        return key, _event(self._number, name, key, time)
