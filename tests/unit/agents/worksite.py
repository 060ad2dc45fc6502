"""A partition at work on Redis' twin, a log held in a list, and relays that a test holds in its hand."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson

from stream.agents.handover import Handover
from stream.agents.partition import Partition
from stream.agents.surroundings import Limits, Log, Observer, Relaying
from stream.columns import Columns, columns_of
from stream.interfaces import PartitionStore
from stream.pipeline import Outcome
from stream.records import VOTER, Commit, ContentId, Header, OutboxRow
from stream.stores.memory import MemoryServer, MemoryStore
from stream.stores.names import partition_prefix
from stream.stores.table import Table
from stream.versions import CANARY, ModelVersion
from tests.voters import features_of

TOPIC = "engagement.events"
TOPIC_ID = "topic-1"
NOW_MS = 1_790_000_000_000
LIMITS = Limits(
    voters=lambda: 1000,
    batch_events=1,
    uncommitted_events=1000,
    commit_records=lambda: 1000,
    outbox_rows=1000,
    idle_commit_seconds=0.02,
    suspend_seconds=5.0,
    reclaim_seconds=0.001,
)

Row = tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Return when ``condition`` holds; TimeoutError if it does not come to it."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


async def turns(count: int = 50) -> None:
    """Let everything that can run, run."""
    for _ in range(count):
        await asyncio.sleep(0)


def event(kind: str, voter: str | None, name: object, data: Any = None, **more: Any) -> bytes:
    """Return a CloudEvent of ``kind``; ``name`` makes its id."""
    fields = {"specversion": "1.0", "id": str(name), "source": "/test", "type": kind, "subject": voter, "data": data}
    return orjson.dumps(fields | more)


def like(voter: str, name: object) -> bytes:
    return event("social.like", voter, name, {})


def tick(seconds: int = 0) -> bytes:
    return event("clock.tick", None, seconds, None, time=f"2026-09-21T13:20:{seconds:02d}Z")


def activation(*contents: ContentId, engine: int = 1, versions: Iterable[ModelVersion] = ()) -> bytes:
    named: list[dict[str, Any]] = [{"kind": item.kind, "name": item.name, "sha256": item.sha256} for item in contents]
    for version in versions:
        share = {"share": version.share} if version.role == CANARY else {}
        named.append({"kind": "model", "name": version.name, "sha256": version.sha256, "role": version.role, **share})
    return event("config.activated", None, "activation", {"engine": engine, "contents": named})


class Shelf:
    """A library (interfaces.Library) that a test fills, before or while others wait."""

    def __init__(self) -> None:
        self.contents: dict[ContentId, bytes] = {}
        self._changed = asyncio.Event()

    def add(self, kind: str, name: str, content: bytes) -> ContentId:
        item = ContentId(kind, name, hashlib.sha256(content).hexdigest())
        self.contents[item] = content
        self._changed.set()
        return item

    def model(self, name: str = "likes", **changes: Any) -> ContentId:
        """Add a linear model that counts likes."""
        fields = {"name": name, "kind": "linear", "bias": 0.0, "weights": {"social.like.decayed_1d": 1.0}}
        return self.add("model", name, orjson.dumps(fields | changes))

    def campaign(
        self, name: str = "fan", model: str = "likes", threshold: float = 2.5, cooldown: str = "0s"
    ) -> ContentId:
        """Add a campaign that fires when a model's score rises to ``threshold``."""
        lines = (f'name = "{name}"', f'model = "{model}"', 'direction = "up"', f"threshold = {threshold}")
        return self.add("campaign", name, "\n".join((*lines, "rearm = 0.5", f'cooldown = "{cooldown}"')).encode())

    def get(self, content: ContentId) -> bytes | None:
        return self.contents.get(content)

    async def wait_for(self, contents: Iterable[ContentId]) -> None:
        wanted = set(contents)
        while not wanted <= self.contents.keys():
            self._changed.clear()
            await self._changed.wait()


