"""Step 1: the bytes of a batch to columns, each row accepted or rejected with its first reason.

Every check runs over a whole column at once; rows are looked at one by one only where a column has an odd one.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from stream.columns import Columns
from stream.events.authorising import authorise
from stream.events.fields import find_unfit, read_activation
from stream.events.kernels import find_homes, parse_times, settle
from stream.interfaces import Authority, Decoded
from stream.records import CLOCK_TICK, CONFIG_ACTIVATED, KIND, MAX_EVENT_BYTES, REJECT
from stream.spans import Spans

MAX_NAME_CHARACTERS: Final = 256
"""Longest ``id`` and ``source``."""

_TOO_LARGE: Final = REJECT["too_large"]
_NOT_JSON: Final = REJECT["not_json"]
_NOT_CLOUDEVENT: Final = REJECT["not_cloudevent"]
_UNKNOWN_TYPE: Final = REJECT["unknown_type"]

_ATTRIBUTES: Final = ("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data")
_NOTHING: Final = (None,) * len(_ATTRIBUTES)
_NO_TIME: Final = "?"
"""Stands for a time that is no text: as far from RFC 3339 as any other."""


def decode(columns: Columns, partition_count: int, log_time_ms: int, authority: Authority | None = None) -> Decoded:
    """Return the events in ``columns``, one row for each, in order; ``log_time_ms`` is the log time before them.

    The checks and their order: too_large, not_json, not_cloudevent, unknown_type, not_authorised (before all others
    where a row says that it was forwarded), bad_subject, bad_time, bad_data, wrong_partition; the first that fails is
    the reason. An attribute or data field that is null counts as not given (CloudEvents 1.0, JSON format, section
    2.2). Of repeated JSON keys the last one counts. Bytes of any kind are an answer, never an exception, but for
    StateMismatchError where a rotation names a key that the authority's keyring lacks.
    """
    n = len(columns)
    reject = np.zeros(n, np.int64)
    versions, ids, sources, types, subjects, stamps, media, datas = _parse(columns, reject)
    ids = _names(ids, MAX_NAME_CHARACTERS, reject)
    sources = _names(sources, MAX_NAME_CHARACTERS, reject)
    kinds = _kinds(versions, media, types, reject)
    voters = _voters(subjects, kinds)
    unfit = np.zeros(n, np.uint8)
    unfit[find_unfit(kinds, datas)] = 1
    homes = np.empty(n, np.int64)
    find_homes(*_join(voters), partition_count, homes)
    times = np.empty(n, np.int64)
    parse_times(*_join(_time_texts(stamps)), times)
    authority, again = authorise(columns, kinds, times, unfit, datas, authority, reject)
    now = np.empty(n, np.int64)
    log_times, origins = columns.log_times, columns.origin_partitions
    settle(kinds, times, homes, unfit, log_times, origins, columns.partition, log_time_ms, reject, now)
    reject[again] = 0
    for row in np.flatnonzero(reject).tolist():
        voters[row] = ids[row] = sources[row] = ""
    names = _spans(voters, ids, sources)
    activated = np.flatnonzero((kinds == CONFIG_ACTIVATED) & ~again)
    return Decoded(
        kinds=kinds,
        reject=reject,
        times=times,
        now=now,
        hashes=_hashes(sources, ids),
        voters=names[0],
        ids=names[1],
        sources=names[2],
        homes=homes,
        activations={row: read_activation(datas[row]) for row in activated.tolist()},
        again=again,
        authority=authority,
    )


def _spans(*columns: list[str]) -> list[Spans]:
    """Return columns of texts as spans of one buffer."""
    texts = Spans.of([text.encode() for column in columns for text in column])
    ends = np.cumsum([len(column) for column in columns]).tolist()
    return [texts.take(np.arange(stop - len(column), stop)) for column, stop in zip(columns, ends, strict=True)]


def _hashes(sources: list[str], ids: list[str]) -> NDArray[np.uint64]:
    """Return xxh3-64 of each source, NUL, id (uint64), 1 in the place of 0."""
    names = [f"{source}\0{name}".encode() for source, name in zip(sources, ids, strict=True)]
    hashes = np.fromiter(map(xxh3_64_intdigest, names), np.uint64, len(names))
    hashes[hashes == 0] = 1
    return hashes


def _parse(columns: Columns, reject: NDArray[np.int64]) -> list[list[Any]]:
    """Return by attribute, in the order of _ATTRIBUTES, what each row's JSON object holds; None where it has none.

    A row that is no JSON object has no attribute, and its reason in ``reject``.
    """
    buffer = columns.buffer
    starts, stops = columns.value_starts, columns.value_stops
    values = [buffer[first:stop] for first, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
    for row in np.flatnonzero((stops - starts > MAX_EVENT_BYTES) | (starts < 0)).tolist():
        reject[row] = _TOO_LARGE if starts[row] >= 0 else _NOT_JSON
        values[row] = b"{}"
    rows: list[tuple[Any, ...]] = []
    remaining = iter(values)
    while len(rows) < len(values):
        # Each object is let go while the processor's cache still holds it: a later look costs more than parsing it.
        documents = map(orjson.loads, remaining)
        try:
            # A value that is no JSON object ends the extension after those before it; the next begins behind it.
            rows.extend(
                (
                    (get := document.get)("specversion"),
                    get("id"),
                    get("source"),
                    get("type"),
                    get("subject"),
                    get("time"),
                    get("datacontenttype"),
                    get("data"),
                )
                for document in documents
            )
        except orjson.JSONDecodeError:
            reject[len(rows)] = _NOT_JSON
            rows.append(_NOTHING)
        except AttributeError:
            reject[len(rows)] = _NOT_CLOUDEVENT
            rows.append(_NOTHING)
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in _ATTRIBUTES]


def _names(names: list[Any], most: int, reject: NDArray[np.int64]) -> list[str]:
    """Return a required text attribute of 1 to ``most`` characters; "" and not_cloudevent where it is none."""
    if set(map(type, names)) == {str} and all(names) and max(map(len, names)) <= most:
        return names
    for row, name in enumerate(names):
        if type(name) is not str or not 1 <= len(name) <= most:
            _mark(reject, row, _NOT_CLOUDEVENT)
            names[row] = ""
    return names


def _kinds(versions: list[Any], media: list[Any], types: list[Any], reject: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each row's kind code (int64), -1 and the reason where it is no event of a known type."""
    types = _names(types, MAX_EVENT_BYTES, reject)
    n = len(types)
    if versions.count("1.0") != n or media.count(None) + media.count("application/json") != n:
        for row in range(n):
            if versions[row] != "1.0" or media[row] not in (None, "application/json"):
                _mark(reject, row, _NOT_CLOUDEVENT)
    try:
        kinds = np.fromiter(map(KIND.__getitem__, types), np.int64, n)
    except KeyError:
        kinds = np.fromiter([KIND.get(name, -1) for name in types], np.int64, n)
    reject[(kinds < 0) & (reject == 0)] = _UNKNOWN_TYPE
    kinds[reject != 0] = -1
    return kinds


def _voters(subjects: list[Any], kinds: NDArray[np.int64]) -> list[str]:
    """Return each row's subject; "" where it is no text, and for control records."""
    voters = subjects
    if set(map(type, voters)) - {str}:
        voters = [voter if type(voter) is str else "" for voter in voters]
    for row in np.flatnonzero(kinds >= CLOCK_TICK).tolist():
        voters[row] = ""
    return voters


def _time_texts(times: list[Any]) -> list[str]:
    """Return each row's time as text; "" where none is given."""
    if set(map(type, times)) == {str} and all(times):
        return times
    return ["" if time is None else (time if type(time) is str else "") or _NO_TIME for time in times]


def _join(texts: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the texts' UTF-8 bytes one after the other (uint8), and each one's length in bytes (int64)."""
    joined = "".join(texts)
    data = joined.encode()
    encoded = texts if len(data) == len(joined) else [text.encode() for text in texts]
    return np.frombuffer(data, np.uint8), np.fromiter(map(len, encoded), np.int64, len(texts))


def _mark(reject: NDArray[np.int64], row: int, reason: int) -> None:
    """Give a row its reason if it has none yet."""
    if reject[row] == 0:
        reject[row] = reason
