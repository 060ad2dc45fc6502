"""One run: workers, log, broker, Redis and group in virtual time, a plan of faults, and the verdict over it all."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

import orjson
from aiokafka.errors import OffsetOutOfRangeError

from stream.columns import ORIGIN_HEADER
from stream.commands.topics import TopicFacts
from stream.errors import RelayGapError
from stream.records import SEQUENCE_HEADER, ContentId, Header, OutboxRow
from stream.snapshots import Catalogue, FileSnapshots, Manifest, Place
from stream.snapshots.format import MANIFEST, VOTERS, unpack_records, unpack_rows
from stream.stores.endpoint import RedisEndpoint
from stream.stores.names import header_key, outbox_key, partition_prefix, voter_prefix
from tests.logs import BEGIN_MS, Generator, Log
from tests.oracle import Key
from tests.simulation.disk import PROTOCOL, new_disk, threads
from tests.simulation.faults import Faults
from tests.simulation.group import Group
from tests.simulation.judge import Judge
from tests.simulation.kafka_batches import Record
from tests.simulation.kafka_broker import SimulatedKafka
from tests.simulation.kafka_network import connected_to
from tests.simulation.links import Wires
from tests.simulation.loop import DeadlockError, run
from tests.simulation.operators import Operator
from tests.simulation.plan import PUBLISH_SECONDS, Scenario
from tests.simulation.processes import burial, gated
from tests.simulation.redis_server import SimulatedCluster, SimulatedRedis
from tests.simulation.redis_wire import endpoint_of
from tests.simulation.worker import TOPIC, TOPIC_ID, Site, Worker

SESSION_SECONDS: Final = 2.5
SETTLE_SECONDS: Final = SESSION_SECONDS + 6.0
"""Longest time from the last fault's end, or the last event, to all work done: a session, a relay's longest back-off, a
second."""
LONGEST_SECONDS: Final = 120.0
"""Of a run: a worker that ends and is started again for ever is no fault that ends some time."""
STOP_SECONDS: Final = 12.0
"""Longest time that a worker may take to stop in order."""
OUTPUTS: Final = ("triggers", "rejects", "forwards")
_PAGE_SIZES: Final = {
    "stream.snapshots.capture.SCAN_KEYS": (5, 30),
    "stream.snapshots.capture.PAGE_VOTERS": (2, 50),
    "stream.snapshots.capture._PAGE_ROWS": (2, 50),
    "stream.snapshots.writing.CHUNK_RECORDS": (3, 50),
    "stream.stores.redis._SCAN_KEYS": (20, 10_000),
    "stream.commands.restore._FILL_ITEMS": (3, 50),
    "stream.agents.handover.TAKEN_BYTES": (1, 2000, 1 << 20),
    "stream.agents.handover.MOST_ROWS": (3, 16_384),
    "stream.stores.redis._PIECE_ROWS": (1, 64),
}


@dataclass
class Result:
    """What a run came to."""

    scenario: Scenario
    problem: str = ""
    trace: list[str] = field(default_factory=list)
    settled_seconds: float = 0.0
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            (
                *("commits", "refused", "unknown", "sent", "starts", "triggers"),
                *("snapshots", "snapshots failed", "restorations"),
            ),
            0,
        )
    )

    @property
    def digest(self) -> str:
        """Return a hash of all that happened."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


