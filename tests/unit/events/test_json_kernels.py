"""The grammar's kernels against the standard library: where strings end, what they say, what numbers are."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream import words
from stream.events import json_kernels
from stream.events.json_kernels import BETWEEN, EXACTLY, SOMEHOW, UNSURE
from tests.parts import compiled

count_characters = compiled(json_kernels.count_characters)
scan_literal = compiled(json_kernels.scan_literal)
scan_number = compiled(json_kernels.scan_number)
scan_string = compiled(json_kernels.scan_string)
skip_colon = compiled(json_kernels.skip_colon)
skip_value = compiled(json_kernels.skip_value)
skip_whitespace = compiled(json_kernels.skip_whitespace)
unescape = compiled(json_kernels.unescape)
word_at = compiled(words.word_at)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def array(text: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(text, np.uint8)


def written(text: str, plain: bool) -> bytes:
    return json.dumps(text, ensure_ascii=not plain).encode()


def test_word_is_eight_bytes_from_anywhere() -> None:
    data = array(bytes(range(200, 220)))
    for place in range(13):
        assert int(word_at(data, place)) == int.from_bytes(bytes(data[place : place + 8]), "little")


@settings(derandomize=True, max_examples=300, deadline=None)
@given(TEXT, st.booleans(), st.integers(0, 9))
def test_string_ends_where_it_ends_and_says_what_it_says(text: str, plain: bool, before: int) -> None:
    string = written(text, plain)
    data = array(b"x" * before + string + b'"},')
    end, escaped = scan_string(data, before, len(data))
    assert end == before + len(string)
    assert escaped == (b"\\" in string)
    assert count_characters(data, before + 1, end - 1) == len(text)
    out = np.zeros(len(data), np.uint8)
    stop = unescape(data, before + 1, end - 1, out, before + 1)
    assert out[before + 1 : stop].tobytes() == text.encode()


@pytest.mark.parametrize("place", range(20))
@pytest.mark.parametrize("byte", [0x00, 0x1F, 0x22, 0x5C, 0x80, 0xBF, 0xC0, 0xC1, 0xF5, 0xFF])
def test_one_byte_that_cannot_stand_alone_is_seen_at_every_place(byte: int, place: int) -> None:
    text = bytearray(b"\x20\x21\x23\x5b\x5d\x7e\x7f" * 3)[:20]
    data = array(b'"' + bytes(text) + b'"')
    assert scan_string(data, 0, len(data)) == (22, False)
    text[place] = byte
    data = array(b'"' + bytes(text) + b'"')
    end, _ = scan_string(data, 0, len(data))
    assert end == (place + 2 if byte == 0x22 else UNSURE)


def test_every_sequence_of_utf_8_is_told_from_what_is_none() -> None:
    for lead in range(0x80, 0x100):
        for second in (0x00, 0x22, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0):
            for rest in (b"", b"\x80", b"\x80\xbf", b"\x7f\x80", b"\x80\xc0"):
                text = bytes((lead, second)) + rest
                data = array(b'"' + text + b'"')
                end, _ = scan_string(data, 0, len(data))
                try:
                    expected = text.decode().find('"') < 0 and min(map(ord, text.decode())) >= 0x20
                except UnicodeDecodeError:
                    expected = False
                if second != 0x22:
                    assert (end == len(data)) == expected, text


def test_string_that_does_not_end_is_none() -> None:
    for string in (written("Grüße 🗳 und mehr", True), written("Grüße 🗳 und mehr", False)):
        for stop in range(len(string)):
            assert scan_string(array(string), 0, stop)[0] == UNSURE


@settings(derandomize=True, max_examples=500, deadline=None)
@given(st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?", fullmatch=True))
def test_what_is_said_of_a_number_is_so_of_its_double(text: str) -> None:
    data = array(text.encode() + b" ")
    end, known, whole = scan_number(data, 0, len(data))
    assert end == len(text)
    exact, double = Fraction(text), Fraction(float(text))
    if known == EXACTLY:
        assert exact == whole
        assert "." not in text or double == whole
    elif known == BETWEEN:
        assert whole < exact < whole + 1
        assert whole < double < whole + 1
    else:
        assert known == SOMEHOW


@pytest.mark.parametrize("text", ["0", "-0", "7", "-7", "12.50", "0.001", "-0.5", "2.0", "1" * 18, "123456789012.125"])
def test_usual_numbers_are_known(text: str) -> None:
    assert scan_number(array(text.encode()), 0, len(text))[:2] == (len(text), BETWEEN if float(text) % 1 else EXACTLY)


@pytest.mark.parametrize("text", ["", "-", "01", "-01", "1.", ".5", "1e", "1e+", "+1", "1e999", "1e-100", "9" * 201])
def test_what_is_no_number_or_may_be_too_large_is_left(text: str) -> None:
    assert scan_number(array(text.encode()), 0, len(text))[0] == UNSURE


def test_literals_are_whole() -> None:
    for text in (b"true", b"false", b"null"):
        assert scan_literal(array(text + b"e"), 0, len(text)) == len(text)
        for stop in range(len(text)):
            assert scan_literal(array(text), 0, stop) == UNSURE
    for text in (b"True", b"falsy", b"nulL", b"trux"):
        assert scan_literal(array(text), 0, len(text)) == UNSURE


def test_whitespace_and_colon_are_passed() -> None:
    data = array(b" \t\r\n: \x0b")
    assert skip_whitespace(data, 0, len(data)) == 4
    assert skip_colon(data, 0, len(data)) == 6
    assert skip_colon(data, 0, 6) == UNSURE
    assert skip_colon(data, 6, len(data)) == UNSURE


THOUSANDTHS = st.integers(-(10**12), 10**12).map(lambda number: number / 1000)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**18), 10**18), THOUSANDTHS, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(JSON, st.booleans(), st.sampled_from([None, 1]), st.data())
def test_value_is_passed_whole_and_no_part_of_it_alone(
    value: object, plain: bool, indent: int | None, data: st.DataObject
) -> None:
    text = json.dumps(value, ensure_ascii=not plain, indent=indent).encode()
    whole = array(text)
    assert skip_value(whole, 0, len(whole)) == len(whole)
    stop = data.draw(st.integers(0, len(text)))
    end = skip_value(whole, 0, stop)
    # Of a number a beginning may be one too.
    assert end in (UNSURE, stop)
    if end == stop:
        json.loads(text[:stop])
