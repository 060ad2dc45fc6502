"""One partition's part of a fetch answer: its record batches, taken apart into Columns.

The format, as https://kafka.apache.org/documentation/#recordbatch gives it (v2, magic 2):

    RecordBatch => baseOffset: int64, batchLength: int32, partitionLeaderEpoch: int32, magic: int8, crc: uint32,
                   attributes: int16, lastOffsetDelta: int32, baseTimestamp: int64, maxTimestamp: int64,
                   producerId: int64, producerEpoch: int16, baseSequence: int32, recordsCount: int32, [Record]

``batchLength`` counts from the leader epoch on, ``crc`` (CRC-32C) covers everything after itself. Attributes: bits 0
to 2 the codec, 3 the time's type (1: append time), 4 transactional, 5 control. Records are compressed together.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from aiokafka import codec
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.structs import TopicPartition
from crc32c import crc32c
from numpy.typing import NDArray

from stream.columns import Columns
from stream.transport import kernels
from stream.transport.kernels import DAMAGE, FIELDS, OFFSET, frame, move

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_LENGTH: Final = struct.Struct(">i")
_LENGTH_AT: Final = 8
_OVERHEAD: Final = 12
"""Bytes of a batch that its length does not count."""
_MAGIC_AT: Final = 16
_MAGIC: Final = 2
_COUNT_AT: Final = 57
_CRC_COVERS_FROM: Final = 21
_CODEC: Final = 0x07
_APPEND_TIME: Final = 0x08
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20
_MARKER_BYTES: Final = 4
_MOST_OFFSET: Final = 2**63 - 1

_DECODERS: Final[Mapping[int, tuple[str, Callable[[memoryview], bytes]]]] = {
    1: ("gzip", codec.gzip_decode),
    2: ("snappy", codec.snappy_decode),
    3: ("lz4", codec.lz4_decode),
    4: ("zstd", codec.zstd_decode),
}

Aborted = Sequence[tuple[int, int]]
"""Of a fetch answer, each aborted transaction in it: the producer's id, and the transaction's first offset."""


class Batch(NamedTuple):
    """The header of a record batch, its fields in the order of the format."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_time: int
    max_time: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records: int
    """How many it holds; 0 where compaction took all."""

    @property
    def last_offset(self) -> int:
        """The offset of its last record, also where compaction took that."""
        return self.base_offset + self.last_offset_delta

    @property
    def log_time(self) -> int:
        """Its append time in ms since the epoch; 0 where the broker gave none."""
        return self.max_time if self.attributes & _APPEND_TIME else 0


def _places(data: bytes) -> Iterator[tuple[int, int]]:
    """Give from where to where each whole batch or message of an answer lies; end with one that is too short."""
    at = 0
    while at + _OVERHEAD <= len(data):
        stop = at + _OVERHEAD + int(_LENGTH.unpack_from(data, at + _LENGTH_AT)[0])
        if stop > len(data):
            return
        yield at, stop
        if stop - at < _HEADER.size:
            return
        at = stop


def is_columnar(data: bytes) -> bool:
    """Return whether an answer holds batches of format v2 alone: brokers before 0.11 wrote message sets."""
    return all(stop - at > _MAGIC_AT and data[at + _MAGIC_AT] == _MAGIC for at, stop in _places(data))


def warm_up() -> None:
    """Compile what reads answers, or load it from the cache, before the first one comes."""
    table, none = _table(0), np.empty(0, np.int64)
    frame(np.frombuffer(b"", np.uint8), 0, 0, 0, 0, 0, 0, 0, table, 0, 0)
    move(table, none, none)


def _table(room: int) -> NDArray[np.int64]:
    """Return space for ``room`` rows (int64[FIELDS, more than that]).

    Fields of a row that lie a power of two apart share one set of the processor's cache, and push each other out.
    """
    return np.empty((FIELDS, room + 8), np.int64)


