"""A snapshot's files on their way out: rows gathered to chunks, each packed and written off the event loop."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from stream.errors import SnapshotFailedError
from stream.records import OutboxRow
from stream.snapshots.format import MANIFEST, VOTERS, FileEntry, Manifest, pack_records, pack_rows
from stream.snapshots.offload import Offload
from stream.snapshots.storage import SnapshotStorage

CHUNK_RECORDS: Final = 8192
"""Records in a file: 6 MiB before compression."""
CHUNK_BYTES: Final = 8 * 1024 * 1024
"""Most bytes of outbox rows in a file, unless a single one is longer."""


class SnapshotWriter:
    """Writes one snapshot's folder. Memory holds one chunk, and the one being written."""

    def __init__(self, storage: SnapshotStorage, folder: str, offload: Offload) -> None:
        """Nothing is written yet."""
        self.folder = folder
        self.files: list[FileEntry] = []
        self._storage = storage
        self._offload = offload
        self._voters: list[str] = []
        self._records: list[bytes] = []
        self._rows: dict[str, list[OutboxRow]] = {}
        self._row_bytes = 0
        # A cancelled await leaves the writing of its file behind, in a thread.
        self._writing = threading.Lock()
        self._abandoned = False

    async def add_records(self, voters: Sequence[str], records: Sequence[bytes]) -> None:
        """Take voters' records; raise SnapshotStorageError where a file cannot be written."""
        self._voters += voters
        self._records += records
        while len(self._voters) >= CHUNK_RECORDS:
            await self._flush_records(CHUNK_RECORDS)

    async def add_rows(self, output: str, rows: Sequence[OutboxRow]) -> None:
        """Take rows of an output's outbox, in sequence."""
        for row in rows:
            self._rows.setdefault(output, []).append(row)
            self._row_bytes += len(row.value or b"")
            if self._row_bytes >= CHUNK_BYTES:
                await self._flush_rows(output)

    async def flush(self) -> None:
        """Write what is left over."""
        if self._voters:
            await self._flush_records(len(self._voters))
        for output in list(self._rows):
            await self._flush_rows(output)

    async def finish(self, manifest: Manifest) -> None:
        """Write the manifest, by which the folder is a snapshot."""
        await self._offload(partial(self._storage.write, f"{self.folder}/{MANIFEST}", manifest.to_bytes()))

    async def abandon(self) -> None:
        """Remove all that was written; what is still on its way is waited for, or refused."""
        await self._offload(self._remove)

    async def _flush_records(self, count: int) -> None:
        voters, self._voters = self._voters[:count], self._voters[count:]
        records, self._records = self._records[:count], self._records[count:]
        await self._write(VOTERS, count, partial(pack_records, voters, records))

    async def _flush_rows(self, output: str) -> None:
        rows = self._rows.pop(output)
        self._row_bytes = 0
        await self._write(output, len(rows), partial(pack_rows, rows))

    async def _write(self, kind: str, rows: int, pack: Callable[[], bytes]) -> None:
        name = f"{kind}-{len(self.files):05d}.zst"
        self.files.append(await self._offload(partial(self._write_file, name, kind, rows, pack)))

    def _write_file(self, name: str, kind: str, rows: int, pack: Callable[[], bytes]) -> FileEntry:
        data = pack()
        with self._writing:
            if self._abandoned:
                message = f"the snapshot {self.folder} was given up"
                raise SnapshotFailedError(message)
            self._storage.write(f"{self.folder}/{name}", data)
        return FileEntry(name, kind, rows, len(data), hashlib.sha256(data).hexdigest())

    def _remove(self) -> None:
        with self._writing:
            self._abandoned = True
            self._storage.remove(self.folder)
