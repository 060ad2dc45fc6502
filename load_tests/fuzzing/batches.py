"""Record batches through both of their readers: rows are equal, and damaged ones refused, not read otherwise."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from load_tests.fuzzing.batch_bytes import ENCODERS, Wanted, answer_by, pack, records_of, wanted_by
from load_tests.fuzzing.mutation import change_bytes
from load_tests.fuzzing.promises import BrokenPromiseError, expect
from stream.columns import Columns, columns_of
from stream.transport.batches import Answer

TP: Final = TopicPartition("events", 3)
DOCUMENTED: Final = (CorruptRecordException, UnsupportedCodecError)
_APPEND_TIME: Final = 1
_SNAPPY: Final = 2
_INT_BYTES: Final = 5

Row = tuple[int, int, bytes | None, bytes | None, tuple[int, int], bytes | None]
"""Offset, log time, key, value, origin, signature."""
Aborted = Sequence[tuple[int, int]]


def rows_of(columns: Columns) -> list[Row]:
    """Return rows as Python objects, nulls told from what is empty."""
    spans = [
        [None if start < 0 else columns.buffer[start:stop] for start, stop in zip(starts, stops, strict=True)]
        for starts, stops in (
            (columns.key_starts.tolist(), columns.key_stops.tolist()),
            (columns.value_starts.tolist(), columns.value_stops.tolist()),
            (columns.signature_starts.tolist(), columns.signature_stops.tolist()),
        )
    ]
    origins = zip(columns.origin_partitions.tolist(), columns.origin_offsets.tolist(), strict=True)
    offsets, times = columns.offsets.tolist(), columns.log_times.tolist()
    return list(zip(offsets, times, spans[0], spans[1], origins, spans[2], strict=True))


def read(
    data: bytes, position: int, aborted: Aborted, max_records: int
) -> tuple[list[tuple[int, int, list[Row]]], int]:
    """Read an answer from its bytes; return each Columns' start, next and rows, and where the reading stands."""
    answer = Answer(TP, data, position, aborted, max_records=max_records)
    return [(columns.start, columns.next, rows_of(columns)) for columns in answer], answer.next


def read_by_aiokafka(
    data: bytes, position: int, aborted: Aborted, max_records: int
) -> tuple[list[tuple[int, int, list[Row]]], int]:
    """Read the same as aiokafka does, through its records, ``max_records`` at a time."""
    reader: Any = fetcher.PartitionRecords(
        TP, MemoryRecords(data), list(aborted), position, None, None, True, fetcher.READ_COMMITTED
    )
    reader._consumer_record = lambda _, record: record  # noqa: SLF001
    found, is_over = [], False
    while not is_over:
        start, records = reader.next_fetch_offset, list(islice(reader, max_records))
        is_over = len(records) < max_records
        if not records:
            break
        columns = columns_of(
            TP.partition,
            [record.offset for record in records],
            [record.timestamp if record.timestamp_type == _APPEND_TIME else 0 for record in records],
            [record.key for record in records],
            [record.value for record in records],
            [record.headers for record in records],
        )
        found.append((start, reader.next_fetch_offset, rows_of(columns)))
    return found, reader.next_fetch_offset


# --- the format once more, record by record, to judge what is damaged -----------------------------------


class _RefusedError(Exception):
    """Bytes that are no record batch."""


