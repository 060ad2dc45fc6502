"""What the contract of a Kafka is checked over: the simulated one and Apache Kafka, both reached by aiokafka itself."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    ConcurrentTransactions,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaError,
    NotCoordinatorError,
    NotLeaderForPartitionError,
    for_code,
)
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.structs import TopicPartition as AdminPartition

from stream.agents.closing import close_consumer, discard
from tests.simulation.kafka_broker import SimulatedKafka

BROKER = os.environ.get("GROUNDSWELL_TEST_KAFKA", "")

_PASSING = (
    ConcurrentTransactions,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
)


class Cluster(Protocol):
    """A Kafka with topics of one test's own."""

    kafka: dict[str, Any]
    """Connection settings for aiokafka."""

    def topic(self, partitions: int = 1, *, append_times: bool = True, message_bytes: int = 1_048_588) -> str:
        """Create a topic and return its name."""
        ...

    def delete_before(self, topic: str, offset: int) -> None:
        """Delete the records of partition 0 below an offset."""
        ...

    def compacted_topic(self) -> str:
        """Create a topic of one partition that keeps only the last record of each key."""
        ...

    def compact(self, topic: str, offsets: Sequence[int]) -> None:
        """Let compaction take these offsets of a compacted topic; Apache Kafka finds them by itself, a little later."""
        ...


class SimulatedCluster:
    """The one in memory."""

    def __init__(self) -> None:
        self.server = SimulatedKafka(lambda: int(time.time() * 1000))
        self.kafka: dict[str, Any] = {"bootstrap_servers": "simulated:9092", "client_id": "contract"}
        self._numbers = itertools.count()

    def topic(self, partitions: int = 1, *, append_times: bool = True, message_bytes: int = 1_048_588) -> str:
        name = f"topic-{next(self._numbers)}"
        self.server.create_topic(name, partitions, append_times=append_times, message_bytes=message_bytes)
        return name

    def delete_before(self, topic: str, offset: int) -> None:
        self.server.log(topic, 0).delete_before(offset)

    def compacted_topic(self) -> str:
        return self.topic()

    def compact(self, topic: str, offsets: Sequence[int]) -> None:
        self.server.log(topic, 0).compact(offsets)


class ApacheCluster:
    """The one at GROUNDSWELL_TEST_KAFKA."""

    def __init__(self) -> None:
        self.kafka: dict[str, Any] = {"bootstrap_servers": BROKER}

    def topic(self, partitions: int = 1, *, append_times: bool = True, message_bytes: int = 1_048_588) -> str:
        kind = "LogAppendTime" if append_times else "CreateTime"
        return self._create(partitions, {"message.timestamp.type": kind, "max.message.bytes": str(message_bytes)})

    def compacted_topic(self) -> str:
        settings = {"cleanup.policy": "compact", "segment.ms": "50", "min.cleanable.dirty.ratio": "0.01"}
        return self._create(1, settings)

    def compact(self, topic: str, offsets: Sequence[int]) -> None:
        """Nothing to do: the broker's cleaner comes round."""

    def _create(self, partitions: int, settings: dict[str, str]) -> str:
        name = f"contract-{secrets.token_hex(6)}"
        admin = KafkaAdminClient(bootstrap_servers=BROKER)
        try:
            # The controller answers as soon as it knows the topic, and the broker learns of it a moment later.
            admin.create_topics([NewTopic(name, partitions, 1, topic_configs=settings)], wait_for_metadata=True)
        finally:
            admin.close()
        return name

    def delete_before(self, topic: str, offset: int) -> None:
        admin = KafkaAdminClient(bootstrap_servers=BROKER)
        try:
            admin.delete_records({AdminPartition(topic, 0): offset})
        finally:
            admin.close()


