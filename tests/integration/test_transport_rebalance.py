"""Rebalances on a real broker: the group waits for the commit in flight, but not for ever."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from faust.transport.drivers import aiokafka as faust_driver
from faust.types import TP

from stream.columns import Columns
from stream.transport.driver import Consumer, Transport
from tests.integration.batch_apps import Worker, fill, keep, running
from tests.integration.outputs import needs_kafka, new_topic, until

pytestmark = [pytest.mark.kafka, needs_kafka]


class Committing(Worker):
    """A worker with a commit on its way for as long as the test says."""

    def __init__(self, topic: str, revoke_seconds: float) -> None:
        super().__init__(topic, keep, revoke_seconds=revoke_seconds)
        self.answered = asyncio.Event()
        self.events: list[str] = []

    async def revoked(self, revoked: frozenset[TP]) -> None:
        await super().revoked(revoked)
        self.events.append("revoked")
        await self.answered.wait()
        self.events.append("committed")


class Late(Worker):
    """The second member of the group; it tells when partitions come to it."""

    def __init__(self, topic: str, events: list[str]) -> None:
        super().__init__(topic, keep)
        self.events = events

    async def positions(self, assigned: frozenset[TP]) -> dict[TP, int]:
        self.events.append("assigned")
        return await super().positions(assigned)


async def take_over(topic: str, first: Committing, transport: type[Transport], *, answer: bool) -> Late:
    """Let a second member join while the first one's commit is on its way."""
    group, second = new_topic(), Late(topic, first.events)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(first, group=group, transport=transport))
        await until(lambda: len(first.rows) == 200)
        await stack.enter_async_context(running(second, group=group))
        await until(lambda: "revoked" in first.events or "assigned" in first.events)
        if answer:
            first.answered.set()
        await until(lambda: bool(second.claims) and len(first.claims) > 1)
        assert first.failures == second.failures == []
        assert len(first.claims[-1]) == len(second.claims[-1]) == 1
        assert first.claims[-1].isdisjoint(second.claims[-1])
        first.answered.set()
    return second


async def test_rebalance_waits_for_the_commit_in_flight() -> None:
    topic = new_topic(2)
    await fill(topic, 100, 2)
    first = Committing(topic, revoke_seconds=20.0)
    await take_over(topic, first, Transport, answer=True)
    assert first.events[:3] == ["revoked", "committed", "assigned"]
    assert first.revocations[0] == {first.tp(0), first.tp(1)}


async def test_rebalance_goes_on_without_a_commit_that_never_ends() -> None:
    topic = new_topic(2)
    await fill(topic, 100, 2)
    first = Committing(topic, revoke_seconds=0.3)
    await take_over(topic, first, Transport, answer=False)
    assert first.events[:2] == ["revoked", "assigned"]


class Heedless(Consumer):
    """Faust's own way with revoked partitions: the hook runs beside the rebalance."""

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await faust_driver.Consumer.on_partitions_revoked(self, revoked)
        self.add_future(self.hooks.revoked(frozenset(revoked)))


class HeedlessTransport(Transport):
    Consumer = Heedless


async def test_trap_faust_gives_partitions_away_while_a_commit_is_in_flight() -> None:
    topic = new_topic(2)
    await fill(topic, 100, 2)
    first = Committing(topic, revoke_seconds=20.0)
    await take_over(topic, first, HeedlessTransport, answer=False)
    assert "committed" not in first.events[: first.events.index("assigned")]


async def test_worker_left_without_a_partition_is_told() -> None:
    topic, group = new_topic(1), new_topic()
    first, second = Worker(topic, keep), Worker(topic, keep)
    async with running(first, group=group):
        await until(lambda: bool(first.claims))
        async with running(second, group=group):
            await until(lambda: bool(second.claims) and len(first.claims) > 1)
    assert sorted([len(first.claims[1]), len(second.claims[0])]) == [0, 1]
    assert first.failures == second.failures == []


async def test_claim_cut_short_by_a_rebalance_is_made_anew_and_nothing_is_read_before() -> None:
    topic, group = new_topic(2), new_topic()
    await fill(topic, 100, 2)
    cancelled = []

    class Slow(Worker):
        async def positions(self, assigned: frozenset[TP]) -> dict[TP, int]:
            offsets = await super().positions(assigned)
            if len(self.claims) == 1:
                try:
                    await asyncio.Event().wait()
                finally:
                    cancelled.append(list(self.rows))
            return offsets

    first, second = Slow(topic, keep), Worker(topic, keep)
    async with running(first, group=group):
        await until(lambda: bool(first.claims))
        async with running(second, group=group):
            await until(lambda: len(first.rows) == len(second.rows) == 100)
    assert cancelled == [[]]
    assert first.rows == second.rows == list(range(100))
    assert first.failures == second.failures == []


async def test_batches_in_flight_at_a_rebalance_are_of_an_older_epoch() -> None:
    topic, group, held = new_topic(2), new_topic(), []
    await fill(topic, 100, 2)

    async def hold(_: Worker, columns: Columns) -> None:
        held.append(columns)

    first = Worker(topic, hold)
    async with running(first, group=group):
        await until(lambda: len(held) == 2)
        before = list(held)
        async with running(Worker(topic, keep), group=group):
            await until(lambda: len(first.claims) > 1 and len(held) > 2)
        for columns in before:
            assert columns.epoch < first.consumer.epoch(first.tp(columns.partition))
