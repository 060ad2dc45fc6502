from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream.records import VOTER, OutboxRow, Records
from stream.spans import Spans
from stream.stores import packing_kernels
from stream.stores.packing import _ROOM, KernelPacking, PlainPacking, packed
from stream.stores.packing_kernels import HEAD_BYTES, WORDS
from stream.stores.redis import _zadd
from stream.stores.table import Table
from stream.stores.wire import pack
from tests import oracle_record

PREFIX = b"{campaign:17}:v:"


def records(seed: int, n: int) -> Records:
    """Return random records, the first without a word that is 0, the last with nothing else, others between."""
    chance = np.random.default_rng(seed)
    voters = Spans.of([b"v" * int(length) for length in chance.integers(1, 65, n)])
    words = chance.integers(1, 1 << 63, (n, WORDS)).astype(np.uint64) >> chance.integers(0, 63, (n, WORDS)).astype("u8")
    words |= np.uint64(1) << chance.integers(0, 64, (n, WORDS)).astype(np.uint64)
    words[chance.random((n, WORDS)) < np.linspace(0.0, 1.0, n)[:, None]] = 0
    return Records(voters, words.view(np.uint8))


@pytest.mark.parametrize("n", [0, 1, 2, 700])
def test_both_pack_the_same_bytes(n: int) -> None:
    some = records(n, n)
    fast, plain = KernelPacking(PREFIX), PlainPacking(PREFIX)
    assert b"".join(fast.pairs(some)) == b"".join(plain.pairs(some))
    assert b"".join(fast.keys(some.voters)) == b"".join(plain.keys(some.voters))


@pytest.mark.parametrize("n", [0, 1, 2, 700])
def test_both_unpack_what_was_packed(n: int) -> None:
    values = [value for _, value in records(n, n)]
    stored = [packed(value) for value in values]
    for packing in (KernelPacking(PREFIX), PlainPacking(PREFIX)):
        assert packing.unpacked(stored) == values
        assert packing.unpacked([None, *stored, None]) == [None, *values, None]


def test_a_packed_record_is_as_described() -> None:
    for _, value in records(6, 50):
        assert packed(value) == oracle_record.packed(value)
        assert oracle_record.unpacked(packed(value)) == value
    # Words 0 and 9 of 96: two bytes of 0, the number of words, twelve of bits, and the two words.
    record = b"\x02".ljust(72, b"\0") + b"\xff".ljust(VOTER.itemsize - 72, b"\0")
    assert packed(record) == b"\0\0\x60\0" + b"\1\2" + bytes(10) + b"\x02" + bytes(7) + b"\xff" + bytes(7)


def test_a_record_without_a_zero_is_a_little_larger_and_one_of_zeros_is_its_head() -> None:
    assert [len(packed(value)) for _, value in records(7, 3)][::2] == [784, 16]