@asynccontextmanager
async def producing(cluster: Cluster, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """Start a producer, and discard it at the end."""
    producer = AIOKafkaProducer(**cluster.kafka, **{"acks": "all", **options})
    try:
        await producer.start()
        yield producer
    finally:
        await discard(producer)


@asynccontextmanager
async def consuming(cluster: Cluster, topic: str, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """Start a consumer of partition 0 that resets nothing by itself."""
    settings = {"auto_offset_reset": "none", "fetch_max_wait_ms": 100, "enable_auto_commit": False, **options}
    consumer = AIOKafkaConsumer(**cluster.kafka, group_id=None, **settings)
    try:
        await consumer.start()
        consumer.assign([TopicPartition(topic, 0)])
        yield consumer
    finally:
        await close_consumer(consumer)


async def read(cluster: Cluster, topic: str, isolation: str = "read_committed", start: int = 0) -> list[Any]:
    """Return the records of partition 0 from ``start`` to the end that this isolation level knows."""
    where = TopicPartition(topic, 0)
    records: list[Any] = []
    async with consuming(cluster, topic, isolation_level=isolation) as consumer:
        stop = (await consumer.end_offsets([where]))[where]
        consumer.seek(where, start)
        while await consumer.position(where) < stop:
            records += (await consumer.getmany(where, timeout_ms=100)).get(where, [])
    return records


async def end(cluster: Cluster, topic: str, isolation: str = "read_uncommitted") -> int:
    """Return the end of partition 0 for an isolation level."""
    where = TopicPartition(topic, 0)
    async with consuming(cluster, topic, isolation_level=isolation) as consumer:
        return int((await consumer.end_offsets([where]))[where])


async def write(producer: AIOKafkaProducer, topic: str, *values: bytes) -> Any:
    """Write values as one batch to partition 0, await it, and return its metadata."""
    batch = producer.create_batch()
    for value in values:
        batch.append(timestamp=None, key=b"k", value=value)
    batch.close()
    return await (await producer.send_batch(batch, topic, partition=0))


class Wire:
    """Requests one by one, without what a producer makes of their answers."""

    def __init__(self, producer: AIOKafkaProducer, transactional_id: str, node: int) -> None:
        self._client = producer.client
        self._id = transactional_id
        self._node = node

    @classmethod
    async def open(cls, producer: AIOKafkaProducer, transactional_id: str) -> Wire:
        """Find the coordinator; waits while it is being elected, as it is at a fresh broker's first request."""
        while True:
            try:
                return cls(producer, transactional_id, await producer.client.coordinator_lookup(1, transactional_id))
            except KafkaError as error:
                if not error.retriable:
                    raise

    async def initialize(self) -> tuple[type[Exception], int, int]:
        """Return error, producer id and epoch."""
        answer = await self._client.send(self._node, InitProducerIdRequest(self._id, 10_000))
        return for_code(answer.error_code), answer.producer_id, answer.producer_epoch

    async def claimed(self) -> tuple[int, int]:
        """Return producer id and epoch, once nothing is in the way."""
        async with asyncio.timeout(20):
            while True:
                error, producer_id, epoch = await self.initialize()
                if producer_id >= 0:
                    return producer_id, epoch
                assert error in _PASSING, error
                await asyncio.sleep(0.005)

    async def add(self, topic: str, producer_id: int, epoch: int) -> type[Exception]:
        """Add partition 0 of a topic to the transaction."""
        request = AddPartitionsToTxnRequest(self._id, producer_id, epoch, [(topic, [0])])
        answer = await self._client.send(self._node, request)
        error: type[Exception] = for_code(answer.errors[0][1][0][1])
        return error

    async def added(self, topic: str, producer_id: int, epoch: int) -> int:
        """Add partition 0 of a topic once the coordinator takes it; return how often it said to wait."""
        waits = 0
        while (error := await self.add(topic, producer_id, epoch)) is not for_code(0):
            assert error.__name__ == "ConcurrentTransactions", error
            waits += 1
        return waits

    async def end(self, producer_id: int, epoch: int, *, commit: bool) -> type[Exception]:
        """End the transaction."""
        answer = await self._client.send(self._node, EndTxnRequest(self._id, producer_id, epoch, commit))
        error: type[Exception] = for_code(answer.error_code)
        return error

    async def produce(
        self,
        topic: str,
        producer_id: int,
        epoch: int,
        sequence: int,
        values: Sequence[bytes] = (b"v",),
        *,
        transactional: bool = False,
    ) -> tuple[type[Exception], int]:
        """Write one batch to partition 0; return error and base offset."""
        builder: Any = DefaultRecordBatchBuilder(
            2,
            0,
            is_transactional=int(transactional),
            producer_id=producer_id,
            producer_epoch=epoch,
            base_sequence=sequence,
            batch_size=1 << 20,
        )
        for number, value in enumerate(values):
            builder.append(number, 1_700_000_000_000, b"k", value, [])
        placed = [(topic, [(0, bytes(builder.build()))])]
        request = ProduceRequest(self._id if transactional else None, -1, 5000, placed)
        await self._client._wait_on_metadata(topic)
        async with asyncio.timeout(20):
            while True:
                leader = self._client.cluster.leader_for_partition(TopicPartition(topic, 0))
                answer = await self._client.send(leader, request)
                _, code, offset, *_ = answer.topics[0][1][0]
                error: type[Exception] = for_code(code)
                if error is not NotLeaderForPartitionError:
                    return error, offset
                # A broker learns a little after the controller that it leads a new topic.
                await self._client.force_metadata_update()
                await asyncio.sleep(0.02)
