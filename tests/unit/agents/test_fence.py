"""The private surface of aiokafka that the fence stands on: each test fails when it changes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import ConnectionGroup
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    ProducerClosed,
    UnknownError,
    UnknownTopicOrPartitionError,
    UnsupportedVersionError,
)
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest

from stream.agents.closing import discard
from stream.agents.fence import Fence, FenceUnsupportedError, adopt

WHERE = TopicPartition("triggers", 3)
ATTRIBUTES_AT, PRODUCER_AT = 21, 43
TRANSACTIONAL = 0x10


async def test_adopted_id_and_epoch_are_what_the_next_batch_carries() -> None:
    producer = AIOKafkaProducer(enable_idempotence=True)
    try:
        adopt(producer, 7_000_000_001, 9)
        for base_sequence, count in ((0, 2), (2, 1)):
            batch = producer.create_batch()
            for _ in range(count):
                batch.append(timestamp=1, key=b"k", value=b"v", headers=[("groundswell-sequence", b"1")])
            sending = await producer._message_accumulator.add_batch(batch, WHERE, 1)
            data = producer._message_accumulator._pop_batch(WHERE).get_data_buffer()
            assert struct.unpack_from(">qhi", data, PRODUCER_AT) == (7_000_000_001, 9, base_sequence)
            assert not struct.unpack_from(">h", data, ATTRIBUTES_AT)[0] & TRANSACTIONAL
            sending.cancel()
    finally:
        await discard(producer)


async def test_started_producer_with_an_adopted_id_asks_for_no_other() -> None:
    producer = AIOKafkaProducer(enable_idempotence=True)
    try:
        assert not producer._txn_manager.has_pid()
        adopt(producer, 1, 0)
        async with asyncio.timeout(1):
            await producer._sender._maybe_wait_for_pid()
    finally:
        await discard(producer)


async def test_plain_producer_cannot_adopt_an_id() -> None:
    producer = AIOKafkaProducer(enable_idempotence=False)
    try:
        with pytest.raises(AttributeError):
            adopt(producer, 1, 0)
    finally:
        await discard(producer)


async def test_discarded_producer_fails_what_it_held_and_takes_no_more() -> None:
    producer = AIOKafkaProducer(enable_idempotence=True)
    batch = producer.create_batch()
    batch.append(timestamp=1, key=b"k", value=b"v")
    sending = await producer._message_accumulator.add_batch(batch, WHERE, 1)
    await discard(producer)
    with pytest.raises(ProducerClosed):
        await sending
    with pytest.raises(ProducerClosed):
        await producer._message_accumulator.add_batch(producer.create_batch(), WHERE, 1)
    assert len(asyncio.all_tasks()) == 1


KAFKA = {22: (0, 5), 23: (0, 4), 24: (0, 5), 26: (0, 5)}
EMBEDDED = {22: (0, 5), 24: (0, 5), 26: (0, 4)}


class Coordinator:
    """The client of a producer whose coordinator answers each ``kind`` of request so, and what it has no code for, 0.

    ``versions`` are the requests that it says it knows.
    """

    def __init__(self, codes: Sequence[int], kind: type, versions: Mapping[int, tuple[int, int]]) -> None:
        self.codes = list(codes)
        self.kind = kind
        self.asked: list[type] = []
        self._conns = {(1, ConnectionGroup.DEFAULT): SimpleNamespace(_versions=versions)}

    async def bootstrap(self) -> None:
        pass

    async def coordinator_lookup(self, *_: object) -> int:
        return 1

    async def send(self, _: int, request: InitProducerIdRequest | AddPartitionsToTxnRequest | EndTxnRequest) -> object:
        self.asked.append(type(request))
        code = self.codes.pop(0) if self.codes and isinstance(request, self.kind) else 0
        return SimpleNamespace(
            error_code=code, errors=[("triggers", [(3, code)])], producer_id=7, producer_epoch=1
        )  # fmt: skip


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that a fence makes, in seconds; none takes any time."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr("stream.agents.fence.asyncio.sleep", sleep)
    return made


async def claimed(
    codes: Sequence[int], kind: type = AddPartitionsToTxnRequest, versions: Mapping[int, tuple[int, int]] = KAFKA
) -> Coordinator:
    """Claim from a coordinator that answers so, and return it."""
    coordinator = Coordinator(codes, kind, versions)

    async def start() -> None:
        pass

    producer: Any = SimpleNamespace(client=coordinator, start=start, _txn_manager=TransactionManager(None, 1))
    await Fence(producer, "ns-triggers-3", "triggers", 3).claim()
    return coordinator


async def test_passing_server_error_is_no_broker_without_a_fence(pauses: list[float]) -> None:
    coordinator = await claimed([UnknownError.errno] * 3, InitProducerIdRequest)
    assert coordinator.asked.count(InitProducerIdRequest) == 4
    assert sum(pauses) == 3.5


@pytest.mark.parametrize(
    ("versions", "seconds"), [(KAFKA, 3.5), ({}, 3.5), (EMBEDDED, 0.1)], ids=["Kafka", "not said", "embedded"]
)
async def test_server_error_that_stays_is_a_broker_without_a_fence(
    pauses: list[float], versions: Mapping[int, tuple[int, int]], seconds: float
) -> None:
    with pytest.raises(FenceUnsupportedError, match="'ns-triggers-3' a producer id: UnknownError"):
        await claimed([UnknownError.errno] * 100, InitProducerIdRequest, versions)
    assert sum(pauses) == seconds


async def test_broker_that_knows_no_such_request_is_asked_once(pauses: list[float]) -> None:
    with pytest.raises(FenceUnsupportedError, match="UnsupportedVersionError"):
        await claimed([UnsupportedVersionError.errno] * 100, InitProducerIdRequest)
    assert pauses == []


async def test_topic_that_the_broker_does_not_know_yet_is_waited_for(pauses: list[float]) -> None:
    unknown = UnknownTopicOrPartitionError.errno
    coordinator = await claimed([unknown] * 3)
    assert coordinator.asked.count(AddPartitionsToTxnRequest) == 3 + 2
    assert pauses == [0.001, 0.002, 0.004]


@pytest.mark.parametrize("loading", [0, 49, 50, 60])
async def test_topic_that_never_comes_is_named_in_some_seconds(pauses: list[float], loading: int) -> None:
    codes = [CoordinatorLoadInProgressError.errno] * loading + [UnknownTopicOrPartitionError.errno] * 1000
    with pytest.raises(UnknownTopicOrPartitionError, match=r"triggers\[3\] does not exist"):
        await claimed(codes)
    assert len(pauses) == loading + 49


async def test_topic_is_waited_for_however_long_its_coordinator_was_loading(pauses: list[float]) -> None:
    loading, unknown = CoordinatorLoadInProgressError.errno, UnknownTopicOrPartitionError.errno
    coordinator = await claimed([loading] * 49 + [unknown] * 3)
    assert coordinator.asked.count(AddPartitionsToTxnRequest) == 52 + 2
    assert len(pauses) == 52


def text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


@pytest.mark.parametrize(
    ("request_", "wire"),
    [
        (InitProducerIdRequest("ns-triggers-3", 10_000), text("ns-triggers-3") + struct.pack(">i", 10_000)),
        (
            AddPartitionsToTxnRequest(
                transactional_id="t", producer_id=5, producer_epoch=2, topics=[("triggers", [3])]
            ),
            text("t") + struct.pack(">qhi", 5, 2, 1) + text("triggers") + struct.pack(">ii", 1, 3),
        ),
        (
            EndTxnRequest(transactional_id="t", producer_id=5, producer_epoch=2, transaction_result=False),
            text("t") + struct.pack(">qh?", 5, 2, False),
        ),
    ],
)
def test_requests_to_the_coordinator_are_as_the_protocol_lays_them_out(
    request_: InitProducerIdRequest | AddPartitionsToTxnRequest | EndTxnRequest, wire: bytes
) -> None:
    assert request_.prepare({request_.API_KEY: (0, 5)}).encode() == wire
