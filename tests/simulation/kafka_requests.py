"""What one broker of the simulated Kafka answers to each of aiokafka's requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaError,
    LeaderNotAvailableError,
    NotCoordinatorError,
    NotLeaderForPartitionError,
    UnknownTopicOrPartitionError,
)
from aiokafka.errors import NoError as Nothing
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest

from tests.simulation.kafka_broker import SimulatedKafka
from tests.simulation.kafka_coordinator import Place
from tests.simulation.kafka_log import Aborted

PORT: Final = 9092
LATEST: Final = -1
EARLIEST: Final = -2
NOT_ATTEMPTED: Final = 55

OPERATIONS: Final = {
    ProduceRequest.API_KEY: "produce",
    FetchRequest.API_KEY: "fetch",
    OffsetRequest.API_KEY: "list_offsets",
    MetadataRequest.API_KEY: "metadata",
    FindCoordinatorRequest.API_KEY: "find_coordinator",
    InitProducerIdRequest.API_KEY: "init_producer_id",
    AddPartitionsToTxnRequest.API_KEY: "add_partitions_to_txn",
    EndTxnRequest.API_KEY: "end_txn",
}
"""What each request is called towards a Link and ``SimulatedKafka.refuse``."""

VERSIONS: Final = {
    ProduceRequest.API_KEY: (3, 7),
    FetchRequest.API_KEY: (4, 11),
    OffsetRequest.API_KEY: (1, 3),
    MetadataRequest.API_KEY: (0, 5),
    FindCoordinatorRequest.API_KEY: (0, 1),
    InitProducerIdRequest.API_KEY: (0, 0),
    AddPartitionsToTxnRequest.API_KEY: (0, 0),
    EndTxnRequest.API_KEY: (0, 0),
}
"""What aiokafka and Apache Kafka 4.1 agree on."""


@dataclass
class Answer:
    """A response, and the writes that must be replicated before it is sent: place, last offset, how to refuse it."""

    response: Any
    writes: list[tuple[Place, int, Callable[[], None]]] = field(default_factory=list)


def code_of(error: type[KafkaError] | KafkaError) -> int:
    """Return an error's number on the wire."""
    return int(error.errno)


