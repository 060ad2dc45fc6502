"""A voter's record in words: every field with its name, value and unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stream.records import ENGAGEMENT_TYPES, HALF_LIFE_NAMES, ContentId

_CONSENT = ("unknown", "granted", "withdrawn", "erased")
_MOMENT = "ms since the epoch"
# Half of what is left after each: the number is events as they weighed at last_seen_ms.
_DECAYED = "events at last_seen_ms"


class Field(NamedTuple):
    """One field of a record."""

    name: str
    value: int | float | str
    unit: str


def describe(record: np.void, models: Sequence[str | None] = (), campaigns: Sequence[str | None] = ()) -> list[Field]:
    """Return every field of one VOTER record, in the record's order.

    ``models`` and ``campaigns`` are names by slot. State that a slot holds of something else (it was active
    there before) is named by its tag, and a slot that was never used is left out.
    """
    fields = [
        Field("version", int(record["version"]), ""),
        Field("consent", _CONSENT[int(record["consent"])], ""),
        Field("last_offset", int(record["last_offset"]), "offset"),
        Field("first_seen_ms", int(record["first_seen_ms"]), _MOMENT),
        Field("last_seen_ms", int(record["last_seen_ms"]), _MOMENT),
        Field("sessions", int(record["sessions"]), "sessions"),
        Field("session_events", int(record["session_events"]), "events"),
        Field("ring_next", int(record["ring_next"]), "place in ring"),
    ]
    fields += [Field(f"ring[{place}]", f"{int(name):016x}", "hash") for place, name in enumerate(record["ring"])]
    fields += [
        Field(f"{kind}.decayed_{half_life}", float(record["decayed"][k, h]), _DECAYED)
        for k, kind in enumerate(ENGAGEMENT_TYPES)
        for h, half_life in enumerate(HALF_LIFE_NAMES)
    ]
    for slot, name in _named("model", record["score_tag"], models):
        fields.append(Field(f"score.{name}", float(record["score"][slot]), "score"))
    for slot, name in _named("campaign", record["campaign_tag"], campaigns):
        fields.append(Field(f"armed.{name}", "yes" if int(record["armed"]) >> slot & 1 else "no", ""))
        fields.append(Field(f"fired_ms.{name}", int(record["fired_ms"][slot]), _MOMENT))
    return fields


def _named(kind: str, tags: np.ndarray, names: Sequence[str | None]) -> list[tuple[int, str]]:
    """Return (slot, name) of every slot that holds something."""
    named: list[tuple[int, str]] = []
    for slot, tag in enumerate(tags.tolist()):
        name = names[slot] if slot < len(names) else None
        if tag and (name is None or ContentId(kind, name, "").tag() != tag):
            name = f"{kind} {tag:08x}"
        if tag and name is not None:
            named.append((slot, name))
    return named
