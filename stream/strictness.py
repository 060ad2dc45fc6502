"""What model and campaign files share: a strict reading, since what is ignored silently is found out by voters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from stream.errors import ConfigurationError, quoted

# Products and sums of numbers up to this stay finite, so that no score is ever infinite or NaN.
_MOST: Final = 1e100
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_NAME_EXPECTED: Final = "1 to 64 characters of a-z, 0-9, _ and -, beginning with a letter"


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