class World:
    """Everything of one run."""

    def __init__(self, scenario: Scenario, listen: Callable[[str], None] | None = None) -> None:
        """Lay out topics and servers; nothing runs yet. ``listen`` is told each line of the trace at once."""
        seed = scenario.seed
        chance = self.chance = random.Random(f"world {seed}")
        self.scenario = scenario
        self.result = Result(scenario)
        self.listen = listen
        self.jump_ms = 0
        self.partitions = chance.choice([1, 2, 3])
        self.count = chance.choice([1, 2, 3])
        self.kafka = SimulatedKafka(
            self.now_ms,
            replication_seconds=lambda: 0.004 * chance.random(),
            marker_seconds=lambda: chance.choice([0.001, 0.01, 0.2]) * chance.random(),
        )
        for topic in (TOPIC, "engagement.triggers", "engagement.rejects"):
            self.kafka.create_topic(topic, self.partitions)
        self.kafka.create_topic("engagement.config", 1, append_times=False)
        self.redis = SimulatedRedis()
        self.other = SimulatedRedis("redis-2", 6380)
        if chance.random() < 0.25:
            SimulatedCluster([self.redis, self.other])
        self._lay_out_snapshots(chance)
        self._deleted: dict[int, list[Record]] = {number: [] for number in range(self.partitions)}
        """Events that retention took."""
        self.operator = Operator(self, random.Random(f"operator {seed}"))
        self.redis_wires = Wires(random.Random(f"redis {seed}"), 0.002, self.tell, self._lasts)
        self.kafka_wires = Wires(random.Random(f"kafka {seed}"), 0.004, self.tell, self._lasts)
        self.group = Group(self.partitions, SESSION_SECONDS, random.Random(f"group {seed}"))
        self.stalled: set[int] = set()
        self.out_of_range: set[int] = set()
        """Partitions whose leader answers the next fetch as out of range, though it is not."""
        self.lost_tails: set[tuple[str, int]] = set()
        """Topics' partitions that lost what they had acknowledged."""
        self._stands_still = False
        """Whether a worker has stopped rather than skip what was lost."""
        self.workers: list[Worker] = []
        self._all_workers: list[Worker] = []
        self.calm_at = 0.0
        """When the last fault was over."""
        self.moving = False
        """Whether keys are on their way from one node of a cluster to another."""
        self._ending = False
        self.faults = Faults(self)
        self.logs = self._lay_out_logs()
        contents: dict[Key, bytes] = {}
        for log in self.logs:
            contents.update(log.contents)
        for key, content in contents.items():
            self.kafka.append("engagement.config", 0, ContentId(*key).key().encode(), content)
        self.judges = [Judge(number, self.partitions, contents, TOPIC) for number in range(self.partitions)]
        for server in (self.redis, self.other):
            self.watch(server)

    def _lay_out_snapshots(self, chance: random.Random) -> None:
        seed = self.scenario.seed
        self.disk = new_disk(str(seed))
        self.disk.on_snapshot = self._check_snapshot
        self._storage = FileSnapshots(f"{PROTOCOL}://{seed}/snapshots")
        self._offload = threads(random.Random(f"threads {seed}"))
        kinds = {fault.kind for fault in self.scenario.faults}
        seconds = chance.choice([0.0, 1.0, 2.5])
        self.snapshot_seconds = 1.0 if kinds & {"head_deleted", "disk_full", "snapshot_torn"} else seconds
        self.snapshots: dict[str, Manifest] = {}
        """By folder, those that were finished."""
        self.torn: set[str] = set()

    def _lay_out_logs(self) -> list[Log]:
        seed, count = self.scenario.seed, self.partitions
        return [
            Generator(seed * 7 + number, (number, count), BEGIN_MS).run(self.scenario.rows) for number in range(count)
        ]

    # --- for its parts -------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Return the wall clock of brokers and workers."""
        return BEGIN_MS + int(_now() * 1000) + self.jump_ms

    def tell(self, line: str) -> None:
        """Add a line to the trace."""
        line = f"{_now():8.4f} {line}"
        self.result.trace.append(line)
        if self.listen is not None:
            self.listen(line)

    def broken(self, problem: str) -> None:
        """Note the first invariant that did not hold."""
        if problem and not self.result.problem:
            self.result.problem = f"after {_now():.3f} s: {problem}"
            self.tell(f"PROBLEM {problem}")

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something in the context of the world, which is no process; no calm before."""
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, call, context=self.faults.context())
        self._lasts(seconds)

    def _lasts(self, seconds: float) -> None:
        """Note that a fault is not over before so long."""
        self.calm_at = max(self.calm_at, _now() + seconds)

    def fetch(self, partition: int, offset: int, most: int) -> tuple[list[Record], int] | None:
        """Be the log that workers fetch from (group.EventsLog)."""
        if partition in self.stalled or self.kafka.leaders[TOPIC, partition] is None:
            return [], offset
        if partition in self.out_of_range:
            self.out_of_range.discard(partition)
            return None
        try:
            return self.kafka.fetch(TOPIC, partition, offset, most)
        except OffsetOutOfRangeError:
            return None

    def bounds(self, partition: int) -> tuple[int, int]:
        """Return where a partition's log begins and ends."""
        log = self.kafka.logs[TOPIC, partition]
        return log.start, log.last_stable_offset

    def endpoint(self) -> RedisEndpoint:
        """Return the running process's way to Redis."""
        return endpoint_of(self.redis, self.redis_wires.link, answer_timeout_seconds=1.0)

    def catalogue(self, partition: int) -> Catalogue:
        """Return a partition's snapshots."""
        return Catalogue(self._storage, Place("", partition), self._offload)

    def facts(self) -> TopicFacts:
        """Return what the broker says of the events topic."""
        begins, ends = zip(*map(self.bounds, range(self.partitions)), strict=True)
        return TopicFacts(TOPIC, TOPIC_ID, self.partitions, begins, ends)

    def whole_snapshots(self, partition: int) -> list[tuple[str, int]]:
        """Return folders and offsets of a partition's snapshots that can be restored, by offset."""
        files = self.disk.files
        found = [
            (folder, manifest.offset)
            for folder, manifest in self.snapshots.items()
            if manifest.partition == partition
            and folder not in self.torn
            and all(f"{folder}/{name}" in files for name in (MANIFEST, *(entry.name for entry in manifest.files)))
        ]
        return sorted(found, key=lambda snapshot: snapshot[1])

    def delete_events_before(self, partition: int, offset: int) -> None:
        """Be retention."""
        judge = self.judges[partition]
        judge.read(self.log_of(TOPIC, partition, judge.oracle.offset))
        self._deleted[partition] += [row for row in self.log_of(TOPIC, partition) if row.offset < offset]
        self.kafka.logs[TOPIC, partition].delete_before(offset)
        self.tell(f"the log of partition {partition} begins at {offset}")

    def _check_snapshot(self, folder: str) -> None:
        """Judge a snapshot at the moment at which its manifest is written."""
        files = self.disk.files
        manifest = Manifest.from_bytes(files[f"{folder}/{MANIFEST}"], folder)
        self.tell(f"snapshot {folder}")
        self.snapshots[folder] = manifest
        found = [(entry, files.get(f"{folder}/{entry.name}")) for entry in manifest.files]
        if any(data is None for _, data in found):
            # Written by the thread of one that was given up, and cleared away, meanwhile.
            return
        records = [pair for entry, data in found if entry.kind == VOTERS for pair in unpack_records(data or b"")]
        rows: dict[str, list[OutboxRow]] = {}
        for entry, data in found:
            if entry.kind != VOTERS:
                rows.setdefault(entry.kind, []).extend(unpack_rows(data or b""))
        judge = self.judges[manifest.partition]
        judge.read(self.log_of(TOPIC, judge.number, judge.oracle.offset))
        self.broken(judge.check_snapshot(orjson.loads(manifest.header), records, rows, manifest.unsent))

    def watch(self, server: SimulatedRedis) -> None:
        """Look at every header that is written."""
        write = server.write
        judges = {header_key(partition_prefix("", judge.number)).encode(): judge for judge in self.judges}

        def watched(key: bytes, value: Any) -> bool:
            judge = judges.get(key)
            if judge is not None and isinstance(value, bytes) and not self.moving:
                self._check_header(judge, server, key, value)
            return write(key, value)

        server.write = watched  # type: ignore[method-assign]

    def _check_header(self, judge: Judge, server: SimulatedRedis, key: bytes, value: bytes) -> None:
        header = Header.from_bytes(value)
        self.tell(f"header {judge.number} of {header.owner} at {header.offset}")
        judge.read(self.log_of(TOPIC, judge.number, judge.oracle.offset))
        prefix = voter_prefix(partition_prefix("", judge.number)).encode()
        values = server.data.values
        before = values.get(key)
        self.broken(judge.check_write(before if isinstance(before, bytes) else None, value, values, prefix))

    def log_of(self, topic: str, partition: int, offset: int = 0) -> list[Record]:
        """Return what a subscriber reads in a partition from an offset on, or from where its log begins."""
        start = self.kafka.logs[topic, partition].start
        return self.kafka.fetch(topic, partition, max(offset, start), 1 << 30)[0]

    # --- workers -------------------------------------------------------------------------------------

    def start_worker(self, place: int) -> None:
        """Start the worker of a place, or start it again; at the end of the run no more."""
        if self._ending:
            return
        self.result.counts["starts"] += 1
        site = Site(
            self.group,
            self,
            self.endpoint,
            lambda name: {"bootstrap_servers": "kafka", "client_id": name},
            self.now_ms,
            self.partitions,
            self._failed,
            self.broken,
            self.catalogue,
            self.snapshot_seconds,
        )
        name = f"worker-{place}.{self.result.counts['starts']}"
        worker = Worker(site, name, self.chance.randrange(1 << 30))
        worker.process.on_death = lambda: self._died(place, worker)
        self.workers[place : place + 1] = [worker]
        self._all_workers.append(worker)
        self.tell(f"start {name}")
        worker.start()

    def _failed(self, worker: Worker, error: BaseException) -> None:
        self.tell(f"failed {worker.name}: {type(error).__name__}: {error}")
        if not self.faults.explain(error):
            self.broken(f"{worker.name} ended: {type(error).__name__}: {error}")
        self._stands_still = self._stands_still or isinstance(error, RelayGapError)
        worker.process.kill()

    def _died(self, place: int, worker: Worker) -> None:
        self.tell(f"end {worker.name} after {worker.process.steps} steps")
        for name, count in worker.counts.items():
            self.result.counts[name] += count
        if not self._ending:
            # As an orchestrator does.
            self.later(0.2 + 2 * self.chance.random(), lambda: self._restart(place, worker))

    def _restart(self, place: int, worker: Worker) -> None:
        if self.workers[place] is worker:
            self.start_worker(place)

    def bury(self) -> None:
        """Let go of everything that was left running."""
        for process in (*self.operator.processes, *(worker.process for worker in self._all_workers)):
            process.bury()

    # --- the run -------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Run to the end, and judge."""
        loop = asyncio.get_running_loop()
        loop.set_task_factory(gated)
        for place in range(self.count):
            self.start_worker(place)
        background = [loop.create_task(self._keep_group()), loop.create_task(self._remember())]
        publishing = loop.create_task(self._publish())
        await self.faults.run(self.scenario.faults)
        await publishing
        self.calm_at = max(self.calm_at, loop.time())
        while not self.result.problem and not self._stands_still and (left := self._left()):
            if self.operator.is_busy:
                self.calm_at = max(self.calm_at, loop.time())
            if loop.time() - self.calm_at > SETTLE_SECONDS:
                self.broken(f"work is left {SETTLE_SECONDS} s after the last fault: {left}")
            if loop.time() > LONGEST_SECONDS:
                self.broken(f"work is left after {LONGEST_SECONDS} s, whatever keeps the last fault going: {left}")
            await asyncio.sleep(0.1)
        self.result.settled_seconds = max(loop.time() - self.calm_at, 0.0)
        if self._stands_still:
            self._judge_outputs()
        elif not self.result.problem:
            await self._end(background)
            self._judge()

    async def _end(self, background: list[asyncio.Task[None]]) -> None:
        """Stop all workers in order."""
        loop = asyncio.get_running_loop()
        self._ending = True
        for worker in self.workers:
            worker.stop()
        deadline = max(loop.time(), self.calm_at) + STOP_SECONDS
        while any(worker.process.alive for worker in self.workers):
            if loop.time() > deadline:
                names = [worker.name for worker in self.workers if worker.process.alive]
                self.broken(f"{names} did not stop in {STOP_SECONDS} s")
                return
            await asyncio.sleep(0.1)
        for task in background:
            task.cancel()

    async def _publish(self) -> None:
        """Write the logs' rows at their pace, some twice."""
        loop = asyncio.get_running_loop()
        chance = random.Random(f"publisher {self.scenario.seed}")
        order = [number for number, log in enumerate(self.logs) for _ in log.rows]
        times = sorted(chance.uniform(0.2, PUBLISH_SECONDS) for _ in order)
        queues = [iter(log.rows) for log in self.logs]
        chance.shuffle(order)
        for at, number in zip(times, order, strict=True):
            await asyncio.sleep(max(at - loop.time(), 0))
            row = next(queues[number])
            headers = tuple((name, value or b"") for name, value in row.headers)
            for _ in range(2 if chance.random() < 0.1 else 1):
                self.kafka.append(TOPIC, number, row.key, row.value, headers)
            if chance.random() < 0.02:
                self.kafka.logs[TOPIC, number].skip(chance.choice([1, 3]))

    async def _keep_group(self) -> None:
        while True:
            await asyncio.sleep(0.25)
            self.group.expire()

    async def _remember(self) -> None:
        """Keep copies of Redis, as replicas that lag would."""
        while True:
            self.faults.remember()
            await asyncio.sleep(0.2)

    # --- the verdict ---------------------------------------------------------------------------------

    def _values(self) -> dict[bytes, Any]:
        """Return all that Redis holds."""
        return {**self.other.data.values, **self.redis.data.values}

    def _left(self) -> list[str]:
        """Return what is still to be done."""
        values, left = self._values(), ["a restoration is under way"] if self.operator.is_busy else []
        for number in range(self.partitions):
            prefix = partition_prefix("", number)
            header = values.get(header_key(prefix).encode())
            offset = Header.from_bytes(header).offset if header else 0
            if header is None or Header.from_bytes(header).restoring:
                left.append(f"partition {number} has no state")
            rows = self.log_of(TOPIC, number, offset)
            if rows:
                left.append(f"partition {number} stands at {offset} of {rows[-1].offset + 1}")
            for output in OUTPUTS:
                box = values.get(outbox_key(prefix, output).encode(), ())
                if unsent := [row for row in map(OutboxRow.from_bytes, box) if not self._is_sent(number, output, row)]:
                    left.append(f"partition {number} has {len(unsent)} {output} unsent")
        return left

    def _is_sent(self, number: int, output: str, row: OutboxRow) -> bool:
        """Say whether a row stands in its topic: one that was trimmed may have come back with a Redis that lost that.

        It is trimmed again before the output's next row, or by the next owner.
        """
        name, where = (ORIGIN_HEADER, (TOPIC, row.partition))
        if output != "forwards":
            name, where = (SEQUENCE_HEADER, (f"engagement.{output}", number))
        mark = dict(row.headers)[name]
        taken = self._deleted[row.partition] if output == "forwards" else []
        return any((name, mark) in record.headers for record in (*taken, *self.log_of(*where)))

    def _judge(self) -> None:
        values = self._values()
        logs = {number: self._deleted[number] + self.log_of(TOPIC, number) for number in range(self.partitions)}
        self.result.counts["restorations"] += self.operator.restored
        self._judge_outputs()
        for judge in self.judges:
            prefix = voter_prefix(partition_prefix("", judge.number)).encode()
            found = {key[len(prefix) :].decode(): value for key, value in values.items() if key.startswith(prefix)}
            self.broken(judge.check_records(found))
            self.broken(judge.check_forwards(logs))
            self.result.counts["triggers"] += len(judge.oracle.outputs["triggers"])
        state = sorted((key, value) for key, value in values.items() if isinstance(value, bytes))
        self.tell(f"state {hashlib.sha256(repr(state).encode()).hexdigest()}")

    def _judge_outputs(self) -> None:
        for judge in self.judges:
            judge.read(self.log_of(TOPIC, judge.number, judge.oracle.offset))
            for output in ("triggers", "rejects"):
                place = (f"engagement.{output}", judge.number)
                whole = not self._stands_still and place not in self.lost_tails
                self.broken(judge.check_output(output, self.log_of(*place), whole=whole))


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return 0.0


