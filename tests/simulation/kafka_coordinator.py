"""The transaction coordinator of the simulated Kafka: ``TransactionCoordinator.scala`` as clients of version 0 see it.

``EndTxn`` is answered once the outcome is decided; markers follow, and only when each stands replicated in its
partition does the coordinator take up the transactional id again: until then it answers CONCURRENT_TRANSACTIONS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Final

from aiokafka.errors import (
    ConcurrentTransactions,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
)

Place = tuple[str, int]
"""Topic and partition."""
Later = Callable[[float, Callable[[], None]], object]
"""Runs a function after so many seconds."""
WriteMarker = Callable[[Place, int, int, bool, Callable[[], None]], None]
"""Writes a marker (place, producer id, epoch, commit) and calls back when it is replicated."""

LAST_EPOCH: Final = (1 << 15) - 2
"""The epoch after which a transactional id gets a new producer id."""
EXPIRY_CHECK_SECONDS: Final = 10.0
"""How often open transactions are looked through for those that took too long."""


class State(Enum):
    """Of a transactional id."""

    EMPTY = "empty"
    ONGOING = "ongoing"
    ENDING = "ending"
    COMPLETE = "complete"


@dataclass
class Transaction:
    """What the coordinator knows of one transactional id."""

    producer_id: int
    timeout_ms: int
    epoch: int = -1
    state: State = State.EMPTY
    commit: bool = False
    partitions: set[Place] = field(default_factory=set)
    number: int = 0
    """Counts its transactions, so that an expiry strikes only the one that it was set for."""


class Coordinator:
    """All transactional ids of a cluster; times in seconds."""

    def __init__(self, later: Later, marker_seconds: Callable[[], float], write_marker: WriteMarker) -> None:
        """``marker_seconds`` is drawn for each marker, and for the completion after the last one."""
        self.ids: dict[str, Transaction] = {}
        self._later = later
        self._marker_seconds = marker_seconds
        self._write_marker = write_marker
        self._next_producer_id = 1000

    def new_producer_id(self) -> int:
        """Return an id that nobody had."""
        self._next_producer_id += 1
        return self._next_producer_id

    def initialize(self, transactional_id: str, timeout_ms: int) -> tuple[int, int]:
        """Return producer id and a new epoch; an open transaction is aborted first, which takes another call."""
        entry = self.ids.get(transactional_id)
        if entry is None:
            entry = self.ids[transactional_id] = Transaction(self.new_producer_id(), timeout_ms)
        if entry.state is State.ENDING:
            raise ConcurrentTransactions
        if entry.state is State.ONGOING:
            self._abort(entry)
            raise ConcurrentTransactions
        if entry.epoch >= LAST_EPOCH:
            entry.producer_id, entry.epoch = self.new_producer_id(), -1
        entry.epoch += 1
        entry.timeout_ms = timeout_ms
        entry.state = State.EMPTY
        return entry.producer_id, entry.epoch

    def add_partitions(self, transactional_id: str, producer_id: int, epoch: int, places: Iterable[Place]) -> None:
        """Begin a transaction, or add partitions to it."""
        entry = self._known(transactional_id, producer_id, epoch)
        if entry.state is State.ENDING:
            raise ConcurrentTransactions
        if entry.state is not State.ONGOING:
            entry.state = State.ONGOING
            entry.partitions = set()
            entry.number += 1
            self._expire_later(entry, entry.number)
        entry.partitions.update(places)

    def end(self, transactional_id: str, producer_id: int, epoch: int, *, commit: bool) -> None:
        """Decide a transaction; the markers follow after the answer."""
        entry = self._known(transactional_id, producer_id, epoch)
        if entry.state is State.EMPTY or (entry.state is not State.ONGOING and entry.commit != commit):
            raise InvalidTxnState
        if entry.state is State.ENDING:
            raise ConcurrentTransactions
        if entry.state is State.ONGOING:
            self._decide(entry, commit=commit)

    def holds(self, producer_id: int, epoch: int, place: Place) -> bool:
        """Say whether a partition was added to this producer's open transaction."""
        return any(
            entry.state is State.ONGOING and (entry.producer_id, entry.epoch) == (producer_id, epoch)
            and place in entry.partitions
            for entry in self.ids.values()
        )  # fmt: skip

    def _known(self, transactional_id: str, producer_id: int, epoch: int) -> Transaction:
        entry = self.ids.get(transactional_id)
        if entry is None or entry.producer_id != producer_id:
            raise InvalidProducerIdMapping
        if entry.epoch != epoch:
            # PRODUCER_FENCED, which clients of these versions are told as this:
            raise InvalidProducerEpoch
        return entry

    def _abort(self, entry: Transaction) -> None:
        """Abort under a higher epoch, which fences whoever has it open."""
        entry.epoch += 1
        self._decide(entry, commit=False)

    def _expire_later(self, entry: Transaction, number: int) -> None:
        def expire() -> None:
            if entry.state is State.ONGOING and entry.number == number:
                self._abort(entry)

        seconds = entry.timeout_ms / 1000
        checks = seconds // EXPIRY_CHECK_SECONDS + 1
        self._later(checks * EXPIRY_CHECK_SECONDS, expire)

    def _decide(self, entry: Transaction, *, commit: bool) -> None:
        entry.state, entry.commit = State.ENDING, commit
        missing = set(entry.partitions)

        def complete() -> None:
            entry.state = State.COMPLETE

        def stands(place: Place) -> None:
            missing.discard(place)
            if not missing:
                self._later(self._marker_seconds(), complete)

        for place in sorted(entry.partitions):
            marker = partial(self._write_marker, place, entry.producer_id, entry.epoch, commit, partial(stands, place))
            self._later(self._marker_seconds(), marker)
