"""Relays on a real broker: whatever happens, a subscriber sees each row once and in sequence."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerFenced

from stream.agents import relay as relay_module
from stream.agents import writing
from stream.agents.closing import discard
from stream.agents.fence import Fence
from stream.agents.forwards import ForwardRelay
from stream.agents.relay import MODES, Modes, OutboxRelay, Relay
from stream.columns import ORIGIN_HEADER
from stream.errors import RelayGapError, StateMismatchError, StoreUnavailableError
from stream.records import SEQUENCE_HEADER, TOMBSTONE_HEADER, OutboxRow
from stream.stores.memory import Fault
from tests.integration.outputs import (
    BROKER,
    KAFKA,
    Outbox,
    empty_by_retention,
    end,
    needs_kafka,
    new_topic,
    read_topic,
    sequences,
    until,
)

pytestmark = [pytest.mark.kafka, needs_kafka]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "FENCED_SECONDS", 0.02)


def relay_of(outbox: Outbox, topic: str, broker: str = BROKER, *, fenced: bool = True) -> Relay:
    name = f"{topic}-{outbox.output}-0"
    modes = Modes(MODES if fenced else MODES[1:])
    return Relay(outbox.store(), outbox.output, topic, 0, {"bootstrap_servers": broker}, name, modes=modes)


@asynccontextmanager
async def running(relay: OutboxRelay) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(relay.run())
    try:
        yield task
    finally:
        await end(task)


async def sent(relay: OutboxRelay, through: int) -> None:
    """Wake the relay, and wait until it has no backlog."""
    relay.wake(through)
    await until(lambda: relay.backlog == 0)


async def test_rows_arrive_once_in_sequence_with_keys_values_and_headers() -> None:
    topic, outbox = new_topic(), Outbox()
    relay = relay_of(outbox, topic)
    async with running(relay):
        for count in (1, 2, 3000, 1):
            await sent(relay, await outbox.add(count))
    rows = read_topic(topic)
    assert sequences(rows) == list(range(1, 3005))
    assert rows[6][1:] == (b"key 7", b"value 7", {SEQUENCE_HEADER: b"7"})
    assert relay.mode == "fenced"
    assert await outbox.waiting() == []


async def test_rows_committed_before_the_start_are_sent_without_a_wake() -> None:
    topic, outbox = new_topic(), Outbox()
    await outbox.add(5)
    relay = relay_of(outbox, topic)
    async with running(relay):
        await until(lambda: len(outbox.server.outboxes["{0}:outbox:triggers"]) == 0)
    assert sequences(read_topic(topic)) == [1, 2, 3, 4, 5]


async def test_nothing_is_fenced_while_there_is_nothing_to_send() -> None:
    topic, outbox = new_topic(), Outbox()
    relay = relay_of(outbox, topic)
    former = AIOKafkaProducer(bootstrap_servers=BROKER, enable_idempotence=True)
    try:
        fence = Fence(former, f"{topic}-triggers-0", topic, 0)
        await fence.claim()
        async with running(relay):
            relay.wake(0)
            await asyncio.sleep(0.2)
            await fence.renew()
            await sent(relay, await outbox.add(1))
            with pytest.raises(ProducerFenced):
                await former.send_and_wait(topic, b"late", partition=0)
    finally:
        await discard(former)
    assert sequences(read_topic(topic)) == [1]


async def test_twenty_takeovers_with_both_owners_awake_double_nothing_and_lose_nothing() -> None:
    topic, outbox = new_topic(), Outbox()
    awake: list[tuple[Relay, asyncio.Task[None]]] = []
    last = 0
    for _ in range(21):
        last = await outbox.add(25)
        relay = relay_of(outbox, topic)
        awake.append((relay, asyncio.create_task(relay.run())))
        await sent(relay, last)
        # The former owner wakes up, as after a pause, and takes up the same rows as the new one.
        last = await outbox.add(25)
        for owner, _ in awake:
            owner.wake(last)
        if len(awake) > 2:
            await end(awake.pop(0)[1])
    for owner, _ in awake:
        await sent(owner, last)
    await end(*(task for _, task in awake))
    assert sequences(read_topic(topic)) == list(range(1, last + 1))
    assert await outbox.waiting() == []


async def test_two_owners_that_fence_each_other_double_nothing() -> None:
    topic, outbox = new_topic(), Outbox()
    one, two = relay_of(outbox, topic), relay_of(outbox, topic)
    async with running(one), running(two):
        last = 0
        for _ in range(12):
            last = await outbox.add(40)
            one.wake(last)
            two.wake(last)
            await until(lambda: len(outbox.server.outboxes["{0}:outbox:triggers"]) < 40)
        await until(lambda: len(outbox.server.outboxes["{0}:outbox:triggers"]) == 0)
    assert sequences(read_topic(topic)) == list(range(1, last + 1))


@pytest.mark.parametrize("executed", [True, False])
async def test_crash_between_send_and_trim_doubles_nothing(executed: bool) -> None:
    topic, outbox = new_topic(), Outbox()
    await outbox.add(10)
    crash = StateMismatchError("crashed here")
    outbox.server.faults.append(Fault("trim", crash, executed))
    with pytest.raises(StateMismatchError, match="crashed here"):
        async with asyncio.timeout(20):
            await relay_of(outbox, topic).run()
    assert await outbox.waiting() == ([] if executed else list(range(1, 11)))
    relay = relay_of(outbox, topic)
    async with running(relay):
        await sent(relay, await outbox.add(3))
    assert sequences(read_topic(topic)) == list(range(1, 14))
    assert await outbox.waiting() == []


@pytest.mark.parametrize("operation", ["read_header", "outbox", "trim"])
async def test_store_that_is_away_for_a_while_is_waited_for(operation: str) -> None:
    topic, outbox = new_topic(), Outbox()
    away = StoreUnavailableError("loading")
    outbox.server.faults.extend(Fault(operation, away) for _ in range(3))
    relay = relay_of(outbox, topic)
    last = await outbox.add(10)
    async with running(relay):
        await sent(relay, last)
        await until(lambda: len(outbox.server.outboxes["{0}:outbox:triggers"]) == 0)
    assert sequences(read_topic(topic)) == list(range(1, 11))


async def test_missing_row_stops_the_relay() -> None:
    topic, outbox = new_topic(), Outbox()
    async with running(relay := relay_of(outbox, topic)):
        await sent(relay, await outbox.add(3))
    await outbox.add(4)
    del outbox.server.outboxes["{0}:outbox:triggers"][4]
    with pytest.raises(RelayGapError, match="after sequence 3 in partition 0 comes 5, expected 4"):
        async with asyncio.timeout(20):
            await relay_of(outbox, topic).run()
    assert sequences(read_topic(topic)) == [1, 2, 3]


async def test_missing_row_inside_the_outbox_stops_the_relay_before_the_rows_around_it_are_sent() -> None:
    topic, outbox = new_topic(), Outbox()
    await outbox.add(6)
    del outbox.server.outboxes["{0}:outbox:triggers"][3]
    with pytest.raises(RelayGapError, match="after sequence 2 in the outbox comes 4, expected 3"):
        async with asyncio.timeout(20):
            await relay_of(outbox, topic).run()
    assert read_topic(topic) == []


async def test_withdrawn_row_goes_out_as_a_tombstone_of_its_number() -> None:
    topic, outbox = new_topic(), Outbox()
    await outbox.add(3)
    await outbox.commit([], frozenset({"key 2"}))
    async with running(relay := relay_of(outbox, topic)):
        await sent(relay, 3)
    rows = read_topic(topic)
    assert sequences(rows) == [1, 2, 3]
    assert rows[1][1:] == (None, None, {SEQUENCE_HEADER: b"2", TOMBSTONE_HEADER: b"1"})
    async with running(relay := relay_of(outbox, topic)):
        await sent(relay, await outbox.add(1))
    assert sequences(read_topic(topic)) == [1, 2, 3, 4]


async def test_rejects_of_the_largest_size_arrive_as_they_are() -> None:
    topic, outbox = new_topic(), Outbox("rejects")
    async with running(relay := relay_of(outbox, topic)):
        await sent(relay, await outbox.add(12, lambda n: b"%d" % (n % 10) * 65536))
        await sent(relay, await outbox.add(1, lambda n: b"x" * 900_000))
    rows = read_topic(topic)
    assert sequences(rows) == list(range(1, 14))
    assert [len(value or b"") for _, _, value, _ in rows] == [65536] * 12 + [900_000]


async def test_batches_too_large_for_the_topic_are_made_smaller() -> None:
    topic, outbox = new_topic(settings={"max.message.bytes": "20000"}), Outbox()
    async with running(relay := relay_of(outbox, topic)):
        await sent(relay, await outbox.add(200, lambda n: b"x" * 5000))
    assert sequences(read_topic(topic)) == list(range(1, 201))


async def test_topic_emptied_by_retention_goes_on_with_the_next_row() -> None:
    topic, outbox = new_topic(), Outbox()
    async with running(relay := relay_of(outbox, topic)):
        await sent(relay, await outbox.add(5))
    empty_by_retention(topic)
    async with running(relay := relay_of(outbox, topic)):
        await sent(relay, await outbox.add(2))
    assert sequences(read_topic(topic)) == [6, 7]


async def test_rows_that_a_store_fallen_behind_gives_again_are_not_sent_again() -> None:
    topic, outbox = new_topic(), Outbox()
    await outbox.add(2)
    replica = outbox.server.snapshot()
    async with running(relay := relay_of(outbox, topic)):
        await sent(relay, await outbox.add(4))
        outbox.server.fail_over(replica)
        outbox.header.sequences["triggers"] = 2
        outbox.header.offset -= 1
        relay.wake(await outbox.add(4))
        await until(lambda: len(outbox.server.outboxes["{0}:outbox:triggers"]) == 0)
        await sent(relay, await outbox.add(1))
    assert sequences(read_topic(topic)) == [1, 2, 3, 4, 5, 6, 7]


async def test_cancellation_at_any_moment_closes_everything_and_loses_nothing() -> None:
    topic, outbox = new_topic(), Outbox()
    last = 0
    for milliseconds in (0, 1, 3, 7, 15, 25, 40, 60, 90):
        relay = relay_of(outbox, topic)
        last = await outbox.add(30)
        task = asyncio.create_task(relay.run())
        await asyncio.sleep(milliseconds / 1000)
        async with asyncio.timeout(6):
            await end(task)
        assert len(asyncio.all_tasks()) == 1
    async with running(relay := relay_of(outbox, topic)):
        await sent(relay, last)
    assert sequences(read_topic(topic)) == list(range(1, last + 1))


async def test_fence_is_renewed_while_idle_and_while_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MARKER_SECONDS", 0.05)
    topic, outbox = new_topic(), Outbox()
    async with running(relay := relay_of(outbox, topic)):
        await sent(relay, await outbox.add(1))
        await asyncio.sleep(0.5)
        await sent(relay, await outbox.add(1))
        for _ in range(100):
            await sent(relay, await outbox.add(1))
    rows = read_topic(topic)
    assert sequences(rows) == list(range(1, 103))
    offsets = [row[0] for row in rows]
    assert offsets[1] - offsets[0] > 4, "no marker was written while there was nothing to send"
    assert offsets[-1] - offsets[1] > 102, "no marker was written between writes"


async def test_relay_without_a_fence_sends_each_row_once() -> None:
    topic, outbox = new_topic(), Outbox()
    for _ in range(3):
        async with running(relay := relay_of(outbox, topic, fenced=False)):
            await sent(relay, await outbox.add(100))
            assert relay.mode == "idempotent"
    assert sequences(read_topic(topic)) == list(range(1, 301))


@pytest.mark.skipif(not os.environ.get("GROUNDSWELL_TEST_TANSU"), reason="GROUNDSWELL_TEST_TANSU is not set")
async def test_broker_without_producer_ids_still_gets_each_row_once() -> None:
    broker = os.environ["GROUNDSWELL_TEST_TANSU"]
    topic, outbox = new_topic(broker=broker), Outbox()
    for _ in range(3):
        async with running(relay := relay_of(outbox, topic, broker)):
            await sent(relay, await outbox.add(100))
            assert relay.mode == "plain"
    assert sequences(read_topic(topic, broker=broker)) == list(range(1, 301))


def forward(sequence: int, partition: int) -> OutboxRow:
    headers = ((ORIGIN_HEADER, b"0:%d" % (100 + sequence)), (SEQUENCE_HEADER, b"%d" % sequence))
    return OutboxRow(sequence, partition, b"voter", b"{}", headers)


async def test_forwards_reach_their_partitions_in_order_and_leave_the_outbox() -> None:
    topic, outbox = new_topic(3), Outbox("forwards")
    told: list[int] = []

    def on_sent(rows: Sequence[OutboxRow]) -> None:
        told.extend(row.sequence for row in rows)

    relay = ForwardRelay(outbox.store(), topic, KAFKA, on_sent=on_sent)
    async with running(relay):
        for first in (1, 61):
            await outbox.commit([forward(n, n % 3) for n in range(first, first + 60)])
            await sent(relay, first + 59)
    for partition in range(3):
        rows = read_topic(topic, partition)
        assert sequences(rows) == [n for n in range(1, 121) if n % 3 == partition]
        assert rows[0][3][ORIGIN_HEADER] == b"0:%d" % (100 + sequences(rows)[0])
    assert told == list(range(1, 121))
    assert await outbox.waiting() == []


async def test_forwards_of_an_unknown_outcome_are_sent_again_from_the_first() -> None:
    topic, outbox = new_topic(2), Outbox("forwards")
    await outbox.commit([forward(n, n % 2) for n in range(1, 5)])
    outbox.server.faults.append(Fault("trim", StoreUnavailableError("no answer")))
    relay = ForwardRelay(outbox.store(), topic, KAFKA)
    async with running(relay):
        relay.wake(4)
        await until(lambda: len(outbox.server.outboxes["{0}:outbox:forwards"]) == 0)
    assert sequences(read_topic(topic, 0)) == [2, 4, 2, 4]
    assert sequences(read_topic(topic, 1)) == [1, 3, 1, 3]