class _Listener(logging.Handler):
    """Puts what the code logs among the lines of the trace."""

    def __init__(self, listen: Callable[[str], None]) -> None:
        super().__init__()
        self._listen = listen

    def emit(self, record: logging.LogRecord) -> None:
        self._listen(f"{_now():8.4f}     {record.getMessage()}")


@contextmanager
def _logging_to(listen: Callable[[str], None] | None) -> Iterator[None]:
    """Log to one who listens, or nothing."""
    if listen is None:
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
        return
    logger, handler = logging.getLogger("stream"), _Listener(listen)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def _small_pages(chance: random.Random) -> Iterator[None]:
    """Copy and load a few voters at a time, so that much may happen in between."""
    sizes = {name: chance.choice(choices) for name, choices in _PAGE_SIZES.items()}
    with ExitStack() as stack:
        for name, size in sizes.items():
            stack.enter_context(patch(name, size))
        yield


def simulate(scenario: Scenario, listen: Callable[[str], None] | None = None) -> Result:
    """Run one scenario; the result's ``problem`` is empty where every invariant held."""
    world = World(scenario, listen)
    owners = random.Random(f"owners {scenario.seed}")
    tokens = SimpleNamespace(token_hex=lambda size: f"{owners.getrandbits(size * 8):0{size * 2}x}")
    with (
        _logging_to(listen),
        connected_to(world.kafka, world.kafka_wires.link, scenario.seed),
        patch("stream.agents.partition.secrets", tokens),
        patch("stream.commands.restore.secrets", tokens),
        _small_pages(random.Random(f"pages {scenario.seed}")),
    ):
        try:
            run(world.live())
        except DeadlockError as error:
            world.broken(str(error))
        except Exception as error:  # a seed that the world itself cannot bear must not keep others from running
            world.broken(f"the simulation itself failed: {''.join(traceback.format_exception(error)[-3:])}")
    result = world.result
    # Now, and not in the middle of the next run: a killed process leaves its clients unclosed.
    with burial():
        world.bury()
        del world
        gc.collect()
    return result
