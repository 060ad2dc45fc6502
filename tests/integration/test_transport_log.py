"""What may be read of a log: its range, its transactions, its end, and how much of it at once."""

from __future__ import annotations

import logging
import time
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer import fetcher
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from stream.columns import Columns
from stream.errors import StateMismatchError
from stream.transport import thread
from tests.integration.batch_apps import Worker, fill, keep, running
from tests.integration.outputs import BROKER, needs_kafka, new_topic, until

pytestmark = [pytest.mark.kafka, needs_kafka]


def otherwise(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    """Make the transport's consumers with other settings than its own."""

    def consumer(**options: Any) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(**{**options, **settings})

    monkeypatch.setattr(thread, "AIOKafkaConsumer", consumer)


def trim(topic: str, before: int) -> None:
    """Remove a log's first records, as retention does."""
    admin = KafkaAdminClient(bootstrap_servers=BROKER)
    try:
        admin.delete_records({TopicPartition(topic, 0): before})
    finally:
        admin.close()


@pytest.mark.parametrize("offset", [20, 1000])
async def test_offset_out_of_range_is_fatal_and_names_partition_offset_and_range(offset: int) -> None:
    topic = new_topic()
    await fill(topic, 100)
    trim(topic, 50)
    worker = Worker(topic, keep)
    worker.start_at[0] = offset
    async with running(worker):
        await until(lambda: bool(worker.failures))
    (failure, *_) = worker.failures
    assert isinstance(failure, StateMismatchError)
    assert f"{topic} partition 0 is to be read from offset {offset}, but its log holds 50 up to 100" in str(failure)
    assert worker.rows == []


async def test_trap_a_reset_policy_reads_from_another_place_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    otherwise(monkeypatch, auto_offset_reset="earliest")
    topic = new_topic()
    await fill(topic, 100)
    worker = Worker(topic, keep)
    worker.start_at[0] = 1000
    async with running(worker):
        await until(lambda: len(worker.rows) == 100)
    assert worker.rows == list(range(100))
    assert worker.failures == []


async def transactions(topic: str) -> None:
    """Write rows 0 and 1, abort 2 (marker 3), commit 4 (marker 5)."""
    producer = AIOKafkaProducer(bootstrap_servers=BROKER, transactional_id=topic)
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"first")
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted")
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"last")
    finally:
        await producer.stop()


def is_columnar(worker: Worker) -> bool:
    """Return whether this worker's fetcher reads the bytes of record batches."""
    return "_proc_fetch_request" in vars(worker.consumer._thread._ensure_consumer()._fetcher)


both_paths = pytest.mark.parametrize("reference", [False, True])


@both_paths
async def test_aborted_rows_are_not_delivered_and_places_cover_them(reference: bool) -> None:
    topic, batches = new_topic(), []

    async def process(worker: Worker, columns: Columns) -> None:
        batches.append((columns.start, columns.next, columns.is_followed))
        await keep(worker, columns)

    await transactions(topic)
    async with running(Worker(topic, process, reference=reference)) as worker:
        await until(lambda: 4 in worker.rows)
        assert is_columnar(worker) != reference
        ends = await worker.consumer.log_ends()
        assert await worker.consumer.log_ranges([worker.tp()]) == {worker.tp(): (0, 6)}
    assert worker.rows == [0, 4]
    assert batches[0][0] == 0
    assert all(before[1] == after[0] for before, after in pairwise(batches))
    # Whoever has processed the last batch lags no more, although a marker follows its last row.
    assert ends == {worker.tp(): batches[-1][1]}
    assert not batches[-1][2]


async def test_trap_fausts_isolation_delivers_aborted_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    otherwise(monkeypatch, isolation_level="read_uncommitted")
    topic = new_topic()
    await transactions(topic)
    async with running(Worker(topic, keep)) as worker:
        await until(lambda: 4 in worker.rows)
    assert worker.rows == [0, 2, 4]


@both_paths
async def test_times_are_append_times_or_none_and_origins_come_from_headers(reference: bool) -> None:
    columns: list[Columns] = []

    async def process(worker: Worker, batch: Columns) -> None:
        columns.append(batch)
        worker.release(batch)

    for kind in ("LogAppendTime", "CreateTime"):
        topic = new_topic(settings={"message.timestamp.type": kind})
        producer = AIOKafkaProducer(bootstrap_servers=BROKER)
        await producer.start()
        sent = await producer.send_and_wait(topic, b"value", b"key", headers=[("groundswell-origin", b"3:17")])
        await producer.send_and_wait(topic, None, b"key")
        await producer.send_and_wait(topic, b"value", None)
        await producer.stop()
        async with running(Worker(topic, process, reference=reference)):
            await until(lambda: sum(map(len, columns)) == 3)
        rows = [(batch.key(row), batch.value(row)) for batch in columns for row in range(len(batch))]
        assert rows == [(b"key", b"value"), (b"key", b""), (None, b"value")]
        assert columns[0].log_times[0] == (sent.timestamp if kind == "LogAppendTime" else 0)
        assert (columns[0].origin_partitions[0], columns[0].origin_offsets[0]) == (3, 17)
        assert (columns[-1].origin_partitions[-1], columns[-1].origin_offsets[-1]) == (-1, -1)
        columns.clear()


def holds(held: list[Columns], count: int) -> bool:
    return len(held) >= count


@both_paths
async def test_full_partition_does_not_stop_others_and_a_release_wakes_it(reference: bool) -> None:
    topic, held, limit = new_topic(2), [], 2
    await fill(topic, 1000, 2)

    async def process(worker: Worker, columns: Columns) -> None:
        if columns.partition == 0:
            held.append(columns)
        else:
            await keep(worker, columns)

    async with running(Worker(topic, process, in_flight_limit=limit, max_records=50, reference=reference)) as worker:
        await until(lambda: len(worker.rows) == 1000)
        assert len(held) == limit
        started = time.monotonic()
        for turn in range(18):
            worker.release(held[turn])
            await until(partial(holds, held, limit + turn + 1))
        # Faust's own bound makes each of these turns wait a second.
        assert time.monotonic() - started < 4.0
    assert [offset for columns in held for offset in columns.offsets.tolist()] == list(range(1000))
    assert [columns.is_followed for columns in held] == [True] * 19 + [False]


async def test_offsets_of_the_group_are_published_and_a_failure_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    topic, group = new_topic(), new_topic()
    await fill(topic, 100)
    async with running(Worker(topic, keep), group=group) as worker:
        await until(lambda: len(worker.rows) == 100)
        await worker.consumer.publish_offsets({worker.tp(): 77})
        await worker.consumer.publish_offsets({worker.tp(): 1 << 70})
        assert "could not be written" in caplog.text
        assert worker.failures == []
    consumer = AIOKafkaConsumer(bootstrap_servers=BROKER, group_id=group)
    await consumer.start()
    assert await consumer.committed(TopicPartition(topic, 0)) == 77
    await consumer.stop()


async def test_aiokafka_logs_nothing_for_each_fetch() -> None:
    logging.getLogger("aiokafka").setLevel(logging.DEBUG)
    async with running(Worker(new_topic(), keep)) as worker:
        await until(lambda: bool(worker.claims))
        assert not fetcher.log.isEnabledFor(logging.INFO)


async def test_first_row_comes_within_two_seconds_of_the_start() -> None:
    topic = new_topic()
    await fill(topic, 10)
    started = time.monotonic()
    async with running(Worker(topic, keep)) as worker:
        await until(lambda: bool(worker.rows))
        assert time.monotonic() - started < 2.0
