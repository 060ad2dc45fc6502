"""A log written before it is read: events into a topic, each acknowledged."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

import confluent_kafka

from load_tests.rig import BenchmarkError
from load_tests.workload import EVENTS_PER_VOTER, events

SEED: Final = 4


def fill(bootstrap: str, topic: str, count: int, voters: int | None = None, seed: int = SEED) -> None:
    """Write ``count`` uniform events, that end now, into a topic: of ``voters``, or of one for each ten events."""
    write(bootstrap, topic, events(count, voters or count // EVENTS_PER_VOTER, seed, time.time_ns() // 1_000_000))


def write(bootstrap: str, topic: str, traffic: Iterable[tuple[bytes, bytes]]) -> int:
    """Write (key, value) pairs into a topic, each into its key's partition; return how many there were.

    Raises BenchmarkError where one was not written.
    """
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 50,
            "batch.size": 256 * 1024,
            "queue.buffering.max.messages": 1_000_000,
            "enable.idempotence": True,
        }
    )
    failed: list[str] = []

    def delivered(error: confluent_kafka.KafkaError | None, _: object) -> None:
        if error is not None:
            failed.append(str(error))

    count = 0
    for key, value in traffic:
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        count += 1
        if count % 1000 == 0:
            producer.poll(0)
    left = producer.flush()
    if failed or left:
        message = f"{len(failed) + left} of {count} events were not written to {topic}, first: {failed[:1]}"
        raise BenchmarkError(message)
    return count
