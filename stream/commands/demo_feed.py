"""How the demo's electorate reaches the log: its days pressed into the demo's seconds, in whole record batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from aiokafka import AIOKafkaProducer

from stream.embedded.electorate import Electorate
from stream.partitioning import partitions_of

_STEP_SECONDS: Final = 0.1
_ERASURE: Final = b'"privacy.erased"'
_BATCH_BYTES: Final = 512 * 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the electorate lives."""

    events_per_second: float
    """At an average hour."""
    electorate_ms: int
    """How much of the electorate's time passes ..."""
    in_seconds: float
    """... in so many seconds; after them its time runs like any other."""

    def electorate_time(self, seconds: float) -> int:
        """Return how many ms have passed for the electorate after ``seconds``."""
        pressed = min(seconds / self.in_seconds, 1.0) * self.electorate_ms
        return int(pressed + max(seconds - self.in_seconds, 0.0) * 1000)


class Feed:
    """Publishes an electorate to a topic until it is told to end."""

    def __init__(
        self,
        electorate: Electorate,
        pace: Pace,
        bootstrap_servers: str,
        topic: str,
        partition_count: int,
        sign: Callable[[int, bytes, bytes], tuple[str, bytes]],
    ) -> None:
        """Note where to publish; nothing is connected yet.

        ``sign`` gives the header that an erasure (partition, key, value) goes with.
        """
        self.electorate = electorate
        self.sent = 0
        self._pace = pace
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self._partition_count = partition_count
        self._sign = sign
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Let ``run`` return after the batch in hand."""
        self._ended.set()

    async def run(self) -> None:
        """Publish until ``end``; every event is acknowledged when this returns."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap_servers, acks="all", max_batch_size=_BATCH_BYTES, linger_ms=0
        )
        await producer.start()
        try:
            loop = asyncio.get_running_loop()
            begin_ms, begin, before = self.electorate.now_ms, loop.time(), 0.0
            while not self._ended.is_set():
                await asyncio.sleep(_STEP_SECONDS)
                seconds = loop.time() - begin
                mean = self._pace.events_per_second * (seconds - before)
                events = self.electorate.until(begin_ms + self._pace.electorate_time(seconds), mean)
                await self._publish(producer, events)
                before = seconds
        finally:
            await producer.stop()

    async def _publish(self, producer: AIOKafkaProducer, events: Sequence[tuple[bytes, bytes]]) -> None:
        """Write events in order within each partition, and wait until all are acknowledged."""
        by_partition: dict[int, list[tuple[bytes, bytes]]] = {}
        for partition, event in zip(_partitions(events, self._partition_count), events, strict=True):
            by_partition.setdefault(partition, []).append(event)
        for partition, rows in sorted(by_partition.items()):
            batch = producer.create_batch()
            for key, value in rows:
                headers = [self._sign(partition, key, value)] if _ERASURE in value else []
                if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                    await (await producer.send_batch(batch, self._topic, partition=partition))
                    batch = producer.create_batch()
                    batch.append(key=key, value=value, timestamp=None, headers=headers)
            await (await producer.send_batch(batch, self._topic, partition=partition))
        self.sent += len(events)


def _partitions(events: Sequence[tuple[bytes, bytes]], partition_count: int) -> list[int]:
    """Return each event's partition by its key."""
    lengths = np.fromiter((len(key) for key, _ in events), np.int64, len(events))
    stops = np.cumsum(lengths)
    partitions = np.empty(len(events), np.int64)
    buffer = np.frombuffer(b"".join(key for key, _ in events), np.uint8)
    partitions_of(buffer, stops - lengths, stops, partition_count, partitions)
    chosen: list[int] = partitions.tolist()
    return chosen
