"""The table of fields: laid out for the scanner, and a new field is a line in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.events import scan_kernels
from stream.events.fields import (
    ATTRIBUTES,
    FIELDS,
    amount,
    capitals,
    flag,
    integer,
    kept,
    one_of,
    required,
    text,
)
from stream.events.json_kernels import UNSURE
from stream.events.tables import EVENTS, build, word_of
from stream.records import EVENT_TYPES
from tests.parts import compiled

scan_object = compiled(scan_kernels.scan_object)


def test_every_type_has_its_table_of_fields() -> None:
    assert tuple(FIELDS) == EVENT_TYPES
    assert len(EVENTS.tables) == 1 + len(EVENT_TYPES)
    for table, fields in zip(EVENTS.tables, (ATTRIBUTES, *FIELDS.values()), strict=True):
        names = [word_of(name) for name in fields]
        assert EVENTS.words[table["first"] : table["stop"]].tolist() == names


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(st.text("ab", min_size=1, max_size=24), min_size=2, max_size=2))
def test_words_are_the_same_only_if_their_numbers_are(words: list[str]) -> None:
    one, other = words
    assert (word_of(one) == word_of(other)) == (one == other)


def test_what_a_kernel_has_no_place_for_is_refused() -> None:
    with pytest.raises(ValueError, match="25 bytes, expected 1 to 24"):
        build([{"x" * 25: text(1)}])
    with pytest.raises(ValueError, match="expected at most 62"):
        build([{f"f{number}": flag for number in range(63)}])


def test_new_field_is_a_line_and_comes_out_as_span_or_code() -> None:
    tables = build(
        [
            {
                "url": kept(text(5), 0),
                "device": kept(one_of("phone", "computer", "an uncommonly long one"), 1),
                "currency": capitals(3),
                "count": integer(0, 9),
                "amount": required(amount(10)),
                "new": flag,
            }
        ]
    )

    def scanned(value: bytes) -> tuple[bool, list[list[int]]]:
        data = np.frombuffer(value, np.uint8)
        found, scratch = np.full((2, 3), -7, np.int64), np.empty(144, np.uint8)
        end = scan_object(data, 0, len(data), tables.words, tables.fields, tables.tables[0], found, scratch)
        assert end in (UNSURE, len(data))
        return end > 0, found.tolist()

    sound = {"url": "/a", "device": "an uncommonly long one", "currency": "EUR", "count": 9, "amount": 0.5, "new": True}
    assert scanned(orjson.dumps(sound)) == (True, [[8, 10, 0], [2, 1, -7]])
    assert scanned(b'{"amount":10,"url":"\\u00fc"}') == (True, [[20, 26, 1], [-7, -7, -7]])
    assert scanned(b'{"amount":10,"device":"p\\u0068one"}') == (True, [[-7, -7, -7], [0, 1, -7]])
    assert scanned(b'{"amount":10,"device":null}')[0]
    unfit: list[tuple[str, Any]] = [("url", "/abcde"), ("url", 7), ("device", "phones"), ("currency", "EU"), ("new", 1)]
    unfit += [("currency", "EUr"), ("count", 10), ("count", 0.5), ("amount", 0), ("amount", 10.5), ("amount", None)]
    for name, value in unfit:
        assert not scanned(orjson.dumps({**sound, name: value}))[0]
    assert not scanned(b'{"amount":10,"url":"/a","url":"/a"}')[0]
    assert not scanned(b"{}")[0]
