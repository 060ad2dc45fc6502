"""The library of the configuration topic on a real broker."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer

from stream.agents.configuration import ConfigurationLibrary
from stream.records import ContentId
from tests.integration.outputs import BROKER, KAFKA, needs_kafka, new_topic, until

pytestmark = [pytest.mark.kafka, needs_kafka]


def content(name: str, value: bytes, kind: str = "model") -> ContentId:
    return ContentId(kind, name, hashlib.sha256(value).hexdigest())


@asynccontextmanager
async def producing(transactional_id: str | None = None) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=BROKER, transactional_id=transactional_id, acks="all", max_request_size=17 * 1024 * 1024
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def write(producer: AIOKafkaProducer, topic: str, name: str, value: bytes, kind: str = "model") -> ContentId:
    wanted = content(name, value, kind)
    await producer.send_and_wait(topic, value, key=wanted.key().encode(), partition=0)
    return wanted


@asynccontextmanager
async def started(topic: str) -> AsyncIterator[ConfigurationLibrary]:
    library = ConfigurationLibrary(topic, KAFKA)
    try:
        async with asyncio.timeout(20):
            await library.start()
        yield library
    finally:
        await library.stop()


async def test_start_returns_with_all_that_stood_in_the_topic() -> None:
    topic = new_topic(settings={"cleanup.policy": "compact"})
    async with producing() as producer:
        written = [await write(producer, topic, "support", b"version %d" % n) for n in range(50)]
        written.append(await write(producer, topic, "rally", b"name = 'rally'", "campaign"))
    async with started(topic) as library:
        assert [library.get(one) for one in written] == [b"version %d" % n for n in range(50)] + [b"name = 'rally'"]
        assert library.get(content("support", b"never written")) is None


async def test_start_on_an_empty_topic_returns() -> None:
    async with started(new_topic()) as library:
        assert len(library) == 0
    assert len(asyncio.all_tasks()) == 1


async def test_content_written_later_ends_the_wait_for_it() -> None:
    topic = new_topic()
    wanted = [content("support", b"later %d" % n) for n in range(3)]
    async with producing() as producer, started(topic) as library:
        waits = [asyncio.create_task(library.wait_for(wanted[: n + 1])) for n in range(3)]
        for n in range(3):
            assert not waits[n].done()
            await write(producer, topic, "support", b"later %d" % n)
            async with asyncio.timeout(10):
                await waits[n]
        assert library.get(wanted[2]) == b"later 2"


async def test_content_whose_hash_is_not_its_keys_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    topic = new_topic()
    claimed = content("support", b"as written")
    async with producing() as producer:
        await producer.send_and_wait(topic, b"as changed", key=claimed.key().encode(), partition=0)
        await producer.send_and_wait(topic, b"no such kind", key=b"secret/x/00", partition=0)
        await producer.send_and_wait(topic, None, key=claimed.key().encode(), partition=0)
        right = await write(producer, topic, "support", b"right")
    async with started(topic) as library:
        assert library.get(claimed) is None
        assert library.get(right) == b"right"
        assert len(library) == 1
    assert f"its SHA-256 is {hashlib.sha256(b'as changed').hexdigest()}, its key says {claimed.key()}" in caplog.text
    assert "b'secret/x/00', expected kind/name/sha256 and a value" in caplog.text


async def test_only_committed_content_counts_and_an_aborted_tail_does_not_hold_the_start() -> None:
    topic = new_topic()
    async with producing(f"{topic}-config") as producer:
        async with producer.transaction():
            kept = await write(producer, topic, "support", b"kept")
        await producer.begin_transaction()
        dropped = await write(producer, topic, "support", b"dropped")
        await producer.abort_transaction()
    async with started(topic) as library:
        assert library.get(kept) == b"kept"
        assert library.get(dropped) is None


async def test_content_of_sixteen_mebibytes_is_read() -> None:
    topic = new_topic(settings={"max.message.bytes": str(17 * 1024 * 1024)})
    value = b"x" * (16 * 1024 * 1024)
    async with producing() as producer:
        wanted = await write(producer, topic, "forest", value)
    async with started(topic) as library:
        assert library.get(wanted) == value


async def test_wait_without_a_start_says_what_is_missing() -> None:
    library = ConfigurationLibrary("engagement.config", KAFKA)
    with pytest.raises(RuntimeError, match=r"library of engagement\.config is not reading: start it first"):
        await library.wait_for([content("support", b"x")])


async def test_stop_while_waiting_for_a_broker_returns() -> None:
    library = ConfigurationLibrary("none", {"bootstrap_servers": "127.0.0.1:1"})
    starting = asyncio.create_task(library.start())
    await until(lambda: len(asyncio.all_tasks()) > 2)
    starting.cancel()
    async with asyncio.timeout(6):
        await library.stop()
    await asyncio.wait([starting])
    assert len(asyncio.all_tasks()) == 1
