"""Partitions of Kafka topics, read in order with kafka-python, up to ends that are fixed beforehand."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from kafka import KafkaConsumer, TopicPartition

from stream.columns import Columns, columns_of
from stream.errors import ConfigurationError, TopicError
from stream.records import CONTENT_KINDS, ContentId

_POLL_MS: Final = 200
_MOST_RECORDS: Final = 5_000
_LARGEST_BATCH: Final = 1_000_000
_STALLED_SECONDS: Final = 60.0
_LOG_APPEND_TIME: Final = 1


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record, as far as it matters here."""

    offset: int
    append_time_ms: int
    """0 where the broker gave none."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class PartitionReader(Protocol):
    """One partition, read from a place in order."""

    position: int
    """Offset of the next record that ``read`` can give; what lies before it was given or holds no record."""

    def bounds(self) -> tuple[int, int]:
        """Return the offset of the first record, and the one after the last that is committed."""
        ...

    def seek(self, offset: int) -> None:
        """Go to ``offset``."""
        ...

    def read(self, stop: int) -> list[Record]:
        """Return the next records before ``stop``, in order; none once ``position`` has reached it."""
        ...

    def offset_at(self, time_ms: int) -> int:
        """Return the offset of the first record of that time or later, the end where there is none."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class KafkaReader:
    """A PartitionReader over kafka-python: committed records only, no consumer group."""

    def __init__(self, kafka: Mapping[str, Any], topic: str, partition: int) -> None:
        """Connect; ``kafka`` holds kafka-python's connection settings."""
        self._where = TopicPartition(topic, partition)
        self._consumer = KafkaConsumer(
            **kafka,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_wait_ms=50,
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )
        self._consumer.assign([self._where])
        self._held: deque[Record] = deque()
        self.position = 0

    def bounds(self) -> tuple[int, int]:
        """Return the offset of the first record, and the one after the last that is committed."""
        first = int(self._consumer.beginning_offsets([self._where])[self._where])
        end = int(self._consumer.end_offsets([self._where])[self._where])
        # The embedded broker names the first record of the last batch, where Kafka names the one after its last.
        position = self.position
        self.seek(max(end - 1, first))
        deadline = time.monotonic() + _STALLED_SECONDS
        while self.position < end and time.monotonic() < deadline:
            self._consumer.poll(_POLL_MS, _LARGEST_BATCH)
            self.position = int(self._consumer.position(self._where))
        end = max(end, self.position)
        self.seek(position)
        return first, end

    def seek(self, offset: int) -> None:
        """Go to ``offset``."""
        self._consumer.seek(self._where, offset)
        self._held.clear()
        self.position = offset

    def read(self, stop: int) -> list[Record]:
        """Return the next records before ``stop``, in order; none once ``position`` has reached it.

        Raises TopicError where the broker gives nothing for a minute.
        """
        deadline = time.monotonic() + _STALLED_SECONDS
        while self.position < stop:
            if not self._held:
                self._fetch()
            taken: list[Record] = []
            while self._held and self._held[0].offset < stop:
                taken.append(self._held.popleft())
            if self._held:
                self.position = self._held[0].offset
            if taken:
                return taken
            if time.monotonic() > deadline:
                message = (
                    f"{self._where.topic} partition {self._where.partition} gave nothing at offset {self.position} for "
                    f"{_STALLED_SECONDS:.0f} s, though it goes on to {stop}: run `groundswell check`"
                )
                raise TopicError(message)
        return []

    def offset_at(self, time_ms: int) -> int:
        """Return the offset of the first record of that time or later, the end where there is none."""
        found = self._consumer.offsets_for_times({self._where: time_ms})[self._where]
        return self.bounds()[1] if found is None else int(found.offset)

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()

    def _fetch(self) -> None:
        floor = self.position
        for record in self._consumer.poll(_POLL_MS, _MOST_RECORDS).get(self._where, ()):
            # A broker takes a batch that gives several records one offset; the worker reads the first of them.
            if record.offset < floor:
                continue
            floor = record.offset + 1
            append_time_ms = record.timestamp if record.timestamp_type == _LOG_APPEND_TIME else 0
            # The worker passes over a header without a value as well.
            headers = tuple((name, value) for name, value in record.headers if value is not None)
            self._held.append(Record(record.offset, append_time_ms, record.key, record.value, headers))
        self.position = int(self._consumer.position(self._where))


def columns_from(partition: int, records: Sequence[Record], start: int, next_offset: int) -> Columns:
    """Return records as a batch that was fetched from ``start`` and leaves off at ``next_offset``."""
    return columns_of(
        partition,
        [record.offset for record in records],
        [record.append_time_ms for record in records],
        [record.key for record in records],
        [record.value for record in records],
        [record.headers for record in records],
        start=start,
        next_offset=next_offset,
    )


class ReadContents:
    """The configuration topic as it stood at one moment (interfaces.Library)."""

    def __init__(self, contents: Mapping[ContentId, bytes], offsets: Mapping[ContentId, int] | None = None) -> None:
        """Take the contents, and where each was written last, as far as that is known."""
        self._contents = contents
        self.offsets: Mapping[ContentId, int] = offsets or {}
        self._open: Callable[[], PartitionReader] | None = None

    @classmethod
    def read(cls, reader: PartitionReader) -> ReadContents:
        """Read the topic's one partition whole; a record whose value is not what its key names is passed over."""
        return cls(*_contents_in(reader))

    @classmethod
    def following(cls, open_reader: Callable[[], PartitionReader]) -> ReadContents:
        """Read the topic, and once more when the log activates what was written since.

        For who reads on in a log that lives: a content is written before its activation.
        """
        library = cls({})
        library._open = open_reader
        library._read_again()
        return library

    @property
    def identities(self) -> tuple[ContentId, ...]:
        """What there is, in the order in which it was first written."""
        return tuple(self._contents)

    def and_these(self, contents: Mapping[ContentId, bytes]) -> ReadContents:
        """Return the same with some more."""
        return ReadContents({**self._contents, **contents}, self.offsets)

    def get(self, content: ContentId) -> bytes | None:
        """Return a content's bytes, None for one that the topic does not hold."""
        return self._contents.get(content)

    async def wait_for(self, contents: Iterable[ContentId]) -> None:
        """Raise ConfigurationError for the first content that the topic does not hold."""
        for content in contents:
            if content not in self._contents:
                self._read_again()
            if content not in self._contents:
                message = f"the configuration topic does not hold {content.key()}, which the log activates"
                raise ConfigurationError(message)

    def _read_again(self) -> None:
        if self._open is None:
            return
        reader = self._open()
        try:
            self._contents, self.offsets = _contents_in(reader)
        finally:
            reader.close()


def _contents_in(reader: PartitionReader) -> tuple[dict[ContentId, bytes], dict[ContentId, int]]:
    """Return the contents that the topic holds, in the order of their first records, and the offset of their last."""
    first, stop = reader.bounds()
    reader.seek(first)
    contents: dict[ContentId, bytes] = {}
    offsets: dict[ContentId, int] = {}
    while records := reader.read(stop):
        for record in records:
            kind, _, rest = (record.key or b"").decode(errors="replace").partition("/")
            name, _, sha256 = rest.partition("/")
            if kind in CONTENT_KINDS and hashlib.sha256(record.value or b"").hexdigest() == sha256:
                contents[ContentId(kind, name, sha256)] = record.value or b""
                offsets[ContentId(kind, name, sha256)] = record.offset
    return contents, offsets
