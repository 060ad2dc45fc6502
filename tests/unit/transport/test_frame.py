"""The kernel that reads the records of one batch: to the letter of the format, and not a byte beyond."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from load_tests.fuzzing.batch_bytes import Wanted, records_of, wanted_by
from load_tests.fuzzing.batches import _RefusedError, plain_rows
from stream.columns import parse_origin
from stream.transport import kernels
from stream.transport.kernels import DAMAGE, FIELDS, KEY_START, OFFSET, VALUE_START, VALUE_STOP, frame, move

BASE = 1000
TIME = 1_795_555_555_000


def table(room: int) -> NDArray[np.int64]:
    return np.full((FIELDS, room), -7, np.int64)


def read(
    data: bytes, count: int, last: int, *, floor: int = 0, function: Any = frame
) -> tuple[tuple[int, int, int, int], bytes]:
    """Read one batch's records; return what the kernel returns and the rows' bytes."""
    space = table(max(count, 0))
    view = np.frombuffer(data, np.uint8)
    found = function(view, 0, len(data), count, BASE, BASE + last, floor, TIME, space, 0, max(count, 0))
    return tuple(map(int, found)), space[:, : found[1]].tobytes()  # type: ignore[return-value]


def sound(seed: int) -> tuple[Wanted, bytes]:
    """Return a batch of a seed that is no marker, and its records."""
    chance = random.Random(seed)
    while True:
        wanted = wanted_by(chance, BASE)
        if wanted.marker is None:
            return wanted, records_of(chance, wanted)[0]


def judge(wanted: Wanted, data: bytes) -> None:
    """Compare the kernel with the plain reader: the same rows, or both refuse."""
    count = wanted.fields.get("count", len(wanted.deltas))
    (code, rows, _, _), image = read(data, count, wanted.last_delta)
    try:
        expected, _ = plain_rows(wanted, data, 0)
    except _RefusedError:
        assert code
        assert DAMAGE[code]
        return
    assert code == 0
    found = np.frombuffer(image, np.int64).reshape(FIELDS, rows)
    assert found[OFFSET].tolist() == [row[0] for row in expected]
    spans = zip(found[VALUE_START].tolist(), found[VALUE_STOP].tolist(), strict=True)
    assert [None if start < 0 else data[start:stop] for start, stop in spans] == [row[2] for row in expected]


def test_kernels_are_compiled_without_the_interpreters_lock() -> None:
    read(*(b"", 0, 0))
    compiled: list[Any] = [frame, move]
    for kernel in compiled:
        assert kernel.targetoptions["nogil"]
        assert len(kernel.nopython_signatures) == len(kernel.signatures)


@pytest.mark.parametrize("seed", range(40))
def test_compiled_kernel_equals_its_python(seed: int) -> None:
    wanted, data = sound(seed)
    for cut in (len(data), *range(0, len(data), 1 + len(data) // 12)):
        arguments = (data[:cut], len(wanted.deltas), wanted.last_delta)
        plain: Any = frame.py_func  # type: ignore[attr-defined]
        assert read(*arguments, floor=BASE + 1, function=plain) == read(*arguments, floor=BASE + 1)


@pytest.mark.parametrize("seed", range(300))
def test_sound_batch_gives_its_records(seed: int) -> None:
    judge(*sound(seed))


@pytest.mark.parametrize("seed", [s for s in range(60) if len(sound(s)[1]) < 1500][:12])
def test_every_byte_changed_is_read_to_the_letter_or_refused(seed: int) -> None:
    wanted, data = sound(seed)
    for place in range(len(data)):
        for byte in (0x00, 0x01, 0x7F, 0x80, 0xFF, data[place] ^ 0x10):
            judge(wanted, data[:place] + bytes((byte,)) + data[place + 1 :])
        judge(wanted, data[:place])
        judge(wanted, data[:place] + data[place + 1 :])
        judge(wanted, data[:place] + b"\xff" * 9 + data[place:])


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x80\x80\x80\x80\x80\x00", "a number"),
        (b"\x18\0" + b"\x80" * 10, "a record is longer than its batch"),
        (b"\x1a\0" + b"\x80" * 10 + b"\0\0", "a number"),
        (b"\x01", "a record is longer than its batch"),
        (b"\x0c\0\0\x02\1\1\0", "an offset"),
        (b"\x0c\0\0\0\x20\1\0", "a key"),
        (b"\x0c\0\0\0\1\x20\0", "a value"),
        (b"\x0c\0\0\0\1\1\1", "the headers"),
        (b"\x0e\0\0\0\1\1\0\0", "a record is longer than what it holds"),
        (b"\x0c\0\0\0\1\1\0\0", "bytes are left"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, what: str) -> None:
    (code, rows, position, left), _ = read(data, 1, 0)
    assert what in DAMAGE[code]
    assert (rows, position, left) == ((0, 0, 1) if code != len(DAMAGE) - 1 else (1, 7, 0))


@pytest.mark.parametrize("bits", [0x10, 0x70])
def test_bits_beyond_those_of_a_number_are_dropped_as_the_broker_drops_them(bits: int) -> None:
    # The key's length: 0 as 32 bits, and more than any record as 35.
    data = b"\x16\0\0\0" + b"\x80" * 4 + bytes((bits,)) + b"\x02v\0"
    (code, rows, _, _), image = read(data, 1, 0)
    assert (DAMAGE[code], rows) == ("", 1)
    found = np.frombuffer(image, np.int64).reshape(FIELDS, 1)[:, 0]
    assert found[KEY_START] == found[kernels.KEY_STOP] == 9
    assert data[found[VALUE_START] : found[VALUE_STOP]] == b"v"


@pytest.mark.parametrize("seed", range(20))
def test_any_cut_by_room_gives_the_same_rows(seed: int) -> None:
    wanted, data = sound(seed)
    count = len(wanted.deltas)
    whole = read(data, count, wanted.last_delta)[1]
    view, space = np.frombuffer(data, np.uint8), table(count)
    position, left, row, floor = 0, count, 0, 0
    for room in range(count + 1):
        code, row, position, left = frame(
            view, position, len(data), left, BASE, BASE + wanted.last_delta, floor, TIME, space, row, room
        )
        assert (code, row) == (0, room)
        floor = int(space[OFFSET, row - 1]) + 1 if row else 0
    assert (left, space.tobytes()) == (0, whole)


def header(name: bytes, value: bytes | None) -> bytes:
    size = b"\1" if value is None else bytes((2 * len(value),)) + value
    return bytes((2 * len(name),)) + name + size


def row_of(*headers: tuple[bytes, bytes | None]) -> NDArray[np.int64]:
    """Return the one row of a record with these headers."""
    rest = b"\0\0\0\1\1" + bytes((2 * len(headers),)) + b"".join(header(*each) for each in headers)
    assert len(rest) < 63
    data = bytes((2 * len(rest),)) + rest
    (code, rows, _, _), image = read(data, 1, 0)
    assert (code, rows) == (0, 1)
    return np.frombuffer(image, np.int64)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.from_regex(rb"[0-9]{0,11}:?[0-9]{0,20}:?", fullmatch=True), st.binary(max_size=30)))
def test_origin_is_what_the_columns_say_it_is(value: bytes) -> None:
    row = row_of((b"groundswell-origin", value))
    origin = (int(row[kernels.ORIGIN_PARTITION]), int(row[kernels.ORIGIN_OFFSET]))
    assert origin == parse_origin([("groundswell-origin", value)])


def test_first_origin_that_is_one_and_first_signature_with_a_value_count() -> None:
    row = row_of((b"groundswell-origin", b"x"), (b"groundswell-origin", b"3:17"))
    assert (row[kernels.ORIGIN_PARTITION], row[kernels.ORIGIN_OFFSET]) == (3, 17)
    row = row_of((b"groundswell-signature", None), (b"groundswell-signature", b""))
    assert row[kernels.SIGNATURE_START] == row[kernels.SIGNATURE_STOP] > 0
    assert row_of((b"\xff", b"a"))[kernels.SIGNATURE_START] == -1


def test_pieces_are_moved_and_nulls_stay() -> None:
    space = table(3)
    space[:] = 5
    space[KEY_START] = -1
    move(space, np.array([1, 3]), np.array([0, 10]))
    assert space[KEY_START].tolist() == [-1, -1, -1]
    assert space[VALUE_START].tolist() == [5, 15, 15]
    assert space[OFFSET].tolist() == space[kernels.ORIGIN_OFFSET].tolist() == [5, 5, 5]


GUARDED = """
    import ctypes, mmap, sys
    import numpy as np
    from tests.unit.transport.test_frame import BASE, TIME, frame, sound, table

    # One page that may be used, between two of which each read ends the process.
    page = mmap.PAGESIZE
    pages = mmap.mmap(-1, 3 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    assert libc.mprotect(start, page, 0) == libc.mprotect(start + 2 * page, page, 0) == 0
    if "beyond" in sys.argv:
        ctypes.string_at(start + 2 * page, 1)

    def read(data, count, last):
        for at in (start + page, start + 2 * page - len(data)):
            ctypes.memmove(at, data, len(data))
            view = np.ctypeslib.as_array((ctypes.c_uint8 * len(data)).from_address(at))
            view.flags.writeable = False
            frame(view, 0, len(data), count, BASE, BASE + last, 0, TIME, table(count), 0, count)

    tried = 0
    for seed in range(40):
        wanted, data = sound(seed)
        if not 0 < len(data) < 600:
            continue
        arguments = len(wanted.deltas), wanted.last_delta
        for place in range(1, len(data)):
            read(data[:place], *arguments)
            for byte in (0x01, 0x7F, 0x80, 0xFE, 0xFF):
                read(data[:place] + bytes((byte,)) + data[place + 1 :], *arguments)
                read(data[:place] + bytes((byte,)), *arguments)
        tried += 1
    assert len(frame.signatures) == 1
    print("read", tried)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
def test_nothing_outside_the_buffer_is_read() -> None:
    command = [sys.executable, "-c", textwrap.dedent(GUARDED)]
    inside = subprocess.run(command, capture_output=True, text=True, check=False)
    assert inside.returncode == 0, inside.stderr
    assert int(inside.stdout.split()[1]) >= 5
    beyond = subprocess.run([*command, "beyond"], capture_output=True, check=False)
    assert beyond.returncode < 0
