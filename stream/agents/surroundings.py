"""What a partition at work is given: its log, its limits, and who is told what happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stream.agents.threads import unread
from stream.ahead import Ahead
from stream.columns import Columns
from stream.features import CompiledTaxonomy
from stream.interfaces import Both, NoProfile, Profiler
from stream.pipeline import Outcome, PartitionState
from stream.records import Commit, OutboxRow
from stream.signatures import Keyring


@dataclass(frozen=True, slots=True)
class Log:
    """The events topic as a partition sees it."""

    topic: str
    topic_id: str
    """Empty where the broker gives none."""
    partition_count: int
    bounds: Callable[[int], Awaitable[tuple[int, int]]]
    """Of a partition, the offset of its first record and the one after its last."""
    reseek: Callable[[int, int], Awaitable[None]]
    """Read a partition anew from an offset; batches fetched before are of an older epoch."""
    epoch: Callable[[int], int]
    release: Callable[[int, int], None]
    """Give back the place that a fetched batch (partition, epoch) took."""
    is_assigned: Callable[[int], bool]
    keyring: Keyring | None = None
    """What checks the signatures of its control records; None: they are not signed."""
    reference: bool = False
    """Whether its rows are decoded by library code."""
    read_ahead: Callable[[Columns, int, CompiledTaxonomy], asyncio.Future[Ahead] | None] = unread
    """Begins to read a batch before its turn, given the number of partitions and the taxonomy of now; None: not so."""
    both: Both | None = None
    """Has a second thread score half of a large batch; None: one scores all."""
    now: Callable[[], float] = time.time
    """The clock that append times are compared with, in seconds since 1970; decides how long commits wait, no more."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far memory may run ahead, and how long things may wait."""

    voters: Callable[[], int]
    """How many voters of the partition may stay in memory; asked anew at each claim, since partitions share it."""
    batch_events: int
    """Most log rows that are processed at once."""
    uncommitted_events: int
    """Log rows processed and not committed, before the fetch is made to wait; a commit is due at half of them."""
    commit_records: Callable[[], int]
    """Records in a commit that waits for no more; a larger one takes memory."""
    outbox_rows: int
    """Committed rows of an output that Kafka has not taken, before processing is made to wait (sending goes on)."""
    idle_commit_seconds: float
    """How long rows that changed no record and no output may stay uncommitted."""
    suspend_seconds: float
    """How long giving a partition back waits for its last commit."""
    reclaim_seconds: float
    """First wait before a refused partition is claimed again; doubled each time, up to ten times."""


class Relaying(Protocol):
    """What carries one output's rows from the outbox to its topic."""

    @property
    def backlog(self) -> int:
        """Committed rows that are not known to be sent."""
        ...

    @property
    def sent_through(self) -> int | None:
        """The last sequence that is known to be sent; None while the outbox was not looked at yet."""
        ...

    async def run(self) -> None:
        """Send for as long as the partition is held."""
        ...

    def wake(self, sequence: int, rows: Sequence[OutboxRow] = ()) -> None:
        """Note that rows up to ``sequence`` are committed; ``rows``, the last of them, need not be read."""
        ...

    def forget(self) -> None:
        """Read from the store whatever is not being sent yet: a commit is about to withdraw rows there."""
        ...


class Held(Protocol):
    """A partition in the hands of its owner."""

    state: PartitionState
    committed_offset: int
    """The next offset as Redis has it."""
    committed: asyncio.Event
    """Set after each commit; whoever waits for one clears it first."""


class Snapshotting(Protocol):
    """What takes a partition's snapshots."""

    async def run(self, held: Held) -> None:
        """Take them for as long as the partition is held."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


@dataclass(slots=True)
class Observer:
    """Who is told what happened; each is called once for a batch or commit."""

    batch: Callable[[int, Outcome, float], None]
    """Partition, outcome, seconds."""
    committed: Callable[[int, Commit, float, int | None], None]
    """Partition, what was committed, seconds, oldest append time among the rows (ms)."""
    refused: Callable[[int], None]
    unknown: Callable[[int], None]
    failed: Callable[[BaseException], None]
    """The worker must end: state is safe in Redis and the log, and only a new start is sure to be right."""
    profiler: Profiler = field(default_factory=NoProfile)