@dataclass
class Tape:
    """One partition's log as the transport gives it: rows, where it stands, and its epoch."""

    number: int = 0
    count: int = 1
    rows: list[Row] = field(default_factory=list)
    epoch: int = 1
    position: int = 0
    begin: int = 0
    cut: int | None = None
    """The end that the broker names, where it is not the true one."""
    is_assigned: bool = True
    sought: list[int] = field(default_factory=list)
    released: int = 0

    @property
    def end(self) -> int:
        return len(self.rows)

    def write(self, *values: bytes | None, headers: tuple[tuple[str, bytes], ...] = ()) -> None:
        self.rows += [(None, value, headers) for value in values]

    def seek(self, offset: int) -> None:
        self.epoch += 1
        self.position = offset

    def take(self, most: int) -> Columns:
        start = self.position
        rows = self.rows[start : start + most]
        self.position += len(rows)
        keys, values, headers = zip(*rows, strict=True) if rows else ((), (), ())
        offsets = list(range(start, self.position))
        times = [NOW_MS + offset for offset in offsets]
        columns = columns_of(self.number, offsets, times, keys, values, headers, epoch=self.epoch, start=start)
        columns.is_followed = self.position < self.end
        return columns

    def log(self, **changes: Any) -> Log:
        async def bounds(_: int) -> tuple[int, int]:
            return self.begin, self.end if self.cut is None else self.cut

        async def reseek(_: int, offset: int) -> None:
            self.sought.append(offset)
            self.seek(offset)

        def release(_: int, epoch: int) -> None:
            self.released += epoch == self.epoch

        log = Log(
            TOPIC, TOPIC_ID, self.count, bounds, reseek, lambda _: self.epoch, release, lambda _: self.is_assigned
        )
        return replace(log, **({"now": lambda: NOW_MS / 1000} | changes))


class GatedStore(MemoryStore):
    """Redis' twin, whose commits arrive only while the gate is open."""

    def __init__(self, server: MemoryServer, prefix: str) -> None:
        super().__init__(server, prefix)
        self.gate = asyncio.Event()
        self.gate.set()
        self.commits: list[Commit] = []
        self.closed = False

    async def commit(self, commit: Commit) -> None:
        await self.gate.wait()
        self.commits.append(commit)
        await super().commit(commit)

    async def close(self) -> None:
        self.closed = True


class Courier:
    """A relay of one output that carries rows while ``carries`` is set."""

    def __init__(self, store: PartitionStore, output: str, carries: asyncio.Event) -> None:
        self.sent: list[OutboxRow] = []
        self._handed = Handover()
        self.is_running = False
        self.committed = 0
        self._last = 0
        self._store, self._output, self._carries = store, output, carries
        self._awake = asyncio.Event()

    @property
    def backlog(self) -> int:
        return self.committed - self._last

    @property
    def sent_through(self) -> int | None:
        return self._last

    def wake(self, sequence: int, rows: Sequence[OutboxRow] = ()) -> None:
        self._handed.put(rows)
        self.committed = max(self.committed, sequence)
        self._awake.set()

    def carry(self, through: int) -> None:
        """Have carried rows up to ``through``, by itself."""
        self._last = through

    def forget(self) -> None:
        self._handed.clear()

    async def run(self) -> None:
        self.is_running = True
        try:
            while True:
                await self._awake.wait()
                self._awake.clear()
                await self._carries.wait()
                sent = self.sent[-1].sequence if self.sent else 0
                rows = self._handed.take(sent) or await self._store.outbox(self._output, 0, 1_000_000)
                while rows:
                    self.sent += rows
                    await self._store.trim(self._output, rows[-1].sequence)
                    rows = self._handed.take(rows[-1].sequence)
                self._last = self.committed
        finally:
            self.is_running = False


