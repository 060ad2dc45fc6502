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


def test_days_are_pressed_into_seconds_and_then_run_on() -> None:
    pace = Pace(events_per_second=10, electorate_ms=48 * 3_600_000, in_seconds=30)
    assert pace.electorate_time(0) == 0
    assert pace.electorate_time(15) == 24 * 3_600_000
    assert pace.electorate_time(30) == 48 * 3_600_000
    assert pace.electorate_time(31.5) == 48 * 3_600_000 + 1500


async def test_everything_sent_stands_in_its_partition_in_order() -> None:
    with EmbeddedServices() as services:
        admin = KafkaAdminClient(bootstrap_servers=services.bootstrap_servers)
        admin.create_topics([NewTopic("events", PARTITIONS, 1)])
        admin.close()
        electorate = Electorate(3, START_MS, voters=300, flaws=Flaws(0.0, 0.0, 0.0, 0.0))
        # So brisk that a step of the feed is more than one batch can hold.
        pace = Pace(events_per_second=30_000, electorate_ms=48 * 3_600_000, in_seconds=2)
        feed = Feed(electorate, pace, services.bootstrap_servers, "events", PARTITIONS)
        running = asyncio.create_task(feed.run())
        while feed.sent < 20_000 and not running.done():
            await asyncio.sleep(0.02)
        feed.end()
        await running
        by_partition = {partition: await read_all(services, partition) for partition in range(PARTITIONS)}
    assert sum(map(len, by_partition.values())) == feed.sent
    for partition, rows in by_partition.items():
        assert {partition_of(key, PARTITIONS) for key, _ in rows} == {partition}
        # Ids count up as things happen.
        ids = [json.loads(value)["id"] for _, value in rows]
        assert ids == sorted(set(ids))
    assert electorate.now_ms > START_MS


async def read_all(services: EmbeddedServices, partition: int) -> list[tuple[bytes, bytes]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=services.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        where = TopicPartition("events", partition)
        consumer.assign([where])
        end = (await consumer.end_offsets([where]))[where]
        rows: list[tuple[bytes, bytes]] = []
        while len(rows) < end:
            got = await consumer.getmany(where, timeout_ms=1000)
            rows += [(record.key, record.value) for record in got.get(where, [])]
        return rows
    finally:
        await consumer.stop()
