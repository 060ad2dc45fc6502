"""A snapshot read back: nothing of it is believed before its checksum fits."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import zstandard

from stream.errors import SnapshotRefusedError, StateMismatchError
from stream.records import OutboxRow
from stream.snapshots.format import KINDS, MANIFEST, VOTERS, FileEntry, Manifest, unpack_records, unpack_rows
from stream.snapshots.offload import Offload
from stream.snapshots.storage import SnapshotStorage

UNREADABLE: Final = (ValueError, struct.error, zstandard.ZstdError, StateMismatchError)


class SnapshotReader:
    """One snapshot. Every method raises SnapshotRefusedError for what is torn or altered, SnapshotStorageError else."""

    def __init__(self, storage: SnapshotStorage, folder: str, offload: Offload) -> None:
        """``folder`` is the snapshot's; nothing is read yet."""
        self.where = f"the snapshot {folder} under {storage.url}"
        self._storage = storage
        self._folder = folder
        self._offload = offload

    async def manifest(self) -> Manifest:
        """Return the manifest, if it is whole and this build can go on from the snapshot."""
        data = await self._offload(partial(self._storage.read, f"{self._folder}/{MANIFEST}"))
        if data is None:
            message = f"{self.where} is torn: it has no manifest, so it was never finished"
            raise SnapshotRefusedError(message)
        manifest = Manifest.from_bytes(data, self.where)
        manifest.refuse_unusable(self.where)
        unknown = sorted({entry.kind for entry in manifest.files} - {*KINDS})
        if unknown:
            message = f"{self.where} has files of the kind {unknown[0]!r}, expected one of {', '.join(KINDS)}"
            raise SnapshotRefusedError(message)
        return manifest

    async def check(self, manifest: Manifest) -> AsyncIterator[int]:
        """Read every file against its checksum, and give the size of each one."""
        for entry in manifest.files:
            await self._offload(partial(self._data, entry))
            yield entry.size

    async def records(self, manifest: Manifest) -> AsyncIterator[list[tuple[str, bytes]]]:
        """Give the voters' records, file by file; a voter may come twice, then with the same bytes."""
        for entry in manifest.files:
            if entry.kind == VOTERS:
                yield await self._offload(partial(self._records, entry))

    async def rows(self, manifest: Manifest) -> AsyncIterator[tuple[str, list[OutboxRow]]]:
        """Give the outboxes' rows that were not known to be sent: output and rows, in sequence, file by file."""
        for entry in manifest.files:
            if entry.kind != VOTERS:
                rows = await self._offload(partial(self._rows, entry))
                first = manifest.unsent.get(entry.kind, 0)
                yield entry.kind, [row for row in rows if row.sequence >= first]

    def _records(self, entry: FileEntry) -> list[tuple[str, bytes]]:
        try:
            pairs = unpack_records(self._data(entry))
        except UNREADABLE as error:
            raise self._damaged(entry, error) from None
        self._count(entry, len(pairs))
        return pairs

    def _rows(self, entry: FileEntry) -> list[OutboxRow]:
        try:
            rows = unpack_rows(self._data(entry))
        except UNREADABLE as error:
            raise self._damaged(entry, error) from None
        self._count(entry, len(rows))
        return rows

    def _data(self, entry: FileEntry) -> bytes:
        """Return a file's bytes, if they are those that were written."""
        data = self._storage.read(f"{self._folder}/{entry.name}")
        if data is None:
            message = f"{self.where} is torn: {entry.name} is missing"
            raise SnapshotRefusedError(message)
        if len(data) != entry.size:
            message = f"{self.where} is torn: {entry.name} has {len(data)} bytes, expected {entry.size}"
            raise SnapshotRefusedError(message)
        found = hashlib.sha256(data).hexdigest()
        if found != entry.sha256:
            message = f"{self.where} was altered: {entry.name} has SHA-256 {found}, expected {entry.sha256}"
            raise SnapshotRefusedError(message)
        return data

    def _count(self, entry: FileEntry, found: int) -> None:
        if found != entry.rows:
            message = f"{self.where} is damaged: {entry.name} has {found} rows, expected {entry.rows}"
            raise SnapshotRefusedError(message)

    def _damaged(self, entry: FileEntry, error: Exception) -> SnapshotRefusedError:
        # Not the parser's words: they may quote what names a voter.
        return SnapshotRefusedError(f"{self.where} is damaged: {entry.name} cannot be read ({type(error).__name__})")
