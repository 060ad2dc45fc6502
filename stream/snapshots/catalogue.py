"""Which snapshots there are of a partition, which of them are kept, and what is left of those never finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from stream.snapshots.format import MANIFEST, SnapshotName
from stream.snapshots.offload import Offload
from stream.snapshots.reading import SnapshotReader
from stream.snapshots.storage import SnapshotStorage
from stream.snapshots.writing import SnapshotWriter

_ABANDONED_MS: Final = 6 * 3_600_000
"""A folder without a manifest that is older than this is nobody's work any more."""


@dataclass(frozen=True, slots=True)
class Place:
    """Whose snapshots are meant."""

    namespace: str
    partition: int

    @property
    def folder(self) -> str:
        """The folder of the partition's snapshots; a namespace cannot be an underscore."""
        return f"{self.namespace or '_'}/{self.partition}"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long snapshots are kept."""

    count: int
    """At most so many of a partition, the newest."""
    age_ms: int
    """None older than this, except the newest."""


class Catalogue:
    """One partition's snapshots in a storage. Methods raise SnapshotStorageError."""

    def __init__(self, storage: SnapshotStorage, place: Place, offload: Offload) -> None:
        """Nothing is read yet."""
        self.place = place
        self.storage = storage
        self._offload = offload

    async def complete(self) -> list[SnapshotName]:
        """Return the snapshots that have a manifest, newest first."""
        return (await self._folders())[0]

    def reader(self, name: SnapshotName) -> SnapshotReader:
        """Return a reader of one snapshot."""
        return SnapshotReader(self.storage, f"{self.place.folder}/{name.text}", self._offload)

    def writer(self, name: SnapshotName) -> SnapshotWriter:
        """Return a writer of a new snapshot."""
        return SnapshotWriter(self.storage, f"{self.place.folder}/{name.text}", self._offload)

    async def clear_away(self, retention: Retention, now_ms: int) -> list[SnapshotName]:
        """Remove what need not be kept, and return it; never the newest snapshot, nor one that may be being written.

        Nor the one that is furthest in the log.
        """
        complete, incomplete = await self._folders()
        doomed = [
            *outdated(complete, retention, now_ms),
            *(name for name in incomplete if name.created_ms < now_ms - _ABANDONED_MS),
        ]
        for name in doomed:
            folder = f"{self.place.folder}/{name.text}"
            # Without its manifest it is no snapshot any more, however far the rest comes.
            await self._offload(partial(self.storage.remove, f"{folder}/{MANIFEST}"))
            await self._offload(partial(self.storage.remove, folder))
        return doomed

    async def _folders(self) -> tuple[list[SnapshotName], list[SnapshotName]]:
        """Return the partition's folders with and without a manifest, newest first."""
        files = await self._offload(partial(self.storage.names, self.place.folder))
        found: dict[str, bool] = {}
        for file in files:
            folder, _, name = file.removeprefix(f"{self.place.folder}/").partition("/")
            found[folder] = found.get(folder, False) or name == MANIFEST
        names = sorted(((SnapshotName.parse(text), whole) for text, whole in found.items()), key=_newest_first)
        return [name for name, whole in names if name and whole], [name for name, whole in names if name and not whole]


def outdated(names: Sequence[SnapshotName], retention: Retention, now_ms: int) -> list[SnapshotName]:
    """Return which of a partition's snapshots, newest first, need not be kept.

    Kept is also the one that is furthest in the log: after a clock was set back the one just taken is the oldest.
    """
    furthest = max(names, key=lambda name: name.offset, default=None)
    return [
        name
        for place, name in enumerate(names)
        if place and name != furthest and (place >= retention.count or name.created_ms < now_ms - retention.age_ms)
    ]


def _newest_first(found: tuple[SnapshotName | None, bool]) -> tuple[int, int]:
    name = found[0]
    return (0, 0) if name is None else (-name.created_ms, -name.offset)
