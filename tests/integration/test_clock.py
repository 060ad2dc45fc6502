"""Ticks on a real broker: in every named partition at once, and readable by decoding."""

from __future__ import annotations

import asyncio
import itertools
import socket

import orjson
import pytest

from stream.agents.clock import Clock
from stream.columns import columns_of
from stream.events import decode
from stream.records import CLOCK_TICK
from tests.integration.outputs import KAFKA, end, needs_kafka, new_topic, read_topic, until

pytestmark = [pytest.mark.kafka, needs_kafka]

START_MS = 1_795_555_777_123


async def test_every_named_partition_gets_its_ticks_from_the_start_on() -> None:
    topic = new_topic(3)
    assigned = {2, 0}
    readings = itertools.count(START_MS, 1000)
    clock = Clock(topic, lambda: assigned, KAFKA, lambda: next(readings), interval_seconds=0.05)
    task = asyncio.create_task(clock.run())
    await until(lambda: len(read_topic(topic, 2)) >= 3)
    await end(task)
    assert len(asyncio.all_tasks()) == 1
    assert read_topic(topic, 1) == []
    for partition in assigned:
        values = [value for _, _, value, _ in read_topic(topic, partition)]
        count = len(values)
        decoded = decode(columns_of(partition, range(count), [0] * count, [None] * count, values, [()] * count), 3, 0)
        assert decoded.kinds.tolist() == [CLOCK_TICK] * count
        assert decoded.now.tolist() == [START_MS + 1000 * n for n in range(count)]
        assert len({orjson.loads(value or b"")["id"] for value in values}) == count


async def test_partition_assigned_later_gets_ticks_from_then_on() -> None:
    topic = new_topic(2)
    assigned: set[int] = set()
    clock = Clock(topic, lambda: assigned, KAFKA, lambda: START_MS, interval_seconds=0.02)
    task = asyncio.create_task(clock.run())
    await asyncio.sleep(0.1)
    assigned.add(1)
    await until(lambda: len(read_topic(topic, 1)) >= 1)
    await end(task)
    assert read_topic(topic, 0) == []


async def test_clock_outlives_a_broker_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        kafka = {"bootstrap_servers": f"127.0.0.1:{closed.getsockname()[1]}"}
        clock = Clock("none", lambda: [0], kafka, lambda: START_MS, interval_seconds=0.02)
        task = asyncio.create_task(clock.run())
        await until(lambda: caplog.text.count("ticks to none could not be written") >= 3)
        assert not task.done()
        await end(task)
    assert len(asyncio.all_tasks()) == 1
