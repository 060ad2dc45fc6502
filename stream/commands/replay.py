"""A partition's state derived again from its log, in bounded memory."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.columns import Columns
from stream.commands.reading import PartitionReader, columns_from
from stream.commands.temporary import temporary_storage
from stream.features.taxonomy import Taxonomy
from stream.interfaces import Decoded, Library
from stream.pipeline import PartitionState, process_batch, take_commit
from stream.records import OUTPUTS, RECORD_VERSION, VOTER, Header, OutboxRow
from stream.signatures import Keyring
from stream.snapshots import Fitting
from stream.spans import Spans
from stream.stores.table import Table, migrate

VOTERS_IN_MEMORY: Final = 100_000


class RecordFile:
    """Voters' records in a temporary file that has no name: only their places are in memory."""

    def __init__(self) -> None:
        """Open an empty file; raise TemporaryStorageError where there can be none."""
        with temporary_storage():
            self._file = tempfile.TemporaryFile(prefix="groundswell-")  # noqa: SIM115 (closed by close)
        self._descriptor = self._file.fileno()
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        """Return how many voters there are."""
        return len(self._places)

    def __contains__(self, voter: object) -> bool:
        """Return whether the voter has a record."""
        return voter in self._places

    def voters(self) -> list[str]:
        """Return the voters in the order in which they first came."""
        return list(self._places)

    def put(self, records: Iterable[tuple[str, bytes]]) -> None:
        """Write records (voter, 768 bytes), over older ones; raise TemporaryStorageError where there is no room."""
        places = self._places
        with temporary_storage():
            for voter, data in records:
                at = places.setdefault(voter, len(places)) * VOTER.itemsize
                # The last bytes that a disk has room for are written without an error.
                if os.pwrite(self._descriptor, data, at) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def since(self, count: int) -> list[str]:
        """Return the voters that came after the first ``count``, in order."""
        return list(islice(reversed(self._places), len(self._places) - count))[::-1]

    def read(self, voters: Sequence[str]) -> NDArray[Any]:
        """Return the records (VOTER[n]) of voters that have one, in the current version."""
        values = [self.get(voter) or b"" for voter in voters]
        records = np.frombuffer(b"".join(values), VOTER)
        if (records["version"] == RECORD_VERSION).all():
            return records
        # A snapshot's, whose voter has done nothing since.
        return np.frombuffer(b"".join(map(migrate, voters, values)), VOTER)

    def get(self, voter: str) -> bytes | None:
        """Return a voter's record, None for one that has none."""
        place = self._places.get(voter)
        if place is None:
            return None
        return os.pread(self._descriptor, VOTER.itemsize, place * VOTER.itemsize)

    async def load(self, voters: Spans) -> list[bytes | None]:
        """Return the voters' records, as process_batch asks for them."""
        return [self.get(voter.decode()) for voter in voters]

    def close(self) -> None:
        """Close the file, and so remove it."""
        self._file.close()


@dataclass(frozen=True, slots=True)
class Derived:
    """What one batch gave."""

    outputs: dict[str, list[OutboxRow]]
    """By output, in sequence; a trigger as it was decided, whatever became of its voter later."""
    erased: frozenset[str]
    """Voters erased in this batch."""


Taker = Callable[[Derived], Awaitable[None]]


class Replay:
    """One partition, from the offset at which its deployment began or from a snapshot: the same pure function."""

    def __init__(self, state: PartitionState, table: Table, log: PartitionReader, library: Library) -> None:
        """Use ``open``."""
        self._state = state
        self._table = table
        self._log = log
        self._library = library
        self.records = RecordFile()

    @classmethod
    async def open(
        cls,
        partition: int,
        topic: str,
        found: Header,
        log: PartitionReader,
        library: Library,
        keyring: Keyring | None = None,
        *,
        snapshot: Fitting | None = None,
        reference: bool = False,
    ) -> Replay:
        """Begin with a snapshot, or where the deployment of the header ``found`` began: nothing else of it is believed.

        ``reference``: by library code, not by compiled loops. Raises SnapshotRefusedError and SnapshotStorageError
        where the snapshot cannot be read, StateMismatchError where the keyring lacks a key that is in force there.
        """
        header = Header.fresh(found.topic_id, found.partition_count, "", found.start, found.root)
        if snapshot is not None:
            header = snapshot.manifest.state()
        table = Table(VOTERS_IN_MEMORY, reference=reference)
        state = await PartitionState.open(partition, topic, header, table, library, keyring)
        state.reference = reference
        log.seek(header.offset)
        replay = cls(state, table, log, library)
        if snapshot is not None:
            try:
                async for pairs in snapshot.reader.records(snapshot.manifest):
                    replay.records.put(pairs)
            except BaseException:
                replay.records.close()
                raise
        return replay

    @property
    def taxonomy(self) -> Taxonomy:
        """The taxonomy that is active at this offset."""
        return self._state.active.taxonomy.taxonomy

    @property
    def header(self) -> Header:
        """The header as it would have been committed at this offset."""
        return self._state.header

    def observe(self, observer: Callable[[Columns, Decoded, NDArray[np.int64]], None]) -> None:
        """Have ``observer`` told each batch's rows, and what each was used for."""
        self._state.observe = observer

    async def to(self, stop: int, take: Taker) -> None:
        """Replay the rows before ``stop``, and hand what each batch gave to ``take``."""
        state = self._state
        while state.header.offset < stop:
            rows = self._log.read(stop)
            start = state.header.offset
            next_offset = min(self._log.position, stop)
            batch = columns_from(state.partition, rows, start, next_offset)
            await process_batch(state, batch, self._library, self.records.load)
            derived = Derived(state.outbox, frozenset(state.erased))
            state.outbox = {output: [] for output in OUTPUTS}
            self.records.put((voter.decode(), data) for voter, data in take_commit(state, start).records)
            self._table.committed()
            self._table.evict()
            await take(derived)

    def close(self) -> None:
        """Remove the records' file and close the log."""
        self.records.close()
        self._log.close()
