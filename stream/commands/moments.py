"""The moments at which voters are looked at, and what chance decides there: by hashes, so that it repeats exactly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

PHASE: Final = 1
SPLIT: Final = 2
NEGATIVE: Final = 3
"""What a number is drawn for: those drawn for one purpose say nothing about those for another."""

LEAST_EVERY_MS: Final = 60_000
"""Between two moments of one voter."""
_PHASE_MS: Final = 3_600_000
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When each voter is looked at: once in every ``every_ms`` of log time, at a phase of the voter's own.

    Phases are about an hour apart (one only, if ``every_ms`` is less than two hours), so that rows are of all hours of
    the day as events are. Moments are ms since the epoch, and numbered: every voter's ones are those of one phase.
    """

    every_ms: int
    seed: int = 0

    @property
    def phases(self) -> int:
        """How many phases there are."""
        return max(1, self.every_ms // _PHASE_MS)

    def between(self, after_ms: int, until_ms: int) -> NDArray[np.int64]:
        """Return all phases' moments (int64[n]) after ``after_ms``, up to and with ``until_ms``."""
        numbers = np.arange(self._number(after_ms) + 1, self._number(until_ms) + 1, dtype=np.int64)
        turns, phases = np.divmod(numbers, self.phases)
        moments: NDArray[np.int64] = turns * self.every_ms + phases * self._step_ms
        return moments

    def phase_at(self, moment_ms: int) -> int:
        """Return whose phase's a moment is."""
        return self._number(moment_ms) % self.phases

    def phases_of(self, voters: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the phase (int64[n]) of each of the voters, given by ``hashed``."""
        return (drawn(voters, PHASE, self.seed) * self.phases).astype(np.int64)

    @property
    def _step_ms(self) -> int:
        return self.every_ms // self.phases

    def _number(self, time_ms: int) -> int:
        """Return the number of the last moment up to and with ``time_ms``."""
        turn, rest = divmod(time_ms, self.every_ms)
        return turn * self.phases + min(rest // self._step_ms, self.phases - 1)


def hashed(voters: Iterable[str]) -> NDArray[np.uint64]:
    """Return xxh3-64 of each voter id (uint64[n])."""
    return np.array([xxh3_64_intdigest(voter.encode()) for voter in voters], np.uint64)


def drawn(voters: NDArray[np.uint64], purpose: int, seed: int, moment_ms: int = 0) -> NDArray[np.float64]:
    """Return a number from 0 to below 1 (float64[n]) for each of the voters (``hashed``): the same in every run."""
    key = np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64)
    for word in (purpose, moment_ms):
        key = _mixed(key + np.uint64(word))
    found: NDArray[np.float64] = (_mixed(voters ^ key) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return found


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return splitmix64's output for each state before it is advanced.

    Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
    """
    values = values + _GOLDEN
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    return values ^ (values >> np.uint64(31))
