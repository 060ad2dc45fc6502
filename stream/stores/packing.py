"""Voters and records in Redis' protocol: by a kernel into one buffer, and by Python as its reference.

Half of a record's words (8 bytes each) and more are 0, and Redis is not given those. A packed record is two bytes of 0,
where another has its version; the number of the record's words (16 bits, little-endian); a bit for each word, in bytes
from the lowest bit up, set where the word is not 0; and those words. What is not of this form, as records of builds
before it are not, is read as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from stream.records import VOTER, Records
from stream.spans import Spans
from stream.stores.packing_kernels import HEAD_BYTES, WORDS, pack_pairs, unpack_values
from stream.stores.wire import bulks

_ROOM: Final = 64
"""Bytes that a key and a value need beside themselves: two heads of at most 22 and four line ends."""
_SEND_BYTES: Final = 96 * 1024
"""Of what is sent piece by piece: asyncio copies each, and a larger copy would be fresh memory each time."""

_KEPT_BYTES: Final = 4 * 1024 * 1024
_KEPT_TIMES: Final = 8
"""A larger buffer is given back once a commit needs less than so small a part of it: each partition has one."""

Pieces = list[bytes | memoryview]

_RECORD: Final = np.dtype((np.void, VOTER.itemsize))
_MARK: Final = (WORDS << 16).to_bytes(4, "little")
"""What a packed record begins with."""


class Packing(Protocol):
    """How the keys of voters, and their records, become arguments of a command."""

    def keys(self, voters: Spans) -> Pieces:
        """Return each voter's key as a bulk string."""
        ...

    def pairs(self, records: Records) -> Pieces:
        """Return each voter's key and packed record as two bulk strings; valid until the next call."""
        ...

    def unpacked(self, values: Sequence[bytes | None]) -> list[bytes | None]:
        """Return what Redis has of records as their bytes; what is not packed comes back as it is."""
        ...

    def lost(self) -> None:
        """Say that what was packed last may still be on its way, nobody knows until when."""
        ...


class KernelPacking:
    """Packs into one buffer that is used again: fresh memory each time would cost more than the copying."""

    def __init__(self, prefix: bytes) -> None:
        """``prefix`` is what each voter's key begins with."""
        self._prefix = np.frombuffer(prefix, np.uint8)
        self._out = np.zeros(0, np.uint8)

    def keys(self, voters: Spans) -> Pieces:
        """Return each voter's key as a bulk string."""
        out = np.empty(int((voters.stops - voters.starts).sum()) + len(voters) * (len(self._prefix) + _ROOM), np.uint8)
        return [self._pack(voters, np.zeros((len(voters), 0), np.uint64), out).tobytes()]

    def pairs(self, records: Records) -> Pieces:
        """Return each voter's key and packed record as two bulk strings; valid until the next call."""
        voters = records.voters
        names = int((voters.stops - voters.starts).sum())
        # With no word of 0 a record takes all of this, and with one the 8 bytes that are written behind it.
        needed = names + len(records) * (len(self._prefix) + HEAD_BYTES + VOTER.itemsize + _ROOM)
        if not needed <= len(self._out) <= max(_KEPT_BYTES, needed * _KEPT_TIMES):
            self._out = np.empty(needed + needed // 4, np.uint8)
        data = self._pack(voters, records.values.view(np.uint64), self._out).data
        return [data[first : first + _SEND_BYTES] for first in range(0, len(data), _SEND_BYTES)]

    def unpacked(self, values: Sequence[bytes | None]) -> list[bytes | None]:
        """Return what Redis has of records as their bytes; what is not packed comes back as it is."""
        found = [value for value in values if value is not None]
        stored = Spans.of([*found, bytes(8)])
        words, is_packed = np.empty((len(found), WORDS), np.uint64), np.empty(len(found), np.bool_)
        unpack_values(stored.buffer, stored.starts[:-1], stored.stops[:-1], words, is_packed)
        records: list[Any] = words.view(_RECORD).ravel().tolist()
        for place in np.flatnonzero(~is_packed).tolist():
            records[place] = found[place]
        if len(found) == len(values):
            return records
        rest = iter(records)
        return [None if value is None else next(rest) for value in values]

    def lost(self) -> None:
        """Take another buffer: a transport that is closed may still send from the one before."""
        self._out = np.zeros(0, np.uint8)

    def _pack(self, voters: Spans, words: NDArray[np.uint64], out: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return out[: pack_pairs(self._prefix, voters.buffer, voters.starts, voters.stops, words, out)]


class PlainPacking:
    """Packs with Python's own formatting: what KernelPacking is compared with."""

    def __init__(self, prefix: bytes) -> None:
        """``prefix`` is what each voter's key begins with."""
        self._prefix = prefix

    def keys(self, voters: Spans) -> Pieces:
        """Return each voter's key as a bulk string."""
        return [bulks(self._prefix + voter for voter in voters)]

    def pairs(self, records: Records) -> Pieces:
        """Return each voter's key and packed record as two bulk strings."""
        return [bulks(word for voter, value in records for word in (self._prefix + voter, packed(value)))]

    def unpacked(self, values: Sequence[bytes | None]) -> list[bytes | None]:
        """Return what Redis has of records as their bytes; what is not packed comes back as it is."""
        return [None if value is None else unpacked(value) for value in values]

    def lost(self) -> None:
        """Do nothing: bytes do not change."""


def packed(record: bytes) -> bytes:
    """Return a record's bytes as Redis keeps them."""
    words = np.frombuffer(record, np.uint64)
    bits = np.packbits(words != 0, bitorder="little")
    return bytes(_MARK + bits.tobytes() + words[words != 0].tobytes())


def unpacked(value: bytes) -> bytes:
    """Return what Redis has of a record as its bytes; what is not packed as it is."""
    bits = np.unpackbits(np.frombuffer(value[len(_MARK) : HEAD_BYTES], np.uint8), bitorder="little")
    if not value.startswith(_MARK) or len(value) != HEAD_BYTES + 8 * bits.sum():
        return value
    words = np.zeros(WORDS, np.uint64)
    words[bits != 0] = np.frombuffer(value[HEAD_BYTES:], np.uint64)
    return words.tobytes()


def warm_packing(records: Records) -> None:
    """Pack a record and unpack it, so that the kernels are compiled before the first commit."""
    packing = KernelPacking(b"")
    packing.keys(records.voters)
    packing.pairs(records)
    packing.unpacked([record for _, record in records])
