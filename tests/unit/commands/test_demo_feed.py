"""The demo's electorate reaches the log whole, in order, each event in its key's partition."""

from __future__ import annotations

import asyncio
import json

from aiokafka import AIOKafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from stream.commands.demo_feed import Feed, Pace
from stream.embedded import EmbeddedServices
from stream.embedded.electorate import Electorate, Flaws
from stream.partitioning import partition_of

START_MS = 1_790_035_200_000
PARTITIONS = 3

Headers = tuple[tuple[str, bytes], ...]


def test_days_are_pressed_into_seconds_and_then_run_on() -> None:
    pace = Pace(events_per_second=10, electorate_ms=48 * 3_600_000, in_seconds=30)
    assert pace.electorate_time(0) == 0
    assert pace.electorate_time(15) == 24 * 3_600_000
    assert pace.electorate_time(30) == 48 * 3_600_000
    assert pace.electorate_time(31.5) == 48 * 3_600_000 + 1500


def sign(partition: int, key: bytes, _value: bytes) -> tuple[str, bytes]:
    return "groundswell-signature", b"%d:%b" % (partition, key)


async def test_everything_sent_stands_in_its_partition_in_order() -> None:
    with EmbeddedServices() as services:
        admin = KafkaAdminClient(bootstrap_servers=services.bootstrap_servers)
        admin.create_topics([NewTopic("events", PARTITIONS, 1)])
        admin.close()
        electorate = Electorate(3, START_MS, voters=300, flaws=Flaws(0.0, 0.0, 0.0, 0.0))
        # So brisk that a step of the feed is more than one batch can hold.
        pace = Pace(events_per_second=30_000, electorate_ms=48 * 3_600_000, in_seconds=2)
        feed = Feed(electorate, pace, services.bootstrap_servers, "events", PARTITIONS, sign)
        running = asyncio.create_task(feed.run())
        while feed.sent < 20_000 and not running.done():
            await asyncio.sleep(0.02)
        feed.end()
        await running
        by_partition = {partition: await read_all(services, partition) for partition in range(PARTITIONS)}
    assert sum(map(len, by_partition.values())) == feed.sent
    for partition, rows in by_partition.items():
        assert {partition_of(key, PARTITIONS) for key, _, _ in rows} == {partition}
        events = [json.loads(value) for _, value, _ in rows]
        # Ids count up as things happen.
        ids = [event["id"] for event in events]
        assert ids == sorted(set(ids))
        for event, (key, value, headers) in zip(events, rows, strict=True):
            assert headers == ((sign(partition, key, value),) if event["type"] == "privacy.erased" else ())
    assert sum(len(headers) for rows in by_partition.values() for _, _, headers in rows) > 0
    assert electorate.now_ms > START_MS


async def read_all(services: EmbeddedServices, partition: int) -> list[tuple[bytes, bytes, Headers]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=services.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        where = TopicPartition("events", partition)
        consumer.assign([where])
        end = (await consumer.end_offsets([where]))[where]
        rows: list[tuple[bytes, bytes, Headers]] = []
        while len(rows) < end:
            got = await consumer.getmany(where, timeout_ms=1000)
            rows += [(record.key, record.value, tuple(record.headers)) for record in got.get(where, [])]
        return rows
    finally:
        await consumer.stop()