class Node:
    """One broker of a cluster."""

    def __init__(self, kafka: SimulatedKafka, number: int) -> None:
        self.kafka = kafka
        self.number = number
        self._handlers: dict[int, Callable[[Any, type[KafkaError] | None], Answer]] = {
            ProduceRequest.API_KEY: self._produce,
            FetchRequest.API_KEY: self._fetch,
            OffsetRequest.API_KEY: self._list_offsets,
            MetadataRequest.API_KEY: self._metadata,
            FindCoordinatorRequest.API_KEY: self._find_coordinator,
            InitProducerIdRequest.API_KEY: self._init_producer_id,
            AddPartitionsToTxnRequest.API_KEY: self._add_partitions,
            EndTxnRequest.API_KEY: self._end_txn,
        }

    def handle(self, request: Any) -> Answer:
        """Execute a request (one of aiokafka's structures) and return the answer."""
        handler = self._handlers[request.API_KEY]
        refusal = self.kafka.take_refusal(OPERATIONS[request.API_KEY])
        if refusal is None:
            return handler(request, None)
        if refusal.executed:
            handler(request, None)
        return handler(request, refusal.error)

    def leads(self, topic: str, partition: int) -> None:
        """Raise what a broker answers for a partition that it does not lead."""
        self.kafka.log(topic, partition)
        if self.kafka.leaders[topic, partition] != self.number:
            raise NotLeaderForPartitionError

    def _coordinates(self) -> None:
        if self.kafka.coordinator_node != self.number:
            raise NotCoordinatorError
        if self.kafka.coordinator_loading:
            raise CoordinatorLoadInProgressError

    # --- partitions ------------------------------------------------------------------------------------

    def _produce(self, request: Any, refusal: type[KafkaError] | None) -> Answer:
        answer = Answer(None)
        topics = []
        for topic, parts in request.topics:
            results = []
            for partition, data in parts:
                fields: list[Any] = [partition, 0, -1, -1, -1]
                try:
                    _raise(refusal)
                    self.leads(topic, partition)
                    batch = self.kafka.produce(topic, partition, bytes(data))
                    log = self.kafka.log(topic, partition)
                    fields[2:] = [batch.base_offset, batch.time_ms if log.append_times else -1, log.start]
                    if request.required_acks == -1:
                        answer.writes.append(((topic, partition), batch.last_offset, _refuse(fields)))
                except KafkaError as error:
                    fields[1] = code_of(error)
                results.append(fields)
            topics.append((topic, results))
        answer.response = request.RESPONSE_TYPE(topics, 0)
        return answer

    def _fetch(self, request: Any, refusal: type[KafkaError] | None) -> Answer:
        committed = request.isolation_level == 1
        left = request.max_bytes
        topics = []
        for topic, parts in request.topics:
            results = []
            for partition, offset, max_bytes in ((entry[0], entry[-3], entry[-1]) for entry in parts):
                code, data = 0, b""
                aborted: list[Aborted] = []
                high = stable = start = -1
                try:
                    _raise(refusal)
                    self.leads(topic, partition)
                    log = self.kafka.log(topic, partition)
                    high, stable, start = log.high_watermark, log.last_stable_offset, log.start
                    if left > 0:
                        data, aborted = log.read(offset, min(max_bytes, left), committed=committed)
                        left -= len(data)
                except KafkaError as error:
                    code = code_of(error)
                results.append((partition, code, high, stable, start, aborted, -1, data))
            topics.append((topic, results))
        return Answer(request.RESPONSE_TYPE(0, 0, 0, topics))

    def has_data(self, request: Any) -> bool:
        """Say whether a fetch would be answered at once: with records, or with an error."""
        for topic, parts in request.topics:
            for entry in parts:
                partition, offset = entry[0], entry[-3]
                try:
                    self.leads(topic, partition)
                    log = self.kafka.log(topic, partition)
                    if log.read(offset, 1, committed=request.isolation_level == 1)[0]:
                        return True
                except KafkaError:
                    return True
        return False

    def _list_offsets(self, request: Any, refusal: type[KafkaError] | None) -> Answer:
        committed = getattr(request, "isolation_level", 0) == 1
        topics = []
        for topic, parts in request.topics:
            results = []
            for partition, time_ms in parts:
                code, found = 0, (-1, -1)
                try:
                    _raise(refusal)
                    self.leads(topic, partition)
                    found = self._offset(topic, partition, time_ms, committed=committed)
                except KafkaError as error:
                    code = code_of(error)
                results.append((partition, code, found[1], found[0]))
            topics.append((topic, results))
        return Answer(request.RESPONSE_TYPE(0, topics))

    def _offset(self, topic: str, partition: int, time_ms: int, *, committed: bool) -> tuple[int, int]:
        log = self.kafka.log(topic, partition)
        if time_ms == LATEST:
            return log.bound(committed=committed), -1
        if time_ms == EARLIEST:
            return log.start, -1
        return log.offset_at(time_ms, committed=committed) or (-1, -1)

    # --- cluster ---------------------------------------------------------------------------------------

    def _metadata(self, request: Any, refusal: type[KafkaError] | None) -> Answer:
        del refusal
        kafka = self.kafka
        names = request.topics if request.topics is not None else sorted({topic for topic, _ in kafka.logs})
        topics = [(*self._topic_state(topic),) for topic in names]
        # A rack, since the hash of None is another in every process, and aiokafka keeps brokers in sets.
        brokers = [(node, host_of(node), PORT, "rack") for node in kafka.nodes if node not in kafka.stopped]
        return Answer(request.RESPONSE_TYPE(0, brokers, "simulated", -1, topics))

    def _topic_state(self, topic: str) -> tuple[int, str, bool, Sequence[Any]]:
        partitions = self.kafka.partitions(topic)
        if not partitions:
            return code_of(UnknownTopicOrPartitionError), topic, False, []
        states: list[Any] = []
        for partition in partitions:
            leader = self.kafka.leaders[topic, partition]
            code = code_of(LeaderNotAvailableError) if leader is None else 0
            states.append((code, partition, -1 if leader is None else leader, self.kafka.nodes, self.kafka.nodes, []))
        return 0, topic, False, states

    def _find_coordinator(self, request: Any, refusal: type[KafkaError] | None) -> Answer:
        node = self.kafka.coordinator_node
        error = refusal or (CoordinatorNotAvailableError if node is None else Nothing)
        if error is not Nothing or node is None:
            return Answer(request.RESPONSE_TYPE(0, code_of(error), "", -1, "", -1))
        return Answer(request.RESPONSE_TYPE(0, 0, "", node, host_of(node), PORT))

    # --- transactions ----------------------------------------------------------------------------------

    def _init_producer_id(self, request: Any, refusal: type[KafkaError] | None) -> Answer:
        coordinator = self.kafka.coordinator
        try:
            _raise(refusal)
            if request.transactional_id is None:
                producer_id, epoch = coordinator.new_producer_id(), 0
            else:
                self._coordinates()
                producer_id, epoch = coordinator.initialize(request.transactional_id, request.transaction_timeout_ms)
        except KafkaError as error:
            return Answer(request.RESPONSE_TYPE(0, code_of(error), -1, -1))
        return Answer(request.RESPONSE_TYPE(0, 0, producer_id, epoch))

    def _add_partitions(self, request: Any, refusal: type[KafkaError] | None) -> Answer:
        places = [(topic, partition) for topic, partitions in request.topics for partition in partitions]
        unknown = {place for place in places if place not in self.kafka.logs}
        code = 0
        try:
            _raise(refusal)
            self._coordinates()
            if unknown:
                code = NOT_ATTEMPTED
            else:
                self.kafka.coordinator.add_partitions(
                    request.transactional_id, request.producer_id, request.producer_epoch, places
                )
        except KafkaError as error:
            code = code_of(error)
        missing = code_of(UnknownTopicOrPartitionError)
        errors = [
            (topic, [(number, missing if (topic, number) in unknown else code) for number in numbers])
            for topic, numbers in request.topics
        ]
        return Answer(request.RESPONSE_TYPE(0, errors))

    def _end_txn(self, request: Any, refusal: type[KafkaError] | None) -> Answer:
        code = 0
        try:
            _raise(refusal)
            self._coordinates()
            self.kafka.coordinator.end(
                request.transactional_id,
                request.producer_id,
                request.producer_epoch,
                commit=bool(request.transaction_result),
            )
        except KafkaError as error:
            code = code_of(error)
        return Answer(request.RESPONSE_TYPE(0, code))


def host_of(node: int) -> str:
    """Return the name under which a broker is reached."""
    return f"broker-{node}"


def _raise(refusal: type[KafkaError] | None) -> None:
    if refusal is not None:
        raise refusal


def _refuse(fields: list[Any]) -> Callable[[], None]:
    def refuse() -> None:
        fields[1:] = [code_of(NotLeaderForPartitionError), -1, -1, -1]

    return refuse