WHOLE = packed(b"\x02\0" + b"\1" * 300 + bytes(466))
STRANGE = {
    "a record of a build before": b"\x02\0" + bytes(766),
    "nothing": b"",
    "one byte": b"\0",
    "cut within the bits": WHOLE[:15],
    "cut within a word": WHOLE[:-1],
    "a word less": WHOLE[:-8],
    "a word more": WHOLE + bytes(8),
    "a byte more": WHOLE + b"x",
    "another number of words": b"\0\0\x61\0" + WHOLE[4:],
    "many words": b"\0\0\x60\1" + WHOLE[4:],
    "a version": b"\3\0" + WHOLE[2:],
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_what_is_not_packed_comes_back_as_it_is(strange: bytes) -> None:
    record = b"\x02\0" + b"\1" * 300 + bytes(466)
    for packing in (KernelPacking(PREFIX), PlainPacking(PREFIX)):
        assert packing.unpacked([strange]) == [strange]
        assert packing.unpacked([WHOLE, strange, None, WHOLE]) == [record, strange, None, record]


def test_what_is_packed_is_redis_protocol() -> None:
    some = records(5, 3)
    words = [word for voter, value in some for word in (PREFIX + voter, packed(value))]
    assert b"".join([b"*7\r\n$4\r\nMSET\r\n", *KernelPacking(PREFIX).pairs(some)]) == pack(b"MSET", *words)


@pytest.mark.parametrize("n", [1, 64, 65, 128, 130])
def test_outbox_rows_in_pieces_are_one_command(n: int) -> None:
    rows = [OutboxRow(number, 0, b"ada", b"v" * number) for number in range(n)]
    words = [word for row in rows for word in (b"%d" % row.sequence, row.to_bytes())]
    assert b"".join(_zadd(b"box", rows)) == pack(b"ZADD", b"box", *words)


def test_the_buffer_is_used_again_until_it_may_still_be_on_its_way() -> None:
    packing = KernelPacking(PREFIX)
    first = packing.pairs(records(1, 50))
    kept = b"".join(first)
    packing.pairs(records(2, 50))
    late = b"".join(first)
    assert late != kept
    packing.lost()
    packing.pairs(records(3, 50))
    assert b"".join(first) == late


def test_what_one_large_commit_took_is_given_back() -> None:
    packing = KernelPacking(PREFIX)

    def buffer_bytes(n: int) -> int:
        piece: Any = packing.pairs(records(4, n))[0]
        return int(piece.obj.base.nbytes)

    large = buffer_bytes(8000)
    assert large > 6 << 20
    assert buffer_bytes(4000) == large
    assert buffer_bytes(10) < 20_000
    small = buffer_bytes(1000)
    assert buffer_bytes(1) == small


def test_kernel_equals_its_python() -> None:
    kernel: Any = packing_kernels.pack_pairs
    some = records(9, 20)
    prefix = np.frombuffer(PREFIX, np.uint8)
    names = int((some.voters.stops - some.voters.starts).sum())
    for words in (some.values.view(np.uint64), np.zeros((20, 0), np.uint64)):
        # As much room as there is, beyond which Python would raise and compiled code write on.
        room = names + 20 * (len(prefix) + _ROOM + (HEAD_BYTES + VOTER.itemsize if words.shape[1] else 0))
        outs = [np.zeros(room, np.uint8) for _ in range(2)]
        arguments = (prefix, some.voters.buffer, some.voters.starts, some.voters.stops, words)
        sizes = [kernel(*arguments, outs[0]), kernel.py_func(*arguments, outs[1])]
        assert sizes[0] == sizes[1]
        assert outs[0].tobytes() == outs[1].tobytes()


def test_unpacking_kernel_equals_its_python() -> None:
    kernel: Any = packing_kernels.unpack_values
    stored = Spans.of([*STRANGE.values(), *(packed(value) for _, value in records(9, 20)), bytes(8)])
    count = len(stored) - 1
    found = []
    for run in (kernel, kernel.py_func):
        words, is_packed = np.zeros((count, WORDS), np.uint64), np.zeros(count, np.bool_)
        run(stored.buffer, stored.starts[:-1], stored.stops[:-1], words, is_packed)
        found.append((words.tobytes(), is_packed.tolist()))
    assert found[0] == found[1]
    assert found[0][1] == [False] * len(STRANGE) + [True] * 20


@pytest.mark.parametrize("places", [(0,), (95,), (0, 95), ()])
def test_kernel_stays_within_its_room_where_first_and_last_words_are_zeros(places: tuple[int, ...]) -> None:
    kernel: Any = packing_kernels.pack_pairs
    words = np.full((1, WORDS), 1 << 60, np.uint64)
    words[0, list(places)] = 0
    name, none = Spans.of([b"v" * 64]), np.frombuffer(b"", np.uint8)
    # What a name of 64 bytes and a record without zeros take, to the byte.
    out = np.zeros(len(pack(b"v" * 64, bytes(HEAD_BYTES + VOTER.itemsize))) - len(b"*2\r\n"), np.uint8)
    size = kernel.py_func(none, name.buffer, name.starts, name.stops, words, out)
    assert out[:size].tobytes() == pack(b"v" * 64, packed(words.tobytes())).partition(b"\r\n")[2]


def test_kernels_are_compiled_once_whoever_made_the_records() -> None:
    kernel: Any = packing_kernels.pack_pairs
    packing, table = KernelPacking(PREFIX), Table(10)
    slots, _ = table.index(Spans.of([b"ada"]))
    table.fill(slots, [None], 1)
    table.mark(slots)
    for some in (table.take_dirty(), Records.of([(b"ada", bytes(VOTER.itemsize))]), Records.of([])):
        packing.keys(some.voters)
        packing.pairs(some)
    assert len(kernel.signatures) == 1
