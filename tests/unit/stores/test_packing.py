from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream.records import VOTER, OutboxRow, Records
from stream.spans import Spans
from stream.stores import kernels
from stream.stores.packing import KernelPacking, PlainPacking
from stream.stores.redis import _zadd
from stream.stores.wire import pack

PREFIX = b"{campaign:17}:v:"


def records(seed: int, n: int) -> Records:
    chance = np.random.default_rng(seed)
    voters = Spans.of([b"v" * int(length) for length in chance.integers(1, 65, n)])
    return Records(voters, chance.integers(0, 256, (n, VOTER.itemsize)).astype(np.uint8))


@pytest.mark.parametrize("n", [0, 1, 2, 700])
def test_both_pack_the_same_bytes(n: int) -> None:
    some = records(n, n)
    fast, plain = KernelPacking(PREFIX), PlainPacking(PREFIX)
    assert b"".join(fast.pairs(some)) == b"".join(plain.pairs(some))
    assert b"".join(fast.keys(some.voters)) == b"".join(plain.keys(some.voters))


def test_what_is_packed_is_redis_protocol() -> None:
    some = records(5, 3)
    words = [word for voter, value in some for word in (PREFIX + voter, value)]
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
    kernel: Any = kernels.pack_pairs
    some = records(9, 20)
    prefix = np.frombuffer(PREFIX, np.uint8)
    for values in (some.values, some.values[:, :0]):
        outs = [np.zeros(20 * 1000, np.uint8) for _ in range(2)]
        arguments = (prefix, some.voters.buffer, some.voters.starts, some.voters.stops, values)
        sizes = [kernel(*arguments, outs[0]), kernel.py_func(*arguments, outs[1])]
        assert sizes[0] == sizes[1]
        assert outs[0].tobytes() == outs[1].tobytes()
