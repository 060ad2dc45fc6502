"""A partition's state at one offset, copied out of Redis while work goes on: copy on write.

The copy is of the state before offset S. Whoever holds the partition tells the capture of each record before it is
first changed after S (``keep``). Once a commit that reaches S is in Redis, every voter is read there: a record whose
last event is before S is as it was at S; one that has gone on was kept before it changed, or did not exist at S.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream.errors import SnapshotFailedError
from stream.interfaces import VoterTable
from stream.records import OUTPUTS, RECORD_VERSION, VOTER, Header, OutboxRow
from stream.snapshots.catalogue import Place
from stream.snapshots.format import Manifest
from stream.snapshots.writing import SnapshotWriter
from stream.spans import Spans

PAGE_VOTERS: Final = 2000
"""Records read at once: 1.5 MB, which Redis gives in less time than it takes a commit of a full batch."""
SCAN_KEYS: Final = 4000
MOST_KEPT: Final = 400_000
"""Records kept that are not written yet (300 MB); beyond these the storage is too slow for the load. As many as a
partition's memory may be ahead of Redis (worker.uncommitted_events), since nothing is copied before S is there."""
_PAGE_ROWS: Final = 500
_BLOCK: Final = np.dtype((np.void, VOTER.itemsize))
_Result = TypeVar("_Result")


def _fresh() -> bytes:
    """Return the record that a voter starts with: in Redis there is none of these."""
    record = np.zeros(1, VOTER)
    record["version"] = RECORD_VERSION
    return record.tobytes()


_FRESH: Final = _fresh()


class CopiedStore(Protocol):
    """What is read of a partition's state; both stores offer it."""

    async def read_header(self) -> Header | None:
        """Return the header, None where there is none."""
        ...

    def voters(self, step: int) -> AsyncIterator[list[str]]:
        """Give every voter that has a record, page by page, the server looking at ``step`` keys for each."""
        ...

    async def load(self, voters: Spans) -> list[bytes | None]:
        """Return each voter's record bytes, None for an unknown voter."""
        ...

    async def outbox(self, output: str, after: int, limit: int) -> list[OutboxRow]:
        """Return up to ``limit`` rows of an output with a sequence above ``after``, in sequence."""
        ...


class Aside(Protocol):
    """Has the state read where that keeps nothing else waiting, which may be in a thread (offload.OwnLoop)."""

    async def __call__(self, work: Callable[[CopiedStore], Coroutine[Any, Any, _Result]], /) -> _Result:
        """Return what ``work`` does of a store of the same state."""
        ...


