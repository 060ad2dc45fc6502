"""Events from bytes to spans and codes, by tables of the fields that they may have: no object for any of them.

A row that is passed is an event that orjson and the checks in ``fields`` would pass, with the same values. One that
is not passed may still be one: orjson decides.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel, kernel_part
from stream.details import TEXTS
from stream.events.json_kernels import (
    BETWEEN,
    EXACTLY,
    UNSURE,
    count_characters,
    scan_decimal,
    scan_literal,
    scan_number,
    scan_string,
    skip_colon,
    skip_value,
    skip_whitespace,
    unescape,
)
from stream.records import CLOCK_TICK, KEYS_ROTATED, MAX_EVENT_BYTES
from stream.words import word_at

# --- the rules that a field's value may be held to ------------------------------------------------------

TEXT = 0
"""A text of ``least`` (0 or 1) to ``most`` characters."""
CHOICE = 1
"""One of some words; its code is its place among them."""
CAPITALS = 2
"""``most`` letters from A to Z."""
INTEGER = 3
"""A whole number from ``least`` to ``most``."""
NUMBER = 4
"""A number above ``least``, and at most ``most``."""
FLAG = 5
"""true or false."""
OBJECT = 6
"""An object, whatever is in it."""
PARSED = 7
"""Anything that only the parsed value tells."""

# --- what comes out, by column --------------------------------------------------------------------------

SUBJECT = 0
ID = 1
SOURCE = 2
TIME = 3
SPANS = 4
"""So many columns come out as spans."""
SAID = 4
"""The first of DETAIL's texts."""
KIND = SAID + TEXTS
DATA = KIND + 1
CODE = DATA + 1
AMOUNT = CODE + 1
_COLUMNS = AMOUNT + 1
_SAID_TEXTS = TEXTS
_POWERS_OF_TEN = np.array([float(f"1e{exponent}") for exponent in range(23)])
"""Each is a double exactly (10^22 = 2^22 times 5^22, and 5^22 < 2^53)."""

# --- the tables, as ``stream.events.tables`` lays them out ----------------------------------------------

MAX_WORD_BYTES = 24
WORD = np.dtype([("length", "<i8"), ("head", "<u8"), ("middle", "<u8"), ("tail", "<u8")])
"""A known name or choice of at most 24 bytes: its first eight, those from the ninth on and its last eight, as numbers.

``head`` of one shorter than eight bytes ends in zeros, and ``tail`` is 0; ``middle`` is 0 up to 16 bytes.
"""
FIELD = np.dtype([(name, "<i8") for name in ("rule", "least", "most", "first_choice", "stop_choice", "column")])
"""What a field's value must be; the word of the same index is its name, ``column`` is -1 where nothing comes out."""
TABLE = np.dtype([(name, "<i8") for name in ("first", "stop", "required", "texts")])
"""Which fields an object may have, from ``first`` to before ``stop``; bit k of ``required``: it must have the k-th.

``texts`` is how many of DETAIL's texts they may fill.
"""

_ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)
_ZERO = np.uint64(0)
_EIGHT = np.uint64(8)
_SCRATCH_BYTES = 6 * MAX_WORD_BYTES


@kernel_part
def _short_word(buffer: NDArray[np.uint8], start: int, end: int, stop: int) -> np.uint64:
    """Return the bytes from ``start`` to before ``end``, fewer than eight, as a little-endian number."""
    if stop - start >= 8:
        return word_at(buffer, start) & ~(_ALL_BITS << np.uint64(8 * (end - start)))
    word = _ZERO
    for place in range(end - 1, start - 1, -1):
        word = (word << _EIGHT) | np.uint64(buffer[place])
    return word


@kernel_part
def _find_word(
    buffer: NDArray[np.uint8], start: int, end: int, stop: int, words: NDArray[Any], first: int, last: int
) -> int:
    """Return which word from ``first`` to before ``last`` is ``buffer[start:end]``, -1 for none.

    Three numbers say all of it; nothing is read at ``stop`` or behind it.
    """
    length = end - start
    if length > MAX_WORD_BYTES:
        return -1
    middle = tail = _ZERO
    if length < 8:
        head = _short_word(buffer, start, end, stop)
    else:
        head = word_at(buffer, start)
        tail = word_at(buffer, end - 8)
        if length > 16:
            middle = word_at(buffer, start + 8)
    for index in range(first, last):
        word = words[index]
        if word["head"] == head and word["tail"] == tail and word["length"] == length and word["middle"] == middle:
            return index
    return -1


@kernel_part
def _are_capitals(buffer: NDArray[np.uint8], start: int, end: int) -> bool:
    for place in range(start, end):
        if buffer[place] < 0x41 or buffer[place] > 0x5A:
            return False
    return True


