"""The last sequence that stands in an output partition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream.agents.closing import close_consumer
from stream.records import SEQUENCE_HEADER

FIRST_WINDOW: Final = 32
"""Offsets read at first; the last ones are markers."""
GROWTH: Final = 8


async def last_sequence(kafka: Mapping[str, Any], topic: str, partition: int) -> int | None:
    """Return the sequence that a partition's last ``groundswell-sequence`` header reached.

    Where none is retained: 0 if the log begins at offset 0, since then retention has taken nothing and the next row
    is the first there is; None if it begins later, since then nothing tells how far it went.

    Reads backward in growing windows, uncommitted records too: every write that the broker accepted counts. Raises
    aiokafka's KafkaError, and bounds nothing by time itself.
    """
    where = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(
        **kafka,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_uncommitted",
        fetch_max_wait_ms=100,
    )
    try:
        await consumer.start()
        consumer.assign([where])
        first = (await consumer.beginning_offsets([where]))[where]
        stop = (await consumer.end_offsets([where]))[where]
        size = FIRST_WINDOW
        while stop > first:
            start = max(first, stop - size)
            found = await _last_in(consumer, where, start, stop)
            if found is not None:
                return found
            stop, size = start, size * GROWTH
        return 0 if first == 0 else None
    finally:
        await close_consumer(consumer)


async def _last_in(consumer: AIOKafkaConsumer, where: TopicPartition, start: int, stop: int) -> int | None:
    """Return the largest sequence at offsets from ``start`` on, read until ``stop`` is reached.

    Raises KafkaError where the log's end moves back before it.
    """
    consumer.seek(where, start)
    found: int | None = None
    while await consumer.position(where) < stop:
        records = (await consumer.getmany(where, timeout_ms=100)).get(where, ())
        if not records:
            # Under a leader that lacks the last rows nobody ever comes to where they ended, and what was read may be
            # gone with them.
            end = (await consumer.end_offsets([where]))[where]
            if end < stop:
                message = f"{where.topic} partition {where.partition} ended at {stop}, and while it was read at {end}"
                raise KafkaError(message)
        for record in records:
            for name, value in record.headers:
                if name == SEQUENCE_HEADER and value.isdigit():
                    # Not the last but the largest: without a fence a late repeat may stand behind it.
                    found = max(found or 0, int(value))
    return found
