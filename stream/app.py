"""The worker: every part of the house built, wired and run as one Faust app."""

from __future__ import annotations

import asyncio
import logging
import logging.config
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, NoReturn

import faust
from aiokafka.errors import KafkaError
from faust.types import TP, StreamT
from faust.web import Request, Response, View

from stream.agents.clock import Clock
from stream.agents.closing import failure_of
from stream.agents.cold_start import SecondProcess
from stream.agents.configuration import ConfigurationLibrary
from stream.agents.engagement import Engagement, end_process
from stream.agents.forwards import ForwardRelay
from stream.agents.partition import Partition
from stream.agents.relay import Modes, OutboxRelay, Relay
from stream.agents.snapshots import PartitionSnapshots, Schedule, SnapshotObserver
from stream.agents.surroundings import Limits, Log, Observer
from stream.agents.threads import ReadAhead, SecondThread, unread
from stream.agents.warmup import TreesLater, warm_up
from stream.errors import GroundswellError
from stream.interfaces import NoProfile, PartitionStore
from stream.logs import logging_config
from stream.memory import give_back, receive_less, settle
from stream.metrics import Metrics
from stream.pipeline import Outcome
from stream.profiling import Profile
from stream.settings import Settings
from stream.signatures import UNSIGNED, Signer
from stream.snapshots import Manifest, OwnLoop, Retention, SnapshotStorage
from stream.stores.redis import RedisStore
from stream.stores.table import Table
from stream.transport import FAUST_SETTINGS, BatchHooks, Process, batches

logger = logging.getLogger(__name__)

_WATCH_SECONDS = 1.0
_STARTING_SECONDS = 0.1
_PUBLISH_SECONDS = 5.0
_GIVE_BACK_SECONDS = 30.0
_BOUNDS_SECONDS = 0.5
_BACKGROUND_SECONDS = 1.0
_COMMIT_RECORDS = 131_072
"""For all partitions at once: while a commit is on its way, each record in it stands in memory three times."""


