"""The voter table: one partition's records in memory, with what Redis does not have yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.errors import CommitRefusedError, StateMismatchError
from stream.migration import migrated
from stream.records import RECORD_VERSION, RING_LENGTH, VOTER, Records
from stream.spans import Spans
from stream.stores.index import DictIndex, HashIndex, Index
from stream.stores.names import pseudonym

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


class Table:
    """The records of one partition (interfaces.VoterTable): one structured array and an id -> slot index.

    ``limit`` is how many voters ``evict`` leaves in memory; it may be changed at any time. The arrays have one
    element more than slots: the last one, at index -1, takes what is written for rows that have no voter.
    Their memory is reserved at once and taken by the operating system as slots are first used, so that
    growing up to the limit copies nothing.
    """

    def __init__(self, limit: int, *, reference: bool = False) -> None:
        """Reserve room for ``limit`` voters and a little more; ``reference``: find them in a Python dict."""
        if limit < 1:
            message = f"a voter table's limit is {limit}; expected at least 1"
            raise ValueError(message)
        self.limit = limit
        self._capacity = limit + limit // _HEADROOM + 1024
        self._index: Index = DictIndex() if reference else HashIndex(self._capacity)
        self._batch = 0
        self._loading = 0
        self._in_flight: NDArray[np.int64] = np.empty(0, np.int64)
        self.records: NDArray[Any] = np.zeros(self._capacity + 1, VOTER)
        self.dirty: NDArray[np.bool_] = np.zeros(self._capacity + 1, np.bool_)
        self._held: NDArray[np.uint8] = np.zeros(self._capacity + 1, np.uint8)
        self._used: NDArray[np.int64] = np.zeros(self._capacity + 1, np.int64)

    def __len__(self) -> int:
        """Return how many voters are in memory."""
        return len(self._index)

    @property
    def changed(self) -> int:
        """How many records have changed since ``take_dirty``."""
        return int(np.count_nonzero(self.dirty[: self._index.high]))

    def index(self, voters: Spans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the slot of each voter, int64[n] (-1 for an empty id), and the slots to be loaded first, int64[m].

        The second names each slot once: those of voters that are new, and those of an earlier call neither filled nor
        forgotten. ``records`` and ``dirty`` may be other arrays afterwards.
        """
        slots, unknown = self._index.find(voters)
        waiting = self._loading > 0
        if len(unknown):
            self._make_room()
            self._held[unknown] = _LOADING
            self._loading += len(unknown)
        self._batch += 1
        self._used[slots] = self._batch
        if waiting:
            _, first = np.unique(slots, return_index=True)
            met = slots[np.sort(first)]
            unknown = met[(met >= 0) & (self._held[met] == _LOADING)]
        return slots, unknown

    def fill(self, slots: NDArray[np.int64], values: Sequence[bytes | None], next_offset: int) -> None:
        """Put the loaded records of slots that ``index`` named in place; None starts an empty one (of this version).

        ``next_offset`` is the next offset to process. All or nothing. Raises CommitRefusedError for a record
        that has folded it in already, StateMismatchError for one that is damaged or of an unknown version.
        """
        loaded, present = self._parse(slots, values)
        ahead = np.flatnonzero(loaded["last_offset"] >= next_offset)
        if len(ahead):
            voter = self.voter(slots[present][ahead[0]])
            message = (
                f"the record of {pseudonym(voter)} has folded in offset {loaded['last_offset'][ahead[0]]}, "
                f"but the next offset here is {next_offset}: another owner has written it"
            )
            raise CommitRefusedError(message)
        astray = np.flatnonzero(loaded["ring_next"] >= RING_LENGTH)
        if len(astray):
            # The kernels write there: beyond the ring it would be another field, or another voter's record.
            message = (
                f"the record of {pseudonym(self.voter(slots[present][astray[0]]))} in Redis is damaged: "
                f"ring_next is {loaded['ring_next'][astray[0]]}, expected at most {RING_LENGTH - 1}; "
                "run `groundswell restore`"
            )
            raise StateMismatchError(message)
        words = self.records.view(np.uint64).reshape(-1, _WORDS)
        words[slots[~present]] = _FRESH
        words[slots[present]] = loaded.view(np.uint64).reshape(-1, _WORDS)
        self.dirty[slots] = False
        self._held[slots] = _FREE
        self._loading -= len(slots)

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Undo ``index`` for slots whose loading failed; those that were filled stay."""
        failed = slots[self._held[slots] == _LOADING]
        self._release(failed)
        self._held[failed] = _FREE
        self._loading -= len(failed)

    def mark(self, slots: NDArray[np.int64]) -> None:
        """Note that the records in these slots (repeats and -1 allowed) have changed."""
        self.dirty[slots] = True
        self.dirty[-1] = False

    def voters(self, slots: NDArray[np.int64]) -> Spans:
        """Return the voter ids of slots in use."""
        return self._index.names(slots)

    def voter(self, slot: int) -> str:
        """Return the voter id of one slot."""
        return self.voters(np.array([slot]))[0].decode()

    def take_dirty(self) -> Records:
        """Copy out the changed records and mark them as on their way (neither dirty nor evictable).

        What an earlier call gave and ``committed`` did not confirm is given again, as it is now.
        """
        self.dirty[self._in_flight] = True
        slots = self.dirty[: self._index.high].nonzero()[0]
        self.dirty[slots] = False
        self._held[slots] = _IN_FLIGHT
        self._in_flight = slots
        values = self.records.view(_BLOCK).take(slots)
        return Records(self.voters(slots), values.view(np.uint8).reshape(-1, VOTER.itemsize))

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
        high = self._index.high
        clean = np.flatnonzero((self._used[:high] > 0) & ~self.dirty[:high] & (self._held[:high] == _FREE))
        if len(clean) > count:
            clean = clean[np.argpartition(self._used[clean], count - 1)[:count]]
        self._release(clean)
        return len(clean)

    def _release(self, slots: NDArray[np.int64]) -> None:
        self._index.release(slots)
        self._used[slots] = 0

    def _make_room(self) -> None:
        """Bring the arrays up to the slots given out."""
        high = self._index.high
        if high <= self._capacity:
            return
        capacity = high + high // 4
        for name in ("records", "dirty", "_held", "_used"):
            old = getattr(self, name)
            new = np.zeros(capacity + 1, old.dtype)
            new[: self._capacity] = old[: self._capacity]
            setattr(self, name, new)
        self._capacity = capacity

    def _parse(
        self, slots: NDArray[np.int64], values: Sequence[bytes | None]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the records among ``values`` as VOTER[m], migrated, and which values they are, bool[n]."""
        found = [value for value in values if value is not None]
        present = np.ones(len(values), np.bool_)
        if len(found) < len(values):
            present[:] = [value is not None for value in values]
        if set(map(len, found)) <= {VOTER.itemsize}:
            records = np.frombuffer(b"".join(found), VOTER)
            if (records["version"] == RECORD_VERSION).all():
                return records, present
        owners = [voter.decode() for voter in self.voters(slots[present])]
        return np.frombuffer(b"".join(map(migrate, owners, found)), VOTER), present


def migrate(voter: str, value: bytes) -> bytes:
    """Return a voter's record in the current version; raise StateMismatchError for one of no version that is known."""
    value = migrated(value)
    version = int.from_bytes(value[:2], "little") if len(value) >= 2 else -1
    if version != RECORD_VERSION or len(value) != VOTER.itemsize:
        message = (
            f"the record of {pseudonym(voter)} in Redis has version {version} and {len(value)} bytes; expected "
            f"version {RECORD_VERSION} with {VOTER.itemsize}: run the build that wrote it, or `groundswell restore`"
        )
        raise StateMismatchError(message)
    return value
