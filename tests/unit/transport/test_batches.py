"""What a fetch answer holds: batches of every codec and kind, cut and damaged ones, as Columns."""

from __future__ import annotations

import base64
import json
import random
import struct
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from load_tests.fuzzing import run
from load_tests.fuzzing.batch_bytes import APPEND_TIME, CONTROL, HEADER, LOG_MS, TRANSACTIONAL, Wanted, pack
from load_tests.fuzzing.batches import TP, read, read_by_aiokafka, rows_of
from stream.transport.batches import Answer, is_columnar

COMMIT, ABORT = b"\0\0\0\1", b"\0\0\0\0"
Record = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]


def records(rows: list[Record]) -> bytes:
    builder: Any = DefaultRecordBatchBuilder(
        2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 30
    )
    for delta, (key, value, headers) in enumerate(rows):
        builder.append(delta, LOG_MS + delta, key, value, headers)
    return bytes(builder.build())[HEADER.size :]


def batch(base: int, count: int, **fields: Any) -> bytes:
    """Return a batch whose values say their offsets."""
    rows: list[Record] = [(b"key", b"%d" % (base + delta), []) for delta in range(count)]
    wanted = Wanted(base, range(count), count - 1, **fields)
    return pack(wanted, records(rows), LOG_MS, LOG_MS)


def marker(base: int, key: bytes, producer: int = 7) -> bytes:
    return pack(
        Wanted(base, [0], 0, 0, CONTROL | TRANSACTIONAL, producer_id=producer),
        records([(key, b"\0" * 6, [])]),
        LOG_MS,
        LOG_MS,
    )


def offsets(data: bytes, position: int = 0, size: int = 4096, aborted: Any = (), **options: Any) -> list[list[int]]:
    return [columns.offsets.tolist() for columns in Answer(TP, data, position, aborted, max_records=size, **options)]


def test_generated_answers_are_read_as_aiokafka_reads_them() -> None:
    counts = run("batches", 3000, 11)
    assert counts["accepted"] > 2000
    assert counts["damaged, refused"]
    assert counts["damaged, accepted"]


texts = st.one_of(st.none(), st.binary(max_size=300))
names = st.one_of(st.sampled_from(["groundswell-origin", "groundswell-signature"]), st.text(max_size=20))
values = st.one_of(texts, st.from_regex(rb"[0-9]{1,3}:[0-9]{1,3}", fullmatch=True))
rows = st.lists(st.tuples(texts, texts, st.lists(st.tuples(names, values), max_size=4)), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(rows, st.integers(0, 4), st.booleans()), min_size=1, max_size=4), st.integers(1, 20))
def test_any_records_are_read_as_aiokafka_reads_them(batches: list[tuple[list[Record], int, bool]], size: int) -> None:
    data, base = b"", 0
    for content, codec, has_time in batches:
        wanted = Wanted(base, range(len(content)), len(content) - 1, codec, APPEND_TIME if has_time else 0, LOG_MS)
        data += pack(wanted, records(content), LOG_MS, LOG_MS)
        base += len(content)
    assert read(data, 0, (), size) == read_by_aiokafka(data, 0, (), size)


@pytest.mark.parametrize("codec", range(5))
def test_every_codec_is_read(codec: int) -> None:
    data = batch(0, 100, codec=codec, attributes=APPEND_TIME, max_time=LOG_MS)
    [columns] = Answer(TP, data, 0, max_records=4096)
    assert rows_of(columns) == [(n, LOG_MS, b"key", b"%d" % n, (-1, -1), None) for n in range(100)]
    assert (columns.partition, columns.start, columns.next, columns.epoch) == (3, 0, 100, 0)


def test_create_times_are_no_times() -> None:
    [columns] = Answer(TP, batch(0, 2), 0, max_records=4096)
    assert columns.log_times.tolist() == [0, 0]


