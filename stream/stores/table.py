"""The voter table: one partition's records in memory, with what Redis does not have yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.errors import CommitRefusedError, StateMismatchError
from stream.records import RECORD_VERSION, RING_LENGTH, VOTER
from stream.stores.names import pseudonym

MIGRATIONS: Final[dict[int, Callable[[bytes], bytes]]] = {}
"""By an older record version, the function that makes the next version's bytes of its bytes."""

DEFAULT_LIMIT: Final = 650_000
"""Voters in memory for one worker, over all its partitions: at 0.95 kB each the worker stays under 1 GB."""

_FREE: Final = 0
_LOADING: Final = 1
_IN_FLIGHT: Final = 2

# Room above the limit for records that cannot be evicted yet, and what an eviction clears below it
# so that not every batch pays for a pass over the whole table.
_HEADROOM: Final = 16
_CLEARED: Final = 32

# Records are moved as plain words and blocks: NumPy copies those several times faster than structures.
_BLOCK: Final = np.dtype((np.void, VOTER.itemsize))
_WORDS: Final = VOTER.itemsize // 8


def _fresh_words() -> NDArray[np.uint64]:
    record = np.zeros(1, VOTER)
    record["version"] = RECORD_VERSION
    return record.view(np.uint64)


_FRESH: Final = _fresh_words()


class _Slots(dict[str, int]):
    """Voter id to slot. Looking an unknown voter up gives it a slot, which keeps ``index`` one C loop."""

    def __init__(self) -> None:
        super().__init__({"": -1})
        self.free: list[int] = []
        self.high = 0
        self.added: dict[str, int] = {}

    def __missing__(self, voter: str) -> int:
        if self.free:
            slot = self.free.pop()
        else:
            slot = self.high
            self.high += 1
        self[voter] = self.added[voter] = slot
        return slot


