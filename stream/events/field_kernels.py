"""What a field's value may be: text, choice, number, flag; each is passed and held to its rule, as flat tables say."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel_part
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
    skip_value,
    unescape,
)
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
COLUMNS = AMOUNT + 1

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
SCRATCH_BYTES = 6 * MAX_WORD_BYTES


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
def find_word(
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
        found = find_word(buffer, start, end, stop, words, rule["first_choice"], rule["stop_choice"])
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
        if end - start > SCRATCH_BYTES:
            return UNSURE
        end = unescape(buffer, start, end, scratch, 0)
        text, start, stop = scratch, 0, SCRATCH_BYTES
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
def scan_field(
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