class _Bytes:
    """What is left of some bytes; whoever takes more than there are is refused."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.is_odd = False
        """Whether a number has bits beyond the 32 of its type, which Kafka drops and aiokafka does not."""

    def take(self, count: int) -> bytes:
        if count > len(self.data):
            raise _RefusedError
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def number(self, most: int) -> int:
        value = 0
        for place in range(most):
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                if most == _INT_BYTES:
                    self.is_odd |= value >> 32 > 0
                    value &= 0xFFFFFFFF
                return (value >> 1) ^ -(value & 1)
        raise _RefusedError

    def text(self) -> bytes | None:
        length = self.number(5)
        return None if length < 0 else self.take(length)


def plain_rows(wanted: Wanted, records: bytes, position: int) -> tuple[list[tuple[Any, ...]], bool]:
    """Return offset, key, value and headers of each record, and whether one sets bits that have no meaning.

    Raises _RefusedError for what is not to the letter of the format.
    """
    rows, is_odd, rest = [], False, _Bytes(records)
    last = wanted.fields.get("last_delta", wanted.last_delta)
    for _ in range(wanted.fields.get("count", len(wanted.deltas))):
        length = rest.number(5)
        if length < 0:
            raise _RefusedError
        record = _Bytes(rest.take(length))
        is_odd |= record.take(1)[0] >= 0x80
        record.number(10)
        delta = record.number(5)
        key, value, count = record.text(), record.text(), record.number(5)
        headers = []
        if count < 0:
            raise _RefusedError
        for _ in range(count):
            name = record.text()
            if name is None:
                raise _RefusedError
            headers.append((name, record.text()))
        if record.data or not 0 <= delta <= last:
            raise _RefusedError
        is_odd |= record.is_odd
        offset = wanted.base_offset + delta
        if offset >= position:
            position = offset + 1
            rows.append((offset, key, value, headers))
    if rest.data:
        raise _RefusedError
    return rows, is_odd or rest.is_odd


# --- what is tried -------------------------------------------------------------------------------------

_TOKENS: Final = (
    *(b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff", b"\x80\x00", b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\x1f"),
    *(b"\xfe\xff\xff\xff\x0f", b"\x80" * 5, b"\xff" * 9 + b"\x01", b"\xff" * 10, b"\x80" * 11, b"\x02\x00"),
    *(b"$groundswell-origin", b"*groundswell-signature", b"\x083:17"),
)
_ODD_NUMBERS: Final = (-(1 << 31), -2, -1, 0, 1, 2, 100, (1 << 31) - 1)


def _replace_number(chance: random.Random, data: bytearray) -> None:
    """Put a token in the place of one byte."""
    if data:
        place = chance.randrange(len(data))
        data[place : place + 1] = chance.choice(_TOKENS)


def try_damaged(chance: random.Random) -> str:
    """Change the records or the header of one batch, with a checksum that fits; return what it came to."""
    wanted = wanted_by(chance, 1000)
    if wanted.marker is not None or not wanted.deltas:
        wanted = Wanted(1000, [0, 1, 2], 2, chance.randrange(5))
    wanted.attributes &= ~0x10
    sound, first_time, max_time = records_of(chance, wanted)
    records = bytearray(sound)
    if chance.random() < 0.8:
        for _ in range(chance.choice((1, 1, 2))):
            change_bytes(chance, records, (sound,), _TOKENS, _replace_number)
    else:
        name = chance.choice(("count", "last_delta"))
        wanted.fields[name] = chance.choice((*_ODD_NUMBERS, len(wanted.deltas) + chance.choice((-1, 1))))
    data = pack(wanted, bytes(records), first_time, max_time)
    position = 1000 + chance.randrange(3)
    try:
        expected, is_odd = plain_rows(wanted, bytes(records), position)
    except _RefusedError:
        expected, is_odd = None, False
    try:
        found, _ = read(data, position, (), 1 << 20)
    except CorruptRecordException as error:
        expect(expected is None, f"a sound batch was refused ({error})", data)
        return "damaged, refused"
    rows = [row for _, _, part in found for row in part]
    plain = None if expected is None else [row[:3] for row in expected]
    expect([(offset, key, value) for offset, _, key, value, _, _ in rows] == plain, "rows are other ones", data)
    try:
        by_aiokafka, _ = read_by_aiokafka(data, position, (), 1 << 20)
    except UnicodeDecodeError:
        # The names of headers are of no concern here, and those that are not UTF-8 stop no one.
        return "damaged, accepted, aiokafka refuses a header's name"
    except CorruptRecordException:
        expect(is_odd, "aiokafka refuses it", data)
        return "damaged, accepted, aiokafka refuses bits without a meaning"
    # aiokafka reads the attributes of a record as a number of many bytes (the format says one), and all bits of others.
    expect(is_odd or [row for _, _, part in by_aiokafka for row in part] == rows, "aiokafka reads other rows", data)
    return "damaged, accepted"


def try_garbled(chance: random.Random) -> str:
    """Change any bytes of an answer, compressed ones with a checksum that fits; return what it came to."""
    wanted = wanted_by(chance, 1000)
    records, first_time, max_time = records_of(chance, wanted)
    # A block of snappy may claim any size, and a reader takes the memory.
    if wanted.codec not in (0, _SNAPPY) and wanted.deltas:
        packed = bytearray(ENCODERS[wanted.codec](records))
        change_bytes(chance, packed, (bytes(packed),), _TOKENS, _replace_number)
        data = pack(wanted, bytes(packed), first_time, max_time, is_packed=True)
    else:
        changed = bytearray(pack(wanted, records, first_time, max_time))
        change_bytes(chance, changed, (bytes(changed),), _TOKENS, _replace_number)
        data = bytes(changed)
    try:
        read(data, 1000, (), 100)
    except DOCUMENTED as error:
        expect(f"{TP.topic} partition {TP.partition}, offset" in str(error), "the error does not say where", data)
        return f"garbled, refused: {type(error).__name__}"
    except Exception as error:
        message = f"reading raised {error!r:.300} for {data[:2000]!r}"
        raise BrokenPromiseError(message, data) from error
    return "garbled, accepted"


def try_batches(chance: random.Random, inputs: int) -> Counter[str]:
    """Try ``inputs`` batches: most in sound answers that both readers must read as the same, some damaged alone.

    Raises BrokenPromiseError, with the bytes, for the first that is read otherwise.
    """
    counts: Counter[str] = Counter()
    left = inputs
    while left:
        draw = chance.random()
        if draw < 0.5:
            counts[try_damaged(chance)] += 1
            left -= 1
        elif draw < 0.6:
            counts[try_garbled(chance)] += 1
            left -= 1
        else:
            batches = min(left, chance.choice((1, 3, 10, 20)))
            data, position, aborted = answer_by(chance, batches)
            size = chance.choice((1, 5, 40, 40, 4096, 4096))
            same = read(data, position, aborted, size) == read_by_aiokafka(data, position, aborted, size)
            expect(same, f"aiokafka reads it otherwise, from {position} by {size} without {aborted}", data)
            counts["accepted"] += batches
            left -= batches
    return counts
