"""Small Faust apps on the batch transport, run in the test's own loop."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import faust
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from faust.types import TP
from yarl import URL

from stream.columns import Columns
from stream.transport import FAUST_SETTINGS, BatchHooks
from stream.transport.driver import Consumer, Transport
from tests.integration.outputs import BROKER, until

Process = Callable[["Worker", Columns], Awaitable[None]]


async def fill(topic: str, rows: int, partitions: int = 1, *, per_batch: int = 100, broker: str = BROKER) -> None:
    """Write ``rows`` rows into each partition, each one's value its offset in decimal."""
    producer = AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    try:
        for partition in range(partitions):
            for first in range(0, rows, per_batch):
                batch = producer.create_batch()
                for offset in range(first, min(first + per_batch, rows)):
                    batch.append(key=None, value=b"%d" % offset, timestamp=None)
                await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await producer.stop()


async def preset_group(group: str, offsets: Mapping[TP, int]) -> None:
    """Leave these offsets in a group."""
    consumer = AIOKafkaConsumer(bootstrap_servers=BROKER, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = {TopicPartition(*tp): offset for tp, offset in offsets.items()}
        consumer.assign(list(partitions))
        await consumer.commit(partitions)
    finally:
        await consumer.stop()


class Worker:
    """One member of a group that hands each batch to ``process`` and remembers what it did."""

    def __init__(self, topic: str, process: Process, **hooks: Any) -> None:
        self.topic = topic
        self.process = process
        self.hooks = hooks
        self.start_at: dict[int, int] = {}
        self.claims: list[frozenset[TP]] = []
        self.revocations: list[frozenset[TP]] = []
        self.failures: list[BaseException] = []
        self.rows: list[int] = []
        self.app: Any = None

    @property
    def consumer(self) -> Consumer:
        consumer: Consumer = self.app.consumer
        return consumer

    def tp(self, partition: int = 0) -> TP:
        return TP(self.topic, partition)

    def release(self, columns: Columns) -> None:
        self.consumer.release(self.tp(columns.partition), columns.epoch)

    async def positions(self, assigned: frozenset[TP]) -> dict[TP, int]:
        self.claims.append(assigned)
        return {tp: self.start_at.get(tp.partition, 0) for tp in assigned}

    async def revoked(self, revoked: frozenset[TP]) -> None:
        self.revocations.append(revoked)

    async def agent(self, stream: Any) -> None:
        async for batches in stream:
            for columns in batches:
                await self.process(self, columns)


W = TypeVar("W", bound=Worker)


async def keep(worker: Worker, columns: Columns) -> None:
    """Remember the offsets of the rows, as a batch should be taken: not if it is of another epoch."""
    if columns.epoch == worker.consumer.epoch(worker.tp(columns.partition)):
        worker.rows.extend(columns.offsets.tolist())
        worker.release(columns)


@asynccontextmanager
async def running(
    worker: W,
    *,
    group: str | None = None,
    transport: type[Transport] = Transport,
    broker: str = BROKER,
    **settings: Any,
) -> AsyncIterator[W]:
    """Run a worker, in a group of its own unless one is named."""
    with tempfile.TemporaryDirectory() as directory:
        app: Any = faust.App(
            group or f"group-{uuid.uuid4().hex[:12]}",
            broker=f"batches://{broker}",
            loop=asyncio.get_running_loop(),
            datadir=directory,
            web_enabled=False,
            broker_session_timeout=6.0,
            broker_heartbeat_interval=0.3,
            **{**FAUST_SETTINGS, **settings},
        )
        worker.app = app
        hooks = {"positions": worker.positions, "revoked": worker.revoked, "failed": worker.failures.append}
        app.batch_hooks = BatchHooks(**{**hooks, **worker.hooks})
        app.transport = transport([URL(f"batches://{broker}")], app)
        app.agent(app.topic(worker.topic), name="batches")(worker.agent)
        app.finalize()
        # Faust's start ends only when the group has assigned something.
        starting = asyncio.create_task(app.start())
        await until(lambda: starting.done() or app.consumer.started)
        try:
            yield worker
        finally:
            await app.stop()
            await starting
