"""Events from bytes to spans and codes, by tables of the fields that they may have: no object for any of them.

A row that is passed is an event that orjson and the checks in ``fields`` would pass, with the same values. One that
is not passed may still be one: orjson decides.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel, kernel_part
from stream.details import TEXTS
from stream.events.field_kernels import (
    AMOUNT,
    CODE,
    COLUMNS,
    DATA,
    KIND,
    SAID,
    SCRATCH_BYTES,
    SPANS,
    find_word,
    scan_field,
)
from stream.events.json_kernels import (
    UNSURE,
    scan_literal,
    scan_string,
    skip_colon,
    skip_value,
    skip_whitespace,
    unescape,
)
from stream.records import CLOCK_TICK, KEYS_ROTATED, MAX_EVENT_BYTES

_TEXTS = TEXTS
_POWERS_OF_TEN = np.array([float(f"1e{exponent}") for exponent in range(23)])
"""Each is a double exactly (10^22 = 2^22 times 5^22, and 5^22 < 2^53)."""


@kernel_part
def _find_name(
    buffer: NDArray[np.uint8],
    start: int,
    end: int,
    stop: int,
    escaped: bool,
    words: NDArray[Any],
    first: int,
    last: int,
    scratch: NDArray[np.uint8],
) -> int:
    """Return which field a name is, -1 for none that is known."""
    text = buffer
    if escaped:
        if end - start > SCRATCH_BYTES:
            return -1
        end = unescape(buffer, start, end, scratch, 0)
        text, start, stop = scratch, 0, SCRATCH_BYTES
    return find_word(text, start, end, stop, words, first, last)


@kernel_part
def scan_object(
    buffer: NDArray[np.uint8],
    position: int,
    stop: int,
    words: NDArray[Any],
    fields: NDArray[Any],
    table: Any,
    found: NDArray[np.int64],
    scratch: NDArray[np.uint8],
) -> int:
    """Pass ``object = { [ member *( , member ) ] }`` (RFC 8259, section 4), its fields held to a table.

    A field that is null counts as not given. UNSURE where one does not fit, is given twice or is missing. What
    comes out is in ``found`` (int64[columns, 3]: start and end of a text and whether it has escapes, or a code).
    """
    first = table["first"]
    seen = given = 0
    expected = first
    position = skip_whitespace(buffer, position + 1, stop)
    if position < stop and buffer[position] == 0x7D:
        return position + 1 if table["required"] == 0 else UNSURE
    while True:
        start = position + 1
        position, escaped = scan_string(buffer, position, stop)
        if position < 0:
            return UNSURE
        # Fields mostly come in the table's order, so it is gone through from the one behind the last.
        field = _find_name(buffer, start, position - 1, stop, escaped, words, expected, table["stop"], scratch)
        if field < 0:
            field = _find_name(buffer, start, position - 1, stop, escaped, words, first, expected, scratch)
        position = skip_colon(buffer, position, stop)
        if position < 0:
            return UNSURE
        if field < 0:
            position = skip_value(buffer, position, stop)
        else:
            bit = 1 << (field - first)
            if seen & bit:
                return UNSURE
            seen |= bit
            expected = field + 1
            if buffer[position] == 0x6E:
                position = scan_literal(buffer, position, stop)
            else:
                given |= bit
                position = scan_field(buffer, position, stop, words, fields, field, found, scratch)
        if position < 0:
            return UNSURE
        position = skip_whitespace(buffer, position, stop)
        if position >= stop:
            return UNSURE
        byte = buffer[position]
        if byte == 0x7D:
            return position + 1 if given & table["required"] == table["required"] else UNSURE
        if byte != 0x2C:
            return UNSURE
        position = skip_whitespace(buffer, position + 1, stop)


@kernel_part
def scan_event(
    buffer: NDArray[np.uint8],
    start: int,
    stop: int,
    words: NDArray[Any],
    fields: NDArray[Any],
    tables: NDArray[Any],
    found: NDArray[np.int64],
    scratch: NDArray[np.uint8],
) -> int:
    """Return the kind code of the event that the bytes ``buffer[start:stop]`` are, UNSURE where they may be none.

    ``JSON-text = ws value ws`` (RFC 8259, section 2), and the value an object held to ``tables[0]``, its data to its
    kind's, ``tables[1 + kind]``. ``found`` (int64[13, 3]) and ``scratch`` (uint8[144]) are written.
    """
    found[:] = 0
    position = skip_whitespace(buffer, start, stop)
    if position >= stop or buffer[position] != 0x7B:
        return UNSURE
    position = scan_object(buffer, position, stop, words, fields, tables[0], found, scratch)
    if position < 0 or skip_whitespace(buffer, position, stop) != stop:
        return UNSURE
    kind = found[KIND, 0]
    # What is said of control records needs their parsed data.
    if CLOCK_TICK <= kind <= KEYS_ROTATED:
        return UNSURE
    table = tables[1 + kind]
    if found[DATA, 1] == 0:
        return kind if table["required"] == 0 else UNSURE
    position = scan_object(buffer, found[DATA, 0], found[DATA, 1], words, fields, table, found, scratch)
    return kind if position >= 0 else UNSURE


@kernel_part
def _keep_details(found: NDArray[np.int64], texts: int, details: NDArray[Any], row: int) -> None:
    """Write what features read of a row; the quotient of two exact doubles is rounded once (Clinger, PLDI 1990)."""
    detail = details[row]
    for place in range(texts):
        detail["starts"][place] = found[SAID + place, 0]
        detail["stops"][place] = found[SAID + place, 1]
    detail["code"] = found[CODE, 0] + found[CODE, 1]
    if found[AMOUNT, 1] != 0:
        detail["amount"] = np.float64(found[AMOUNT, 0]) / _POWERS_OF_TEN[found[AMOUNT, 2]]


@kernel
def scan_rows(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    words: NDArray[Any],
    fields: NDArray[Any],
    tables: NDArray[Any],
    first: int,
    stop: int,
    kinds: NDArray[np.int64],
    spans: NDArray[np.int64],
    escaped: NDArray[np.uint16],
    details: NDArray[Any],
) -> None:
    """Scan the values ``buffer[starts[row]:stops[row]]`` of the rows from ``first`` to before ``stop``.

    In: ``buffer`` (uint8), ``starts`` and ``stops`` (int64[n], -1: null), and the tables (WORD, FIELD, TABLE). Out, in
    place: ``kinds`` (int64[n]; -1: not sure, orjson decides), ``spans`` (int64[SPANS, 2, n]: start and stop of the
    texts in ``buffer``, as they are written there; empty where not given and where not sure), ``details`` (DETAIL[n],
    its texts likewise; comes as zeros) and ``escaped`` (uint16[n], bit k: the text of column k has escapes).
    """
    found = np.empty((COLUMNS, 3), np.int64)
    scratch = np.empty(SCRATCH_BYTES, np.uint8)
    for row in range(first, stop):
        kind = UNSURE
        if starts[row] >= 0 and stops[row] - starts[row] <= MAX_EVENT_BYTES:
            kind = scan_event(buffer, starts[row], stops[row], words, fields, tables, found, scratch)
        if kind < 0:
            found[:] = 0
        kinds[row] = kind
        escaped[row] = 0
        for column in range(SPANS):
            spans[column, 0, row] = found[column, 0]
            spans[column, 1, row] = found[column, 1]
            escaped[row] |= found[column, 2] << column
        if kind >= 0:
            for column in range(SAID, SAID + _TEXTS):
                escaped[row] |= found[column, 2] << column
            _keep_details(found, tables[1 + kind]["texts"], details, row)


@kernel_part
def _unescape_span(
    buffer: NDArray[np.uint8], column: int, row: int, spans: NDArray[np.int64], out: NDArray[np.uint8]
) -> None:
    """Write one text without its escapes to the same place of ``out``, and shorten its span, in place."""
    start = spans[column, 0, row]
    spans[column, 1, row] = unescape(buffer, start, spans[column, 1, row], out, start)


@kernel
def unescape_rows(
    buffer: NDArray[np.uint8],
    escaped: NDArray[np.uint16],
    first: int,
    stop: int,
    spans: NDArray[np.int64],
    details: NDArray[Any],
    out: NDArray[np.uint8],
) -> None:
    """Write the texts that have escapes without them to the same place of ``out``, and shorten their spans, in place.

    ``buffer`` (uint8), ``escaped``, ``spans`` and ``details`` as ``scan_rows`` left them; ``out`` is as long as
    ``buffer``.
    """
    for row in range(first, stop):
        for column in range(SPANS):
            if escaped[row] >> column & 1:
                _unescape_span(buffer, column, row, spans, out)
        for place in range(_TEXTS):
            if escaped[row] >> (SAID + place) & 1:
                detail = details[row]
                start = detail["starts"][place]
                detail["stops"][place] = unescape(buffer, start, detail["stops"][place], out, start)
