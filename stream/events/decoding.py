"""Step 1: the bytes of a batch to columns, each row accepted or rejected with its first reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from stream.columns import Columns
from stream.events.authorising import authorise
from stream.events.fields import read_activation
from stream.events.hash_kernels import hash_names
from stream.events.kernels import find_homes, parse_times, settle
from stream.events.parsing import parse
from stream.events.reading import Reading
from stream.events.scanning import scan
from stream.interfaces import Authority, Decoded
from stream.records import CONFIG_ACTIVATED
from stream.signals import SIGNAL
from stream.spans import Spans

_NAMELESS: Final = xxh3_64_intdigest(b"\0")
"""The hash of a row that has neither source nor id."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the bytes of a batch's rows say by themselves; ``decode`` goes on from them, once."""

    reading: Reading
    homes: NDArray[np.int64]
    """As find_homes writes them."""
    times: NDArray[np.int64]
    """As parse_times writes them."""
    hashes: NDArray[np.uint64]
    """Of source and id."""


def read(columns: Columns, partition_count: int, *, reference: bool = False) -> Facts:
    """Return what the bytes of ``columns`` say, whatever came before them: in any thread, without its lock mostly."""
    n = len(columns)
    reading = parse(columns.buffer, columns.value_starts, columns.value_stops) if reference else scan(columns)
    homes, times = np.empty(n, np.int64), np.empty(n, np.int64)
    find_homes(reading.voters.buffer, reading.voters.starts, reading.voters.stops, partition_count, homes)
    parse_times(reading.times.buffer, reading.times.starts, reading.times.stops, times)
    hashes = (_hashes if reference else _scanned_hashes)(reading.sources, reading.ids)
    return Facts(reading, homes, times, hashes)


def decode(
    columns: Columns,
    partition_count: int,
    log_time_ms: int,
    authority: Authority | None = None,
    *,
    reference: bool = False,
    facts: Facts | None = None,
) -> Decoded:
    """Return the events in ``columns``, one row for each, in order; ``log_time_ms`` is the log time before them.

    The checks and their order: too_large, not_json, not_cloudevent, unknown_type, not_authorised (before all others
    where a row says that it was forwarded), bad_subject, bad_time, bad_data, wrong_partition; the first that fails is
    the reason. An attribute or data field that is null counts as not given (CloudEvents 1.0, JSON format, section
    2.2). Of repeated JSON keys the last one counts. Bytes of any kind are an answer, never an exception, but for
    StateMismatchError where a rotation names a key that the authority's keyring lacks.

    ``reference`` reads and hashes by orjson and xxhash alone: the same values, some times slower, and spans of
    another buffer. ``facts`` are what ``read`` gave for the columns, where that was done before.
    """
    n = len(columns)
    facts = facts or read(columns, partition_count, reference=reference)
    reading, homes, times, hashes = facts.reading, facts.homes, facts.times, facts.hashes
    kinds, reject, unfit = reading.kinds, reading.reject, reading.unfit
    voters, ids, sources = reading.voters, reading.ids, reading.sources
    authority, again = authorise(columns, kinds, times, unfit, reading.datas, authority, reject)
    now = np.empty(n, np.int64)
    log_times, origins = columns.log_times, columns.origin_partitions
    settle(kinds, times, homes, unfit, log_times, origins, columns.partition, log_time_ms, reject, now)
    if authority is not None:
        reject[again] = 0
    if np.count_nonzero(reject):
        rejected = reject != 0
        hashes[rejected] = _NAMELESS
        voters, ids, sources = (texts.without(rejected) for texts in (voters, ids, sources))
    activated = [row for row in reading.datas if kinds[row] == CONFIG_ACTIVATED and not again[row]]
    return Decoded(
        kinds=kinds,
        reject=reject,
        times=times,
        now=now,
        hashes=hashes,
        voters=voters,
        ids=ids,
        sources=sources,
        homes=homes,
        activations={row: read_activation(reading.datas[row]) for row in activated},
        again=again,
        authority=authority,
        details=reading.details,
        signals=np.zeros(n, SIGNAL),
        unknown=np.zeros(n, np.uint16),
    )


def _hashes(sources: Spans, ids: Spans) -> NDArray[np.uint64]:
    """Return xxh3-64 of each source, NUL, id (uint64), 1 in the place of 0, by the library."""
    names = map(b"%b\0%b".__mod__, zip(sources, ids, strict=True))
    hashes = np.fromiter(map(xxh3_64_intdigest, names), np.uint64, len(ids))
    hashes[hashes == 0] = 1
    return hashes


def _scanned_hashes(sources: Spans, ids: Spans) -> NDArray[np.uint64]:
    """Return the same by the kernel, and by the library for the few names that are too long for it."""
    hashes = np.empty(len(ids), np.uint64)
    hash_names(ids.buffer, sources.starts, sources.stops, ids.starts, ids.stops, hashes)
    if np.count_nonzero(hashes) < len(hashes):
        long = np.flatnonzero(hashes == 0)
        hashes[long] = _hashes(sources.take(long), ids.take(long))
    return hashes
