"""What this project relies on in Kafka, over the simulated one and Apache Kafka, which is right where they differ."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka import errors as kafka_errors
from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    MessageSizeTooLargeError,
    NoError,
    OffsetOutOfRangeError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
)

from stream.agents import relay as relay_module
from stream.agents.closing import discard
from stream.agents.configuration import ConfigurationLibrary
from stream.agents.fence import Fence
from stream.agents.relay import Relay
from stream.agents.tail import last_sequence
from stream.errors import RelayGapError, StoreFailedError
from stream.records import SEQUENCE_HEADER, ContentId
from stream.stores.memory import Fault
from tests.contracts.kafka_clusters import (
    BROKER,
    ApacheCluster,
    Cluster,
    SimulatedCluster,
    Wire,
    consuming,
    end,
    producing,
    read,
    write,
)
from tests.integration.outputs import Outbox, until
from tests.integration.outputs import end as ended
from tests.simulation.kafka_network import connected_to


@pytest.fixture(params=["simulated", pytest.param("apache", marks=pytest.mark.kafka)])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    if request.param == "apache":
        if not BROKER:
            pytest.skip("GROUNDSWELL_TEST_KAFKA is not set")
        yield ApacheCluster()
        return
    simulated = SimulatedCluster()
    with connected_to(simulated.server):
        yield simulated
    assert len(asyncio.all_tasks()) == 1, "a client left something running"


async def sequenced(producer: AIOKafkaProducer, topic: str, *numbers: int) -> None:
    batch = producer.create_batch()
    for number in numbers:
        batch.append(timestamp=None, key=None, value=b"v", headers=[(SEQUENCE_HEADER, b"%d" % number)])
    await (await producer.send_batch(batch, topic, partition=0))


# --- logs ----------------------------------------------------------------------------------------------


async def test_what_is_written_is_read_at_the_offset_that_was_answered(cluster: Cluster) -> None:
    topic = cluster.topic()
    async with producing(cluster) as producer:
        assert (await write(producer, topic, b"a", b"b")).offset == 0
        assert (await write(producer, topic, b"c")).offset == 2
    records = await read(cluster, topic)
    assert [(record.offset, record.key, record.value) for record in records] == [
        (0, b"k", b"a"),
        (1, b"k", b"b"),
        (2, b"k", b"c"),
    ]
    assert [record.offset for record in await read(cluster, topic, start=1)] == [1, 2]


async def test_append_time_is_the_brokers_and_create_time_the_publishers(cluster: Cluster) -> None:
    appended, created = cluster.topic(), cluster.topic(append_times=False)
    before = int(time.time() * 1000) - 1
    async with producing(cluster) as producer:
        for topic in (appended, created):
            for number in range(2):
                await producer.send_and_wait(topic, b"v", partition=0, timestamp_ms=1000 + number)
    records = await read(cluster, appended)
    assert all(record.timestamp_type == 1 and before <= record.timestamp <= time.time() * 1000 for record in records)
    assert [(record.timestamp_type, record.timestamp) for record in await read(cluster, created)] == [
        (0, 1000),
        (0, 1001),
    ]


async def test_first_record_of_a_time_or_later_is_found(cluster: Cluster) -> None:
    topic = cluster.topic(append_times=False)
    where = TopicPartition(topic, 0)
    async with producing(cluster) as producer:
        for time_ms in (1000, 2000, 3000):
            await producer.send_and_wait(topic, b"v", partition=0, timestamp_ms=time_ms)
    async with consuming(cluster, topic) as consumer:
        assert (await consumer.offsets_for_times({where: 2000}))[where].offset == 1
        assert (await consumer.offsets_for_times({where: 2001}))[where].offset == 2
        assert (await consumer.offsets_for_times({where: 3001}))[where] is None


async def test_reading_outside_the_log_says_so_and_at_its_end_waits(cluster: Cluster) -> None:
    topic = cluster.topic()
    where = TopicPartition(topic, 0)
    async with producing(cluster) as producer:
        for value in (b"a", b"b", b"c"):
            await write(producer, topic, value)
        cluster.delete_before(topic, 2)
        async with consuming(cluster, topic) as consumer:
            assert (await consumer.beginning_offsets([where]))[where] == 2
            assert (await consumer.end_offsets([where]))[where] == 3
            for offset in (1, 4):
                consumer.seek(where, offset)
                with pytest.raises(OffsetOutOfRangeError):
                    await consumer.getmany(where, timeout_ms=5000)
            consumer.seek(where, 3)
            assert await consumer.getmany(where, timeout_ms=200) == {}
            waiting = asyncio.create_task(consumer.getmany(where, timeout_ms=5000))
            await asyncio.sleep(0.05)
            await write(producer, topic, b"d")
            assert [record.value for record in (await waiting)[where]] == [b"d"]
            assert await consumer.position(where) == 4


async def test_start_inside_a_batch_hides_the_rows_before_it(cluster: Cluster) -> None:
    topic = cluster.topic()
    async with producing(cluster) as producer:
        await write(producer, topic, b"a", b"b", b"c")
        cluster.delete_before(topic, 1)
    assert [record.value for record in await read(cluster, topic, start=1)] == [b"b", b"c"]


async def test_compaction_leaves_gaps_that_a_reader_passes(cluster: Cluster) -> None:
    topic = cluster.compacted_topic()
    where = TopicPartition(topic, 0)
    async with producing(cluster) as producer:
        for keys in (b"aba", b"bc", b"a", b"c", b"d"):
            batch = producer.create_batch()
            for key in keys:
                batch.append(timestamp=None, key=bytes([key]), value=b"v")
            await (await producer.send_batch(batch, topic, partition=0))
            # A segment is closed by the first write after its time, and only closed ones are compacted.
            await asyncio.sleep(0.1)
    cluster.compact(topic, [0, 1, 2, 4])
    async with asyncio.timeout(60):
        while len(records := await read(cluster, topic)) > 4:
            await asyncio.sleep(0.2)
    assert [(record.offset, record.key) for record in records] == [(3, b"b"), (5, b"a"), (6, b"c"), (7, b"d")]
    async with consuming(cluster, topic) as consumer:
        consumer.seek(where, 1)
        records = (await consumer.getmany(where, timeout_ms=1000, max_records=1))[where]
        assert [record.offset for record in records] == [3]
        assert await consumer.position(where) == 4
        records = (await consumer.getmany(where, timeout_ms=1000, max_records=1))[where]
        assert [record.offset for record in records] == [5]


async def test_batch_larger_than_the_topic_takes_is_refused(cluster: Cluster) -> None:
    topic = cluster.topic(message_bytes=1000)
    async with producing(cluster, enable_idempotence=True) as producer:
        await write(producer, topic, b"x" * 800)
        with pytest.raises(MessageSizeTooLargeError):
            await write(producer, topic, b"x" * 1000)
    assert await end(cluster, topic) == 1


async def test_batch_holds_what_it_was_made_for_and_one_row_in_any_case(cluster: Cluster) -> None:
    topic = cluster.topic()
    async with producing(cluster, max_batch_size=1000) as producer:
        batch = producer.create_batch()
        count = 0
        while batch.append(timestamp=None, key=None, value=b"x" * 100) is not None:
            count += 1
        await (await producer.send_batch(batch, topic, partition=0))
        large = producer.create_batch()
        assert large.append(timestamp=None, key=None, value=b"x" * 5000) is not None
        await (await producer.send_batch(large, topic, partition=0))
    assert 5 < count < 10
    assert [len(record.value) for record in await read(cluster, topic)] == [100] * count + [5000]


async def test_unknown_topic_is_named_after_the_request_timeout(cluster: Cluster) -> None:
    async with producing(cluster, request_timeout_ms=300) as producer:
        with pytest.raises(kafka_errors.UnknownTopicOrPartitionError):
            await write(producer, "no-such-topic", b"v")


# --- producers -----------------------------------------------------------------------------------------


async def test_repeated_batch_is_answered_as_before_and_not_written_again(cluster: Cluster) -> None:
    topic = cluster.topic()
    async with producing(cluster) as producer:
        wire = await Wire.open(producer, f"{topic}-0")
        owner = await wire.claimed()
        for sequence in range(6):
            assert await wire.produce(topic, *owner, sequence) == (NoError, sequence)
        for sequence in range(1, 6):
            assert await wire.produce(topic, *owner, sequence) == (NoError, sequence)
        error, _ = await wire.produce(topic, *owner, 0)
        assert error is OutOfOrderSequenceNumber, "only the last five batches are known"
        assert await wire.produce(topic, *owner, 6) == (NoError, 6)
    assert await end(cluster, topic) == 7


async def test_batch_out_of_sequence_is_refused_and_an_unknown_producers_first_one_is_not(cluster: Cluster) -> None:
    topic = cluster.topic()
    async with producing(cluster) as producer:
        wire = await Wire.open(producer, f"{topic}-0")
        producer_id, epoch = await wire.claimed()
        assert (await wire.produce(topic, producer_id, epoch, 40, [b"a", b"b"]))[0] is NoError
        for sequence in (0, 41, 43):
            assert (await wire.produce(topic, producer_id, epoch, sequence))[0] is OutOfOrderSequenceNumber
        assert (await wire.produce(topic, producer_id, epoch, 42))[0] is NoError
        newer = await wire.claimed()
        assert newer == (producer_id, epoch + 1)
        assert (await wire.produce(topic, *newer, 43))[0] is OutOfOrderSequenceNumber
        assert (await wire.produce(topic, *newer, 0))[0] is NoError
    assert await end(cluster, topic) == 4


async def test_older_epoch_is_refused_where_a_newer_one_has_written_and_nowhere_else(cluster: Cluster) -> None:
    topic, other = cluster.topic(), cluster.topic()
    async with producing(cluster) as producer:
        wire = await Wire.open(producer, f"{topic}-0")
        former = await wire.claimed()
        assert (await wire.produce(topic, *former, 0))[0] is NoError
        newer = await wire.claimed()
        assert (await wire.produce(topic, *former, 1))[0] is NoError, "an epoch that has not arrived fences nobody"
        assert (await wire.produce(topic, *newer, 0))[0] is NoError
        assert (await wire.produce(topic, *former, 2))[0] is InvalidProducerEpoch
        assert (await wire.produce(topic, *former, 1))[0] is InvalidProducerEpoch, "not even a repeated batch"
        assert (await wire.produce(other, *former, 0))[0] is NoError


async def test_marker_of_an_empty_transaction_fences_the_older_epoch(cluster: Cluster) -> None:
    topic = cluster.topic()
    async with producing(cluster) as producer:
        wire = await Wire.open(producer, f"{topic}-0")
        former = await wire.claimed()
        assert (await wire.produce(topic, *former, 0))[0] is NoError
        newer = await wire.claimed()
        assert await wire.add(topic, *newer) is NoError
        assert (await wire.produce(topic, *former, 1))[0] is NoError, "the marker is not written yet"
        assert await wire.end(*newer, commit=False) is NoError
        await wire.added(topic, *newer)
        assert (await wire.produce(topic, *former, 2))[0] is InvalidProducerEpoch
        assert await end(cluster, topic) == 3
        assert (await wire.produce(topic, *newer, 0)) == (NoError, 3)
    assert [record.offset for record in await read(cluster, topic, "read_uncommitted")] == [0, 1, 3]


async def test_marker_leaves_its_own_producers_sequence_as_it_is(cluster: Cluster) -> None:
    topic = cluster.topic()
    async with producing(cluster) as producer:
        wire = await Wire.open(producer, f"{topic}-0")
        owner = await wire.claimed()
        await wire.added(topic, *owner)
        assert await wire.end(*owner, commit=False) is NoError
        await wire.added(topic, *owner)
        assert (await wire.produce(topic, *owner, 1))[0] is OutOfOrderSequenceNumber
        for sequence in range(3):
            assert (await wire.produce(topic, *owner, sequence))[0] is NoError
            assert await wire.end(*owner, commit=False) is NoError
            await wire.added(topic, *owner)


async def test_idempotent_producers_get_ids_of_their_own(cluster: Cluster) -> None:
    topic = cluster.topic()
    async with (
        producing(cluster, enable_idempotence=True) as one,
        producing(cluster, enable_idempotence=True) as two,
    ):
        for number in range(3):
            await write(one, topic, b"one %d" % number)
            await write(two, topic, b"two %d" % number)
        assert one._txn_manager.producer_id != two._txn_manager.producer_id
    assert await end(cluster, topic) == 6


# --- the coordinator -----------------------------------------------------------------------------------


async def test_next_transaction_waits_until_the_last_ones_marker_stands(cluster: Cluster) -> None:
    topic = cluster.topic()
    async with producing(cluster) as producer:
        wire = await Wire.open(producer, f"{topic}-0")
        owner = await wire.claimed()
        await wire.added(topic, *owner)
        waits = 0
        for number in range(10):
            assert await wire.end(*owner, commit=False) is NoError
            waits += await wire.added(topic, *owner)
            assert await end(cluster, topic) == number + 1
        assert waits > 0


async def test_end_of_a_transaction_can_be_repeated_and_not_reversed(cluster: Cluster) -> None:
    topic = cluster.topic()
    async with producing(cluster) as producer:
        wire = await Wire.open(producer, f"{topic}-0")
        owner = await wire.claimed()
        assert await wire.end(*owner, commit=False) is InvalidTxnState
        await wire.added(topic, *owner)
        assert await wire.end(*owner, commit=False) is NoError
        while (error := await wire.end(*owner, commit=False)) is not NoError:
            assert error is kafka_errors.ConcurrentTransactions
        assert await wire.end(*owner, commit=True) is InvalidTxnState
        assert await end(cluster, topic) == 1


async def test_coordinator_refuses_an_older_epoch_and_a_foreign_producer(cluster: Cluster) -> None:
    topic = cluster.topic()
    async with producing(cluster) as producer:
        wire = await Wire.open(producer, f"{topic}-0")
        former = await wire.claimed()
        newer = await wire.claimed()
        assert newer == (former[0], former[1] + 1)
        assert await wire.add(topic, *former) is InvalidProducerEpoch
        assert await wire.end(*former, commit=False) is InvalidProducerEpoch
        assert await wire.add(topic, newer[0] + 1_000_000, 0) is InvalidProducerIdMapping
        assert await wire.add(topic, *newer) is NoError


async def test_new_owner_aborts_what_its_predecessor_left_open(cluster: Cluster) -> None:
    topic = cluster.topic()
    async with producing(cluster) as producer:
        wire = await Wire.open(producer, f"{topic}-0")
        former = await wire.claimed()
        await wire.added(topic, *former)
        assert (await wire.produce(topic, *former, 0, transactional=True))[0] is NoError
        error, _, _ = await wire.initialize()
        assert error is kafka_errors.ConcurrentTransactions
        newer = await wire.claimed()
        assert newer[1] > former[1]
        assert (await wire.produce(topic, *former, 1, transactional=True))[0] is InvalidProducerEpoch
        assert await wire.end(*former, commit=True) is InvalidProducerEpoch
    assert await read(cluster, topic) == []
    assert len(await read(cluster, topic, "read_uncommitted")) == 1


async def test_write_in_no_transaction_is_refused_while_its_producer_has_one_open(cluster: Cluster) -> None:
    topic = cluster.topic()
    async with producing(cluster) as producer:
        wire = await Wire.open(producer, f"{topic}-0")
        owner = await wire.claimed()
        await wire.added(topic, *owner)
        assert (await wire.produce(topic, *owner, 0))[0] is NoError, "nothing was written in the transaction yet"
        assert (await wire.produce(topic, *owner, 1, transactional=True))[0] is NoError
        assert (await wire.produce(topic, *owner, 2))[0] is InvalidTxnState


async def test_write_in_a_transaction_that_knows_not_of_the_partition_is_refused(cluster: Cluster) -> None:
    topic, other = cluster.topic(), cluster.topic()
    async with producing(cluster) as producer:
        wire = await Wire.open(producer, f"{topic}-0")
        owner = await wire.claimed()
        await wire.added(other, *owner)
        assert (await wire.produce(topic, *owner, 0, transactional=True))[0] is InvalidTxnState
        assert (await wire.produce(other, *owner, 0, transactional=True))[0] is NoError


async def test_committed_is_seen_at_the_end_of_its_transaction_and_aborted_never(cluster: Cluster) -> None:
    topic = cluster.topic()
    async with producing(cluster, transactional_id=f"{topic}-0") as producer, producing(cluster) as plain:
        for number, commit in enumerate((True, False, True)):
            await producer.begin_transaction()
            await write(producer, topic, b"in %d" % number)
            await write(plain, topic, b"beside %d" % number)
            assert await end(cluster, topic, "read_committed") < await end(cluster, topic)
            assert b"in %d" % number not in [record.value for record in await read(cluster, topic)]
            await (producer.commit_transaction() if commit else producer.abort_transaction())
            async with asyncio.timeout(10):
                while await end(cluster, topic, "read_committed") < await end(cluster, topic):
                    await asyncio.sleep(0.01)
    kept = [record.value for record in await read(cluster, topic)]
    assert kept == [b"in 0", b"beside 0", b"beside 1", b"in 2", b"beside 2"]
    every = await read(cluster, topic, "read_uncommitted")
    assert [record.value for record in every if record.value not in kept] == [b"in 1"]
    assert await end(cluster, topic) == 9
    assert all(later.offset - record.offset <= 2 for record, later in pairwise(every))


# --- what is built on it -------------------------------------------------------------------------------


async def test_fence_lets_the_owner_write_and_nobody_before_it(cluster: Cluster) -> None:
    topic = cluster.topic()
    producers = []
    for number in range(1, 6):
        producer = AIOKafkaProducer(**cluster.kafka, enable_idempotence=True, acks="all")
        producers.append(producer)
        await Fence(producer, f"{topic}-0", topic, 0).claim()
        for former in producers[:-1]:
            if former is not producer:
                with pytest.raises(ProducerFenced):
                    await sequenced(former, topic, 1000)
        await sequenced(producer, topic, number)
        assert await last_sequence(cluster.kafka, topic, 0) == number
    for producer in producers:
        await discard(producer)
    assert len(await read(cluster, topic)) == 5


async def test_tail_is_found_behind_markers_and_in_what_retention_left(cluster: Cluster) -> None:
    topic = cluster.topic()
    assert await last_sequence(cluster.kafka, topic, 0) == 0
    producer = AIOKafkaProducer(**cluster.kafka, enable_idempotence=True, acks="all")
    fence = Fence(producer, f"{topic}-0", topic, 0)
    await fence.claim()
    assert await last_sequence(cluster.kafka, topic, 0) == 0
    await sequenced(producer, topic, 1, 2, 3)
    for _ in range(20):
        await fence.renew()
    assert await last_sequence(cluster.kafka, topic, 0) == 3
    stop = await end(cluster, topic)
    cluster.delete_before(topic, 4)
    assert await last_sequence(cluster.kafka, topic, 0) in {3, None}
    cluster.delete_before(topic, stop)
    assert await last_sequence(cluster.kafka, topic, 0) is None
    await discard(producer)


def relay_of(cluster: Cluster, outbox: Outbox, topic: str) -> Relay:
    return Relay(outbox.store(), outbox.output, topic, 0, cluster.kafka, f"{topic}-{outbox.output}-0")


async def test_relays_that_fence_each_other_send_each_row_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "FENCED_SECONDS", 0.02)
    topic, outbox = cluster.topic(), Outbox()
    relays = [relay_of(cluster, outbox, topic) for _ in range(2)]
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    last = 0
    for _ in range(6):
        last = await outbox.add(40)
        for relay in relays:
            relay.wake(last)
        await until(lambda: len(outbox.server.outboxes["{0}:outbox:triggers"]) < 40)
    await until(lambda: len(outbox.server.outboxes["{0}:outbox:triggers"]) == 0)
    await ended(*tasks)
    records = await read(cluster, topic)
    assert [int(dict(record.headers)[SEQUENCE_HEADER]) for record in records] == list(range(1, last + 1))
    assert {relay.mode for relay in relays} == {"fenced"}


async def test_library_holds_what_was_committed_and_nothing_of_an_aborted_transaction(cluster: Cluster) -> None:
    topic = cluster.topic(append_times=False)
    contents = [ContentId("model", name, hashlib.sha256(name.encode()).hexdigest()) for name in ("one", "two", "three")]
    library = ConfigurationLibrary(topic, cluster.kafka)
    async with producing(cluster, transactional_id=f"{topic}-0") as producer:
        for content, commit in zip(contents, (True, False, True), strict=True):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, content.name.encode(), key=content.key().encode(), partition=0)
            await (producer.commit_transaction() if commit else producer.abort_transaction())
            if content.name == "one":
                await library.start()
    async with asyncio.timeout(20):
        await library.wait_for([contents[0], contents[2]])
    assert len(library) == 2
    await library.stop()


async def test_rows_that_a_later_owner_has_sent_and_trimmed_are_no_gap_to_the_former_one(cluster: Cluster) -> None:
    topic, outbox = cluster.topic(), Outbox()
    former, later = relay_of(cluster, outbox, topic), relay_of(cluster, outbox, topic)
    running = asyncio.create_task(former.run())
    former.wake(await outbox.add(3))
    await until(lambda: former.backlog == 0)
    await outbox.add(2)
    taking_over = asyncio.create_task(later.run())
    later.wake(5)
    await until(lambda: len(outbox.server.outboxes["{0}:outbox:triggers"]) == 0)
    await ended(taking_over)
    former.wake(await outbox.add(1))
    await until(lambda: running.done() or len(outbox.server.outboxes["{0}:outbox:triggers"]) == 0)
    await ended(running)
    records = await read(cluster, topic)
    assert [int(dict(record.headers)[SEQUENCE_HEADER]) for record in records] == [1, 2, 3, 4, 5, 6]


async def test_row_missing_while_the_fence_is_held_stops_the_relay(cluster: Cluster) -> None:
    topic, outbox = cluster.topic(), Outbox()
    relay = relay_of(cluster, outbox, topic)
    running = asyncio.create_task(relay.run())
    relay.wake(await outbox.add(3))
    await until(lambda: relay.backlog == 0)
    last = await outbox.add(2)
    del outbox.server.outboxes["{0}:outbox:triggers"][4]
    relay.wake(last)
    with pytest.raises(RelayGapError, match="after sequence 3 in partition 0 comes 5, expected 4"):
        async with asyncio.timeout(20):
            await running
    assert len(await read(cluster, topic)) == 3


async def test_topic_that_lost_all_it_had_acknowledged_stops_the_relay(cluster: Cluster) -> None:
    topic, outbox = cluster.topic(), Outbox()
    last = await outbox.add(5)
    # Sent and trimmed, and then the topic's only copy was lost.
    await outbox.store().trim("triggers", 3)
    relay = relay_of(cluster, outbox, topic)
    relay.wake(last)
    with pytest.raises(RelayGapError, match="begins at offset 0 and holds no row, and the next is 4, expected 1"):
        async with asyncio.timeout(20):
            await relay.run()
    assert await read(cluster, topic) == []


async def test_topic_that_retention_emptied_is_gone_on_with(cluster: Cluster) -> None:
    topic, outbox = cluster.topic(), Outbox()
    async with producing(cluster) as producer:
        await write(producer, topic, b"old")
    cluster.delete_before(topic, 1)
    last = await outbox.add(5)
    await outbox.store().trim("triggers", 3)
    relay = relay_of(cluster, outbox, topic)
    running = asyncio.create_task(relay.run())
    relay.wake(last)
    await until(lambda: relay.backlog == 0)
    await ended(running)
    assert [int(dict(record.headers)[SEQUENCE_HEADER]) for record in await read(cluster, topic, start=1)] == [4, 5]


async def test_rows_handed_over_are_sent_without_reading_the_store_and_leave_the_outbox(cluster: Cluster) -> None:
    topic, outbox = cluster.topic(), Outbox()
    relay = relay_of(cluster, outbox, topic)
    running = asyncio.create_task(relay.run())
    relay.wake(await outbox.add(1))
    await until(lambda: relay.backlog == 0)
    for _ in range(3):
        last = await outbox.add(2)
        rows = await outbox.store().outbox("triggers", last - 2, 9)
        outbox.server.faults.append(Fault("outbox", StoreFailedError("it was read")))
        relay.wake(last, rows)
        await until(lambda: relay.backlog == 0 and not outbox.server.outboxes["{0}:outbox:triggers"])
        outbox.server.faults.clear()
    await ended(running)
    records = await read(cluster, topic)
    assert [int(dict(record.headers)[SEQUENCE_HEADER]) for record in records] == [1, 2, 3, 4, 5, 6, 7]


async def test_rows_that_the_relay_is_to_forget_are_sent_as_the_store_has_them(cluster: Cluster) -> None:
    topic, outbox = cluster.topic(), Outbox()
    relay = relay_of(cluster, outbox, topic)
    running = asyncio.create_task(relay.run())
    relay.wake(await outbox.add(1))
    await until(lambda: relay.backlog == 0)
    last = await outbox.add(2)
    rows = await outbox.store().outbox("triggers", 1, 9)
    outbox.server.outboxes["{0}:outbox:triggers"][2] = rows[0].tombstone().to_bytes()
    relay.wake(last, rows)
    relay.forget()
    await until(lambda: relay.backlog == 0)
    await ended(running)
    assert [record.value is None for record in await read(cluster, topic)] == [False, True, False]