@kernel_part
def _code_of(
    buffer: NDArray[np.uint8], start: int, end: int, stop: int, words: NDArray[Any], fields: NDArray[Any], field: int
) -> int:
    """Return the code of a text without escapes under the rule CHOICE or CAPITALS, UNSURE where it does not fit."""
    rule = fields[field]
    if rule["rule"] == CHOICE:
        found = _find_word(buffer, start, end, stop, words, rule["first_choice"], rule["stop_choice"])
        return found - rule["first_choice"] if found >= 0 else UNSURE
    return 0 if end - start == rule["most"] and _are_capitals(buffer, start, end) else UNSURE


@kernel_part
def _scan_text(
    buffer: NDArray[np.uint8],
    position: int,
    stop: int,
    words: NDArray[Any],
    fields: NDArray[Any],
    field: int,
    found: NDArray[np.int64],
    scratch: NDArray[np.uint8],
) -> int:
    """Pass a text under the rules TEXT, CHOICE and CAPITALS."""
    rule = fields[field]
    start = position + 1
    position, escaped = scan_string(buffer, position, stop)
    end = position - 1
    if position < 0 or end - start < rule["least"]:
        return UNSURE
    if rule["rule"] == TEXT:
        # No text has more characters than bytes.
        if end - start > rule["most"] and count_characters(buffer, start, end) > rule["most"]:
            return UNSURE
        if rule["column"] >= 0:
            found[rule["column"], 0] = start
            found[rule["column"], 1] = end
            found[rule["column"], 2] = escaped
        return position
    text = buffer
    if escaped:
        if end - start > _SCRATCH_BYTES:
            return UNSURE
        end = unescape(buffer, start, end, scratch, 0)
        text, start, stop = scratch, 0, _SCRATCH_BYTES
    code = _code_of(text, start, end, stop, words, fields, field)
    if rule["column"] >= 0:
        found[rule["column"], 0] = code
        found[rule["column"], 1] = 1
    return position if code >= 0 else UNSURE


@kernel_part
def _scan_amount(
    buffer: NDArray[np.uint8], position: int, stop: int, fields: NDArray[Any], field: int, found: NDArray[np.int64]
) -> int:
    """Pass a number under the rules INTEGER (2.0 is one, as JSON knows one kind of number) and NUMBER.

    What comes out is how far an integer is above its least, or the digits of a number and how many are decimals.
    """
    rule = fields[field]
    start = position
    position, known, whole = scan_number(buffer, position, stop)
    fits = False
    if rule["rule"] == INTEGER:
        fits = known == EXACTLY and rule["least"] <= whole <= rule["most"]
    elif known == EXACTLY:
        fits = rule["least"] < whole <= rule["most"]
    elif known == BETWEEN:
        fits = rule["least"] <= whole < rule["most"]
    column = rule["column"]
    if fits and column >= 0:
        digits, decimals = whole - rule["least"], 0
        if known == BETWEEN:
            digits, decimals = scan_decimal(buffer, start, position)
        found[column, 0] = digits
        found[column, 1] = 1
        found[column, 2] = decimals
    return position if fits else UNSURE


@kernel_part
def _scan_field(
    buffer: NDArray[np.uint8],
    position: int,
    stop: int,
    words: NDArray[Any],
    fields: NDArray[Any],
    field: int,
    found: NDArray[np.int64],
    scratch: NDArray[np.uint8],
) -> int:
    """Pass a known field's value, held to its rule, and leave its span or code in the field's column of ``found``."""
    rule = fields[field]["rule"]
    if rule <= CAPITALS:
        return _scan_text(buffer, position, stop, words, fields, field, found, scratch)
    if rule <= NUMBER:
        return _scan_amount(buffer, position, stop, fields, field, found)
    byte = buffer[position]
    if rule == FLAG:
        return scan_literal(buffer, position, stop) if byte == 0x74 or byte == 0x66 else UNSURE
    if rule != OBJECT or byte != 0x7B:
        return UNSURE
    end = skip_value(buffer, position, stop)
    column = fields[field]["column"]
    if column >= 0:
        found[column, 0] = position
        found[column, 1] = end
    return end


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
        if end - start > _SCRATCH_BYTES:
            return -1
        end = unescape(buffer, start, end, scratch, 0)
        text, start, stop = scratch, 0, _SCRATCH_BYTES
    return _find_word(text, start, end, stop, words, first, last)


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
                position = _scan_field(buffer, position, stop, words, fields, field, found, scratch)
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
    place: ``kinds`` (int64[n]; -1: not sure, orjson decides), ``spans`` (int64[SPANS, 2, n]: start and stop of
    the texts in ``buffer``, as they are written there; empty where not given and where not sure), ``details`` (DETAIL[n],
    its texts likewise; comes as zeros) and ``escaped`` (uint16[n], bit k: the text of column k has escapes).
    """
    found = np.empty((_COLUMNS, 3), np.int64)
    scratch = np.empty(_SCRATCH_BYTES, np.uint8)
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
            for column in range(SAID, SAID + _SAID_TEXTS):
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
        for place in range(_SAID_TEXTS):
            if escaped[row] >> (SAID + place) & 1:
                detail = details[row]
                start = detail["starts"][place]
                detail["stops"][place] = unescape(buffer, start, detail["stops"][place], out, start)
