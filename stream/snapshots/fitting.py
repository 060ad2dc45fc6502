"""Which of a partition's snapshots a log can be read on from, and why the others cannot be used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from stream.continuity import LogFacts, foreign, out_of_reach
from stream.errors import SnapshotRefusedError
from stream.snapshots.catalogue import Catalogue, Place
from stream.snapshots.format import Manifest, SnapshotName
from stream.snapshots.reading import SnapshotReader


@dataclass(frozen=True, slots=True)
class Fitting:
    """A snapshot that may be used."""

    name: SnapshotName
    manifest: Manifest
    reader: SnapshotReader


def refuse_misfit(manifest: Manifest, place: Place, log: LogFacts, where: str) -> None:
    """Raise SnapshotRefusedError unless a snapshot is of this partition, and the log can be read on from it."""
    found = Place(manifest.namespace, manifest.partition)
    if found != place:
        message = (
            f"{where} is of partition {found.partition} of namespace {found.namespace!r}, expected partition "
            f"{place.partition} of namespace {place.namespace!r}: it was put into the wrong place"
        )
        raise SnapshotRefusedError(message)
    other = foreign(manifest.state(), log)
    if other is not None:
        message = f"{where} {other.found}"
        raise SnapshotRefusedError(message)
    beyond = out_of_reach(manifest.offset, log)
    if beyond is not None:
        needed = "a newer" if manifest.offset < log.begin else "an older"
        message = f"{where} {beyond.found}, {needed} snapshot is needed"
        raise SnapshotRefusedError(message)


async def fitting(
    catalogue: Catalogue, log: LogFacts, names: Iterable[SnapshotName], refused: list[str]
) -> AsyncIterator[Fitting]:
    """Give those of the snapshots ``names`` that fit, in order; why the others do not is added to ``refused``."""
    for name in names:
        reader = catalogue.reader(name)
        try:
            manifest = await reader.manifest()
            refuse_misfit(manifest, catalogue.place, log, reader.where)
        except SnapshotRefusedError as error:
            refused.append(str(error))
        else:
            yield Fitting(name, manifest, reader)


Checked = Callable[[int, int], None]
"""Told how many bytes of a snapshot were read against their checksums, and of how many."""


async def choose_to_restore(
    catalogue: Catalogue, log: LogFacts, at_ms: int | None, checked: Checked
) -> tuple[Fitting | None, list[str]]:
    """Return the newest snapshot begun at or before ``at_ms`` that fits and is whole, and why not a newer one."""
    names = await catalogue.complete()
    return await _first_whole(
        catalogue, log, [name for name in names if at_ms is None or name.created_ms <= at_ms], checked
    )


async def choose_to_replay(
    catalogue: Catalogue, log: LogFacts, start: int, checked: Checked = lambda _done, _of: None
) -> tuple[Fitting | None, list[str]]:
    """Return the snapshot nearest to ``start`` that a replay can begin with, and why nearer ones cannot be used.

    That is the newest one at or before ``start``; where there is none that the log can be read on from, the oldest one
    behind it.
    """
    names = sorted(await catalogue.complete(), key=_offset)
    before = [name for name in reversed(names) if name.offset <= start]
    behind = [name for name in names if name.offset > start]
    return await _first_whole(catalogue, log, [*before, *behind], checked)


async def _first_whole(
    catalogue: Catalogue, log: LogFacts, names: Iterable[SnapshotName], checked: Checked
) -> tuple[Fitting | None, list[str]]:
    """Return the first of the snapshots that fits and has its checksums in every file, and why those before do not."""
    refused: list[str] = []
    async for found in fitting(catalogue, log, names, refused):
        done = 0
        try:
            async for size in found.reader.check(found.manifest):
                done += size
                checked(done, found.manifest.size)
        except SnapshotRefusedError as error:
            refused.append(str(error))
        else:
            return found, refused
    return None, refused


def _offset(name: SnapshotName) -> int:
    return name.offset