class Site:
    """One worker's partition, its log, and all that it told."""

    def __init__(
        self, server: MemoryServer, tape: Tape, shelf: Shelf, observer: Observer | None = None, **changes: Any
    ) -> None:
        self.server, self.tape, self.shelf = server, tape, shelf
        self.prefix = partition_prefix("", tape.number)
        self.store = GatedStore(server, self.prefix)
        self.carries = asyncio.Event()
        self.couriers: list[Mapping[str, Courier]] = []
        self.outcomes: list[Outcome] = []
        self.failures: list[BaseException] = []
        self.refused = self.unknown = self.committed = 0
        log_changes = {name: changes.pop(name) for name in tuple(changes) if name in Log.__slots__}
        self.partition = Partition(
            tape.number,
            tape.log(**log_changes),
            self.store,
            shelf,
            Table,
            self._new_couriers,
            replace(LIMITS, **changes),
            observer or Observer(self._batch, self._committed, self._refused, self._unknown, self.failures.append),
        )

    async def open(self) -> int:
        """Claim as the transport does: all that was fetched before is of an older epoch."""
        offset = await self.partition.open()
        self.tape.seek(offset)
        return offset

    def deliver(self, most: int = 1000) -> None:
        """Hand over the rest of the log in batches of up to ``most`` rows."""
        while self.tape.position < self.tape.end:
            self.partition.feed(self.tape.take(most))

    async def work(self, *values: bytes | None) -> None:
        """Write rows, hand them over, and return when they are committed."""
        self.tape.write(*values)
        self.deliver()
        await until(self.is_done)

    def is_done(self) -> bool:
        return self.partition.committed_offset == self.tape.end

    def header(self) -> Header:
        return Header.from_bytes(self.server.values[f"{self.prefix}header"])

    def likes(self, voter: str) -> float:
        """Return the likes in a voter's record as Redis has it (all events are of one time)."""
        record = np.frombuffer(self.server.values[f"{self.prefix}v:{voter}"], VOTER)
        return round(features_of(record)[0]["social.like.decayed_30d"], 3)

    def sent(self, output: str = "triggers") -> list[OutboxRow]:
        return [row for couriers in self.couriers for row in couriers[output].sent]

    def _new_couriers(self, store: PartitionStore, _: int) -> Mapping[str, Relaying]:
        couriers = {output: Courier(store, output, self.carries) for output in ("triggers", "rejects", "forwards")}
        self.couriers.append(couriers)
        return couriers

    def _batch(self, _: int, outcome: Outcome, seconds: float) -> None:
        assert seconds >= 0
        self.outcomes.append(outcome)

    def _committed(self, _: int, commit: Commit, seconds: float, oldest_ms: int | None) -> None:
        assert seconds >= 0
        assert oldest_ms is None or oldest_ms >= NOW_MS
        assert commit.header.owner == self.partition.owner
        self.committed += 1

    def _refused(self, _: int) -> None:
        self.refused += 1

    def _unknown(self, _: int) -> None:
        self.unknown += 1


@asynccontextmanager
async def opened(site: Site) -> AsyncIterator[Site]:
    """Claim a site's partition; close it at the end, and see that nothing is left running."""
    await site.open()
    try:
        yield site
        assert site.failures == []
    finally:
        await closed(site)


async def closed(site: Site) -> None:
    await site.partition.close()
    names = {str(site.tape.number)}
    left = [task for task in asyncio.all_tasks() if task.get_name().rpartition(" ")[2] in names]
    assert left == []
    assert site.store.closed
    assert not any(courier.is_running for couriers in site.couriers for courier in couriers.values())


def site_of(server: MemoryServer | None = None, tape: Tape | None = None, **changes: Any) -> Site:
    return Site(server or MemoryServer(), tape or Tape(), Shelf(), **changes)


def put_ahead(site: Site, voter: str, offset: int) -> None:
    """Make a voter's record in the store say that it has folded in ``offset``."""
    record = np.zeros(1, VOTER)
    record["version"], record["last_offset"] = 1, offset
    site.server.values[f"{site.prefix}v:{voter}"] = record.tobytes()
