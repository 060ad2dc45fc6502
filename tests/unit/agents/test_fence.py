"""The private surface of aiokafka that the fence stands on: each test fails when it changes."""

from __future__ import annotations

import asyncio
import struct
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import ProducerClosed, UnknownTopicOrPartitionError
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest

from stream.agents.closing import discard
from stream.agents.fence import Fence, adopt

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


class Coordinator:
    """The client of a producer whose coordinator answers each request with the next of these codes, then with 0."""

    def __init__(self, codes: list[int]) -> None:
        self.codes = codes
        self.asked: list[type] = []

    async def bootstrap(self) -> None:
        pass

    async def coordinator_lookup(self, *_: object) -> int:
        return 1

    async def send(self, _: int, request: InitProducerIdRequest | AddPartitionsToTxnRequest | EndTxnRequest) -> object:
        self.asked.append(type(request))
        code = self.codes.pop(0) if self.codes and isinstance(request, AddPartitionsToTxnRequest) else 0
        return SimpleNamespace(
            error_code=code, errors=[("triggers", [(3, code)])], producer_id=7, producer_epoch=1
        )  # fmt: skip


async def claimed(codes: list[int], monkeypatch: pytest.MonkeyPatch) -> tuple[Coordinator, list[float]]:
    """Claim from a coordinator that answers so; return it and the pauses that were made."""
    coordinator = Coordinator(codes)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def start() -> None:
        pass

    monkeypatch.setattr("stream.agents.fence.asyncio.sleep", sleep)
    producer: Any = SimpleNamespace(client=coordinator, start=start, _txn_manager=TransactionManager(None, 1))
    await Fence(producer, "ns-triggers-3", "triggers", 3).claim()
    return coordinator, pauses


async def test_topic_that_the_broker_does_not_know_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = UnknownTopicOrPartitionError.errno
    coordinator, pauses = await claimed([unknown] * 3, monkeypatch)
    assert coordinator.asked.count(AddPartitionsToTxnRequest) == 3 + 2
    assert pauses == [0.001, 0.002, 0.004]


async def test_topic_that_never_comes_is_named_in_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = UnknownTopicOrPartitionError.errno
    with pytest.raises(UnknownTopicOrPartitionError, match=r"triggers\[3\] does not exist"):
        await claimed([unknown] * 1000, monkeypatch)


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
