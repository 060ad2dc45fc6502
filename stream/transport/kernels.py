"""Kafka's records as rows: the loops over the bytes of one record batch of format v2, and over what they found.

The format, as https://kafka.apache.org/documentation/#recordbatch and #record give it; ``varint`` and ``varlong`` are
zig-zag coded and hold 32 and 64 bits:

    Record => length: varint, attributes: int8, timestampDelta: varlong, offsetDelta: varint,
              keyLength: varint, key: byte[], valueLength: varint, value: byte[],
              headersCount: varint, Header...
    Header => headerKeyLength: varint, headerKey: String, headerValueLength: varint, value: byte[]

A negative length of a key or a value, of a record or of a header, stands for null.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.columns import ORIGIN_HEADER, SIGNATURE_HEADER
from stream.compiled import kernel, kernel_part

# The rows of the table that ``frame`` fills, one column of it for each record.
OFFSET: Final = 0
LOG_TIME: Final = 1
KEY_START: Final = 2
KEY_STOP: Final = 3
VALUE_START: Final = 4
VALUE_STOP: Final = 5
SIGNATURE_START: Final = 6
SIGNATURE_STOP: Final = 7
ORIGIN_PARTITION: Final = 8
ORIGIN_OFFSET: Final = 9
FIELDS: Final = 10

# What ``frame`` may find wrong; 0 is nothing.
_VARINT: Final = 1
_RECORD_LENGTH: Final = 2
_OFFSET: Final = 3
_KEY_LENGTH: Final = 4
_VALUE_LENGTH: Final = 5
_HEADERS: Final = 6
_RECORD_END: Final = 7
_BATCH_END: Final = 8
DAMAGE: Final = (
    "",
    "a number is longer than its type allows, or runs past its record",
    "a record is longer than its batch",
    "an offset lies outside its batch",
    "a key is longer than its record",
    "a value is longer than its record",
    "the headers do not fit their record",
    "a record is longer than what it holds",
    "bytes are left after the last record",
)
"""By code, what it means."""

_ORIGIN_NAME: Final = np.frombuffer(ORIGIN_HEADER.encode(), np.uint8)
_SIGNATURE_NAME: Final = np.frombuffer(SIGNATURE_HEADER.encode(), np.uint8)
_INT_BYTES: Final = 5
_LONG_BYTES: Final = 10
_INT_BITS: Final = 0xFFFFFFFF


@kernel_part
def _varint(buffer: NDArray[np.uint8], position: int, stop: int, most: int) -> tuple[int, int]:
    """Return the zig-zag coded number at ``position`` and where it ends: -1 where it is not over by ``stop``.

    It has at most ``most`` bytes of seven bits each, the lowest first; all but the last have bit 7 set. See
    https://protobuf.dev/programming-guides/encoding/#varints, to which Kafka's documentation refers. Bits beyond the
    32 or 64 of its type are dropped, as the broker drops them: it has let such a record pass.
    """
    raw = np.uint64(0)
    shift = np.uint64(0)
    limit = min(stop, position + most)
    while position < limit:
        byte = buffer[position]
        position += 1
        raw |= np.uint64(byte & 0x7F) << shift
        if byte < 0x80:
            if most == _INT_BYTES:
                raw &= np.uint64(_INT_BITS)
            return int(np.int64(raw >> np.uint64(1))) ^ -int(np.int64(raw & np.uint64(1))), position
        shift += np.uint64(7)
    return 0, -1


@kernel_part
def _is(buffer: NDArray[np.uint8], start: int, stop: int, name: NDArray[np.uint8]) -> bool:
    """Return whether ``buffer[start:stop]`` is ``name``."""
    if stop - start != len(name):
        return False
    same = 0
    while same < len(name) and buffer[start + same] == name[same]:
        same += 1
    return same == len(name)


@kernel_part
def _origin(buffer: NDArray[np.uint8], start: int, stop: int) -> tuple[int, int]:
    """Return partition and offset of ``b"<partition>:<offset>"``, (-1, -1) for anything else.

    At most 9 and 18 digits, as ``stream.columns.parse_origin`` has it.
    """
    partition = 0
    offset = 0
    digits = 0
    is_offset = False
    for position in range(start, stop):
        byte = int(buffer[position])
        if byte == 58 and not is_offset and digits > 0:
            is_offset = True
            digits = 0
        elif byte < 48 or byte > 57 or digits == (18 if is_offset else 9):
            return -1, -1
        elif is_offset:
            offset = offset * 10 + byte - 48
            digits += 1
        else:
            partition = partition * 10 + byte - 48
            digits += 1
    if not is_offset or digits == 0:
        return -1, -1
    return partition, offset


@kernel_part
def _headers(buffer: NDArray[np.uint8], position: int, stop: int, table: NDArray[np.int64], row: int) -> int:
    """Read a record's headers, which end at ``stop``; note origin and signature in the row. Return a code.

    Of signatures the first with a value counts, of origins the first that is one. Other names are not looked at:
    they need not even be UTF-8.
    """
    count, position = _varint(buffer, position, stop, _INT_BYTES)
    if position < 0 or count < 0:
        return _HEADERS
    for _ in range(count):
        length, position = _varint(buffer, position, stop, _INT_BYTES)
        if position < 0 or length < 0 or length > stop - position:
            return _HEADERS
        name = position
        name_stop = name + length
        length, position = _varint(buffer, name_stop, stop, _INT_BYTES)
        if position < 0 or length > stop - position:
            return _HEADERS
        if length < 0:
            continue
        value = position
        position += length
        if table[SIGNATURE_START, row] < 0 and _is(buffer, name, name_stop, _SIGNATURE_NAME):
            table[SIGNATURE_START, row] = value
            table[SIGNATURE_STOP, row] = position
        elif table[ORIGIN_PARTITION, row] < 0 and _is(buffer, name, name_stop, _ORIGIN_NAME):
            table[ORIGIN_PARTITION, row], table[ORIGIN_OFFSET, row] = _origin(buffer, value, position)
    return 0 if position == stop else _RECORD_END


@kernel_part
def _record(
    buffer: NDArray[np.uint8], position: int, stop: int, base_offset: int, table: NDArray[np.int64], row: int
) -> int:
    """Read the record ``buffer[position:stop]`` (from its attributes on) into a row of the table; return a code."""
    if position >= stop:
        return _VARINT
    _, position = _varint(buffer, position + 1, stop, _LONG_BYTES)
    if position < 0:
        return _VARINT
    delta, position = _varint(buffer, position, stop, _INT_BYTES)
    if position < 0:
        return _VARINT
    table[OFFSET, row] = base_offset + delta
    for field in range(KEY_START, FIELDS):
        table[field, row] = -1
    length, position = _varint(buffer, position, stop, _INT_BYTES)
    if position < 0 or length > stop - position:
        return _KEY_LENGTH
    if length >= 0:
        table[KEY_START, row] = position
        position += length
        table[KEY_STOP, row] = position
    length, position = _varint(buffer, position, stop, _INT_BYTES)
    if position < 0 or length > stop - position:
        return _VALUE_LENGTH
    if length >= 0:
        table[VALUE_START, row] = position
        position += length
        table[VALUE_STOP, row] = position
    return _headers(buffer, position, stop, table, row)


@kernel
def frame(
    buffer: NDArray[np.uint8],
    position: int,
    stop: int,
    left: int,
    base_offset: int,
    last_offset: int,
    floor: int,
    log_time: int,
    table: NDArray[np.int64],
    row: int,
    room: int,
) -> tuple[int, int, int, int]:
    """Read the ``left`` records of one batch, ``buffer[position:stop]``, into ``table`` (int64[FIELDS, n]) in place.

    Fills its columns ``row`` to ``room``, of which there are at least so many, until all records are read or no room
    is left. Spans are places in ``buffer``, -1 for null; a record whose offset is below ``floor``, or not above the
    one before it, is read and left out. Every row's time is ``log_time`` (ms since the epoch, 0 for none). Nothing
    outside ``buffer[position:stop]`` is read.

    Returns (code, row, position, left): what was wrong (an index of DAMAGE, 0 for nothing) and where the reading
    stands. After an error that is before the record at fault, and the rows before it are sound.
    """
    while left > 0 and row < room:
        length, first = _varint(buffer, position, stop, _INT_BYTES)
        if first < 0:
            return _VARINT, row, position, left
        if length < 0 or length > stop - first:
            return _RECORD_LENGTH, row, position, left
        code = _record(buffer, first, first + length, base_offset, table, row)
        if code == 0 and not base_offset <= table[OFFSET, row] <= last_offset:
            code = _OFFSET
        if code != 0:
            return code, row, position, left
        position = first + length
        left -= 1
        if table[OFFSET, row] >= floor:
            floor = table[OFFSET, row] + 1
            table[LOG_TIME, row] = log_time
            row += 1
    if left <= 0 and position != stop:
        return _BATCH_END, row, position, left
    return 0, row, position, left


@kernel
def move(table: NDArray[np.int64], ends: NDArray[np.int64], shifts: NDArray[np.int64]) -> None:
    """Move the spans of each piece's rows by its shift, in place, as the pieces are joined to one buffer.

    ``table`` is int64[FIELDS, n]; ``ends`` and ``shifts`` are int64, one for each piece: the row after its last one,
    and the bytes to move by. Nulls stay null.
    """
    row = 0
    for piece in range(len(ends)):
        while row < ends[piece]:
            for field in range(KEY_START, ORIGIN_PARTITION):
                if table[field, row] >= 0:
                    table[field, row] += shifts[piece]
            row += 1
