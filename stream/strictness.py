"""What files of models, campaigns and words share: strict reading, as voters find out what is ignored silently."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from stream.errors import ConfigurationError, quoted

# Products and sums of numbers up to this stay finite, so that no score is ever infinite or NaN.
_MOST: Final = 1e100
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_NAME_EXPECTED: Final = "1 to 64 characters of a-z, 0-9, _ and -, beginning with a letter"
# The standard library's parser takes time with the square of a key's parts: 64 KiB of them kept it busy for 22 s.
_DOTTED: Final = re.compile(rb"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){64}""")
_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([\w.-]+)\s*\]")
_KEY: Final = re.compile(r"\s*([\w.-]+)\s*=")
_STEP: Final = r"[\w-]+(?:\[[0-9]+\])?"
_PATH: Final = re.compile(
    rf"(?:a \w+ has the unknown key '|a campaign's |campaign '[^']*': |(?!a ))({_STEP}(?:\.{_STEP})*)"
)
"""The key that an error's text is about: a campaign may be named before it."""


def read_toml(data: bytes, most_bytes: int, what: str) -> dict[str, Any]:
    """Return the table in a TOML file's bytes; raise ConfigurationError if it is too large or not readable."""
    if len(data) > most_bytes:
        message = f"{what} of {len(data)} bytes is too large, expected at most {most_bytes}"
        raise ConfigurationError(message)
    if dotted := _DOTTED.search(data):
        message = f"{what} has a key of more than 64 parts, expected a few at most: {quoted(dotted[0])}"
        raise ConfigurationError(message)
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        message = f"{what} is not readable as TOML: {error}: {quoted(data)}"
        # Without the parser's own traceback, which may be a thousand frames deep.
        raise ConfigurationError(message) from None


def at_line(data: bytes, error: ConfigurationError) -> ConfigurationError:
    """Return an error that is about a key of a TOML file (``pages[3].class is``), with that key's line before its text.

    A key that the file says within another's value has that one's line; an error that is about none is left.
    """
    found = _PATH.match(str(error))
    lines = _lines_of(data.decode()) if found else {}
    path = found[1] if found else ""
    while path and path not in lines:
        path = path.rpartition("[")[0] if path.endswith("]") else path.rpartition(".")[0]
    return ConfigurationError(f"line {lines[path]}, {error}") if path else error


def _lines_of(text: str) -> dict[str, int]:
    """Return the line on which each key of a readable TOML text stands; tables of a list are numbered from 1."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    prefix, quote = "", ""
    for number, line in enumerate(text.split("\n"), 1):
        if quote:
            quote = "" if quote in line else quote
            continue
        if header := _HEADER.match(line):
            first, dot, rest = header[2].partition(".")
            if header[1] == "[[":
                counts[header[2]] = counts.get(header[2], 0) + 1
                prefix = f"{header[2]}[{counts[header[2]]}]"
            else:
                prefix = f"{first}[{counts[first]}]{dot}{rest}" if first in counts else header[2]
            lines.setdefault(prefix, number)
            lines.setdefault(first, number)
        elif key := _KEY.match(line):
            parts = key[1].split(".")
            for count in range(1, len(parts) + 1):
                path = ".".join(([prefix] if prefix else []) + parts[:count])
                lines.setdefault(path, number)
        for mark in ('"""', "'''"):
            if line.count(mark) % 2:
                quote = mark
    return lines


def refuse_keys(fields: Mapping[str, Any], required: Sequence[str], optional: Sequence[str], what: str) -> None:
    """Raise ConfigurationError for a key that is unknown or missing."""
    for key in fields:
        if key not in required and key not in optional:
            message = f"{what} has the unknown key {quoted(key)}, expected {', '.join((*required, *optional))}"
            raise ConfigurationError(message)
    for key in required:
        if key not in fields:
            message = f"{what} lacks the key {key!r}, expected {', '.join(required)}"
            raise ConfigurationError(message)


def name_of(value: object, what: str) -> str:
    """Return ``value`` if it can name a model or campaign; raise ConfigurationError if not."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        message = f"{what} is {quoted(value)}, expected {_NAME_EXPECTED}"
        raise ConfigurationError(message)
    return value


def number_of(value: object, what: str) -> float:
    """Return ``value`` as a float; raise ConfigurationError if it is no number or out of bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MOST:
        message = f"{what} is {quoted(value)}, expected a number from -1e100 to 1e100"
        raise ConfigurationError(message)
    return float(value)


def description_of(fields: Mapping[str, Any], what: str) -> str:
    """Return the optional description; raise ConfigurationError if it is no string."""
    description = fields.get("description", "")
    if not isinstance(description, str):
        message = f"{what}: description is {quoted(description)}, expected a string"
        raise ConfigurationError(message)
    return description
