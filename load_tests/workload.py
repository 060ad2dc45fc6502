"""The benchmarks' traffic, the same from each seed; what is done with it is said in ``load_tests.job``.

*Uniform*: four weeks of CloudEvents of about 238 bytes, of voters who all do as much; *Zipf*: the same events, of
voters of whom few do most; *campaign*: two days of the demo's electorate, with every type of event and comments in nine
languages, without what the demo sends late, twice, broken or under a wrong key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from load_tests.job import WEIGHTS
from stream.embedded.electorate import Electorate, Flaws

EVENTS_PER_VOTER: Final = 10
SPAN_MS: Final = 28 * 86_400_000
"""Event time from the first event to the last, however many there are: it makes 2 % of them triggers."""
CAMPAIGN_SPAN_MS: Final = 2 * 86_400_000
START_MS: Final = 1_767_225_600_000
ZIPF_EXPONENT: Final = 1.1
_DRAWN_AT_ONCE: Final = 200_000
_STEP_MS: Final = 10 * 60_000
_QUIET_SHARE: Final = 0.7
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
    "donation.completed": b'{"amount":27,"currency":"USD"}',
}


def voter(number: int) -> str:
    """Return the id of a voter by number."""
    return f"voter-{number:06d}"


def zipf(voters: int, exponent: float) -> NDArray[np.float64]:
    """Return by rank the share (float64[voters]) of all that the voters up to this rank do: 1 / r ** ``exponent``."""
    activity = np.arange(1, voters + 1, dtype=np.float64) ** -exponent
    return np.cumsum(activity / activity.sum())


def events(
    count: int, voters: int, seed: int, end_ms: int, exponent: float | None = None
) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of ``count`` CloudEvents of ``voters`` voters, in the order of their time.

    Voters are drawn uniformly, or with ``exponent`` by Zipf's law. The first event has the time ``end_ms - SPAN_MS``
    (ms since the epoch), the last just before ``end_ms``.
    """
    generator = np.random.default_rng(seed)
    types = list(WEIGHTS)
    shares = None if exponent is None else zipf(voters, exponent)
    # Who is busy has nothing to do with the number, and so with the partition.
    ranked = np.arange(voters) if shares is None else generator.permutation(voters)
    for first in range(0, count, _DRAWN_AT_ONCE):
        n = min(_DRAWN_AT_ONCE, count - first)
        moments = end_ms - SPAN_MS + np.arange(first, first + n) * SPAN_MS // count
        stamps = moments.astype("datetime64[ms]").astype(str).tolist()
        if shares is None:
            chosen = generator.integers(0, voters, n)
        else:
            chosen = np.minimum(np.searchsorted(shares, generator.random(n)), voters - 1)
        kinds = generator.integers(0, len(types), n).tolist()
        for row, (who, kind) in enumerate(zip(ranked[chosen].tolist(), kinds, strict=True)):
            key = voter(who).encode()
            yield key, event(first + row, types[kind], key, stamps[row])


def campaign_events(count: int, voters: int, seed: int, end_ms: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of the first ``count`` events of the demo's electorate, from two days before ``end_ms`` on.

    What goes viral comes on top of what a day brings, so ``count`` is reached some hours before ``end_ms``, or after.
    """
    electorate = Electorate(seed, end_ms - CAMPAIGN_SPAN_MS, voters=voters, flaws=Flaws(0.0, 0.0, 0.0, 0.0))
    steps = CAMPAIGN_SPAN_MS // _STEP_MS
    left = count
    while left:
        for one in electorate.until(electorate.now_ms + _STEP_MS, _QUIET_SHARE * count / steps)[:left]:
            left -= 1
            yield one


def event(number: int, name: str, key: bytes, time: str) -> bytes:
    """Return a CloudEvent of a type, whose subject is ``key``, at a time in ISO 8601 without its zone."""
    return (
        b'{"specversion":"1.0","id":"e-%09d","source":"/trackers/load","type":"%b","subject":"%b",'
        b'"time":"%bZ","datacontenttype":"application/json","data":%b}'
        % (number, name.encode(), key, time.encode(), _DATA[name])
    )


class Skewed:
    """Voters of whom few do most (Zipf's law), acting now; some events arrive twice, broken, or under a wrong key."""

    def __init__(self, seed: int, voters: int, exponent: float = ZIPF_EXPONENT) -> None:
        """Draw ``voters`` people; the one of rank r does 1 / r ** ``exponent`` as much as the first."""
        self.voters = voters
        self._chance = np.random.default_rng(seed)
        self._activity = zipf(voters, exponent)
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
        return key, event(self._number, name, key, time)
