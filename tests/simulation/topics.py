"""Topics in memory, read as ``verify`` reads Kafka's, and a deployment whose every part can be falsified."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stream.commands.comparison import StateReader
from stream.commands.reading import PartitionReader, ReadContents, Record, columns_from
from stream.commands.verify import Sources
from stream.pipeline import PartitionState, process_batch, take_commit
from stream.records import ContentId, Header, OutboxRow
from stream.signatures import Keyring, root_of
from stream.stores.memory import MemoryServer, MemoryStore
from stream.stores.names import partition_prefix
from stream.stores.redis import RedisStore
from stream.stores.table import Table
from tests.logs import TOPIC, Log

Place = tuple[str, int]
"""Topic (``events``, ``triggers``, ...) and partition."""


@dataclass
class MemoryTopic:
    """One partition of a topic."""

    records: list[Record] = field(default_factory=list)
    first: int = 0
    end: int = 0

    def append(self, row: OutboxRow) -> None:
        """Write a record at the end."""
        self.records.append(Record(self.end, 0, row.key, row.value, row.headers))
        self.end += 1

    def drop_before(self, offset: int) -> None:
        """Be retention."""
        self.records = [record for record in self.records if record.offset >= offset]
        self.first = offset


class MemoryReader:
    """Reads a MemoryTopic (stream.commands.reading.PartitionReader)."""

    def __init__(self, topic: MemoryTopic, page: int = 40) -> None:
        self.topic, self.page, self.position = topic, page, 0

    def bounds(self) -> tuple[int, int]:
        return self.topic.first, self.topic.end

    def seek(self, offset: int) -> None:
        self.position = offset

    def read(self, stop: int) -> list[Record]:
        rows = [record for record in self.topic.records if self.position <= record.offset < stop][: self.page]
        later = [record.offset for record in self.topic.records if rows and record.offset > rows[-1].offset]
        self.position = min([*later, self.topic.end]) if rows else max(stop, self.position)
        return rows

    def offset_at(self, time_ms: int) -> int:
        times = [record.offset for record in self.topic.records if record.append_time_ms >= time_ms]
        return min([*times, self.topic.end])

    def close(self) -> None:
        """Nothing is open."""


def events_of(log: Log) -> MemoryTopic:
    """Return a log as its partition of the events topic."""
    records = [
        Record(
            row.offset,
            row.append_time or 0,
            row.key,
            row.value,
            tuple((name, text or b"") for name, text in row.headers),
        )
        for row in log.rows
    ]
    return MemoryTopic(records, log.start, log.rows[-1].offset + 1)


class MemoryDeployment:
    """Topics and a store in memory, holding what a worker would have left."""

    def __init__(self, logs: Sequence[Log]) -> None:
        self.logs = {log.partition: log for log in logs}
        self.count = logs[0].count
        self.topics: dict[Place, MemoryTopic] = {("events", log.partition): events_of(log) for log in logs}
        self.topics["config", 0] = MemoryTopic()
        for log in logs:
            for (kind, name, sha256), content in log.contents.items():
                key = ContentId(kind, name, sha256).key().encode()
                self.topics["config", 0].append(OutboxRow(0, 0, key, content))
        self.server = MemoryServer()

    def topic(self, name: str, partition: int) -> MemoryTopic:
        return self.topics.setdefault((name, partition), MemoryTopic())

    def prefix(self, partition: int) -> str:
        return partition_prefix("", partition)

    def store(self, partition: int) -> MemoryStore:
        return MemoryStore(self.server, self.prefix(partition))

    def write(self, output: str, rows: Iterable[OutboxRow]) -> None:
        for row in rows:
            self.topic(output, row.partition).append(row)

    def sources(self) -> Sources:
        def reader(name: str, partition: int) -> PartitionReader:
            return MemoryReader(self.topic(name, partition))

        def store(partition: int) -> StateReader:
            return self.store(partition)

        secrets = next(iter(self.logs.values())).secrets
        return Sources(self.count, TOPIC, reader, store, keyring=Keyring(secrets) if secrets else None)


@dataclass
class Left:
    """What one partition's worker sent, and the header that it left."""

    header: Header
    sent: dict[str, list[OutboxRow]]


async def work(
    sources: Sources, partition: int, store: MemoryStore | RedisStore, *, until: int | None = None, keep: int = 0
) -> Left:
    """Be the worker of a partition up to ``until`` (or the end), committing every 40 rows; return what it sent.

    The last ``keep`` rows of each output stay in the outbox.
    """
    library = ReadContents.read(sources.reader("config", 0))
    log = sources.reader("events", partition)
    first, end = log.bounds()
    log.seek(first)
    root = root_of(sources.keyring)
    header = await store.claim("worker", Header.fresh("topic-1", sources.partition_count, "", first, root))
    log.seek(header.offset)
    table = Table(1000)
    state = await PartitionState.open(partition, sources.events_topic, header, table, library, sources.keyring)
    stop = end if until is None else until
    while (start := state.header.offset) < stop:
        rows = log.read(stop)[:40]
        next_offset = rows[-1].offset + 1 if rows else stop
        log.seek(next_offset)
        await process_batch(state, columns_from(partition, rows, start, next_offset), library, store.load)
        await store.commit(take_commit(state, start))
        table.committed()
    log.close()
    sent: dict[str, list[OutboxRow]] = {}
    for output in ("triggers", "rejects"):
        rows_out = await store.outbox(output, 0, 1_000_000)
        sent[output] = rows_out[: max(len(rows_out) - keep, 0)]
        if sent[output]:
            await store.trim(output, sent[output][-1].sequence)
    return Left(state.header, sent)
