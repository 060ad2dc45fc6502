"""A worker in the simulation: the real agents over the real store, wired as ``stream.app`` wires them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from stream.agents.clock import Clock
from stream.agents.closing import failure_of
from stream.agents.configuration import ConfigurationLibrary
from stream.agents.engagement import Engagement
from stream.agents.forwards import ForwardRelay
from stream.agents.partition import Partition
from stream.agents.relay import Modes, OutboxRelay, Relay
from stream.agents.snapshots import PartitionSnapshots, Schedule, SnapshotObserver
from stream.agents.surroundings import Limits, Log, Observer
from stream.ahead import Ahead, read_ahead
from stream.columns import Columns
from stream.features import CompiledTaxonomy
from stream.interfaces import PartitionStore
from stream.metrics import Metrics
from stream.records import Commit, OutboxRow
from stream.snapshots import Catalogue, Retention
from stream.stores.endpoint import RedisEndpoint
from stream.stores.names import partition_prefix
from stream.stores.redis import RedisStore
from stream.stores.table import Table
from tests.simulation.group import EventsLog, Group, Hooks, Member
from tests.simulation.processes import Process

TOPIC = "engagement.events"
TOPIC_ID = "topic-1"
SUSPEND_SECONDS = 1.0
TICK_SECONDS = 5.0
SNAPSHOTS_KEPT = 3


class _Partition(Partition):
    """The real one; a task of it that ends as cancelled, though nobody cancelled it, is told."""

    tell: Callable[[str], None]

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() and not task.cancelling():
            self.tell(f"the task {task.get_name()!r} was cancelled by nobody, and nothing takes its place")
        super()._ended(task)


@dataclass(frozen=True)
class Site:
    """What a worker finds around it."""

    group: Group
    log: EventsLog
    endpoint: Callable[[], RedisEndpoint]
    kafka: Callable[[str], Mapping[str, Any]]
    """aiokafka's settings for a client of that name."""
    now_ms: Callable[[], int]
    partitions: int
    failed: Callable[[Worker, BaseException], None]
    broken: Callable[[str], None]
    """Told of an invariant that does not hold."""
    catalogue: Callable[[int], Catalogue]
    """A partition's snapshots."""
    snapshot_seconds: float
    """How often they are taken; never where 0."""


