"""One partition at work: claimed, processed batch by batch, committed in groups, given back."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from stream.agents.closing import failure_of
from stream.agents.commit import commit_exactly_once, retrying
from stream.agents.queue import BatchQueue
from stream.agents.surroundings import Limits, Log, Observer, Relaying, Snapshotting
from stream.ahead import Ahead
from stream.columns import Columns
from stream.continuity import LogFacts, lost, misfit
from stream.errors import CommitRefusedError, StateMismatchError, StateMissingError
from stream.features import NO_TAXONOMY
from stream.interfaces import Library, PartitionStore, VoterTable
from stream.pipeline import PartitionState, process_batch, take_commit
from stream.records import Header
from stream.signatures import root_of
from stream.spans import Spans

logger = logging.getLogger(__name__)

_BACKLOG_WAIT_SECONDS = 0.05
_LONGEST_RECLAIM = 10
_MOST_DOUBLINGS = 4
_PATIENCE = 0.25
"""What part of their delay, when they are committed, rows may have waited for a commit that is worth more."""
_MOST_PATIENCE_SECONDS = 2.0


@dataclass(slots=True)
class _Work:
    """What a claim brings into being and a refusal drops."""

    state: PartitionState
    table: VoterTable
    committed_offset: int
    committed_rows: int
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    """Processing, committing, one for each relay, and one for snapshots."""
    relays: Mapping[str, Relaying] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    committed: asyncio.Event = field(default_factory=asyncio.Event)
    oldest_ms: int | None = None
    """Append time of the oldest row not committed."""
    is_followed: bool = False
    """Whether the log goes on behind the last batch processed."""

    @property
    def uncommitted(self) -> int:
        """Log rows processed and not committed."""
        return self.state.header.totals["rows"] - self.committed_rows

    @property
    def is_clean(self) -> bool:
        """Whether Redis holds all that memory does."""
        return self.committed_offset == self.state.header.offset

    @property
    def is_quiet(self) -> bool:
        """Whether nothing but the place in the log has changed since the last commit."""
        return not any(self.state.outbox.values()) and not self.table.changed


class Partition:
    """One partition of the events topic, as long as the group assigns it to this worker.

    ``claim`` (or ``resume``) says where to read from; ``feed`` takes what was read; ``suspend`` gives it back.
    """

    def __init__(
        self,
        number: int,
        log: Log,
        store: PartitionStore,
        library: Library,
        new_table: Callable[[int], VoterTable],
        new_relays: Callable[[PartitionStore, int], Mapping[str, Relaying]],
        limits: Limits,
        observer: Observer,
    ) -> None:
        """Nothing is read or written yet."""
        self.number = number
        self.owner = ""
        self.snapshots: Snapshotting | None = None
        """Takes snapshots while the partition is held; None: nobody does."""
        self._log = log
        self._store = store
        self._library = library
        self._new_table = new_table
        self._new_relays = new_relays
        self._limits = limits
        self._observer = observer
        self._batches = BatchQueue(limits.batch_events, self._read_ahead)
        self._work: _Work | None = None
        self._reclaim: asyncio.Task[None] | None = None
        self._refusals = 0
        """Since the last commit that went through."""
        self._records_ahead = 0
        self._ahead_until = 0
        """Until processing is past it, another record ahead is damage."""
        self._suspended = False
        self._closed = False

    @property
    def state(self) -> PartitionState | None:
        """The partition's state in memory; None while it is not claimed."""
        return self._work.state if self._work else None

    @property
    def committed_offset(self) -> int | None:
        """The next offset as Redis has it; None while the partition is not claimed."""
        return self._work.committed_offset if self._work else None

    @property
    def relays(self) -> Mapping[str, Relaying]:
        """What carries the outputs to their topics, by output; none while the partition is not claimed."""
        return self._work.relays if self._work else {}

    async def open(self) -> int:
        """Claim the partition, or go on with the memory that outlived a rebalance; return where to read from."""
        await self.suspend(self._limits.suspend_seconds)
        work = self._work
        if work is not None:
            header = await retrying(self._store.read_header, "header")
            fits = header and header.owner == self.owner and header.offset == work.committed_offset
            if not fits or not work.is_clean:
                work = self._work = None
        if work is None:
            work = self._work = await self._claim()
        work.table.limit = self._limits.voters()
        self._batches.clear()
        self._start(work)
        return work.state.header.offset

    async def _claim(self) -> _Work:
        log_start, log_end = await self._log.bounds(self.number)
        self.owner = secrets.token_hex(8)
        log = self._log
        # Where the log's beginning is gone nothing can begin: state that is missing was lost, maybe just now.
        begun = Header.fresh(log.topic_id, log.partition_count, self.owner, log_start, root_of(log.keyring))
        fresh = begun if log_start == 0 else None
        try:
            header = await retrying(lambda: self._store.claim(self.owner, fresh), "claim")
        except StateMissingError as error:
            raise lost(self.number, log_start) from error
        if header.offset > log_end:
            # The owner before may have gone on since the log was asked.
            log_start, log_end = await log.bounds(self.number)
        self._check(header, log_start, log_end)
        table = self._new_table(self._limits.voters())
        state = await PartitionState.open(self.number, log.topic, header, table, self._library, log.keyring)
        state.reference, state.both = log.reference, log.both
        state.profiler = self._observer.profiler
        logger.info("partition %d claimed at offset %d of %d", self.number, header.offset, log_end)
        return _Work(state, table, header.offset, header.totals["rows"])

    def _check(self, header: Header, log_start: int, log_end: int) -> None:
        """Raise StateMismatchError where the header does not fit the log or this build."""
        log = self._log
        found = misfit(header, LogFacts(log.topic, log.topic_id, log.partition_count, log_start, log_end))
        if found is not None:
            message = f"the state of partition {self.number} {found.found}. To mend it: {found.mend}"
            raise StateMismatchError(message)

    def feed(self, columns: Columns) -> None:
        """Take one fetched batch; it is dropped later if its epoch has passed."""
        self._batches.put(columns)

    def _read_ahead(self, columns: Columns) -> asyncio.Future[Ahead] | None:
        taxonomy = NO_TAXONOMY if self._work is None else self._work.state.active.taxonomy
        return self._log.read_ahead(columns, self._log.partition_count, taxonomy)

    async def suspend(self, seconds: float) -> None:
        """Stop processing, finish what can be committed in ``seconds``, and keep the memory if it is all in Redis."""
        await self._cancel_reclaim()
        work = self._work
        if work is None or not work.tasks:
            return
        processing, committing, *_ = work.tasks
        self._suspended = True
        await _cancel(processing)
        self._batches.clear()
        work.changed.set()
        try:
            async with asyncio.timeout(seconds):
                while not work.is_clean and not committing.done():
                    work.committed.clear()
                    await work.committed.wait()
        except TimeoutError:
            logger.warning(
                "partition %d: %d rows stay uncommitted and will be read again", self.number, work.uncommitted
            )
        await _cancel(*work.tasks)
        work.tasks = []
        if not work.is_clean:
            self._work = None

    async def close(self) -> None:
        """Drop the memory and close the store's connections."""
        # A claim that is under way must not bring the tasks back to life.
        self._closed = self._suspended = True
        await self._cancel_reclaim()
        if self._work is not None:
            await _cancel(*self._work.tasks)
        self._work = None
        if self.snapshots is not None:
            await self.snapshots.close()
        await self._store.close()

    def _start(self, work: _Work) -> None:
        if self._closed:
            return
        self._suspended = False
        work.relays = self._new_relays(self._store, self.number)
        work.tasks = [
            asyncio.create_task(self._process(work), name=f"process {self.number}"),
            asyncio.create_task(self._commit(work), name=f"commit {self.number}"),
            *(
                asyncio.create_task(self._observer.profiler.timed("relay", relay.run()), name=f"{output} {self.number}")
                for output, relay in work.relays.items()
            ),
        ]
        if self.snapshots is not None:
            work.tasks.append(asyncio.create_task(self.snapshots.run(work), name=f"snapshots {self.number}"))
        for output, relay in work.relays.items():
            relay.wake(work.state.header.sequences[output])
        for task in work.tasks:
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Start the partition anew after a refused commit; whatever else ends a task ends the worker."""
        error = failure_of(task)
        if isinstance(error, CommitRefusedError):
            work = self._work
            if self._reclaim is not None or work is None or task not in work.tasks:
                return
            logger.warning("partition %d: %s", self.number, error)
            self._observer.refused(self.number)
            self._refusals += 1
            if self._suspended:
                work.committed.set()
            else:
                self._reclaim = asyncio.create_task(self._claim_again(), name=f"reclaim {self.number}")
        elif error is not None:
            self._observer.failed(error)

    async def _claim_again(self) -> None:
        """Drop the memory, wait, and claim the partition again if the group still assigns it.

        Of two owners that are awake, each waits longer the less it gets done.
        """
        try:
            if self._work is not None:
                await _cancel(*self._work.tasks)
            self._work = None
            doubled = min(self._refusals - 1, _MOST_DOUBLINGS)
            await asyncio.sleep(self._limits.reclaim_seconds * min(2**doubled, _LONGEST_RECLAIM))
            if not self._log.is_assigned(self.number):
                return
            work = self._work = await self._claim()
            self._batches.clear()
            await self._log.reseek(self.number, work.state.header.offset)
            self._start(work)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._observer.failed(error)
        finally:
            self._reclaim = None

    async def _cancel_reclaim(self) -> None:
        reclaim = self._reclaim
        if reclaim is not None:
            await _cancel(reclaim)
            # Cancelled before its first step, it could not do this itself.
            self._reclaim = None

    # --- processing ------------------------------------------------------------------------------------

    async def _process(self, work: _Work) -> None:
        while True:
            columns, batches, ahead = await self._batches.take()
            if columns.epoch != self._log.epoch(self.number):
                continue
            start, expected = columns.start, work.state.header.offset
            if start != expected:
                logger.warning(
                    "partition %d: fetched from %d, expected %d: reading again", self.number, start, expected
                )
                await self._log.reseek(self.number, expected)
                continue
            while work.uncommitted >= self._limits.uncommitted_events:
                work.committed.clear()
                await work.committed.wait()
            while any(relay.backlog >= self._limits.outbox_rows for relay in work.relays.values()):
                await asyncio.sleep(_BACKLOG_WAIT_SECONDS)
            await self._process_one(work, columns, ahead)
            work.is_followed = columns.is_followed
            for _ in range(batches):
                self._log.release(self.number, columns.epoch)
            # The commit, the relay and other partitions get their turn between two batches.
            await asyncio.sleep(0)

    async def _process_one(self, work: _Work, columns: Columns, ahead: Ahead | None) -> None:
        started = time.perf_counter()
        try:
            outcome = await process_batch(work.state, columns, self._library, self._load, ahead)
        except CommitRefusedError as error:
            header = await retrying(self._store.read_header, "header")
            if header is None or header.owner != self.owner:
                # Whoever claimed the partition has written that record: a refusal like any other, however often.
                raise
            self._records_ahead += 1
            if self._records_ahead > 1:
                message = f"partition {self.number} is damaged, twice in a row: {error}; run `groundswell restore`"
                raise StateMismatchError(message) from error
            self._ahead_until = columns.next
            raise
        if work.state.header.offset >= self._ahead_until:
            self._records_ahead = 0
        if work.oldest_ms is None and len(columns) and columns.log_times[0] > 0:
            work.oldest_ms = int(columns.log_times[0])
        work.changed.set()
        work.table.evict()
        self._observer.batch(self.number, outcome, time.perf_counter() - started)

    async def _load(self, voters: Spans) -> list[bytes | None]:
        return await self._observer.profiler.timed("load", retrying(lambda: self._store.load(voters), "records"))

    # --- committing ------------------------------------------------------------------------------------

    async def _commit(self, work: _Work) -> None:
        """Group commit: one on its way; what later batches change merges into the next."""
        while True:
            await work.changed.wait()
            await self._gather(work)
            if work.is_clean:
                continue
            with self._observer.profiler.step("commit"):
                commit = take_commit(work.state, work.committed_offset)
            if commit.erased:
                work.relays["triggers"].forget()
            oldest_ms, work.oldest_ms = work.oldest_ms, None
            started = time.perf_counter()
            writing = commit_exactly_once(self._store, commit, lambda: self._observer.unknown(self.number))
            await self._observer.profiler.timed("commit", writing)
            work.table.committed()
            work.committed_offset = commit.header.offset
            work.committed_rows = commit.header.totals["rows"]
            self._refusals = 0
            work.committed.set()
            for output, rows in commit.outbox.items():
                work.relays[output].wake(commit.header.sequences[output], rows)
            self._observer.committed(self.number, commit, time.perf_counter() - started, oldest_ms)

    async def _gather(self, work: _Work) -> None:
        """Wait for as long as it pays to have more rows in the next commit."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            work.changed.clear()
            seconds = begun + self._patience(work) - loop.time()
            if seconds <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await work.changed.wait()

    def _patience(self, work: _Work) -> float:
        """Return for how many seconds the next commit may wait for more rows.

        Rows that changed nothing (ticks, mostly) need no commit of their own. Where more rows wait, here or in the log,
        those that are read long after they were written bear some of that delay once more: of voters who act again,
        one record is written instead of many. Half of the bound is left to go on with while the commit is on its way.
        """
        limits = self._limits
        if self._suspended or work.uncommitted >= limits.uncommitted_events // 2:
            return 0.0
        if work.is_quiet:
            return limits.idle_commit_seconds
        others_wait = self._batches or work.is_followed
        if not others_wait or work.oldest_ms is None or work.table.changed >= limits.commit_records():
            return 0.0
        return min((self._log.now() - work.oldest_ms / 1000) * _PATIENCE, _MOST_PATIENCE_SECONDS)


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks, all at once, and wait until they have ended; what each ended with was told to its callback."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