class Worker(faust.App):
    """A Faust app that carries Groundswell's parts, and starts and stops them in order."""

    def __init__(
        self, settings: Settings, topic_id: str, partition_count: int, second: SecondProcess | None = None
    ) -> None:
        """Build all parts; nothing is connected yet. ``second`` compiles one half of the kernels."""
        worker = settings.worker
        self.second = second
        self.settings = settings
        self.metrics = Metrics()
        self.events_topic = settings.topic("events")
        self.partition_count = partition_count
        self.topic_id = topic_id
        self.kafka = settings.kafka.aiokafka()
        self.library = ConfigurationLibrary(settings.topic("config"), self.kafka, is_threaded=True)
        self.contents = TreesLater(self.library)
        self.engagement = Engagement(
            self.events_topic,
            self.new_partition,
            self.metrics,
            suspend_seconds=worker.suspend_seconds,
            stalled_seconds=worker.stalled_seconds,
        )
        self.keyring = settings.keyring()
        self.signer = None if self.keyring is None else Signer(self.keyring, self.events_topic, time.time_ns)
        self.clock = Clock(
            self.events_topic,
            lambda: list(self.engagement.partitions),
            self.kafka,
            lambda: time.time_ns() // 1_000_000,
            interval_seconds=worker.tick_seconds,
            sign=self._sign_tick,
        )
        self.batch_hooks = BatchHooks(
            positions=self.engagement.positions,
            revoked=self.engagement.revoked,
            failed=end_process,
            in_flight_limit=worker.batches_in_flight,
            linger_ms=worker.fetch_linger_ms,
            max_records=worker.batch_events,
            revoke_seconds=worker.suspend_seconds + 1.0,
            security=settings.kafka.security(),
            reference=worker.reference,
        )
        reads_ahead = worker.read_ahead_events > 0 and not worker.reference
        self.read_ahead = ReadAhead(worker.read_ahead_events) if reads_ahead else unread
        self.profile = Profile() if worker.profile else None
        took = (self.profile.scored_beside,) if self.profile else ()
        self.both = SecondThread(*took) if worker.halve_scoring else None
        self.snapshot_storage = settings.snapshot.storage()
        self._snapshot_turn = asyncio.Lock()
        self._modes = Modes()
        self.complaints: list[str] = ["the worker is starting"]
        self._background: list[asyncio.Task[None]] = []
        super().__init__(settings.group(), **FAUST_SETTINGS, **_faust_settings(settings))
        # With acks Faust would keep every batch's offset, for a commit that never comes.
        self.agent(self.topic(self.events_topic, acks=False), name="engagement")(self.deliver)
        _add_pages(self)

    def _create_directories(self) -> None:
        """Make none where a worker is started: it keeps nothing on a disk, as Faust's tables would."""

    # --- parts -----------------------------------------------------------------------------------------

    def new_partition(self, number: int, engagement: Engagement) -> Partition:
        """Build one partition at work."""
        worker, observer = self.settings.worker, engagement
        reference, commit_records = worker.reference, min(_COMMIT_RECORDS, worker.voters_in_memory)
        store = RedisStore(self.settings.redis.endpoint(), self.settings.key_prefix(number), reference=reference)
        partition = Partition(
            number,
            self._log(),
            store,
            self.contents,
            partial(Table, reference=reference),
            self._new_relays,
            Limits(
                voters=lambda: max(worker.voters_in_memory // max(len(engagement.partitions), 1), 1000),
                batch_events=worker.batch_events,
                uncommitted_events=worker.uncommitted_events,
                commit_records=lambda: commit_records // max(len(engagement.partitions), 1),
                outbox_rows=worker.outbox_rows,
                idle_commit_seconds=worker.idle_commit_seconds,
                suspend_seconds=worker.suspend_seconds,
                reclaim_seconds=worker.reclaim_seconds,
            ),
            Observer(
                batch=self._observe_batch,
                committed=observer.observe_commit,
                refused=lambda _: self.metrics.commits_refused.inc(),
                unknown=lambda _: self.metrics.commits_unknown.inc(),
                failed=end_process,
                profiler=self.profile or NoProfile(),
            ),
        )
        if self.snapshot_storage is not None:
            partition.snapshots = self._new_snapshots(number, self.snapshot_storage)
        return partition

    def _observe_batch(self, number: int, outcome: Outcome, seconds: float) -> None:
        if self.profile is not None:
            self.profile.events += outcome.rows
        self.engagement.observe_batch(number, outcome, seconds)

    def _new_snapshots(self, number: int, storage: SnapshotStorage) -> PartitionSnapshots:
        settings, metrics = self.settings.snapshot, self.metrics

        def taken(number: int, manifest: Manifest, seconds: float, hold_seconds: float) -> None:
            metrics.snapshots.inc()
            metrics.snapshot_seconds.observe(seconds)
            metrics.snapshot_time.labels(str(number)).set(manifest.created_ms / 1000)
            metrics.snapshot_bytes.labels(str(number)).set(manifest.size)
            metrics.snapshot_hold_seconds.labels(str(number)).set(hold_seconds)

        def store() -> RedisStore:
            return RedisStore(self.settings.redis.endpoint(), self.settings.key_prefix(number))

        return PartitionSnapshots(
            topic=self.events_topic,
            catalogue=self.settings.snapshots_of(number, storage),
            store=store(),
            aside=OwnLoop(store),
            schedule=Schedule(settings.interval_minutes * 60, number, self.partition_count),
            retention=Retention(settings.keep_count, int(settings.keep_days * 86_400_000)),
            observer=SnapshotObserver(
                found=lambda number, created_ms: metrics.snapshot_time.labels(str(number)).set(created_ms / 1000),
                taken=taken,
                failed=lambda _: metrics.snapshots_failed.inc(),
            ),
            turn=self._snapshot_turn,
        )

    def _log(self) -> Log:
        consumer: Any = self.consumer

        async def bounds(number: int) -> tuple[int, int]:
            tp = TP(self.events_topic, number)
            while True:
                try:
                    start, end = (await consumer.log_ranges([tp]))[tp]
                except (KafkaError, TimeoutError, OSError) as error:
                    # A broker that starts anew, or a leader that moves, is no reason to end.
                    logger.warning("the bounds of partition %d are not known, the next try follows: %r", number, error)
                    await asyncio.sleep(_BOUNDS_SECONDS)
                else:
                    return start, end

        async def reseek(number: int, offset: int) -> None:
            await consumer.reseek({TP(self.events_topic, number): offset})

        return Log(
            topic=self.events_topic,
            topic_id=self.topic_id,
            partition_count=self.partition_count,
            read_ahead=self.read_ahead,
            both=self.both,
            bounds=bounds,
            reseek=reseek,
            epoch=lambda number: int(consumer.epoch(TP(self.events_topic, number))),
            release=lambda number, epoch: consumer.release(TP(self.events_topic, number), epoch),
            is_assigned=lambda number: bool(consumer.is_assigned(TP(self.events_topic, number))),
            keyring=self.keyring,
            reference=self.settings.worker.reference,
        )

    def _new_relays(self, store: PartitionStore, number: int) -> Mapping[str, OutboxRelay]:
        sent, signer = self.engagement.observe_sent, self.signer
        relays: dict[str, OutboxRelay] = {}
        for output in ("triggers", "rejects"):
            topic, name = self.settings.topic(output), self.settings.transactional_id(output, number)
            on_sent = partial(sent, output, number)
            relays[output] = Relay(store, output, topic, number, self.kafka, name, modes=self._modes, on_sent=on_sent)
        on_sent = partial(sent, "forwards", number)
        relays["forwards"] = ForwardRelay(
            store, self.events_topic, self.kafka, modes=self._modes, on_sent=on_sent, signer=signer
        )
        return relays

    def _sign_tick(self, number: int, value: bytes) -> Sequence[tuple[str, bytes]] | None:
        """Return a tick's headers, None while it is not known which keys are in force in its partition."""
        if self.signer is None:
            return ()
        partition = self.engagement.partitions.get(number)
        state = None if partition is None else partition.state
        return None if state is None else (self.signer.sign(state.header.keys, number, None, value),)

    # --- life ------------------------------------------------------------------------------------------

    async def on_start(self) -> None:
        """Bring up what partitions need before the group assigns any."""
        await super().on_start()
        if self.keyring is None:
            logger.warning("%s %s", self.events_topic, UNSIGNED)
        await warm_up(None if self.settings.worker.reference else batches.warm_up, self.second)
        self._spawn(self.contents.compile(self.second), "kernels")
        logger.info("reading the configuration topic")
        await self.library.start()
        # Before the group hands over partitions that another worker, which has the kernels, is working on.
        await self.contents.wait_for(self.library.models())
        self._spawn(self.clock.run(), "clock")
        self._spawn(self._watch(), "watch")
        self._spawn(self._publish(), "offsets")
        self._spawn(self._give_back(), "memory")
        settle()
        if self.profile is not None:
            self.profile.begin()
        logger.info("joining the group %s", self.settings.group())

    async def on_stop(self) -> None:
        """Finish the batch, commit, give partitions back, and leave the group, all within the setting's bound."""
        self._bound_stop()
        self.consumer.stop_flow()
        for task in self._background:
            task.cancel()
        await self.engagement.stop()
        await self.library.stop()
        if self._background:
            await asyncio.wait(self._background, timeout=_BACKGROUND_SECONDS)
        await super().on_stop()
        if self.profile is not None:
            self.profile.show()

    def _bound_stop(self) -> None:
        """End the process, non-zero, if it has not ended by itself by then; a thread, as the loop may hang."""
        seconds = self.settings.worker.shutdown_seconds
        message = f"stopping took longer than worker.shutdown_seconds = {seconds:g}; rows not committed are read again"
        timer = threading.Timer(seconds, end_process, [GroundswellError(message)])
        timer.daemon = True
        timer.start()

    def _spawn(self, part: Coroutine[Any, Any, None], name: str) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            if (error := failure_of(task)) is not None:
                end_process(error)

        task = asyncio.create_task(part, name=name)
        task.add_done_callback(ended)
        self._background.append(task)

    async def deliver(self, stream: StreamT[Any]) -> None:
        """Take each fetched batch to its partition: the Faust agent. Nothing is done for a single log row.

        Partition by partition, a turn of the loop for each, so that one's commit can be on its way when the next one's
        rows are processed.
        """
        async for event in stream.events():
            for _, fetched in groupby(event.value, attrgetter("partition")):
                for columns in fetched:
                    self.engagement.accept(columns)
                await asyncio.sleep(0)

    async def _watch(self) -> None:
        """Keep lag, backlogs and readiness up to date; at its start a worker is ready as soon as it can be."""
        consumer: Any = self.consumer
        pause_seconds = _STARTING_SECONDS
        ends: Mapping[TP, int] = {}
        while True:
            await asyncio.sleep(pause_seconds)
            found = list[str]()
            if self.engagement.partitions:
                try:
                    ends = await asyncio.wait_for(consumer.log_ends(), 10 * _WATCH_SECONDS)
                except Exception as error:
                    # One partition without a leader is enough: what is known of the others' ends still counts.
                    found.append(f"the broker does not say where the log ends: {error!r}")
            found += self.engagement.complaints({tp.partition: end for tp, end in ends.items()})
            self.complaints = found + self.contents.complaints()
            if not self.complaints:
                pause_seconds = _WATCH_SECONDS

    async def _publish(self) -> None:
        """Write the committed offsets into the group, where dashboards look for them."""
        consumer: Any = self.consumer
        while True:
            await asyncio.sleep(_PUBLISH_SECONDS)
            offsets = {
                TP(self.events_topic, number): partition.committed_offset
                for number, partition in self.engagement.partitions.items()
                if partition.committed_offset is not None
            }
            if offsets:
                await consumer.publish_offsets(offsets)

    async def _give_back(self) -> None:
        """Keep what was freed from staying with the process: it would grow for hours, with nothing in it."""
        while True:
            await asyncio.sleep(_GIVE_BACK_SECONDS)
            give_back()


def _faust_settings(settings: Settings) -> Mapping[str, Any]:
    kafka, web = settings.kafka, settings.web
    return {
        "broker": [f"batches://{server.strip()}" for server in kafka.bootstrap_servers.split(",")],
        "broker_client_id": settings.group(),
        "broker_request_timeout": kafka.request_timeout_seconds,
        "broker_session_timeout": kafka.session_timeout_seconds,
        "broker_heartbeat_interval": kafka.heartbeat_seconds,
        "web_enabled": web.enabled,
        "web_bind": web.host,
        "web_port": web.port,
    }


def _add_pages(app: Worker) -> None:
    """Put what Prometheus and the orchestrator ask for on Faust's web server."""

    async def metrics(view: View, request: Request) -> Response:
        return view.bytes(app.metrics.exposition(), content_type="text/plain; version=0.0.4")

    async def healthz(view: View, request: Request) -> Response:
        return view.text("ok\n")

    async def readyz(view: View, request: Request) -> Response:
        if app.complaints:
            return view.text("\n".join(app.complaints) + "\n", status=503)
        return view.text("ready\n")

    for page in (metrics, healthz, readyz):
        app.page(f"/{page.__name__}")(page)


def run_worker(
    settings: Settings, topic_id: str, partition_count: int, second: SecondProcess | None = None
) -> NoReturn:
    """Run until a signal or a failure; ends the process.

    ``topic_id`` (empty where the broker gives none) and ``partition_count`` are the events topic's, once it was found
    fit for a worker; ``second`` is the second process of a cold start.
    """
    logging.config.dictConfig(logging_config(settings.log.level, settings.log.format))
    receive_less()
    app = Worker(settings, topic_id, partition_count, second)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = Process(app, loop=loop, override_logging=False, redirect_stdouts=False, quiet=True)
    worker.spinner = None
    try:
        worker.execute_from_commandline()
    finally:
        app.contents.abandon()
