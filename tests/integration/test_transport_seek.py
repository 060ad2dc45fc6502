"""Seeks on a real broker: what is delivered after one is exactly what follows the place sought."""

from __future__ import annotations

import asyncio
import random

import pytest
from faust.transport.drivers import aiokafka as faust_driver
from faust.types import TP

from stream.columns import Columns
from stream.transport import thread
from stream.transport.driver import Consumer, Transport
from stream.transport.places import Places
from tests.integration.batch_apps import Worker, fill, keep, preset_group, running
from tests.integration.outputs import needs_kafka, new_topic, until

pytestmark = [pytest.mark.kafka, needs_kafka]

ROWS = 3000
SMALL = {"in_flight_limit": 3, "max_records": 100}


class Held(Worker):
    """A worker whose agent holds its first batch until told to go on."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic, self.hold, **SMALL)
        self.go_on = asyncio.Event()

    async def hold(self, _: Worker, columns: Columns) -> None:
        await self.go_on.wait()
        await keep(self, columns)

    async def seek_while_full(self) -> None:
        """Seek back to the start of a partition whose places are all taken."""
        places = self.consumer._thread.places
        await until(lambda: places.in_flight(self.tp()) == SMALL["in_flight_limit"])
        await self.consumer.reseek({self.tp(): 0})
        self.go_on.set()


async def test_seek_under_back_pressure_delivers_every_row_once() -> None:
    topic = new_topic()
    await fill(topic, ROWS)
    async with running(Held(topic)) as worker:
        await worker.seek_while_full()
        await until(lambda: len(worker.rows) >= ROWS)
    assert worker.rows == list(range(ROWS))


class FaustsFloor(Consumer):
    _drain_messages = faust_driver.Consumer._drain_messages


class FlooredTransport(Transport):
    Consumer = FaustsFloor


async def test_trap_faust_drops_rows_below_the_highest_it_has_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread, "_ROUNDS", 1)
    topic = new_topic()
    await fill(topic, ROWS)
    async with running(Held(topic), transport=FlooredTransport) as worker:
        await worker.seek_while_full()
        await until(lambda: ROWS - 1 in worker.rows)
    assert worker.rows == list(range(worker.rows[0], ROWS))
    assert worker.rows[0] >= 100


async def test_trap_without_epochs_rows_fetched_before_a_seek_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class OneEpoch(Places):
        def open(self, tp: TP, assignment: object, offset: int) -> int:
            super().open(tp, assignment, offset)
            self._places[tp].epoch = 1
            return 1

    monkeypatch.setattr(thread, "Places", OneEpoch)
    topic = new_topic()
    await fill(topic, ROWS)
    async with running(Held(topic)) as worker:
        await worker.seek_while_full()
        await until(lambda: ROWS - 1 in worker.rows)
    assert len(worker.rows) > ROWS


async def test_random_seeks_with_full_queues_keep_every_partition_exact() -> None:
    topic, partitions, rng = new_topic(3), 3, random.Random(7)
    await fill(topic, ROWS, partitions)
    expected = dict.fromkeys(range(partitions), 0)
    applied: dict[int, list[int]] = {number: [] for number in expected}
    seeks = 0

    async def process(worker: Worker, columns: Columns) -> None:
        nonlocal seeks
        number = columns.partition
        if columns.epoch != worker.consumer.epoch(worker.tp(number)):
            return
        assert columns.start == expected[number]
        if rng.random() < 0.2:
            # As after a refused commit: memory is dropped, and what was not committed is read again.
            expected[number] = max(expected[number] - rng.randrange(700), 0)
            del applied[number][expected[number] :]
            await worker.consumer.reseek({worker.tp(number): expected[number]})
            seeks += 1
            return
        applied[number].extend(columns.offsets.tolist())
        expected[number] = columns.next
        worker.release(columns)

    async with running(Worker(topic, process, **SMALL)) as worker:
        await until(lambda: all(offset == ROWS for offset in expected.values()))
        assert worker.failures == []
    assert applied == {number: list(range(ROWS)) for number in expected}
    assert seeks > 10


async def test_header_decides_where_to_read_whatever_the_group_says() -> None:
    topic, group = new_topic(), new_topic()
    await fill(topic, 300)
    await preset_group(group, {TP(topic, 0): 250})
    worker = Worker(topic, keep)
    worker.start_at[0] = 100
    async with running(worker, group=group):
        await until(lambda: len(worker.rows) >= 200)
    assert worker.rows == list(range(100, 300))


class FaustsSeekLast(Consumer):
    """The claim's seek, and then what Faust does on every assignment."""

    async def perform_seek(self) -> None:
        await self.reseek(await self.hooks.positions(frozenset(self.assignment())))
        await super(Consumer, self).perform_seek()


class GroupsOffsetTransport(Transport):
    Consumer = FaustsSeekLast


async def test_trap_faust_seeks_to_the_groups_offset_after_every_other_seek() -> None:
    topic, group = new_topic(), new_topic()
    await fill(topic, 300)
    await preset_group(group, {TP(topic, 0): 250})
    worker = Worker(topic, keep)
    worker.start_at[0] = 100
    async with running(worker, group=group, transport=GroupsOffsetTransport):
        await until(lambda: bool(worker.rows))
    assert worker.rows[0] == 250
