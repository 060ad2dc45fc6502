"""A voter's record in words: every field with its name, value and unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from stream.features.catalogue import catalogue
from stream.features.kernels import read_rows
from stream.layout import MOMENTS
from stream.records import VOTER, ContentId

_CONSENT: Final = ("unknown", "granted", "withdrawn", "erased")
_MOMENT: Final = "ms since the epoch"
_SECOND: Final = "s since the epoch"
_UNITS: Final = {
    "last_offset": "offset",
    "last_seen_ms": _MOMENT,
    "first_seen_s": _SECOND,
    "ring_next": "place in ring",
    "sessions": "sessions",
    "session_events": "events",
}
_TOLD: Final = ("score", "score_tag", "fired_s", "campaign_tag", "armed", "last_s", "counts")
"""Fields that are told by the names of their parts, or as features: their numbers are as of landmarks."""


class Field(NamedTuple):
    """One field of a record."""

    name: str
    value: int | float | str
    unit: str


def describe(record: np.void, models: Sequence[str | None] = (), campaigns: Sequence[str | None] = ()) -> list[Field]:
    """Return every field of one VOTER record, in the record's order, then the features at ``last_seen_ms``.

    ``models`` and ``campaigns`` are names by slot. State that a slot holds of something else (it was active
    there before) is named by its tag, and a slot that was never used is left out.
    """
    fields: list[Field] = []
    for name in VOTER.names or ():
        if name not in _TOLD:
            fields += _plain(name, record[name])
    fields += [Field(f"last_s.{name}", int(record["last_s"][place]), _SECOND) for place, name in enumerate(MOMENTS)]
    for slot, title in _named("model", record["score_tag"], models):
        fields.append(Field(f"score.{title}", float(record["score"][slot]), "score"))
    for slot, title in _named("campaign", record["campaign_tag"], campaigns):
        fields.append(Field(f"armed.{title}", "yes" if int(record["armed"]) >> slot & 1 else "no", ""))
        fields.append(Field(f"fired_s.{title}", int(record["fired_s"][slot]), _SECOND))
    return fields + _features(record)


def _plain(name: str, value: Any) -> list[Field]:
    if name == "consent":
        return [Field(name, _CONSENT[int(value)], "")]
    if name == "ring":
        return [Field(f"ring[{place}]", f"{int(one):016x}", "hash") for place, one in enumerate(value)]
    if np.ndim(value):
        return [Field(name, " ".join(map(str, np.ravel(value).tolist())), "as laid out")]
    number = float(value) if np.issubdtype(value.dtype, np.floating) else int(value)
    return [Field(name, number, _UNITS.get(name, ""))]


def _features(record: np.void) -> list[Field]:
    features = catalogue()
    row = np.empty((1, len(features)))
    read_rows(np.array([record], VOTER), 0, 0, 1, np.arange(len(features)), row)
    taken = {"sessions", "session_events"}
    return [
        Field(feature.name, value, f"{feature.unit} at last_seen_ms")
        for feature, value in zip(features, row[0].tolist(), strict=True)
        if feature.name not in taken
    ]


def _named(kind: str, tags: np.ndarray, names: Sequence[str | None]) -> list[tuple[int, str]]:
    """Return (slot, name) of every slot that holds something."""
    named: list[tuple[int, str]] = []
    for slot, tag in enumerate(tags.tolist()):
        name = names[slot] if slot < len(names) else None
        if tag and (name is None or ContentId(kind, name, "").tag() != tag):
            name = f"{kind} {tag:04x}"
        if tag and name is not None:
            named.append((slot, name))
    return named