class Capture:
    """One snapshot, from its offset to its manifest.

    ``keep`` may be called while another thread copies: what it kept is handed over through a deque alone.
    """

    def __init__(
        self,
        header: Header,
        store: CopiedStore,
        writer: SnapshotWriter,
        clock: Callable[[], float] = time.perf_counter,
        *,
        aside: Aside | None = None,
        stands_still: bool = False,
    ) -> None:
        """``header`` is a copy of the state's at this moment: its offset is S, and nothing past it is in the records.

        ``clock`` gives seconds, for ``longest_hold_seconds`` alone. ``aside`` has the records and rows read; without
        one they are read here, by ``store``. Where the state ``stands_still`` nobody calls
        ``keep``, and a record past S is damage.
        """
        self.header = replace(header, owner="", restoring=False)
        self.longest_hold_seconds = 0.0
        """Longest time that a step of the capture kept the work waiting: records were kept."""
        self._owner = header.owner
        self._store = store
        self._writer = writer
        self._clock = clock
        self._aside = aside or self._here
        self._stands_still = stands_still
        self._kept: deque[tuple[Spans, NDArray[np.void]]] = deque()
        # Each is counted up on one side alone.
        self._kept_records = 0
        self._written_records = 0
        self._overrun = False

    @property
    def offset(self) -> int:
        """S."""
        return self.header.offset

    def keep(self, table: VoterTable, slots: NDArray[np.int64]) -> None:
        """Copy those of the records in ``slots`` (repeats and -1 allowed) that are still as they were at S.

        To be called before each change of them. One that the change then leaves as it is may be copied again.
        """
        started = self._clock()
        # np.unique would import half of NumPy's masked arrays at its first call, which takes longer than a batch.
        chosen = np.sort(slots[slots >= 0])
        chosen = chosen[np.flatnonzero(np.diff(chosen, prepend=-1))]
        chosen = chosen[table.records["last_offset"][chosen] < self.offset]
        if self._kept_records - self._written_records + len(chosen) > MOST_KEPT:
            self._overrun = True
        elif len(chosen):
            self._kept_records += len(chosen)
            self._kept.append((table.voters(chosen), table.records.view(_BLOCK).take(chosen)))
        self.longest_hold_seconds = max(self.longest_hold_seconds, self._clock() - started)

    async def run(self, place: Place, topic: str, created_ms: int, committed: Callable[[], Awaitable[int]]) -> Manifest:
        """Copy everything and write the manifest; ``committed`` returns, at S or past it, what a commit has reached.

        Raises SnapshotFailedError where the state changed hands or the storage is too slow, SnapshotStorageError, and
        what the store raises. Whoever gets any exception has the writer abandon the files.
        """
        await committed()
        unsent = await self._aside(self._copy)
        await self._still_held(await committed())
        manifest = Manifest(
            namespace=place.namespace,
            topic=topic,
            topic_id=self.header.topic_id,
            partition=place.partition,
            partition_count=self.header.partition_count,
            offset=self.offset,
            log_time_ms=self.header.log_time_ms,
            created_ms=created_ms,
            engine=self.header.engine,
            record_version=RECORD_VERSION,
            record_bytes=VOTER.itemsize,
            header=self.header.to_bytes().decode(),
            unsent=unsent,
            files=tuple(self._writer.files),
        )
        await self._writer.finish(manifest)
        return manifest

    async def _here(self, work: Callable[[CopiedStore], Coroutine[Any, Any, _Result]]) -> _Result:
        return await work(self._store)

    async def _copy(self, store: CopiedStore) -> dict[str, int]:
        """Write all records and rows; return by output the first row that was not known to be sent."""
        async for page in store.voters(SCAN_KEYS):
            for first in range(0, len(page), PAGE_VOTERS):
                voters = page[first : first + PAGE_VOTERS]
                await self._write(voters, await store.load(Spans.of_texts(voters)))
                await self._write_kept()
        # What a page gave as it was after S was kept before it was committed, and so before it was read.
        await self._write_kept()
        unsent = {output: await self._copy_outbox(store, output) for output in OUTPUTS}
        await self._writer.flush()
        return unsent

    async def _write(self, voters: Sequence[str], values: Sequence[bytes | None]) -> None:
        """Write the records among these voters' that are as they were at S; the others were kept, or came later."""
        found = [(voter, data) for voter, data in zip(voters, values, strict=True) if data is not None]
        chosen = np.flatnonzero(_parsed([data for _, data in found])["last_offset"] < self.offset).tolist()
        if self._stands_still and len(chosen) < len(found):
            message = (
                f"a voter's record has folded in an event at or past offset {self.offset}: run `groundswell verify`"
            )
            raise SnapshotFailedError(message)
        await self._writer.add_records([found[row][0] for row in chosen], [found[row][1] for row in chosen])

    async def _write_kept(self) -> None:
        if self._overrun:
            message = f"the snapshots' storage is too slow: {MOST_KEPT} records changed before they could be written"
            raise SnapshotFailedError(message)
        while self._kept:
            voters, blocks = self._kept.popleft()
            pairs = [pair for pair in zip(voters, blocks.tolist(), strict=True) if pair[1] != _FRESH]
            await self._writer.add_records([voter.decode() for voter, _ in pairs], [record for _, record in pairs])
            self._written_records += len(voters)

    async def _copy_outbox(self, store: CopiedStore, output: str) -> int:
        """Write an output's unsent rows up to S's sequence; return the first that was not known to be sent.

        Where rows were trimmed between two pages, all that lie before were sent as well.
        """
        last = self.header.sequences[output]
        after, first = 0, 0
        while after < last:
            rows = await store.outbox(output, after, _PAGE_ROWS)
            rows = [row for row in rows if row.sequence <= last]
            if not rows:
                break
            for before, row in zip([after, *(row.sequence for row in rows)], rows, strict=False):
                if row.sequence != before + 1:
                    first = row.sequence
            await self._writer.add_rows(output, rows)
            after = rows[-1].sequence
        # What was there up to the end may have been sent since: the relay finds it in the topic.
        return first or 1 if after == last else last + 1

    async def _still_held(self, committed: int) -> None:
        """Raise SnapshotFailedError unless all that was read was this owner's state, and no older one."""
        header = await self._store.read_header()
        if header is None or header.owner != self._owner or header.restoring or header.offset < committed:
            found = "has no header" if header is None else f"stands at offset {header.offset} of another owner or time"
            message = f"partition's state changed hands while it was copied at offset {self.offset}: it {found}"
            raise SnapshotFailedError(message)


def _parsed(records: Sequence[bytes]) -> NDArray[Any]:
    """Return records as VOTER[n]; raise SnapshotFailedError for one that this build would not write."""
    if set(map(len, records)) - {VOTER.itemsize}:
        message = f"a voter's record in Redis has not {VOTER.itemsize} bytes; run `groundswell verify`"
        raise SnapshotFailedError(message)
    parsed = np.frombuffer(b"".join(records), VOTER)
    if (parsed["version"] > RECORD_VERSION).any():
        message = f"a voter's record has version {parsed['version'].max()}; expected up to {RECORD_VERSION}"
        raise SnapshotFailedError(message)
    return parsed