class _Chunk:
    """Rows on their way to becoming Columns: the pieces of bytes that they lie in, and one table of all."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.table = _table(room)
        self.rows = 0
        self._pieces: list[tuple[bytes, int, int]] = []
        self._ends: list[int] = []

    def add(self, source: bytes, first: int, stop: int, rows: int) -> None:
        """Note that the table is filled up to ``rows`` now, the new ones from ``source[first:stop]``."""
        if rows > self.rows:
            self._pieces.append((source, first, stop))
            self._ends.append(rows)
            self.rows = rows

    def columns(self, partition: int, start: int, next_offset: int) -> Columns:
        """Return the rows over one buffer: what they lie in already where that is one, else their pieces joined."""
        buffer = self._pieces[0][0]
        if any(source is not buffer for source, _, _ in self._pieces):
            views = [memoryview(source)[first:stop] for source, first, stop in self._pieces]
            buffer = b"".join(views)
            lengths = np.fromiter(map(len, views), np.int64, len(views))
            firsts = np.fromiter((first for _, first, _ in self._pieces), np.int64, len(views))
            move(self.table, np.array(self._ends, np.int64), np.cumsum(lengths) - lengths - firsts)
        table = self.table[:, : self.rows]
        return Columns(
            partition=partition,
            epoch=0,
            start=start,
            next=next_offset,
            buffer=buffer,
            offsets=table[OFFSET],
            log_times=table[kernels.LOG_TIME],
            key_starts=table[kernels.KEY_START],
            key_stops=table[kernels.KEY_STOP],
            value_starts=table[kernels.VALUE_START],
            value_stops=table[kernels.VALUE_STOP],
            origin_partitions=table[kernels.ORIGIN_PARTITION],
            origin_offsets=table[kernels.ORIGIN_OFFSET],
            signature_starts=table[kernels.SIGNATURE_START],
            signature_stops=table[kernels.SIGNATURE_STOP],
        )


class Answer:
    """An iterator over the rows of an answer, as Columns of ``max_records`` rows each (the last may have fewer).

    Rows below ``position``, control batches and, if asked to, aborted transactions are passed over. Batches are read
    only when their rows are asked for, and each is unpacked once, however many Columns share its bytes. Columns carry
    epoch 0 and start where the reading stood.

    Raises aiokafka's CorruptRecordException, and UnsupportedCodecError, with topic, partition and offset.
    """

    def __init__(
        self,
        tp: TopicPartition,
        data: bytes,
        position: int,
        aborted: Aborted = (),
        *,
        max_records: int,
        check_crcs: bool = True,
        read_committed: bool = True,
    ) -> None:
        """Read ``data``, which may end within a batch: a broker cuts answers by size, and the rest is fetched again."""
        self.next = position
        """Offset that the fetch stands at after what was handed over: past transaction markers and compaction gaps."""
        self.is_over = False
        """Whether nothing is left; known only once the last Columns are handed over, or none are found."""
        self._tp = tp
        self._data = data
        self._aborted = sorted(aborted, key=lambda transaction: transaction[1], reverse=True)
        self._aborting: set[int] = set()
        self._max_records = max_records
        self._check_crcs = check_crcs
        self._read_committed = read_committed
        self._chunks = self._read()

    def __iter__(self) -> Iterator[Columns]:
        """Return itself."""
        return self

    def __next__(self) -> Columns:
        """Return the next Columns, and move ``next``."""
        return next(self._chunks)

    def _read(self) -> Iterator[Columns]:
        start = reached = self.next
        ahead = self._count()
        chunk = _Chunk(min(ahead, self._max_records))
        for at, batch in self._batches():
            left = max(batch.records, 0)
            ahead -= left
            if self._is_wanted(at, batch):
                source, position, stop = self._records(at, batch)
                view = np.frombuffer(source, np.uint8)
                while True:
                    first = position
                    code, rows, position, left = frame(
                        view,
                        first,
                        stop,
                        left,
                        batch.base_offset,
                        batch.last_offset,
                        reached,
                        batch.log_time,
                        chunk.table,
                        chunk.rows,
                        chunk.room,
                    )
                    if code:
                        raise self._damaged(batch, f"record {batch.records - left}: {DAMAGE[code]}")
                    chunk.add(source, first, position, rows)
                    if rows < self._max_records:
                        break
                    self.next = reached = int(chunk.table[OFFSET, rows - 1]) + 1
                    yield chunk.columns(self._tp.partition, start, reached)
                    start, chunk = reached, _Chunk(min(left + ahead, self._max_records))
            # A batch keeps its last offset when compaction takes that record.
            reached = max(reached, batch.last_offset + 1)
        self.next, self.is_over = reached, True
        if chunk.rows:
            yield chunk.columns(self._tp.partition, start, reached)

    def _count(self) -> int:
        """Return how many records the batches say that they hold: as many rows there may be at most."""
        counts = (
            _LENGTH.unpack_from(self._data, at + _COUNT_AT)[0]
            for at, stop in _places(self._data)
            if stop - at >= _HEADER.size
        )
        return sum(max(count, 0) for count in counts)

    def _batches(self) -> Iterator[tuple[int, Batch]]:
        """Give the place and the header of each whole batch."""
        for at, stop in _places(self._data):
            if stop - at < _HEADER.size:
                what = f"a record batch of {stop - at} bytes is damaged: its header alone has {_HEADER.size}"
                raise CorruptRecordException(self._place(self.next, what))
            batch = Batch._make(_HEADER.unpack_from(self._data, at))
            if self._check_crcs and crc32c(memoryview(self._data)[at + _CRC_COVERS_FROM : stop]) != batch.crc:
                raise self._damaged(batch, "its bytes do not have its checksum")
            # The checksum does not cover the first offset.
            if batch.last_offset >= _MOST_OFFSET:
                raise self._damaged(batch, f"its last offset is {batch.last_offset}")
            yield at, batch

    def _is_wanted(self, at: int, batch: Batch) -> bool:
        """Return whether a batch's records are rows; keep track of who is aborting, in the order of the log."""
        control = bool(batch.attributes & _CONTROL)
        if self._read_committed:
            while self._aborted and self._aborted[-1][1] <= batch.base_offset:
                self._aborting.add(self._aborted.pop()[0])
            if control and self._is_abort(at, batch):
                # An answer may hold the marker of a transaction that has no records here.
                self._aborting.discard(batch.producer_id)
            if batch.attributes & _TRANSACTIONAL and batch.producer_id in self._aborting:
                return False
        return not control

    def _is_abort(self, at: int, batch: Batch) -> bool:
        """Return whether a control batch ends a transaction by aborting it: its first record's key says so."""
        source, position, stop = self._records(at, batch)
        view, table, base = np.frombuffer(source, np.uint8), _table(1), batch.base_offset
        code, rows, _, _ = frame(view, position, stop, batch.records, base, batch.last_offset, base, 0, table, 0, 1)
        key = source[table[kernels.KEY_START, 0] : table[kernels.KEY_STOP, 0]] if rows else b""
        if code or len(key) < _MARKER_BYTES:
            raise self._damaged(batch, DAMAGE[code] or "a control batch has no marker")
        return bool(ControlRecord.parse(key) == ABORT_MARKER)

    def _records(self, at: int, batch: Batch) -> tuple[bytes, int, int]:
        """Return the bytes that a batch's records lie in, decompressed, and from where to where."""
        first, stop = at + _HEADER.size, at + _OVERHEAD + batch.length
        number = batch.attributes & _CODEC
        if not number:
            return self._data, first, stop
        if number not in _DECODERS:
            raise UnsupportedCodecError(
                self._place(batch.base_offset, f"the codec {number} is unknown, expected 0 to 4")
            )
        name, decode = _DECODERS[number]
        try:
            data = decode(memoryview(self._data)[first:stop])
        except MemoryError:
            raise
        except Exception as error:  # each codec has errors of its own
            raise self._damaged(batch, f"{name} cannot unpack it: {error}") from error
        return data, 0, len(data)

    def _damaged(self, batch: Batch, what: str) -> CorruptRecordException:
        return CorruptRecordException(self._place(batch.base_offset, f"the record batch is damaged: {what}"))

    def _place(self, offset: int, what: str) -> str:
        return f"{self._tp.topic} partition {self._tp.partition}, offset {offset}: {what}"
