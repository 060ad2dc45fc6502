"""Scans values that lie between two pages that nobody may read: a read outside of them ends this process.

Run as ``python -m tests.contracts.guard_page``; with ``--planted`` it reads one byte too many, and must not survive.
"""

from __future__ import annotations

import ctypes
import mmap
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from load_tests.fuzzing.scanning import mutate
from load_tests.fuzzing.spelling import some_event, write
from stream.details import DETAIL, Details
from stream.events import json_kernels
from stream.events.field_kernels import ID, SOURCE, SPANS, SUBJECT, TIME
from stream.events.hash_kernels import hash_names
from stream.events.kernels import find_homes, parse_times
from stream.events.scan_kernels import scan_rows, unescape_rows
from stream.events.tables import EVENTS
from stream.features import taxonomy_of
from stream.signals import SIGNAL
from tests.parts import compiled

PAGE = mmap.PAGESIZE
ROOM = 32 * PAGE
TAXONOMY = taxonomy_of((Path(__file__).parents[2] / "configs" / "taxonomy.toml").read_bytes())
LIBC = ctypes.CDLL(None, use_errno=True)
skip_value = compiled(json_kernels.skip_value)


class Guarded:
    """Memory whose neighbours on both sides cannot be read."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, ROOM + 2 * PAGE)
        first = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.begin = first + PAGE
        for page in (first, self.begin + ROOM):
            if LIBC.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")

    def placed(self, value: bytes) -> Iterator[NDArray[np.uint8]]:
        """Give the value right behind the first page, then right before the last."""
        for address in (self.begin, self.begin + ROOM - len(value)):
            ctypes.memmove(address, value, len(value))
            array = np.ctypeslib.as_array((ctypes.c_uint8 * len(value)).from_address(address))
            array.flags.writeable = False
            yield array


def scan(buffer: NDArray[np.uint8]) -> int:
    """Take one value through every kernel that reads its bytes; return its kind."""
    starts, stops = np.array([0]), np.array([len(buffer)])
    kinds, spans, escaped = np.empty(1, np.int64), np.empty((SPANS, 2, 1), np.int64), np.empty(1, np.uint16)
    details = np.zeros(1, DETAIL)
    tables = (EVENTS.words, EVENTS.fields, EVENTS.tables)
    scan_rows(buffer, starts, stops, *tables, 0, 1, kinds, spans, escaped, details)
    signals, unknown = np.zeros(1, SIGNAL), np.zeros(1, np.uint16)
    TAXONOMY.read(Details(buffer, details), kinds, 0, 1, signals, unknown)
    out, hashes = np.empty(1, np.int64), np.empty(1, np.uint64)
    find_homes(buffer, spans[SUBJECT, 0], spans[SUBJECT, 1], 7, out)
    parse_times(buffer, spans[TIME, 0], spans[TIME, 1], out)
    hash_names(buffer, spans[SOURCE, 0], spans[SOURCE, 1], spans[ID, 0], spans[ID, 1], hashes)
    unescape_rows(buffer, escaped, 0, 1, spans, details, np.empty(len(buffer), np.uint8))
    if len(buffer):
        skip_value(buffer, 0, len(buffer))
    # Texts alone: what follows them in an event is not there to be read.
    for text in range(SPANS):
        part = buffer[: spans[text, 1, 0]]
        find_homes(part, spans[text, 0], spans[text, 1], 7, out)
        parse_times(part, spans[text, 0], spans[text, 1], out)
    return int(kinds[0])


def main() -> int:
    """Return 0 after all values: whole ones, every beginning of some, and mutated ones."""
    guarded = Guarded()
    if "--planted" in sys.argv:
        (_, last) = guarded.placed(b"{}")
        return ctypes.string_at(last.ctypes.data, 3)[0]
    chance = random.Random(1)
    taken = tried = 0
    for number in range(600):
        value = write(chance, some_event(chance)).encode()[: ROOM - 1]
        values = [value, *(mutate(chance, value) for _ in range(3))]
        if number % 20 == 0 and len(value) < 3000:
            values += [value[:stop] for stop in range(len(value))]
        for each in values:
            for array in guarded.placed(each[:ROOM]):
                taken += scan(array) >= 0
                tried += 1
    print(f"{tried} values, {taken} taken")
    return 0 if taken > 500 else 1


if __name__ == "__main__":
    sys.exit(main())
