"""The features that a model may name, in the order that fixes their indices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stream.records import COUNTED_KINDS, ENGAGEMENT_TYPES, HALF_LIFE_NAMES

DECAYED: Final = COUNTED_KINDS * len(HALF_LIFE_NAMES)
"""How many decayed counts there are; they come first, by type, then half-life."""
SESSIONS: Final = DECAYED
SESSION_EVENTS: Final = DECAYED + 1
DAYS_SINCE_FIRST_SEEN: Final = DECAYED + 2
HOURS_SINCE_LAST_SEEN: Final = DECAYED + 3


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a feature row."""

    name: str
    unit: str
    meaning: str


_CATALOGUE: Final = (
    *(
        Feature(
            f"{kind}.decayed_{half_life}",
            "events",
            f"Number of {kind} events up to and with this one, each weighing half as much after every {half_life}.",
        )
        for kind in ENGAGEMENT_TYPES
        for half_life in HALF_LIFE_NAMES
    ),
    Feature("sessions", "sessions", "Runs of events with no gap of more than 30 minutes, since the first event."),
    Feature("session_events", "events", "Events in the latest session, with this one."),
    Feature("days_since_first_seen", "days", "From the earliest event's time to the log's time."),
    Feature(
        "hours_since_last_seen", "hours", "From the latest event before this one to the log's time; 0 at the first."
    ),
)

FEATURES: Final[tuple[str, ...]] = tuple(feature.name for feature in _CATALOGUE)
"""Every feature's name; its place is its index in the catalogue."""


def catalogue() -> tuple[Feature, ...]:
    """Return every feature with its unit and meaning, in the order of FEATURES."""
    return _CATALOGUE
