"""One fetched batch of log rows in columns: what the transport hands to the pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

ORIGIN_HEADER: Final = "groundswell-origin"
"""Kafka header of a forwarded event: ``b"<partition>:<offset>"`` of the place it was first written to."""
SIGNATURE_HEADER: Final = "groundswell-signature"
"""Kafka header of a signed record: who signed it, when, and the signature (``stream.signatures``)."""

Headers = Iterable[tuple[str, bytes | None]]
"""A record's Kafka headers: name and value each."""


@dataclass(slots=True)
class Columns:
    """One fetched batch of log rows over one buffer. Every array has one element for each row.

    A span is ``buffer[start:stop]``; a null key or value has start and stop -1, as has the signature of a row that
    carries none.
    """

    partition: int
    epoch: int
    """Raised by each seek; a batch of another epoch is dropped."""
    start: int
    """Offset that the fetch stood at before this batch."""
    next: int
    """Offset that the fetch stands at after it: past transaction markers and compaction gaps."""
    buffer: bytes
    offsets: NDArray[np.int64]
    log_times: NDArray[np.int64]
    """Append time in ms since the epoch; 0 where the broker knows none (CreateTime)."""
    key_starts: NDArray[np.int64]
    key_stops: NDArray[np.int64]
    value_starts: NDArray[np.int64]
    value_stops: NDArray[np.int64]
    origin_partitions: NDArray[np.int64]
    """Of a forwarded event, the partition that it came from; -1 for all others."""
    origin_offsets: NDArray[np.int64]
    signature_starts: NDArray[np.int64]
    signature_stops: NDArray[np.int64]
    is_followed: bool = False
    """Whether the log could be read beyond ``next``, as of the answer they came with; what follows may be markers."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets)

    def value(self, row: int) -> bytes:
        """Return the bytes of one row's value (empty for null)."""
        return self.buffer[max(self.value_starts[row], 0) : max(self.value_stops[row], 0)]

    def key(self, row: int) -> bytes | None:
        """Return the bytes of one row's key."""
        if self.key_starts[row] < 0:
            return None
        return self.buffer[self.key_starts[row] : self.key_stops[row]]

    def signature(self, row: int) -> bytes:
        """Return the bytes of one row's signature header (empty for none)."""
        return self.buffer[max(self.signature_starts[row], 0) : max(self.signature_stops[row], 0)]


_SPANS: Final = (
    *("key_starts", "key_stops", "value_starts", "value_stops"),
    *("signature_starts", "signature_stops"),
)


def joined(batches: Sequence[Columns]) -> Columns:
    """Return batches of one partition and epoch, each of which begins where the one before ends, as one."""
    first = batches[0]
    if len(batches) == 1:
        return first
    lengths = [len(batch) for batch in batches]
    sizes = np.array([len(batch.buffer) for batch in batches])
    bases = np.repeat(np.cumsum(sizes) - sizes, lengths)

    def of(name: str) -> NDArray[np.int64]:
        return np.concatenate([getattr(batch, name) for batch in batches])

    def spans(name: str) -> NDArray[np.int64]:
        places = of(name)
        return np.where(places < 0, places, places + bases)

    return Columns(
        partition=first.partition,
        epoch=first.epoch,
        start=first.start,
        next=batches[-1].next,
        is_followed=batches[-1].is_followed,
        buffer=b"".join([batch.buffer for batch in batches]),
        **{name: of(name) for name in ("offsets", "log_times", "origin_partitions", "origin_offsets")},
        **{name: spans(name) for name in _SPANS},
    )


def parse_origin(headers: Headers) -> tuple[int, int]:
    """Return (partition, offset) of a forwarded event from its Kafka headers, (-1, -1) for any other."""
    for name, value in headers:
        if name == ORIGIN_HEADER and value is not None:
            partition, _, offset = value.partition(b":")
            if partition.isdigit() and offset.isdigit() and len(partition) < 10 and len(offset) < 19:
                return int(partition), int(offset)
    return -1, -1


def columns_of(  # noqa: PLR0913 (one argument for each thing a row is made of)
    partition: int,
    offsets: Sequence[int],
    log_times: Sequence[int],
    keys: Sequence[bytes | None],
    values: Sequence[bytes | None],
    headers: Sequence[Headers],
    *,
    epoch: int = 0,
    start: int | None = None,
    next_offset: int | None = None,
) -> Columns:
    """Build columns from Python objects, one element for each row; ``log_times`` in ms, 0 for none.

    ``start`` and ``next_offset`` default to the first offset and the one after the last. Of several headers of one
    name the first with a value is taken (of origins, the first that is one).
    """
    n = len(offsets)
    origins = np.full((2, n), -1, np.int64)
    signatures: dict[int, bytes] = {}
    for row, row_headers in enumerate(headers):
        if row_headers:
            origins[0, row], origins[1, row] = parse_origin(row_headers)
            for name, value in row_headers:
                if name == SIGNATURE_HEADER and value is not None:
                    signatures.setdefault(row, value)
    parts: list[bytes] = []
    spans = np.full((4, n), -1, np.int64)
    base = 0
    for first, items in ((0, keys), (2, values)):
        lengths = np.fromiter((-1 if item is None else len(item) for item in items), np.int64, n)
        present = lengths >= 0
        stops = np.cumsum(np.maximum(lengths, 0)) + base
        spans[first] = np.where(present, stops - np.maximum(lengths, 0), -1)
        spans[first + 1] = np.where(present, stops, -1)
        parts.append(b"".join([item for item in items if item is not None]))
        base += len(parts[-1])
    signature_spans = np.full((2, n), -1, np.int64)
    for row, signature in signatures.items():
        signature_spans[:, row] = base, base + len(signature)
        parts.append(signature)
        base += len(signature)
    return Columns(
        partition=partition,
        epoch=epoch,
        start=start if start is not None else (offsets[0] if n else 0),
        next=next_offset if next_offset is not None else (offsets[-1] + 1 if n else 0),
        buffer=b"".join(parts),
        offsets=np.array(offsets, np.int64),
        log_times=np.array(log_times, np.int64),
        key_starts=spans[0],
        key_stops=spans[1],
        value_starts=spans[2],
        value_stops=spans[3],
        origin_partitions=origins[0],
        origin_offsets=origins[1],
        signature_starts=signature_spans[0],
        signature_stops=signature_spans[1],
    )
