"""Kafka's record batches by chance: as brokers may hold them, with all that the format knows."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import codec
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from crc32c import crc32c

HEADER: Final = struct.Struct(">qiibIhiqqqhii")
"""The fields of a batch's header, see ``stream.transport.batches``."""
CRC_AT, COVERED_FROM = 17, 21
APPEND_TIME, TRANSACTIONAL, CONTROL = 0x08, 0x10, 0x20
ENCODERS: Final = (
    bytes,
    codec.gzip_encode,
    codec.snappy_encode,
    codec.lz4_encode,
    codec.zstd_encode,
)
"""By their number in the format."""
LOG_MS: Final = 1_795_555_555_000

_TEXTS: Final = (None, b"", b"k", b"voter-17", b"x" * 63, b"x" * 64, b"\x00\xff\x80" * 50, b"y" * 8192)
_ORIGINS: Final = (
    *(None, b"", b":", b"3:17", b"0:0", b"3:", b":17", b"3:1:7", b"-3:17", b"3:17 ", b"\xb2:1", b"317"),
    *(b"999999999:999999999999999999", b"1000000000:1", b"1:1000000000000000000", b"007:0000000000000000009"),
)
_SIGNATURES: Final = (None, b"", b"key-1 1795555555000 c2lnbmF0dXJl", b"other")
_NAMES: Final = ("", "x", "traceparent", "groundswell-origi", "groundswell-origin2", "Groundswell-Origin", "ключ")

Headers = list[tuple[str, bytes | None]]


@dataclass(slots=True)
class Wanted:
    """One batch that is to be made: what stands in its header, and what in its records."""

    base_offset: int
    deltas: Sequence[int]
    """By record, how far its offset lies from the base."""
    last_delta: int
    codec: int = 0
    attributes: int = 0
    """Bits beside those of the codec."""
    max_time: int | None = None
    """Append time in ms; None: the largest of the records' own."""
    producer_id: int = -1
    marker: bytes | None = None
    """The key of a control batch's record."""
    fields: dict[str, int] = field(default_factory=dict)
    """What is to stand in the header instead: ``count``, ``attributes``, ``last_delta``."""


def pack(wanted: Wanted, records: bytes, first_time: int, max_time: int, *, is_packed: bool = False) -> bytes:
    """Return the batch around its records' bytes, with a checksum that fits; ``is_packed``: they are compressed."""
    body = records if is_packed else ENCODERS[wanted.codec](records)
    fields = wanted.fields
    data = bytearray(
        HEADER.pack(
            wanted.base_offset,
            HEADER.size - 12 + len(body),
            0,
            2,
            0,
            fields.get("attributes", wanted.attributes | wanted.codec),
            fields.get("last_delta", wanted.last_delta),
            first_time,
            max_time if wanted.max_time is None else wanted.max_time,
            wanted.producer_id,
            0,
            0,
            fields.get("count", len(wanted.deltas)),
        )
    )
    data += body
    struct.pack_into(">I", data, CRC_AT, crc32c(data[COVERED_FROM:]))
    return bytes(data)


def records_of(chance: random.Random, wanted: Wanted) -> tuple[bytes, int, int]:
    """Return the records' bytes as aiokafka writes them, the first one's time, and the largest."""
    builder: Any = DefaultRecordBatchBuilder(
        2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 30
    )
    if wanted.marker is not None:
        builder.append(0, LOG_MS, wanted.marker, b"\0" * 6, [])
    else:
        for delta in wanted.deltas:
            draw = chance.randrange(1 << 30)
            key, value = _TEXTS[draw % 5], _TEXTS[draw // 5 % 7]
            if draw % 101 == 0:
                key = _TEXTS[-1]
            headers = _headers(chance) if draw % 3 == 0 else []
            builder.append(delta, LOG_MS + draw % (1 << 21) - (1 << 20), key, value, headers)
    data = bytes(builder.build())
    header = HEADER.unpack_from(data)
    return data[HEADER.size :], header[7], header[8]


def _headers(chance: random.Random) -> Headers:
    headers: Headers = []
    for _ in range(70 if chance.random() < 0.01 else chance.choice((1, 1, 2, 3))):
        draw = chance.random()
        if draw < 0.4:
            headers.append(("groundswell-origin", chance.choice(_ORIGINS)))
        elif draw < 0.7:
            headers.append(("groundswell-signature", chance.choice(_SIGNATURES)))
        else:
            headers.append((chance.choice(_NAMES), chance.choice(_TEXTS[:4])))
    return headers


def wanted_by(chance: random.Random, base_offset: int) -> Wanted:
    """Return what a next batch in the log may be: compacted, transactional, a marker, with append times or without."""
    draw = chance.random()
    producer = chance.choice((-1, 7, 8, 9))
    if draw < 0.1:
        # The third is of a newer version, the fourth of another kind: neither aborts.
        marker = chance.choice((b"\0\0\0\0", b"\0\0\0\1", b"\0\1\0\0", b"\0\0\0\2"))
        attributes = CONTROL | TRANSACTIONAL
        return Wanted(base_offset, [0], 0, 0, attributes, LOG_MS, max(producer, 7), marker)
    count = 0 if draw < 0.13 else chance.choice((1, 1, 1, 2, 3, 5, 8, 20))
    deltas = list(range(count))
    last = max(count - 1, 0)
    if draw < 0.4:
        last += chance.randrange(10)
        deltas = sorted(chance.sample(range(last + 1), min(count, last + 1)))
    attributes = TRANSACTIONAL if producer >= 0 and chance.random() < 0.7 else 0
    time = None
    if chance.random() < 0.5:
        attributes |= APPEND_TIME
        time = chance.choice((LOG_MS, LOG_MS, LOG_MS + chance.randrange(1 << 30), 0, -1))
    return Wanted(base_offset, deltas, last, chance.randrange(5) if count else 0, attributes, time, producer)


def answer_by(chance: random.Random, batches: int) -> tuple[bytes, int, list[tuple[int, int]]]:
    """Return a fetch answer, the position that it was asked for, and its list of aborted transactions."""
    parts, offset, first = [], chance.choice((0, 5, 1 << 31, 1 << 40)), None
    begin = offset
    for _ in range(batches):
        wanted = wanted_by(chance, offset)
        parts.append(pack(wanted, *records_of(chance, wanted)))
        first = wanted.last_delta if first is None else first
        offset += wanted.last_delta + 1 + chance.choice((0, 0, 0, 1, 7))
    aborted = [
        (chance.choice((7, 8, 9)), begin + chance.randrange(offset - begin + 5)) for _ in range(chance.randrange(6))
    ]
    data = b"".join(parts)
    if chance.random() < 0.3:
        data = data[: -chance.randrange(1, len(parts[-1]) + 1)]
    return data, begin + chance.randrange((first or 0) + 1), aborted
