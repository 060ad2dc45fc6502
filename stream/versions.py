"""The roles that versions of a model have: beside the active one, those on trial and the one to go back to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from stream.errors import quoted
from stream.shapes import fits

ACTIVE: Final = "active"
"""Scores every voter, and campaigns read its scores."""
SHADOW: Final = "shadow"
"""Scores every voter for metrics alone."""
CANARY: Final = "canary"
"""Scores in the active version's place for a share of the voters."""
PREVIOUS: Final = "previous"
"""Scores nothing: what a rollback makes active."""
ROLES: Final = (ACTIVE, SHADOW, CANARY, PREVIOUS)
MAX_TRIALS: Final = 4
"""How many shadows and canaries there can be at a time, of all models together."""
MAX_PREVIOUS: Final = 12

Entry = dict[str, str | float | int]
"""A version as it stands in a partition's header."""


@dataclass(frozen=True, slots=True, order=True)
class ModelVersion:
    """One version of a model, and its role."""

    name: str
    sha256: str
    role: str
    """One of ROLES."""
    share: float = 0.0
    """Of a canary, the share of the voters, above 0 and below 1; else 0."""
    since_ms: int = 0
    """Since when it has its role, as whoever gave it said (ms since the epoch; 0: not said); decides nothing."""

    @property
    def is_trial(self) -> bool:
        """Whether it scores beside the active version."""
        return self.role in {SHADOW, CANARY}

    def to_entry(self) -> Entry:
        """Return the version as it stands in a header."""
        return asdict(self)

    @classmethod
    def of_entry(cls, entry: Entry) -> ModelVersion:
        """Return the version of a header's entry that ``faults`` finds nothing in."""
        name, sha256, role, share, since_ms = (entry[field] for field in _TYPES)
        return cls(str(name), str(sha256), str(role), float(share), int(since_ms))


_TYPES: Final = {"name": str, "sha256": str, "role": str, "share": float, "since_ms": int}


def faults(entries: Sequence[Entry]) -> Iterator[str]:
    """Say which of a header's entries are no version."""
    for entry in entries:
        is_whole = entry.keys() == _TYPES.keys() and all(fits(entry[name], hint) for name, hint in _TYPES.items())
        if not is_whole or entry["role"] not in ROLES:
            yield f"versions has {quoted(entry)}, expected {', '.join(_TYPES)} with a role of {', '.join(ROLES)}"
            return
    found = [ModelVersion.of_entry(entry) for entry in entries]
    for one in found:
        if not (0.0 < one.share < 1.0 if one.role == CANARY else one.share == 0.0):
            yield f"versions has {quoted(one.to_entry())}, expected a share above 0 and below 1 of canaries alone"
    if len({(one.name, one.role) for one in found}) < len(found):
        yield "versions has two of one name and role"
    yield from (f"versions has {excess}" for excess in excesses(found))


def excesses(versions: Iterable[ModelVersion]) -> Iterator[str]:
    """Say of what there are more than there is room for."""
    found = list(versions)
    for what, most, count in (
        ("versions on trial", MAX_TRIALS, sum(one.is_trial for one in found)),
        ("versions to go back to", MAX_PREVIOUS, sum(one.role == PREVIOUS for one in found)),
    ):
        if count > most:
            yield f"{count} {what}, expected at most {most}"