class Table:
    """The records of one partition (interfaces.VoterTable): one structured array and an id -> slot index.

    ``limit`` is how many voters ``evict`` leaves in memory; it may be changed at any time. The arrays have one
    element more than slots: the last one, at index -1, takes what is written for rows that have no voter.
    Their memory is reserved at once and taken by the operating system as slots are first used, so that
    growing up to the limit copies nothing.
    """

    def __init__(self, limit: int) -> None:
        """Reserve room for ``limit`` voters and a little more."""
        if limit < 1:
            message = f"a voter table's limit is {limit}; expected at least 1"
            raise ValueError(message)
        self.limit = limit
        self._slots = _Slots()
        self._lookup = self._slots.__getitem__
        self._voters: list[str] = []
        self._batch = 0
        self._in_flight: NDArray[np.int64] = np.empty(0, np.int64)
        self._capacity = limit + limit // _HEADROOM + 1024
        self.records: NDArray[Any] = np.zeros(self._capacity + 1, VOTER)
        self.dirty: NDArray[np.uint8] = np.zeros(self._capacity + 1, np.uint8)
        self._held: NDArray[np.uint8] = np.zeros(self._capacity + 1, np.uint8)
        self._used: NDArray[np.int64] = np.zeros(self._capacity + 1, np.int64)

    def __len__(self) -> int:
        """Return how many voters are in memory."""
        return len(self._slots) - 1

    def index(self, voters: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
        """Return the slot of each voter, int64[n] (-1 for the empty string), and the voters to be loaded first.

        The second names each voter once: those that are new, and those of an earlier call neither filled nor
        forgotten. ``records`` and ``dirty`` may be other arrays afterwards.
        """
        slots = self._slots
        waiting = bool(slots.added)
        indices = np.fromiter(map(self._lookup, voters), np.int64, len(voters))
        added = slots.added
        if added:
            self._make_room()
            self._held[np.fromiter(added.values(), np.int64, len(added))] = _LOADING
        self._batch += 1
        self._used[indices] = self._batch
        if waiting:
            return indices, [voter for voter in dict.fromkeys(voters) if voter in added]
        return indices, list(added)

    def fill(self, voters: Sequence[str], values: Sequence[bytes | None], next_offset: int) -> None:
        """Put loaded records in place; None starts an empty one (zeros, of the current version).

        ``next_offset`` is the next offset to process. All or nothing. Raises CommitRefusedError for a record
        that has folded it in already, StateMismatchError for one that is damaged or of an unknown version.
        """
        added = self._slots.added
        slots = np.fromiter(map(added.__getitem__, voters), np.int64, len(voters))
        loaded, present = _parse(voters, values)
        ahead = np.flatnonzero(loaded["last_offset"] >= next_offset)
        if len(ahead):
            voter = voters[int(np.flatnonzero(present)[ahead[0]])]
            message = (
                f"the record of {pseudonym(voter)} has folded in offset {loaded['last_offset'][ahead[0]]}, "
                f"but the next offset here is {next_offset}: another owner has written it"
            )
            raise CommitRefusedError(message)
        astray = np.flatnonzero(loaded["ring_next"] >= RING_LENGTH)
        if len(astray):
            # The kernels write there: beyond the ring it would be another field, or another voter's record.
            message = (
                f"the record of {pseudonym(voters[int(np.flatnonzero(present)[astray[0]])])} in Redis is damaged: "
                f"ring_next is {loaded['ring_next'][astray[0]]}, expected at most {RING_LENGTH - 1}; "
                "run `groundswell restore`"
            )
            raise StateMismatchError(message)
        words = self.records.view(np.uint64).reshape(-1, _WORDS)
        words[slots[~present]] = _FRESH
        words[slots[present]] = loaded.view(np.uint64).reshape(-1, _WORDS)
        self.dirty[slots] = 0
        self._held[slots] = _FREE
        if len(voters) == len(added):
            added.clear()
        else:
            for voter in voters:
                del added[voter]

    def forget(self, voters: Sequence[str]) -> None:
        """Undo ``index`` for voters whose loading failed; those that were filled stay."""
        for voter in voters:
            slot = self._slots.added.pop(voter, None)
            if slot is not None:
                self._release(voter, slot)
                self._held[slot] = _FREE
                self._used[slot] = 0

    def mark(self, slots: NDArray[np.int64]) -> None:
        """Note that the records in these slots (repeats and -1 allowed) have changed."""
        self.dirty[slots] = 1
        self.dirty[-1] = 0

    def voter(self, slot: int) -> str:
        """Return the voter id of a slot."""
        return self._voters[slot]

    def take_dirty(self) -> list[tuple[str, bytes]]:
        """Copy out the changed records and mark them as on their way (neither dirty nor evictable).

        What an earlier call gave and ``committed`` did not confirm is given again, as it is now.
        """
        self.dirty[self._in_flight] = 1
        slots = np.flatnonzero(self.dirty[: self._slots.high])
        self.dirty[slots] = 0
        self._held[slots] = _IN_FLIGHT
        self._in_flight = slots
        values: list[bytes] = self.records.view(_BLOCK).take(slots).tolist()
        return list(zip(map(self._voters.__getitem__, slots.tolist()), values, strict=True))

    def committed(self) -> None:
        """Note that what ``take_dirty`` gave last is in Redis."""
        self._held[self._in_flight] = _FREE
        self._in_flight = np.empty(0, np.int64)

    def evict(self) -> int:
        """Drop clean records, least recently indexed first, if there are more than the limit; return how many.

        Goes 1/32 of the limit below it where that many are clean, so that most calls find nothing to do.
        Slots from an earlier ``index`` are not valid any more.
        """
        if len(self) <= self.limit:
            return 0
        count = len(self) - self.limit + self.limit // _CLEARED
        high = self._slots.high
        clean = np.flatnonzero((self._used[:high] > 0) & (self.dirty[:high] == 0) & (self._held[:high] == _FREE))
        if len(clean) > count:
            clean = clean[np.argpartition(self._used[clean], count - 1)[:count]]
        self._used[clean] = 0
        for slot in clean.tolist():
            self._release(self._voters[slot], slot)
        return len(clean)

    def _release(self, voter: str, slot: int) -> None:
        del self._slots[voter]
        self._voters[slot] = ""
        self._slots.free.append(slot)

    def _make_room(self) -> None:
        """Bring arrays and names up to the slots given out."""
        if self._slots.high > self._capacity:
            capacity = self._slots.high + self._slots.high // 4
            for name in ("records", "dirty", "_held", "_used"):
                old = getattr(self, name)
                new = np.zeros(capacity + 1, old.dtype)
                new[: self._capacity] = old[: self._capacity]
                setattr(self, name, new)
            self._capacity = capacity
        self._voters.extend([""] * (self._slots.high - len(self._voters)))
        for voter, slot in self._slots.added.items():
            self._voters[slot] = voter


def _parse(voters: Sequence[str], values: Sequence[bytes | None]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the records among ``values`` as VOTER[m], older versions migrated, and which values they are, bool[n]."""
    found = [value for value in values if value is not None]
    present = np.ones(len(values), np.bool_)
    if len(found) < len(values):
        present[:] = [value is not None for value in values]
    if set(map(len, found)) <= {VOTER.itemsize}:
        records = np.frombuffer(b"".join(found), VOTER)
        if (records["version"] == RECORD_VERSION).all():
            return records, present
    owners = [voters[place] for place in np.flatnonzero(present).tolist()]
    return np.frombuffer(b"".join(map(_migrate, owners, found)), VOTER), present


def _migrate(voter: str, value: bytes) -> bytes:
    """Return the bytes of ``value``, a record of another version, in the current version."""
    version = int.from_bytes(value[:2], "little") if len(value) >= 2 else -1
    while version in MIGRATIONS and version < RECORD_VERSION:
        value = MIGRATIONS[version](value)
        version = int.from_bytes(value[:2], "little")
    if version != RECORD_VERSION or len(value) != VOTER.itemsize:
        message = (
            f"the record of {pseudonym(voter)} in Redis has version {version} and {len(value)} bytes; expected "
            f"version {RECORD_VERSION} with {VOTER.itemsize}: run the build that wrote it, or `groundswell restore`"
        )
        raise StateMismatchError(message)
    return value