def test_small_batches_are_joined_and_large_ones_shared() -> None:
    small = b"".join(batch(base, 10, codec=3) for base in range(0, 100, 10))
    [columns] = Answer(TP, small, 0, max_records=4096)
    assert rows_of(columns)[99] == (99, 0, b"key", b"99", (-1, -1), None)
    first, second, third = Answer(TP, batch(0, 100, codec=3), 0, max_records=40)
    assert first.buffer is second.buffer is third.buffer
    assert [len(first), len(second), len(third)] == [40, 40, 20]
    plain = batch(0, 10) + batch(10, 10)
    [columns] = Answer(TP, plain, 0, max_records=4096)
    assert columns.buffer is plain


def test_what_is_left_of_a_batch_is_joined_with_the_next_and_no_byte_twice() -> None:
    data = batch(0, 30, codec=3) + batch(30, 30, codec=3)
    first, second, third = Answer(TP, data, 0, max_records=25)
    assert second.offsets.tolist() == list(range(25, 50))
    assert [second.value(row) for row in range(25)] == [b"%d" % n for n in range(25, 50)]
    assert len(second.buffer) < len(first.buffer)
    assert third.offsets.tolist() == list(range(50, 60))


def test_few_rows_take_little_memory() -> None:
    [columns] = Answer(TP, batch(0, 2), 0, max_records=4096)
    assert columns.offsets.base is not None
    assert columns.offsets.base.nbytes < 1000


def test_position_within_a_batch_leaves_out_what_is_below() -> None:
    data = batch(0, 10, codec=4) + batch(10, 5)
    assert offsets(data, 7) == [list(range(7, 15))]
    assert offsets(data, 7, 2) == [[7, 8], [9, 10], [11, 12], [13, 14]]


def test_next_lies_past_markers_and_gaps() -> None:
    gap = pack(Wanted(0, [0, 1], 9), records([(None, b"a", []), (None, b"b", [])]), LOG_MS, LOG_MS)
    empty = pack(Wanted(10, [], 4), b"", LOG_MS, LOG_MS)
    [columns] = Answer(TP, gap + empty + marker(15, COMMIT), 0, max_records=4096)
    assert (columns.offsets.tolist(), columns.next) == ([0, 1], 16)
    answer = Answer(TP, marker(3, COMMIT) + empty, 3, max_records=4096)
    assert (list(answer), answer.next, answer.is_over) == ([], 15, True)


def test_rows_that_fill_the_columns_leave_next_behind_the_last_one() -> None:
    answer = Answer(TP, batch(0, 4) + marker(4, COMMIT), 0, max_records=2)
    assert [(columns.start, columns.next) for columns in answer] == [(0, 2), (2, 4)]
    assert answer.next == 5


def test_aborted_transactions_are_left_out_and_others_not() -> None:
    data = b"".join(
        (
            batch(0, 2, attributes=TRANSACTIONAL, producer_id=7),
            batch(2, 2, attributes=TRANSACTIONAL, producer_id=8),
            batch(4, 2, producer_id=7),
            marker(6, ABORT, 7),
            batch(7, 1, attributes=TRANSACTIONAL, producer_id=7),
            marker(8, COMMIT, 7),
            marker(9, COMMIT, 8),
            batch(10, 1, attributes=TRANSACTIONAL, producer_id=7),
            marker(11, ABORT, 7),
        )
    )
    aborted = [(7, 10), (7, 0)]
    assert offsets(data, aborted=aborted) == [[2, 3, 4, 5, 7]]
    assert offsets(data, aborted=aborted, read_committed=False) == [[0, 1, 2, 3, 4, 5, 7, 10]]
    assert read(data, 0, aborted, 3) == read_by_aiokafka(data, 0, aborted, 3)


def test_answer_cut_anywhere_gives_the_whole_batches_before() -> None:
    first = batch(0, 10, codec=3) + marker(10, COMMIT)
    data = first + batch(11, 10, codec=1)
    for cut in range(len(first), len(data)):
        answer = Answer(TP, data[:cut], 0, max_records=4096)
        assert [columns.offsets.tolist() for columns in answer] == [list(range(10))]
        assert answer.next == 11


