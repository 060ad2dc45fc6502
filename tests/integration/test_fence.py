"""A fence on a real broker: an earlier owner's writes are refused from the claim on."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, ProducerFenced
from kafka import KafkaConsumer, TopicPartition

from stream.agents.closing import discard
from stream.agents.fence import Fence, FenceUnsupportedError
from stream.agents.tail import last_sequence
from stream.errors import RelayFencedError
from stream.records import SEQUENCE_HEADER
from tests.integration.outputs import BROKER, KAFKA, needs_kafka, new_topic, read_topic, sequences

pytestmark = [pytest.mark.kafka, needs_kafka]


@asynccontextmanager
async def owner(topic: str, broker: str = BROKER) -> AsyncIterator[tuple[AIOKafkaProducer, Fence]]:
    producer = AIOKafkaProducer(bootstrap_servers=broker, enable_idempotence=True, acks="all")
    try:
        fence = Fence(producer, f"{topic}-0", topic, 0)
        async with asyncio.timeout(20):
            await fence.claim()
        yield producer, fence
    finally:
        await discard(producer)


async def write(producer: AIOKafkaProducer, topic: str, sequence: int) -> None:
    batch = producer.create_batch()
    batch.append(timestamp=None, key=b"k", value=b"v", headers=[(SEQUENCE_HEADER, b"%d" % sequence)])
    async with asyncio.timeout(10):
        await (await producer.send_batch(batch, topic, partition=0))


async def test_no_write_of_an_earlier_owner_is_accepted_in_twenty_takeovers() -> None:
    topic = new_topic()
    claims_ms = []
    async with owner(topic) as (first, _):
        await write(first, topic, 1)
        former = first
        for sequence in range(2, 22):
            begin = time.perf_counter()
            async with owner(topic) as (producer, _):
                claims_ms.append((time.perf_counter() - begin) * 1000)
                with pytest.raises(ProducerFenced):
                    await write(former, topic, 1000 + sequence)
                await write(producer, topic, sequence)
    assert sequences(read_topic(topic)) == list(range(1, 22))
    assert median(claims_ms) < 500


async def test_write_before_the_claim_is_seen_by_the_reading_after_it() -> None:
    topic = new_topic()
    for sequence in range(1, 6):
        async with owner(topic) as (former, _):
            await write(former, topic, sequence)
            async with owner(topic):
                assert await last_sequence(KAFKA, topic, 0) == sequence
                with pytest.raises(ProducerFenced):
                    await write(former, topic, 99)
    assert sequences(read_topic(topic)) == [1, 2, 3, 4, 5]


async def test_tail_is_found_behind_more_markers_than_the_first_window_holds() -> None:
    topic = new_topic()
    async with owner(topic) as (producer, fence):
        assert await last_sequence(KAFKA, topic, 0) == 0
        await write(producer, topic, 41)
        await write(producer, topic, 42)
        for _ in range(25):
            await fence.renew()
        assert await last_sequence(KAFKA, topic, 0) == 42


async def test_tail_is_the_largest_sequence_whatever_foreign_records_stand_behind_it() -> None:
    topic = new_topic()
    async with owner(topic) as (producer, _):
        for sequence in (7, 8, 9, 8):
            await write(producer, topic, sequence)
        for headers in ([], [(SEQUENCE_HEADER, b"none")], [("other", b"99")]):
            for _ in range(30):
                await producer.send_and_wait(topic, b"foreign", partition=0, headers=headers)
    assert await last_sequence(KAFKA, topic, 0) == 9


async def test_renewal_leaves_the_producer_in_order() -> None:
    topic = new_topic()
    async with owner(topic) as (producer, fence):
        for sequence in range(1, 4):
            await write(producer, topic, sequence)
            await fence.renew()
        assert not fence._is_alone()
        epoch = fence.epoch
        await write(producer, topic, 4)
        assert fence.epoch == epoch
    assert sequences(read_topic(topic)) == [1, 2, 3, 4]


async def test_renewal_after_a_takeover_says_so() -> None:
    topic = new_topic()
    async with owner(topic) as (_, former), owner(topic) as (producer, fence):
        assert (fence.producer_id, fence.epoch) == (former.producer_id, former.epoch + 1)
        with pytest.raises(RelayFencedError, match="newer owner than epoch"):
            await former.renew()
        await write(producer, topic, 1)
    assert sequences(read_topic(topic)) == [1]


async def test_subscriber_that_reads_committed_waits_for_nothing() -> None:
    topic = new_topic()
    where = TopicPartition(topic, 0)
    async with owner(topic) as (producer, _):
        await write(producer, topic, 1)
        consumer = KafkaConsumer(bootstrap_servers=BROKER, isolation_level="read_committed")
        try:
            consumer.assign([where])
            consumer.seek(where, 0)
            seen = [int(dict(r.headers)[SEQUENCE_HEADER]) for r in consumer.poll(5000).get(where, ())]
        finally:
            consumer.close()
    assert seen == [1]


@pytest.mark.skipif(not os.environ.get("GROUNDSWELL_TEST_TANSU"), reason="GROUNDSWELL_TEST_TANSU is not set")
async def test_broker_without_transactions_is_named_as_such() -> None:
    broker = os.environ["GROUNDSWELL_TEST_TANSU"]
    topic = new_topic(broker=broker)
    with pytest.raises(FenceUnsupportedError, match="refuses transactional id"):
        async with owner(topic, broker):
            pass


async def test_unreachable_broker_leaves_nothing_open() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(KafkaConnectionError):
            async with owner("none", address):
                pass
    assert len(asyncio.all_tasks()) == 1


async def test_discarded_producer_sends_nothing_that_it_still_held() -> None:
    topic = new_topic()
    async with owner(topic) as (producer, _):
        await write(producer, topic, 1)
        batch = producer.create_batch()
        batch.append(timestamp=None, key=b"k", value=b"v", headers=[(SEQUENCE_HEADER, b"2")])
        unsent = await producer.send_batch(batch, topic, partition=0)
        begin = time.perf_counter()
        await discard(producer)
        assert time.perf_counter() - begin < 5
        with pytest.raises(KafkaError):
            await unsent
    written = sequences(read_topic(topic))
    async with owner(topic):
        assert sequences(read_topic(topic)) == written
    assert len(asyncio.all_tasks()) == 1
