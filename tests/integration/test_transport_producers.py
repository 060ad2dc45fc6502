"""What Kafka's own producers write, with every codec that each has: both paths read it as the same rows."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from confluent_kafka import Producer
from kafka import KafkaProducer

from load_tests.cluster import java
from load_tests.fuzzing.batches import Row, rows_of
from stream.columns import Columns, columns_of
from stream.transport.aiokafka_fetcher import install, take
from tests.integration.outputs import BROKER, needs_kafka, new_topic

pytestmark = [pytest.mark.kafka, needs_kafka]

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
Message = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
MESSAGES: list[Message] = [
    (b"voter-%d" % n, b'{"id": "%d", "text": "%s"}' % (n, b"x" * (n % 300)), [("trace", b"%d" % n)] if n % 3 else [])
    for n in range(1000)
]
MESSAGES[5] = (b"voter-5", b"forwarded", [("groundswell-origin", b"3:17"), ("groundswell-signature", b"key-1 0 c2ln")])
MESSAGES[6] = (None, b"without a key", [])
MESSAGES[7] = (b"voter-7", None, [])


def by_java(topic: str, codec: str) -> None:
    """Write by the Java client behind kafka-console-producer."""
    if "GROUNDSWELL_KAFKA_JARS" not in os.environ:
        pytest.skip("GROUNDSWELL_KAFKA_JARS is not set: `source .ci/bring` brings what this needs, and sets it")
    lines = [
        b"\t".join(
            (
                b",".join(name.encode() + b":" + value for name, value in headers) or b"NULL",
                *(b"NULL" if part is None else part for part in (key, value)),
            )
        )
        for key, value, headers in MESSAGES
    ]
    options = [("parse.headers", "true"), ("parse.key", "true"), ("null.marker", "NULL")]
    subprocess.run(
        [
            *java(("-Xmx128m", "-XX:TieredStopAtLevel=1")),
            *("org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", BROKER, "--topic", topic),
            *("--compression-codec", codec),
            *(word for name, value in options for word in ("--property", f"{name}={value}")),
        ],
        input=b"\n".join(lines) + b"\n",
        capture_output=True,
        check=True,
    )


def by_librdkafka(topic: str, codec: str, messages: Sequence[Message] = MESSAGES) -> None:
    refused: list[Any] = []

    def note(error: Any, _: Any) -> None:
        refused.extend([error] if error else [])

    producer = Producer({"bootstrap.servers": BROKER, "compression.type": codec, "linger.ms": 20})
    for key, value, headers in messages:
        producer.produce(topic, key=key, value=value, headers=list(headers), partition=0, on_delivery=note)
    assert producer.flush(60) == 0
    assert not refused


def by_kafka_python(topic: str, codec: str) -> None:
    kind = None if codec == "none" else codec
    with closing(KafkaProducer(bootstrap_servers=BROKER, compression_type=kind, linger_ms=20)) as producer:
        for key, value, headers in MESSAGES:
            producer.send(topic, key=key, value=value, headers=headers, partition=0)
        producer.flush()


async def by_aiokafka(topic: str, codec: str) -> None:
    """Write as aiokafka does within transactions, every other of them aborted."""
    producer = AIOKafkaProducer(
        bootstrap_servers=BROKER, compression_type=None if codec == "none" else codec, transactional_id=topic
    )
    await producer.start()
    try:
        for first in range(0, len(MESSAGES), 250):
            for wanted in (False, True):
                await producer.begin_transaction()
                for key, value, headers in MESSAGES[first : first + 250]:
                    await producer.send(topic, key=key, value=value, headers=headers, partition=0)
                await (producer.commit_transaction() if wanted else producer.abort_transaction())
    finally:
        await producer.stop()


async def fetched(topic: str, max_records: int, *, fast: bool) -> tuple[list[Row], int]:
    """Read partition 0 from its start to its end; return its rows, and where aiokafka stands then."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=BROKER,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=20_000,
    )
    await consumer.start()
    partition, rows, position = TopicPartition(topic, 0), [], 0
    try:
        if fast:
            assert install(consumer._fetcher, max_records)
        end = (await consumer.end_offsets([partition]))[partition]
        consumer.assign([partition])
        consumer.seek(partition, 0)
        async with asyncio.timeout(120):
            while (position := await consumer.position(partition)) < end:
                found = await take(consumer._fetcher, partition, max_records)
                rows += rows_of(columns(found)) if found else []
                assert bool(found) <= (fast == isinstance(next(iter(found), None), Columns))
                await asyncio.sleep(0.005 * (not found))
    finally:
        await consumer.stop()
    return rows, position


def columns(found: Sequence[Any]) -> Columns:
    if isinstance(found[0], Columns):
        return found[0]
    lists: list[Any] = [[getattr(record, name) for record in found] for name in ("offset", "key", "value", "headers")]
    return columns_of(0, lists[0], [record.timestamp * record.timestamp_type for record in found], *lists[1:])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("produce", [by_java, by_librdkafka, by_kafka_python, by_aiokafka])
async def test_rows_of_every_producer_are_the_same_by_both_paths(
    produce: Callable[[str, str], Awaitable[None] | None], codec: str
) -> None:
    times = "LogAppendTime" if codec in ("none", "lz4") else "CreateTime"
    topic = new_topic(settings={"message.timestamp.type": times})
    if (writing := produce(topic, codec)) is not None:
        await writing
    fast, reference = [await fetched(topic, 300, fast=fast) for fast in (True, False)]
    assert fast == reference
    rows, _ = fast
    assert [row[2:4] for row in rows] == [message[:2] for message in MESSAGES]
    assert [row[0] for row in rows if row[4] != (-1, -1)] == [rows[5][0]]
    assert rows[5][4:] == ((3, 17), b"key-1 0 c2ln")
    assert all((row[1] > 0) == (times == "LogAppendTime") for row in rows)


async def test_compacted_log_is_the_same_by_both_paths() -> None:
    settings = {
        "cleanup.policy": "compact",
        **{"min.cleanable.dirty.ratio": "0.001", "segment.ms": "100", "max.compaction.lag.ms": "100"},
    }
    topic = new_topic(settings=settings)
    keyed = [message for message in MESSAGES if message[0] is not None]
    by_librdkafka(topic, "lz4", keyed)
    # Written once more, so that compaction takes single records and whole batches of the first ones.
    by_librdkafka(topic, "lz4", keyed[10:500])
    count = len(keyed) + 490
    rows: list[Row] = []
    for _ in range(60):
        by_librdkafka(topic, "none", [(b"last", b"rolls the segment", [])])
        count += 1
        await asyncio.sleep(1)
        rows, position = await fetched(topic, 300, fast=True)
        assert position == count
        if len(rows) < len(keyed) + 490:
            break
    else:
        pytest.skip("the broker did not compact within a minute")
    again, position = await fetched(topic, 300, fast=False)
    assert position == count
    # It may have taken more since.
    assert [row for row in rows if row in set(again)] == again
