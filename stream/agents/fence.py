"""A relay's fence: a producer id and epoch of its own without a transaction for each batch.

``InitProducerId`` with a transactional id gives a new epoch. An empty transaction that is aborted carries that epoch
into the partition by its marker, and from then on the broker refuses whatever a predecessor still sends. An ordinary
idempotent producer then writes under that id and epoch, so subscribers see nothing aborted and wait for nothing.

With ``stream.agents.closing`` the only module that touches private names of aiokafka.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.protocol.transaction import (
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
)

from stream.errors import GroundswellError, RelayFencedError

TRANSACTION_TIMEOUT_MS: Final = 10_000
"""An owner that dies between the two requests of a marker holds up its successor no longer than this."""

REFUSALS: Final = (
    kafka_errors.UnknownError,
    kafka_errors.UnsupportedVersionError,
    kafka_errors.IncompatibleBrokerVersion,
    NotImplementedError,
)
"""How a broker that knows no producer ids answers a request for one (the embedded one: error code -1)."""

_MOVED = (kafka_errors.NotCoordinatorError, kafka_errors.CoordinatorNotAvailableError)
_BUSY = (kafka_errors.ConcurrentTransactions, kafka_errors.CoordinatorLoadInProgressError)
_REPLACED = (kafka_errors.InvalidProducerEpoch, kafka_errors.ProducerFenced)
_UNSEEN_TRIES = 50
"""Some 4 s. A broker that was not told yet of a topic (new, or the broker is) answers as if there were none."""
AGAIN_SECONDS: Final = (0.5, 1.0, 2.0)
"""After how long one that answers UNKNOWN_SERVER_ERROR is asked again: a broker that does know them may say so, too."""
_AGAIN_ALONE_SECONDS: Final = (0.05, 0.05)
"""Likewise for the embedded broker, which always says so: a demo's first trigger waits for this."""
_LEADER_EPOCHS: Final = 23
"""The request OffsetForLeaderEpoch: what knows transactions and replicates its log knows it, Kafka and Redpanda."""


class FenceUnsupportedError(GroundswellError):
    """The broker gives no producer id for a transactional id: only one worker may run on it."""


def adopt(producer: AIOKafkaProducer, producer_id: int, epoch: int) -> None:
    """Make an idempotent producer that was not started yet write under this id and epoch."""
    producer._txn_manager.set_pid_and_epoch(producer_id, epoch)  # noqa: SLF001 (no public way)


class Fence:
    """Keeps every earlier owner of one output partition from writing to it.

    ``transactional_id`` names namespace, output and partition; whoever claims it last is the owner. After some 32,000
    claims the coordinator gives a new producer id, and in that one takeover the earlier owner is not refused.
    """

    def __init__(self, producer: AIOKafkaProducer, transactional_id: str, topic: str, partition: int) -> None:
        """Take an idempotent producer that was not started yet."""
        self.producer_id = -1
        self.epoch = -1
        self._producer = producer
        self._transactional_id = transactional_id
        self._topic = topic
        self._partition = partition
        self._coordinator: int | None = None

    async def claim(self) -> None:
        """Take a new epoch, prove that its marker stands in the partition, and start the producer under it.

        Raises FenceUnsupportedError where the broker gives none, RelayFencedError where another owner was faster,
        aiokafka's KafkaError otherwise. Waits without a bound for a coordinator: bound it by a time-out.
        """
        await self._producer.client.bootstrap()
        answer = await self._initialize()
        self.producer_id, self.epoch = answer.producer_id, answer.producer_epoch
        await self.renew()
        adopt(self._producer, self.producer_id, self.epoch)
        await self._producer.start()

    async def probe(self) -> None:
        """Ask for a producer id and write nothing; raise FenceUnsupportedError where the broker gives none."""
        await self._producer.client.bootstrap()
        await self._initialize()

    async def renew(self) -> None:
        """Write the marker of an empty aborted transaction, twice.

        A marker is written after ``EndTxn`` has answered, and until then the coordinator answers the next
        ``AddPartitionsToTxn`` with CONCURRENT_TRANSACTIONS; so the second round's acceptance proves the first marker.
        Repeated every hour it also keeps the coordinator (transactional.id.expiration.ms) and the broker
        (producer.id.expiration.ms) from forgetting a producer that uses no transactions.
        """
        identity = {
            "transactional_id": self._transactional_id,
            "producer_id": self.producer_id,
            "producer_epoch": self.epoch,
        }
        add = AddPartitionsToTxnRequest(topics=[(self._topic, [self._partition])], **identity)
        abort = EndTxnRequest(transaction_result=False, **identity)
        for _ in range(2):
            await self._ask(add, lambda answer: int(answer.errors[0][1][0][1]))
            await self._ask(abort, lambda answer: int(answer.error_code))

    async def _initialize(self) -> Any:
        request = InitProducerIdRequest(self._transactional_id, TRANSACTION_TIMEOUT_MS)
        tries = 0
        while True:
            try:
                return await self._ask(request, lambda answer: int(answer.error_code))
            except REFUSALS as error:
                pauses = _AGAIN_ALONE_SECONDS if self._is_alone() else AGAIN_SECONDS
                if not isinstance(error, kafka_errors.UnknownError) or tries >= len(pauses):
                    message = f"the broker refuses transactional id {self._transactional_id!r} a producer id: {error!r}"
                    raise FenceUnsupportedError(message) from error
                await asyncio.sleep(pauses[tries])
                tries += 1

    def _is_alone(self) -> bool:
        """Return whether the coordinator says what requests it knows, and that for leader epochs is not among them."""
        place = (self._coordinator, ConnectionGroup.DEFAULT)
        connection = self._producer.client._conns.get(place)  # noqa: SLF001 (no public way)
        versions = {} if connection is None else connection._versions  # noqa: SLF001
        return bool(versions) and _LEADER_EPOCHS not in versions

    async def _ask(self, request: Any, code: Callable[[Any], int]) -> Any:
        """Send a request to the transaction coordinator until it is neither moving nor busy and knows the topic."""
        pause_seconds = 0.001
        unseen = 0
        while True:
            error = await self._find_coordinator()
            if error is None:
                answer = await self._producer.client.send(self._coordinator, request)
                error = kafka_errors.for_code(code(answer))
            if error is kafka_errors.NoError:
                return answer
            if error in _MOVED:
                self._coordinator = None
            elif error in _REPLACED:
                message = f"transactional id {self._transactional_id!r} has a newer owner than epoch {self.epoch}"
                raise RelayFencedError(message)
            elif error is kafka_errors.UnknownTopicOrPartitionError:
                unseen += 1
                if unseen >= _UNSEEN_TRIES:
                    message = f"{self._topic}[{self._partition}] does not exist"
                    raise error(message)
            elif error not in _BUSY:
                raise error
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, 0.1)

    async def _find_coordinator(self) -> type[Exception] | None:
        if self._coordinator is None:
            try:
                self._coordinator = await self._producer.client.coordinator_lookup(
                    CoordinationType.TRANSACTION, self._transactional_id
                )
            except (*_MOVED, *_BUSY) as error:
                return type(error)
        return None