class Worker:
    """One incarnation of a worker: a process from its start to its end."""

    def __init__(self, site: Site, name: str, seed: int) -> None:
        """Nothing runs yet."""
        self.site = site
        self.name = name
        self.process = Process(name)
        self.chance = random.Random(seed)
        self.counts = dict.fromkeys(("commits", "refused", "unknown", "sent", "snapshots", "snapshots failed"), 0)
        self._snapshot_turn = asyncio.Lock()
        self._modes = Modes()
        self._follows: dict[int, tuple[int, int]] = {}
        """By partition, the epoch of the last batch and where the next one of it must start."""
        self.member: Member | None = None
        self._stop = asyncio.Event()

    def start(self) -> None:
        """Run until stopped, killed or failed."""
        self.process.start(self._main(), self.name)

    def stop(self) -> None:
        """Ask it to end in order, as SIGTERM does."""
        self._stop.set()

    async def _main(self) -> None:
        try:
            await self._run()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._failed(error)

    async def _run(self) -> None:
        site = self.site
        self.kafka = site.kafka(self.name)
        self.library = ConfigurationLibrary("engagement.config", self.kafka)
        engagement = Engagement(
            TOPIC, self._new_partition, Metrics(), suspend_seconds=SUSPEND_SECONDS, stalled_seconds=30.0
        )
        self.engagement = engagement
        hooks = Hooks(
            engagement.positions,
            engagement.revoked,
            self._failed,
            self._accept,
            in_flight_limit=self.chance.choice([1, 2, 4]),
            max_records=self.chance.choice([1, 5, 30]),
            revoke_seconds=SUSPEND_SECONDS + 1.0,
        )
        self.member = Member(TOPIC, site.group, site.log, hooks, self.chance)
        clock = Clock(
            TOPIC, lambda: list(engagement.partitions), self.kafka, site.now_ms, interval_seconds=TICK_SECONDS
        )
        await self.library.start()
        tasks = [asyncio.create_task(clock.run(), name="clock"), asyncio.create_task(self.member.run(), name="member")]
        for task in tasks:
            task.add_done_callback(self._ended)
        await self._stop.wait()
        for task in tasks:
            task.cancel()
        await engagement.stop()
        await self.library.stop()
        await self.member.leave()
        await asyncio.wait(tasks)
        self.process.kill()

    def _accept(self, columns: Columns) -> None:
        """Take a batch; those of one epoch follow one another."""
        epoch, start = self._follows.get(columns.partition, (0, 0))
        if columns.epoch == epoch and columns.start != start:
            self.site.broken(
                f"{self.name}, partition {columns.partition}: a batch of epoch {epoch} starts at {columns.start}, "
                f"the one before ended at {start}"
            )
        self._follows[columns.partition] = (columns.epoch, columns.next)
        self.engagement.accept(columns)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if (error := failure_of(task)) is not None:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        if self.process.alive:
            self.site.failed(self, error)

    def _read_ahead(
        self, columns: Columns, partition_count: int, taxonomy: CompiledTaxonomy, *, reference: bool
    ) -> asyncio.Future[Ahead] | None:
        """Read some batches some time before or after their turn, as a thread would."""
        if self.chance.random() < 0.7:
            return None
        loop = asyncio.get_running_loop()
        reading: asyncio.Future[Ahead] = loop.create_future()

        def end() -> None:
            if not reading.done():
                reading.set_result(read_ahead(columns, partition_count, taxonomy, reference=reference))

        loop.call_later(self.chance.choice((0.0, 0.001, 0.02)), end)
        return reading

    def _new_partition(self, number: int, engagement: Engagement) -> Partition:
        # Every other worker by library code: it must go on with what compiled loops left, and they with what it left.
        reference = self.chance.random() < 0.5
        store = RedisStore(self.site.endpoint(), partition_prefix("", number), reference=reference)
        member = self.member
        assert member is not None
        log = Log(
            topic=TOPIC,
            topic_id=TOPIC_ID,
            partition_count=self.site.partitions,
            bounds=member.bounds,
            reseek=member.reseek,
            epoch=member.epoch,
            release=member.release,
            is_assigned=member.is_assigned,
            reference=reference,
            read_ahead=partial(self._read_ahead, reference=reference),
            now=lambda: self.site.now_ms() / 1000,
        )
        chance = self.chance
        limits = Limits(
            voters=lambda: 4,
            batch_events=chance.choice([1, 8, 1000]),
            uncommitted_events=chance.choice([20, 200]),
            commit_records=lambda: 3,
            outbox_rows=chance.choice([10, 1000]),
            idle_commit_seconds=0.5,
            suspend_seconds=SUSPEND_SECONDS,
            reclaim_seconds=0.2,
        )
        observer = Observer(
            batch=engagement.observe_batch,
            committed=self._committed,
            refused=self._refused,
            unknown=self._unknown,
            failed=self._failed,
        )
        table = partial(Table, reference=reference)
        partition = _Partition(number, log, store, self.library, table, self._new_relays, limits, observer)
        partition.tell = self.site.broken
        if self.site.snapshot_seconds:
            partition.snapshots = self._new_snapshots(number)
        return partition

    def _new_snapshots(self, number: int) -> PartitionSnapshots:
        def count(what: str) -> None:
            self.counts[what] += 1

        site, chance = self.site, self.chance
        return PartitionSnapshots(
            topic=TOPIC,
            catalogue=site.catalogue(number),
            store=RedisStore(site.endpoint(), partition_prefix("", number)),
            schedule=Schedule(site.snapshot_seconds, number, site.partitions),
            retention=Retention(SNAPSHOTS_KEPT, 10**12),
            observer=SnapshotObserver(
                found=lambda number, created_ms: None,
                taken=lambda number, manifest, seconds, hold_seconds: count("snapshots"),
                failed=lambda number: count("snapshots failed"),
            ),
            turn=self._snapshot_turn,
            now=lambda: site.now_ms() / 1000,
            clock=asyncio.get_running_loop().time,
            token=lambda: f"{chance.getrandbits(32):08x}",
        )

    def _new_relays(self, store: PartitionStore, number: int) -> Mapping[str, OutboxRelay]:
        relays: dict[str, OutboxRelay] = {
            output: Relay(
                store,
                output,
                f"engagement.{output}",
                number,
                self.kafka,
                f"groundswell.{output}.{number}",
                modes=self._modes,
                on_sent=self._sent,
            )
            for output in ("triggers", "rejects")
        }
        relays["forwards"] = ForwardRelay(store, TOPIC, self.kafka, modes=self._modes, on_sent=self._sent)
        return relays

    def _committed(self, number: int, commit: Commit, seconds: float, oldest_ms: int | None) -> None:
        self.counts["commits"] += 1
        self.engagement.observe_commit(number, commit, seconds, oldest_ms)

    def _refused(self, number: int) -> None:
        self.counts["refused"] += 1

    def _unknown(self, number: int) -> None:
        self.counts["unknown"] += 1

    def _sent(self, rows: Sequence[OutboxRow]) -> None:
        self.counts["sent"] += len(rows)
