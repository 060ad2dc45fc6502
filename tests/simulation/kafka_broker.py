"""A Kafka cluster in memory: it answers aiokafka's requests as brokers do, each in one step.

Time is the event loop's (delays) and ``now_ms`` (append times), so that on a loop of virtual time nothing here waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidTxnState,
    KafkaError,
    MessageSizeTooLargeError,
    UnknownTopicOrPartitionError,
)

from tests.simulation.kafka_batches import Batch, Headers, Record, parse
from tests.simulation.kafka_coordinator import Coordinator, Later, Place
from tests.simulation.kafka_log import PartitionLog

MESSAGE_BYTES: Final = 1_048_588
"""The largest batch by Kafka's own default."""
MARKER_RETRY_SECONDS: Final = 0.1
"""Pause before a marker is tried again in a partition without a leader."""


@dataclass
class Refusal:
    """An error answered in place of, or after, what was asked."""

    operation: str
    error: type[KafkaError]
    executed: bool = False


@dataclass(frozen=True)
class _Marker:
    """A marker that is written and not replicated yet."""

    offset: int
    stands: Callable[[], None]
    write_again: Callable[[], None]


def _call_later(seconds: float, call: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(seconds, call)


class SimulatedKafka:
    """Topics, leaders, the transaction coordinator, and what can go wrong with them.

    Faults: ``set_leader``, ``set_coordinator``, ``stop_node``, ``refusals``; delays: ``replication_seconds`` (until a
    write is on all replicas, drawn for each) and ``marker_seconds`` (drawn for each marker).
    """

    def __init__(
        self,
        now_ms: Callable[[], int],
        *,
        nodes: Sequence[int] = (1, 2, 3),
        replication_seconds: Callable[[], float] = lambda: 0.0,
        marker_seconds: Callable[[], float] = lambda: 0.002,
        later: Later = _call_later,
    ) -> None:
        """``now_ms`` is the brokers' wall clock: it may jump; all nodes are up, and the first one leads."""
        self.nodes = list(nodes)
        self.stopped: set[int] = set()
        self.leaders: dict[Place, int | None] = {}
        self.coordinator_node: int | None = self.nodes[0]
        self.coordinator_loading = False
        self.refusals: list[Refusal] = []
        self.message_bytes: dict[str, int] = {}
        self.logs: dict[Place, PartitionLog] = {}
        self.on_stop: list[Callable[[int], None]] = []
        self.coordinator = Coordinator(later, marker_seconds, self._write_marker)
        self._now_ms = now_ms
        self._later = later
        self._replication_seconds = replication_seconds
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._markers: dict[Place, list[_Marker]] = {}

    # --- topics ----------------------------------------------------------------------------------------

    def create_topic(
        self, topic: str, partitions: int, *, append_times: bool = True, message_bytes: int = MESSAGE_BYTES
    ) -> None:
        """Create an empty topic, its partitions led by one node after the other."""
        self.message_bytes[topic] = message_bytes
        for partition in range(partitions):
            self.logs[topic, partition] = PartitionLog(self._now_ms, append_times=append_times)
            self.leaders[topic, partition] = self.nodes[partition % len(self.nodes)]

    def log(self, topic: str, partition: int) -> PartitionLog:
        """Return a partition's log; raises UnknownTopicOrPartitionError."""
        try:
            return self.logs[topic, partition]
        except KeyError:
            raise UnknownTopicOrPartitionError from None

    def partitions(self, topic: str) -> list[int]:
        """Return a topic's partitions."""
        return [partition for name, partition in self.logs if name == topic]

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        *,
        time_ms: int | None = None,
    ) -> int:
        """Be a publisher that has no faults: write one record, replicated at once; return its offset."""
        batch = self.log(topic, partition).append_rows([(key, value, headers)], time_ms)
        self._wake()
        return batch.base_offset

    def fetch(
        self, topic: str, partition: int, offset: int, max_records: int, *, committed: bool = True
    ) -> tuple[list[Record], int]:
        """Return records from ``offset`` on and the position behind them, behind markers and gaps too.

        Raises OffsetOutOfRangeError and UnknownTopicOrPartitionError; leaders are not asked for.
        """
        return self.log(topic, partition).fetch(offset, max_records, committed=committed)

    # --- faults ----------------------------------------------------------------------------------------

    def set_leader(self, topic: str, partition: int, node: int | None) -> None:
        """Elect an in-sync replica, so that only what was not replicated is lost; None: there is no leader now."""
        place = (topic, partition)
        former, self.leaders[place] = self.leaders[place], node
        if node is not None and node != former:
            self.logs[place].lose_tail()
            # The coordinator hears nothing of these markers, and writes them again.
            for marker in self._markers.pop(place, []):
                self._later(MARKER_RETRY_SECONDS, marker.write_again)
        self._wake()

    def elect_behind(self, topic: str, partition: int) -> bool:
        """Elect a broker that lacks the last acknowledged rows, if another runs; return whether any were lost."""
        log, leader = self.log(topic, partition), self.leaders[(topic, partition)]
        written = [batch.base_offset for batch in log.batches if not batch.control]
        others = [node for node in self.nodes if node != leader and node not in self.stopped]
        if not others or not written or written[-1] >= log.high_watermark:
            return False
        log.high_watermark = written[-1]
        self.set_leader(topic, partition, others[0])
        return True

    def set_coordinator(self, node: int | None, *, loading: bool = False) -> None:
        """Move the transaction coordinator: None where none is elected yet; what it knows stands in its log."""
        self.coordinator_node, self.coordinator_loading = node, loading

    def stop_node(self, node: int) -> None:
        """Be a broker that died: its connections break, and nothing is led by it; others must be elected."""
        self.stopped.add(node)
        for place, leader in list(self.leaders.items()):
            if leader == node:
                self.set_leader(*place, None)
        if self.coordinator_node == node:
            self.set_coordinator(None)
        for stopped in list(self.on_stop):
            stopped(node)

    def start_node(self, node: int) -> None:
        """Let a broker come back."""
        self.stopped.discard(node)

    def refuse(self, operation: str, error: type[KafkaError], times: int = 1, *, executed: bool = False) -> None:
        """Answer the next ``times`` requests of an operation with an error, before or after they were executed."""
        self.refusals += [Refusal(operation, error, executed) for _ in range(times)]

    def take_refusal(self, operation: str) -> Refusal | None:
        """Return the refusal that the next request of an operation meets."""
        for number, refusal in enumerate(self.refusals):
            if refusal.operation == operation:
                return self.refusals.pop(number)
        return None

    # --- writes ----------------------------------------------------------------------------------------

    def produce(self, topic: str, partition: int, data: bytes) -> Batch:
        """Write a client's batch as its leader; it is replicated some time later."""
        log = self.log(topic, partition)
        batch = self._accept(log, topic, partition, data)
        if batch.last_offset >= log.high_watermark:
            self._replicate_later((topic, partition), batch.last_offset + 1)
        return batch

    def _accept(self, log: PartitionLog, topic: str, partition: int, data: bytes) -> Batch:
        place = (topic, partition)
        if len(data) > self.message_bytes[topic]:
            raise MessageSizeTooLargeError
        batch = parse(data)
        if batch.transactional and not self.coordinator.holds(batch.producer_id, batch.epoch, place):
            current = [entry for entry in self.coordinator.ids.values() if entry.producer_id == batch.producer_id]
            raise InvalidProducerEpoch if current and current[0].epoch > batch.epoch else InvalidTxnState
        return log.append(data)

    def _write_marker(
        self, place: Place, producer_id: int, epoch: int, commit: bool, stands: Callable[[], None]
    ) -> None:
        def again() -> None:
            self._write_marker(place, producer_id, epoch, commit, stands)

        if self.leaders[place] is None:
            self._later(MARKER_RETRY_SECONDS, again)
            return
        batch = self.logs[place].append_marker(producer_id, epoch, commit=commit)
        self._markers.setdefault(place, []).append(_Marker(batch.last_offset, stands, again))
        self._replicate_later(place, batch.last_offset + 1)

    def _replicate_later(self, place: Place, offset: int) -> None:
        leader = self.leaders[place]

        def replicate() -> None:
            if self.leaders[place] == leader:
                self._replicate(place, offset)

        seconds = self._replication_seconds()
        if seconds > 0:
            self._later(seconds, replicate)
        else:
            self._replicate(place, offset)

    def _replicate(self, place: Place, offset: int) -> None:
        log = self.logs[place]
        log.replicate(offset)
        markers = self._markers.pop(place, [])
        self._markers[place] = [marker for marker in markers if marker.offset >= log.high_watermark]
        self._wake()
        for marker in markers:
            if marker.offset < log.high_watermark:
                marker.stands()

    # --- waiting ---------------------------------------------------------------------------------------

    async def changed(self, seconds: float) -> None:
        """Wait until anything was replicated or a leader moved, at most so long."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = None
        try:
            await asyncio.wait([future], timeout=seconds)
        finally:
            self._waiting.pop(future, None)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting:
            if not future.done():
                future.set_result(None)
