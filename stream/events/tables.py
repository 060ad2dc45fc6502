"""The fields' rules as flat arrays, for the scanner: built once, from the tables in ``fields``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.events.field_kernels import FIELD, KIND, MAX_WORD_BYTES, SAID, TABLE, WORD
from stream.events.fields import ATTRIBUTES, FIELDS, Rules
from stream.records import EVENT_TYPES

MAX_FIELDS: Final = 62
"""Of one object: which are given is kept in the bits of a number."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What an event's bytes are held to; the arrays are not changed."""

    words: NDArray[Any]
    """WORD[n]: the fields' names, then the words of their choices."""
    fields: NDArray[Any]
    """FIELD[m]: the rules."""
    tables: NDArray[Any]
    """TABLE: the event's own fields, then those of its data by kind code."""


def word_of(text: str) -> tuple[int, int, int, int]:
    """Return a known word as an element of WORD; raise ValueError for one that is too long."""
    data = text.encode()
    if not 0 < len(data) <= MAX_WORD_BYTES:
        message = f"{text!r} has {len(data)} bytes, expected 1 to {MAX_WORD_BYTES}"
        raise ValueError(message)
    tail = data[-8:] if len(data) >= 8 else b""
    middle = data[8:16] if len(data) > 16 else b""
    head, middle_word, tail_word = (int.from_bytes(part, "little") for part in (data[:8], middle, tail))
    return len(data), head, middle_word, tail_word


def build(objects: Sequence[Rules]) -> Tables:
    """Lay out the rules of some objects, one table for each; raise ValueError where a kernel has no place for one."""
    rules = [rule for fields in objects for rule in fields.values()]
    words = [word_of(name) for fields in objects for name in fields]
    laid = np.zeros(len(rules), FIELD)
    for field, rule in enumerate(rules):
        first = len(words)
        words += map(word_of, rule.choices)
        laid[field] = (rule.code, rule.least, rule.most, first, len(words), rule.column)
    tables = np.zeros(len(objects), TABLE)
    first = 0
    for number, fields in enumerate(objects):
        if len(fields) > MAX_FIELDS:
            message = f"an object has {len(fields)} fields, expected at most {MAX_FIELDS}"
            raise ValueError(message)
        required = sum(1 << place for place, rule in enumerate(fields.values()) if rule.required)
        columns = [rule.column for rule in fields.values() if SAID <= rule.column < KIND]
        tables[number] = (first, first + len(fields), required, 1 + max(columns, default=SAID - 1) - SAID)
        first += len(fields)
    return Tables(np.array(words, WORD), laid, tables)


EVENTS: Final = build([ATTRIBUTES, *(FIELDS[name] for name in EVENT_TYPES)])
"""The events' own."""
