"""Voter ids to slots: by a kernel over arrays, and by a Python dict as its reference."""

from __future__ import annotations

import secrets
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from stream.records import MAX_VOTER_BYTES
from stream.spans import Spans
from stream.stores.kernels import find_slots, rebuild_buckets, release_slots

_WIDTH: Final = MAX_VOTER_BYTES + 1
_FIRST_ROOM: Final = 1024


class Index(Protocol):
    """Which voter has which slot. Slots are given out in the order in which voters are met, those given back first."""

    @property
    def high(self) -> int:
        """How many slots were ever given out: all in use lie below it."""
        ...

    def __len__(self) -> int:
        """Return how many voters have a slot."""
        ...

    def find(self, voters: Spans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return each voter's slot, int64[n] (-1 for none), and the slots given to those that had none, in order."""
        ...

    def names(self, slots: NDArray[np.int64]) -> Spans:
        """Return the ids of slots in use: a copy, which a snapshot takes to another thread."""
        ...

    def release(self, slots: NDArray[np.int64]) -> None:
        """Forget the voters of these slots (each in use, and once), and give the slots back."""
        ...


class HashIndex:
    """An open-addressed hash table in arrays (Index): no Python object for a voter.

    The hash has a key of its own in each table, so that nobody can choose ids that all meet in one place; slots do not
    depend on it.
    """

    def __init__(self, room: int = _FIRST_ROOM, key: tuple[int, int] | None = None) -> None:
        """Reserve room for so many voters; ``key`` is the hash's, two numbers of 64 bits (None: drawn by chance)."""
        chosen = key if key is not None else (secrets.randbits(64), secrets.randbits(64))
        self._key = np.array(chosen, np.uint64)
        self._counts = np.zeros(2, np.int64)
        self._names = np.zeros((0, _WIDTH), np.uint8)
        self._free = np.zeros(0, np.int64)
        self._buckets = np.zeros(0, np.uint64)
        self._make_room(room)

    @property
    def high(self) -> int:
        """How many slots were ever given out: all in use lie below it."""
        return int(self._counts[1])

    def __len__(self) -> int:
        """Return how many voters have a slot."""
        return int(self._counts[1] - self._counts[0])

    def find(self, voters: Spans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return each voter's slot, int64[n] (-1 for none), and the slots given to those that had none, in order."""
        self._make_room(self.high + len(voters))
        slots = np.empty(len(voters), np.int64)
        fresh = np.empty(len(voters), np.int64)
        count = find_slots(
            voters.buffer,
            voters.starts,
            voters.stops,
            self._key,
            self._buckets,
            self._names,
            self._free,
            self._counts,
            slots,
            fresh,
        )
        return slots, fresh[:count]

    def names(self, slots: NDArray[np.int64]) -> Spans:
        """Return the ids of slots in use, over a copy of their bytes."""
        names = self._names.take(slots, axis=0)
        starts = np.arange(len(slots)) * _WIDTH
        return Spans(names.reshape(-1), starts, starts + names[:, MAX_VOTER_BYTES])

    def release(self, slots: NDArray[np.int64]) -> None:
        """Forget the voters of these slots (each in use, and once), and give the slots back."""
        release_slots(slots, self._key, self._buckets, self._names, self._free, self._counts)

    def _make_room(self, slots: int) -> None:
        """Have arrays for so many slots, and twice as many buckets."""
        if slots <= len(self._free):
            return
        room = slots if not len(self._free) else slots + slots // 4
        names = np.zeros((room, _WIDTH), np.uint8)
        names[: self.high] = self._names[: self.high]
        free = np.zeros(room, np.int64)
        free[: self._counts[0]] = self._free[: self._counts[0]]
        self._names, self._free = names, free
        size = 1 << (2 * room - 1).bit_length()
        if size > len(self._buckets):
            self._buckets = np.zeros(size, np.uint64)
            rebuild_buckets(self._key, self._buckets, self._names, self.high)


class DictIndex:
    """A Python dict and list (Index): what HashIndex is compared with."""

    def __init__(self) -> None:
        """Begin without a voter."""
        self._slots: dict[bytes, int] = {}
        self._names: list[bytes] = []
        self._free: list[int] = []

    @property
    def high(self) -> int:
        """How many slots were ever given out: all in use lie below it."""
        return len(self._names)

    def __len__(self) -> int:
        """Return how many voters have a slot."""
        return len(self._slots)

    def find(self, voters: Spans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return each voter's slot, int64[n] (-1 for none), and the slots given to those that had none, in order."""
        slots, fresh = [], []
        for voter in voters:
            slot = self._slots.get(voter, -1) if voter else -1
            if voter and slot < 0:
                if self._free:
                    slot = self._free.pop()
                    self._names[slot] = voter
                else:
                    slot = len(self._names)
                    self._names.append(voter)
                self._slots[voter] = slot
                fresh.append(slot)
            slots.append(slot)
        return np.array(slots, np.int64), np.array(fresh, np.int64)

    def names(self, slots: NDArray[np.int64]) -> Spans:
        """Return the ids of slots in use."""
        return Spans.of([self._names[slot] for slot in slots.tolist()])

    def release(self, slots: NDArray[np.int64]) -> None:
        """Forget the voters of these slots (each in use, and once), and give the slots back."""
        for slot in slots.tolist():
            del self._slots[self._names[slot]]
            self._free.append(slot)
