"""What a taxonomy lists, as the bytes that an automaton meets: folded as the kernels fold what they read."""

from __future__ import annotations

import re
from typing import Final

from stream.errors import ConfigurationError, quoted
from stream.features.character_kernels import EDGE, folded, is_word_character
from stream.features.word_kernels import MAX_PHRASE_WORDS

MAX_PATTERN_CHARACTERS: Final = 64
MIN_STEM_CHARACTERS: Final = 2
_EDGE: Final = bytes([EDGE])
_HOST: Final = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_PARAMETER: Final = re.compile(r"[a-z0-9_.-]{1,64}")


def _refusal(value: object, what: str, expected: str) -> ConfigurationError:
    return ConfigurationError(f"{what}: {quoted(value)}, expected {expected}")


def _short_text(value: object, what: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_PATTERN_CHARACTERS:
        raise _refusal(value, what, f"a text of 1 to {MAX_PATTERN_CHARACTERS} characters")
    return value


def _fold(text: str) -> str:
    return "".join(chr(folded(ord(sign))) for sign in text)


def _has_blanks(text: str) -> bool:
    return any(sign <= " " or sign == "\x7f" for sign in text)


def words_in(text: str) -> list[str]:
    """Return a text's words as ``weigh_words`` has them."""
    parted = "".join(_fold(sign) if is_word_character(ord(sign)) else " " for sign in text)
    return [word for word in parted.split(" ") if word]


def word_pattern(value: object, what: str) -> tuple[bytes, int]:
    """Return a word, phrase or stem (``educat*``) between spaces, and how many words it has."""
    text = _short_text(value, what)
    body = text.removesuffix("*")
    words = words_in(body)
    if "*" in body or not 1 <= len(words) <= MAX_PHRASE_WORDS:
        raise _refusal(value, what, f"1 to {MAX_PHRASE_WORDS} words, with a * at the end at most")
    if body == text:
        return f" {' '.join(words)} ".encode(), len(words)
    if not is_word_character(ord(body[-1])) or len(words[-1]) < MIN_STEM_CHARACTERS:
        raise _refusal(value, what, f"at least {MIN_STEM_CHARACTERS} letters of the last word before the *")
    return f" {' '.join(words)}".encode(), len(words)


def account_pattern(kind: int, value: object, what: str) -> bytes:
    """Return an account's name, without its @, to be met whole among the names of a kind (a byte of NAME_BYTES)."""
    name = _short_text(value, what).removeprefix("@")
    if not name or _has_blanks(name):
        raise _refusal(value, what, "an account's name without blanks")
    return name_pattern(kind, name, what)


def name_pattern(kind: int, value: object, what: str) -> bytes:
    """Return a name to be met whole among those of a kind (a byte of NAME_BYTES)."""
    name = _short_text(value, what)
    if name != name.strip() or not name.isprintable():
        raise _refusal(value, what, "a text of printable characters without blanks around it")
    return bytes([kind]) + _fold(name).encode() + _EDGE


def host_pattern(value: object, what: str) -> bytes:
    """Return a host that an address ends with, label by label."""
    if not isinstance(value, str) or len(value) > 253 or not _HOST.fullmatch(value):
        raise _refusal(value, what, "a host in small letters such as 'example.org'")
    return b"." + value.encode() + _EDGE


def path_pattern(value: object, what: str) -> bytes:
    """Return a path to be met whole, or where a * stands at its beginning or end, as an end, a beginning or a part."""
    text = _short_text(value, what)
    body = text.removeprefix("*").removesuffix("*")
    fits = body and text[0] in "/*" and not (set("*?#") & set(body)) and "//" not in body and not _has_blanks(body)
    if not fits or (body != "/" and text.endswith("/")):
        raise _refusal(value, what, "a path such as '/donate', '/donate/*', '*/donate' or '*donate*'")
    before, after = b"" if text[0] == "*" else _EDGE, b"" if text[-1] == "*" else _EDGE
    return before + _fold(body).encode() + after


def parameter_of(value: object, what: str) -> str:
    """Return the name of a query's parameter."""
    if not isinstance(value, str) or not _PARAMETER.fullmatch(value):
        raise _refusal(value, what, "a parameter of 1 to 64 characters of a-z, 0-9, _, . and -")
    return value


def tag_pattern(parameter: str, value: object, what: str) -> bytes:
    """Return ``parameter=value`` to be met whole, or its beginning where the value ends with a *."""
    text = _short_text(value, what)
    body = text.removesuffix("*")
    if set("*&#") & set(body) or _has_blanks(body):
        raise _refusal(value, what, "a value without blanks, & and #, with a * at the end at most")
    return _EDGE + f"{parameter}={_fold(body)}".encode() + (_EDGE if body == text else b"")


def parameter_pattern(parameter: str) -> bytes:
    """Return what every value of a parameter begins with."""
    return _EDGE + f"{parameter}=".encode()
