"""Record batches (format 2) as a broker handles them: it reads and rewrites headers, and leaves the records alone."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

Headers = Sequence[tuple[str, bytes | None]]

SEQUENCES: Final = 1 << 31
"""Sequence numbers of a producer wrap to 0 here."""

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_ATTRIBUTES_AT: Final = 21
_CRC_AT: Final = 17
_LAST_DELTA_AT: Final = 23
_MAX_TIME_AT: Final = 35
_APPEND_TIME: Final = 0x08
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20


@dataclass(frozen=True)
class Record:
    """One record as a reader sees it; ``time_ms`` since the epoch."""

    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class Batch:
    """One batch in a log, or on its way to it."""

    data: bytes
    base_offset: int
    last_offset: int
    time_ms: int
    """The largest time in it: its append time where the topic has one."""
    producer_id: int
    epoch: int
    base_sequence: int
    last_sequence: int
    transactional: bool
    control: bool

    def records(self) -> list[Record]:
        """Return what is in it; of a control batch too."""
        return [
            Record(record.offset, record.timestamp, record.key, record.value, tuple(record.headers))
            for record in DefaultRecordBatch(self.data)
        ]


def parse(data: bytes) -> Batch:
    """Return a batch by its bytes."""
    base, _, _, _, _, attributes, delta, _, max_time, producer, epoch, sequence, _ = _HEADER.unpack_from(data)
    return Batch(
        bytes(data),
        base,
        base + delta,
        max_time,
        producer,
        epoch,
        sequence,
        -1 if sequence < 0 else (sequence + delta) % SEQUENCES,
        bool(attributes & _TRANSACTIONAL),
        bool(attributes & _CONTROL),
    )


def split(data: bytes) -> Iterator[bytes]:
    """Yield the batches of a record set one by one."""
    start = 0
    while start < len(data):
        (length,) = struct.unpack_from(">i", data, start + 8)
        yield data[start : start + 12 + length]
        start += 12 + length


def stamp(data: bytes, base_offset: int, append_time_ms: int | None, *, control: bool = False) -> Batch:
    """Return a batch as it stands in the log: at its offset, under its append time where the topic has one."""
    buffer = bytearray(data)
    struct.pack_into(">q", buffer, 0, base_offset)
    if append_time_ms is not None or control:
        (attributes,) = struct.unpack_from(">h", buffer, _ATTRIBUTES_AT)
        if append_time_ms is not None:
            attributes |= _APPEND_TIME
            struct.pack_into(">q", buffer, _MAX_TIME_AT, append_time_ms)
        if control:
            attributes |= _CONTROL
        struct.pack_into(">h", buffer, _ATTRIBUTES_AT, attributes)
        _sign(buffer)
    return parse(bytes(buffer))


def build(rows: Sequence[tuple[bytes | None, bytes | None, Headers]], time_ms: int) -> bytes:
    """Return a batch of keys, values and headers by a producer that has no id."""
    builder: Any = DefaultRecordBatchBuilder(
        2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 30
    )
    for number, (key, value, headers) in enumerate(rows):
        builder.append(number, time_ms, key, value, list(headers))
    return bytes(builder.build())


def build_marker(producer_id: int, epoch: int, time_ms: int, *, commit: bool) -> bytes:
    """Return the control batch that ends a transaction in a partition; ``stamp`` makes it one."""
    builder: Any = DefaultRecordBatchBuilder(
        2, 0, is_transactional=1, producer_id=producer_id, producer_epoch=epoch, base_sequence=-1, batch_size=1 << 10
    )
    builder.append(0, time_ms, struct.pack(">HH", 0, int(commit)), struct.pack(">HI", 0, 0), [])
    return bytes(builder.build())


def without(batch: Batch, offsets: frozenset[int]) -> Batch | None:
    """Return a batch after compaction took ``offsets`` from it: None where nothing is left.

    Its range of offsets and of sequences stays, as in Kafka.
    """
    kept = [record for record in batch.records() if record.offset not in offsets]
    if not kept:
        return None
    builder: Any = DefaultRecordBatchBuilder(
        2,
        0,
        is_transactional=int(batch.transactional),
        producer_id=batch.producer_id,
        producer_epoch=batch.epoch,
        base_sequence=batch.base_sequence,
        batch_size=1 << 30,
    )
    for record in kept:
        builder.append(
            record.offset - batch.base_offset, record.time_ms, record.key, record.value, list(record.headers)
        )
    buffer = bytearray(builder.build())
    struct.pack_into(">q", buffer, 0, batch.base_offset)
    struct.pack_into(">i", buffer, _LAST_DELTA_AT, batch.last_offset - batch.base_offset)
    buffer[_ATTRIBUTES_AT : _ATTRIBUTES_AT + 2] = batch.data[_ATTRIBUTES_AT : _ATTRIBUTES_AT + 2]
    struct.pack_into(">q", buffer, _MAX_TIME_AT, batch.time_ms)
    _sign(buffer)
    return parse(bytes(buffer))


def _sign(buffer: bytearray) -> None:
    struct.pack_into(">I", buffer, _CRC_AT, calc_crc32c(bytes(buffer[_ATTRIBUTES_AT:])))
