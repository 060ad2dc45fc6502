"""Voters and records in Redis' protocol: by a kernel into one buffer, and by Python as its reference."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from stream.records import VOTER, Records
from stream.spans import Spans
from stream.stores.kernels import pack_pairs

_ROOM: Final = 64
"""Bytes that a key and a value need beside themselves: two heads of at most 22 and four line ends."""
_SEND_BYTES: Final = 96 * 1024
"""Of what is sent piece by piece: asyncio copies each, and a larger copy would be fresh memory each time."""

_KEPT_BYTES: Final = 4 * 1024 * 1024
_KEPT_TIMES: Final = 8
"""A larger buffer is given back once a commit needs less than so small a part of it: each partition has one."""

Pieces = list[bytes | memoryview]


class Packing(Protocol):
    """How the keys of voters, and their records, become arguments of a command."""

    def keys(self, voters: Spans) -> Pieces:
        """Return each voter's key as a bulk string."""
        ...

    def pairs(self, records: Records) -> Pieces:
        """Return each voter's key and record as two bulk strings; valid until the next call."""
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
        values = np.zeros((len(voters), 0), np.uint8)
        return [self._pack(voters, values, out).tobytes()]

    def pairs(self, records: Records) -> Pieces:
        """Return each voter's key and record as two bulk strings; valid until the next call."""
        voters = records.voters
        names = int((voters.stops - voters.starts).sum())
        needed = names + len(records) * (len(self._prefix) + VOTER.itemsize + _ROOM)
        if not needed <= len(self._out) <= max(_KEPT_BYTES, needed * _KEPT_TIMES):
            self._out = np.empty(needed + needed // 4, np.uint8)
        packed = self._pack(voters, records.values, self._out).data
        return [packed[first : first + _SEND_BYTES] for first in range(0, len(packed), _SEND_BYTES)]

    def lost(self) -> None:
        """Take another buffer: a transport that is closed may still send from the one before."""
        self._out = np.zeros(0, np.uint8)

    def _pack(self, voters: Spans, values: NDArray[np.uint8], out: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return out[: pack_pairs(self._prefix, voters.buffer, voters.starts, voters.stops, values, out)]


class PlainPacking:
    """Packs with Python's own formatting: what KernelPacking is compared with."""

    def __init__(self, prefix: bytes) -> None:
        """``prefix`` is what each voter's key begins with."""
        self._prefix = prefix

    def keys(self, voters: Spans) -> Pieces:
        """Return each voter's key as a bulk string."""
        keys = [self._prefix + voter for voter in voters]
        return [b"".join([b"$%d\r\n%b\r\n" % (len(key), key) for key in keys])]

    def pairs(self, records: Records) -> Pieces:
        """Return each voter's key and record as two bulk strings."""
        pairs = [(self._prefix + voter, value) for voter, value in records]
        return [b"".join([b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(value), value) for key, value in pairs])]

    def lost(self) -> None:
        """Do nothing: bytes do not change."""


def warm_packing(records: Records) -> None:
    """Pack a record, so that the kernel is compiled before the first commit."""
    packing = KernelPacking(b"")
    packing.keys(records.voters)
    packing.pairs(records)