@pytest.mark.parametrize("codec", range(5))
def test_wrong_checksum_is_refused_wherever_the_byte(codec: int) -> None:
    data = batch(42, 20, codec=codec)
    for place in random.Random(codec).sample(range(17, len(data)), 30):
        changed = data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]
        with pytest.raises(CorruptRecordException, match=r"events partition 3, offset 42: .* checksum"):
            offsets(changed)


def test_checksums_are_not_looked_at_where_that_is_switched_off() -> None:
    data = bytearray(batch(0, 2))
    data[17] ^= 1
    assert offsets(bytes(data), check_crcs=False) == [[0, 1]]


@pytest.mark.parametrize("length", [-(1 << 31), -12, -1, 0, 13, 48])
def test_batch_that_is_shorter_than_its_header_is_refused(length: int) -> None:
    data = batch(0, 2) + batch(2, 2)
    broken = data[: len(data) // 2] + struct.pack(">qi", 2, length) + data[len(data) // 2 + 12 :]
    with pytest.raises(CorruptRecordException, match=r"events partition 3, offset 0: .* header"):
        offsets(broken)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (batch(9, 2, fields={"attributes": 5}), UnsupportedCodecError, "offset 9: the codec 5"),
        (batch(9, 2, fields={"attributes": 3}), CorruptRecordException, "offset 9: .* lz4 cannot unpack it"),
        (batch(9, 2, fields={"attributes": 1}), CorruptRecordException, "offset 9: .* gzip cannot unpack it"),
        (batch(9, 2, fields={"count": 3}), CorruptRecordException, "offset 9: .* record 2: a number"),
        (batch(9, 2, fields={"count": 1}), CorruptRecordException, "offset 9: .* bytes are left"),
        (batch(9, 2, fields={"count": -1}), CorruptRecordException, "offset 9: .* bytes are left"),
        (batch(9, 2, fields={"last_delta": 0}), CorruptRecordException, "offset 9: .* record 1: an offset"),
        (batch((1 << 63) - 2, 2), CorruptRecordException, "offset 9223372036854775806: .* last offset"),
        (marker(9, b"\0\0"), CorruptRecordException, "offset 9: .* no marker"),
        (pack(Wanted(9, [], 0, 0, CONTROL), b"", 0, 0), CorruptRecordException, "offset 9: .* no marker"),
    ],
)
def test_damage_is_named_with_its_place(data: bytes, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=rf"events partition 3, {words}"):
        offsets(data)


@pytest.mark.parametrize("magic", [0, 1])
def test_message_sets_are_told_from_batches(magic: int) -> None:
    builder: Any = LegacyRecordBatchBuilder(magic, 0, 1 << 20)
    builder.append(0, timestamp=LOG_MS, key=None, value=b"value")
    data = bytes(builder.build())
    assert not is_columnar(data)
    assert not is_columnar(batch(0, 1) + data)
    assert is_columnar(batch(0, 1) + data[:-1])
    assert is_columnar(batch(0, 1))
    assert is_columnar(b"")


KAFKAJS = json.loads((Path(__file__).parent / "kafkajs.json").read_text())
"""Fetch answers of Apache Kafka 4.1 that kafkajs 2.2.4 had written: by codec, and within transactions."""


@pytest.mark.parametrize("name", KAFKAJS)
def test_what_kafkajs_writes_is_read(name: str) -> None:
    data, aborted = base64.b64decode(KAFKAJS[name]["answer"]), KAFKAJS[name]["aborted"]
    for size in (1, 7, 4096):
        assert read(data, 0, aborted, size) == read_by_aiokafka(data, 0, aborted, size)
    found = [row for columns in Answer(TP, data, 0, aborted, max_records=4096) for row in rows_of(columns)]
    first, count = (21, 20) if name == "transactions" else (0, 60)
    assert [row[0] for row in found] == list(range(first, first + count))
    assert [row[2] for row in found] == [b"voter-%d" % n if n % 7 else None for n in range(count)]
    assert [row[4] for row in found] == [(-1, -1) if n % 3 else (3, n) for n in range(count)]
    assert [row[3] for row in found if row[0] - first in (0, 11)] == ([b"", None] if count > 11 else [])
    assert all((row[1] > 0) == (name == "gzip") for row in found)
