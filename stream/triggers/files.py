"""Campaign files: TOML, read strictly, since what is ignored silently is found out by voters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from stream.errors import ConfigurationError, quoted
from stream.strictness import at_line, description_of, name_of, number_of, read_toml, refuse_keys

MAX_CAMPAIGN_BYTES: Final = 64 * 1024
_COOLDOWN: Final = re.compile(r"([0-9]{1,9})([dhms])")
_UNIT_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}
_DIRECTIONS: Final = ("up", "down")
_REQUIRED: Final = ("name", "model", "direction", "threshold", "rearm", "cooldown")
_OPTIONAL: Final = ("description", "action")


@dataclass(frozen=True, slots=True)
class Campaign:
    """A crossing of a score that fires a trigger, as its file says."""

    name: str
    model: str
    """Name of the model whose score it watches."""
    direction: str
    """``up`` or ``down``."""
    threshold: float
    rearm: float
    """The score at which it can fire again: at most the threshold for up, at least for down."""
    cooldown_ms: int
    """Log time that must pass between two triggers for one voter."""
    action: tuple[tuple[str, str], ...] = ()
    """(key, value), sorted by key: passed through to subscribers."""
    description: str = ""


def read_campaign(data: bytes) -> Campaign:
    """Return the campaign in a file's bytes.

    Raises ConfigurationError, with the line, quoting what is wrong and saying what was expected, for anything unusable.
    """
    fields = read_toml(data, MAX_CAMPAIGN_BYTES, "a campaign")
    try:
        return _read(fields)
    except ConfigurationError as error:
        raise at_line(data, error) from None


def _read(fields: dict[str, Any]) -> Campaign:
    refuse_keys(fields, _REQUIRED, _OPTIONAL, "a campaign")
    name = name_of(fields["name"], "a campaign's name")
    direction = fields["direction"]
    if not isinstance(direction, str) or direction not in _DIRECTIONS:
        message = f"campaign {name!r}: direction is {quoted(direction)}, expected 'up' or 'down'"
        raise ConfigurationError(message)
    threshold = number_of(fields["threshold"], f"campaign {name!r}: threshold")
    rearm = number_of(fields["rearm"], f"campaign {name!r}: rearm")
    if (rearm > threshold) if direction == "up" else (rearm < threshold):
        bound = "at most" if direction == "up" else "at least"
        message = f"campaign {name!r}: rearm is {rearm!r}, expected {bound} the threshold {threshold!r}"
        raise ConfigurationError(message)
    description = description_of(fields, f"campaign {name!r}")
    return Campaign(
        name=name,
        model=name_of(fields["model"], f"campaign {name!r}: model"),
        direction=direction,
        threshold=threshold,
        rearm=rearm,
        cooldown_ms=_cooldown_ms(fields["cooldown"], name),
        action=_action(fields.get("action", {}), name),
        description=description,
    )


def _cooldown_ms(value: object, name: str) -> int:
    if type(value) is int and value == 0:
        return 0
    match = _COOLDOWN.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        message = (
            f"campaign {name!r}: cooldown is {quoted(value)}, expected 0 or a string such as '7d', '12h', '30m', '45s'"
        )
        raise ConfigurationError(message)
    return int(match[1]) * _UNIT_MS[match[2]]


def _action(action: object, name: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(action, dict):
        message = f"campaign {name!r}: action is {quoted(action)}, expected a table of strings"
        raise ConfigurationError(message)
    for key, value in action.items():
        if not isinstance(value, str):
            message = f"campaign {name!r}: action {quoted(key)} is {quoted(value)}, expected a string"
            raise ConfigurationError(message)
    return tuple(sorted(action.items()))
