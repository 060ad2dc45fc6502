"""What the tests of Kafka's writers share: topics of their own, an outbox to fill, and an outside reader."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Iterable

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from stream.records import SEQUENCE_HEADER, Commit, Header, OutboxRow, Records
from stream.stores.memory import MemoryServer, MemoryStore

BROKER = os.environ.get("GROUNDSWELL_TEST_KAFKA", "")
PREFIX = "{0}:"
KAFKA = {"bootstrap_servers": BROKER}

needs_kafka = pytest.mark.skipif(not BROKER, reason="GROUNDSWELL_TEST_KAFKA is not set")


def new_topic(partitions: int = 1, broker: str = BROKER, settings: dict[str, str] | None = None) -> str:
    """Create a topic that no other test knows, and return its name."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    admin = KafkaAdminClient(bootstrap_servers=broker)
    try:
        admin.create_topics([NewTopic(name, partitions, 1, topic_configs=settings or {})])
    finally:
        admin.close()
    return name


def empty_by_retention(topic: str, broker: str = BROKER) -> None:
    """Remove all records of partition 0, as retention does, markers included."""
    admin = KafkaAdminClient(bootstrap_servers=broker)
    try:
        admin.delete_records({TopicPartition(topic, 0): -1})
    finally:
        admin.close()


Row = tuple[int, bytes | None, bytes | None, dict[str, bytes]]


def read_topic(topic: str, partition: int = 0, broker: str = BROKER) -> list[Row]:
    """Return (offset, key, value, headers) of what a kafka-python consumer at its defaults sees."""
    consumer = KafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest")
    where = TopicPartition(topic, partition)
    rows: list[Row] = []
    try:
        consumer.assign([where])
        stop = consumer.end_offsets([where])[where]
        while consumer.position(where) < stop:
            for record in consumer.poll(200).get(where, ()):
                rows.append((record.offset, record.key, record.value, dict(record.headers)))
    finally:
        consumer.close()
    return rows


def sequences(rows: Iterable[Row]) -> list[int]:
    """Return the sequences that the rows carry."""
    return [int(headers[SEQUENCE_HEADER]) for *_, headers in rows]


class Outbox:
    """A partition's store whose outbox is filled as commits fill it."""

    def __init__(self, output: str = "triggers") -> None:
        self.output = output
        self.server = MemoryServer()
        self.header = Header("topic", 1, "owner", 0, 0)
        self.server.values[f"{PREFIX}header"] = self.header.to_bytes()

    def store(self) -> MemoryStore:
        return MemoryStore(self.server, PREFIX)

    async def add(
        self, count: int, value: Callable[[int], bytes] = lambda n: b"value %d" % n, partition: int = 0
    ) -> int:
        """Commit ``count`` more rows; return the last one's sequence."""
        first = self.header.sequences[self.output] + 1
        rows = [
            OutboxRow(n, partition, b"key %d" % n, value(n), ((SEQUENCE_HEADER, b"%d" % n),))
            for n in range(first, first + count)
        ]
        await self.commit(rows)
        return first + count - 1

    async def commit(self, rows: list[OutboxRow], erased: frozenset[str] = frozenset()) -> None:
        """Commit these rows, the erasure of these voters, and the offset that follows."""
        expected = self.header.offset
        self.header.offset += 1
        if rows:
            self.header.sequences[self.output] = rows[-1].sequence
        header = Header.from_bytes(self.header.to_bytes())
        await self.store().commit(Commit(expected, header, Records.of([]), {self.output: rows}, erased))

    async def waiting(self) -> list[int]:
        """Return the sequences of the rows that are in the outbox."""
        return [row.sequence for row in await self.store().outbox(self.output, 0, 1_000_000)]


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Poll a condition until it holds, at most ``seconds``."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and wait for their end; raise what one of them failed with."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
