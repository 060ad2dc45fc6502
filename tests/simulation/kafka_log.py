"""One partition of the simulated Kafka: offsets, producers, transactions, replication, and what readers may see.

The rules for producers are those of Kafka's ``ProducerStateManager`` and ``ProducerAppendInfo``; those for readers are
``UnifiedLog``'s: up to the high watermark, or up to the last stable offset.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiokafka.errors import InvalidProducerEpoch, InvalidTxnState, OffsetOutOfRangeError, OutOfOrderSequenceNumber

from tests.simulation.kafka_batches import SEQUENCES, Batch, Headers, Record, build, build_marker, parse, stamp, without

REMEMBERED: Final = 5
"""Batches of a producer that a broker recognises when they come again."""

Aborted = tuple[int, int]
"""Producer id and first offset of an aborted transaction."""


@dataclass
class Producer:
    """What a partition knows of one producer id."""

    epoch: int = -1
    batches: deque[Batch] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    first_open: int | None = None
    """Offset at which its open transaction began here."""

    def twin_of(self, batch: Batch) -> Batch | None:
        """Return the batch in the log that ``batch`` repeats."""
        for known in self.batches:
            if batch.epoch == self.epoch and (known.base_sequence, known.last_sequence) == (
                batch.base_sequence,
                batch.last_sequence,
            ):
                return known
        return None

    def check(self, batch: Batch) -> None:
        """Raise what the broker answers where the batch must not be written."""
        self.check_epoch(batch.epoch)
        if self.epoch not in (-1, batch.epoch):
            if batch.base_sequence != 0:
                raise OutOfOrderSequenceNumber
        elif self.epoch == batch.epoch:
            expected = (self.batches[-1].last_sequence + 1) % SEQUENCES if self.batches else 0
            if batch.base_sequence != expected:
                raise OutOfOrderSequenceNumber
        if self.first_open is not None and not batch.transactional:
            raise InvalidTxnState

    def check_epoch(self, epoch: int) -> None:
        """Refuse an epoch older than the newest that reached this partition."""
        if epoch < self.epoch:
            raise InvalidProducerEpoch

    def take(self, batch: Batch) -> None:
        """Note a batch or a marker that was written."""
        if batch.epoch != self.epoch:
            self.epoch = batch.epoch
            self.batches.clear()
        if batch.control:
            self.first_open = None
            return
        self.batches.append(batch)
        if batch.transactional and self.first_open is None:
            self.first_open = batch.base_offset


@dataclass(frozen=True)
class _Ended:
    producer_id: int
    first: int
    marker: int
    aborted: bool


class PartitionLog:
    """A log of batches; ``now_ms`` gives append times, and None where the topic keeps its publishers' times."""

    def __init__(self, now_ms: Callable[[], int], *, append_times: bool = True) -> None:
        self.batches: list[Batch] = []
        self.start = 0
        self.end = 0
        self.high_watermark = 0
        self._gap = 0
        self._now_ms = now_ms
        self.append_times = append_times
        self._producers: dict[int, Producer] = {}
        self._ended: list[_Ended] = []
        # Producers are known by what was written, also by what compaction and retention took away.
        self._history: list[Batch] = []

    # --- writing ---------------------------------------------------------------------------------------

    def append(self, data: bytes) -> Batch:
        """Write a client's batch, or return the one that it repeats; raises InvalidProducerEpoch and the like."""
        batch = parse(data)
        if batch.producer_id >= 0:
            producer = self._producers.get(batch.producer_id, Producer())
            twin = producer.twin_of(batch)
            if twin is not None:
                return twin
            producer.check(batch)
        return self._write(data)

    def append_rows(self, rows: Sequence[tuple[bytes | None, bytes | None, Headers]], time_ms: int | None) -> Batch:
        """Write rows of a publisher without a producer id, replicated at once; ``time_ms`` is the publisher's time."""
        batch = self._write(build(rows, self._now_ms() if time_ms is None else time_ms))
        self.replicate(self.end)
        return batch

    def append_marker(self, producer_id: int, epoch: int, *, commit: bool) -> Batch:
        """Write the end of a transaction; it carries its epoch even where nothing was written in the transaction."""
        self._producers.get(producer_id, Producer()).check_epoch(epoch)
        return self._write(build_marker(producer_id, epoch, self._now_ms(), commit=commit), control=True, commit=commit)

    def _write(self, data: bytes, *, control: bool = False, commit: bool = False) -> Batch:
        base, self._gap = self.end + self._gap, 0
        batch = stamp(data, base, self._now_ms() if self.append_times else None, control=control)
        self.batches.append(batch)
        self.end = batch.last_offset + 1
        self._note(batch, commit=commit)
        return batch

    def _note(self, batch: Batch, *, commit: bool) -> None:
        self._history.append(batch)
        if batch.producer_id < 0:
            return
        producer = self._producers.setdefault(batch.producer_id, Producer())
        if batch.control and producer.first_open is not None:
            self._ended.append(_Ended(batch.producer_id, producer.first_open, batch.base_offset, not commit))
        producer.take(batch)

    # --- replication, retention, compaction ---------------------------------------------------------------

    def replicate(self, offset: int) -> None:
        """Say that the followers have everything below ``offset``: it is committed, and readers see it."""
        self.high_watermark = max(self.high_watermark, min(offset, self.end))

    def lose_tail(self) -> None:
        """Forget what was not replicated: another broker has become the leader."""
        self.batches = [batch for batch in self.batches if batch.base_offset < self.high_watermark]
        self.end = self.high_watermark
        history, self._history = self._history, []
        ended = {entry.marker: entry for entry in self._ended}
        self._producers, self._ended = {}, []
        for batch in history:
            if batch.base_offset < self.end:
                known = ended.get(batch.base_offset)
                self._note(batch, commit=known is not None and not known.aborted)

    def delete_before(self, offset: int) -> None:
        """Be retention, or ``DeleteRecords``."""
        if not self.start <= offset <= self.high_watermark:
            raise OffsetOutOfRangeError
        self.start = offset
        self.batches = [batch for batch in self.batches if batch.last_offset >= offset]

    def compact(self, offsets: Iterable[int]) -> None:
        """Take records away and leave gaps, as compaction does."""
        gone = frozenset(offsets)
        kept = (batch if batch.control else without(batch, gone) for batch in self.batches)
        self.batches = [batch for batch in kept if batch is not None]

    def skip(self, count: int = 1) -> None:
        """Leave a gap of ``count`` offsets before the next batch: a log's last offset is always a batch's."""
        self._gap += count

    # --- reading ---------------------------------------------------------------------------------------

    @property
    def last_stable_offset(self) -> int:
        """Where reading ``read_committed`` ends: at the first transaction that has not ended for all replicas."""
        unstable = [producer.first_open for producer in self._producers.values() if producer.first_open is not None]
        unstable += [entry.first for entry in self._ended if entry.marker >= self.high_watermark]
        return min([self.high_watermark, *unstable])

    def bound(self, *, committed: bool) -> int:
        """Return the offset at which reading ends for an isolation level."""
        return self.last_stable_offset if committed else self.high_watermark

    def offset_at(self, time_ms: int, *, committed: bool) -> tuple[int, int] | None:
        """Return offset and time of the first record of ``time_ms`` or later."""
        bound = self.bound(committed=committed)
        for batch in self.batches:
            if batch.time_ms < time_ms or batch.control:
                continue
            for record in batch.records():
                if record.time_ms >= time_ms and self.start <= record.offset < bound:
                    return record.offset, record.time_ms
        return None

    def read(self, offset: int, max_bytes: int, *, committed: bool) -> tuple[bytes, list[Aborted]]:
        """Return whole batches from the one that holds ``offset`` on, at least one, and the aborted transactions."""
        batches = self._from(offset, committed=committed)
        taken: list[Batch] = []
        size = 0
        for batch in batches:
            if taken and size + len(batch.data) > max_bytes:
                break
            taken.append(batch)
            size += len(batch.data)
        return b"".join(batch.data for batch in taken), self._aborted_in(taken) if committed else []

    def fetch(self, offset: int, max_records: int, *, committed: bool) -> tuple[list[Record], int]:
        """Return records from ``offset`` on and where a reader stands then: behind markers and gaps that it passed."""
        records: list[Record] = []
        position = offset
        batches = self._from(offset, committed=committed)
        aborted = self._aborted_in(batches)
        for batch in batches:
            if not batch.control and not (committed and self._is_aborted(batch, aborted)):
                for record in batch.records():
                    if record.offset >= offset:
                        if len(records) == max_records:
                            return records, position
                        records.append(record)
                        position = record.offset + 1
            position = batch.last_offset + 1
        return records, position

    def _from(self, offset: int, *, committed: bool) -> list[Batch]:
        if not self.start <= offset <= self.high_watermark:
            raise OffsetOutOfRangeError
        first = bisect_left(self.batches, offset, key=lambda batch: batch.last_offset)
        stop = bisect_left(self.batches, self.bound(committed=committed), key=lambda batch: batch.base_offset)
        return self.batches[first:stop]

    def _aborted_in(self, batches: Sequence[Batch]) -> list[Aborted]:
        if not batches:
            return []
        first, last = batches[0].base_offset, batches[-1].last_offset
        return [
            (entry.producer_id, entry.first)
            for entry in self._ended
            if entry.aborted and entry.first <= last and entry.marker >= first
        ]

    def _is_aborted(self, batch: Batch, aborted: Sequence[Aborted]) -> bool:
        return batch.transactional and any(
            entry.aborted
            and entry.producer_id == batch.producer_id
            and entry.first <= batch.base_offset < entry.marker
            and (entry.producer_id, entry.first) in aborted
            for entry in self._ended
        )
