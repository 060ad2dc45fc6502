"""Characters against Python's own decoding, its Unicode database and its folding."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.features import character_kernels
from stream.features.character_kernels import NO_CHARACTER, folded, is_word_character
from tests.parts import compiled

character_at = compiled(character_kernels.character_at)
# Assigned since Unicode 14, after which the table is made; it may not change with Python's version.
NEWER = unicodedata.unidata_version > "17"
TWO_BYTES = range(0x800)
STAYING = {"ß", "ŉ", "ΐ", "ΰ", "և"}
"""Letters that fold to two."""
RARE = {chr(c) for c in range(0x180, 0x250)} | {"\u0345"} | {chr(c) for c in (*range(0x370, 0x378), 0x37F)}
RARE |= {chr(c) for c in range(0x3CF, 0x400)}


def characters(data: bytes) -> list[int]:
    """Return the characters of bytes, NO_CHARACTER for each byte that is none."""
    buffer, at, found = np.frombuffer(b"x" + data + b"\x80", np.uint8), 1, []
    while at <= len(data):
        character, size = character_at(buffer, at, len(data) + 1)
        found.append(int(character))
        at += size
    return found


def decoded(data: bytes) -> list[int]:
    text = data.decode("utf-8", "surrogateescape")
    return [NO_CHARACTER if 0xDC80 <= ord(sign) < 0xDD00 else ord(sign) for sign in text]


@settings(derandomize=True, max_examples=500, deadline=None)
@given(st.lists(st.text(max_size=3).map(lambda text: text.encode("utf-8", "ignore")) | st.binary(max_size=3)))
def test_characters_are_those_that_python_decodes(parts: list[bytes]) -> None:
    data = b"".join(parts)
    assert characters(data) == decoded(data)


@pytest.mark.parametrize("lead", range(0x80, 0x100))
def test_every_sequence_of_utf_8_is_told_from_what_is_none(lead: int) -> None:
    for second in (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0):
        for rest in (b"", b"\x80", b"\x80\xbf", b"\x7f\x80", b"\x80\xc0"):
            data = bytes((lead, second)) + rest
            assert characters(data) == decoded(data)


def test_words_below_u0800_are_letters_marks_and_digits() -> None:
    for code in TWO_BYTES:
        sign = chr(code)
        if NEWER and unicodedata.category(sign) == "Cn":
            continue
        assert is_word_character(code) == (sign.isalnum() or unicodedata.category(sign)[0] == "M"), hex(code)


@pytest.mark.parametrize("text", ["ấữ", "東京", "हिन्दी", "ქართული", "ｱＡ", "𐐀"])
def test_letters_of_other_scripts_belong_to_words(text: str) -> None:
    assert all(is_word_character(ord(sign)) for sign in text)


@pytest.mark.parametrize("sign", "\u2019\u2014\u2026\u20ac\u2192\u2764\ufe0f\u3001\uff01\ufeff\U0001f44d\U0001f1e9।")
def test_marks_symbols_and_emoji_stand_between_words(sign: str) -> None:
    assert not is_word_character(ord(sign))


def test_no_byte_that_is_none_belongs_to_a_word() -> None:
    assert not is_word_character(NO_CHARACTER)
    assert folded(NO_CHARACTER) == NO_CHARACTER


def test_letters_fold_as_unicode_has_them() -> None:
    for code in TWO_BYTES:
        sign, small = chr(code), chr(folded(code))
        if sign == "İ":
            assert small == "i"
        elif sign in STAYING:
            assert small == sign
        elif sign in RARE:
            assert small in {sign, sign.casefold()}
        else:
            assert small == sign.casefold(), hex(code)


def test_folding_twice_changes_nothing() -> None:
    assert all(folded(folded(code)) == folded(code) for code in range(0x900))
