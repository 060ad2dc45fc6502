"""Bytes to columns by orjson: the reference, and what reads the rows that the scanner is not sure of.

Every check runs over a whole column at once; rows are looked at one by one only where a column has an odd one.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from stream.events.fields import MAX_NAME_CHARACTERS, find_unfit
from stream.events.reading import Reading
from stream.records import CLOCK_TICK, KIND, MAX_EVENT_BYTES, REJECT
from stream.spans import Spans

_TOO_LARGE: Final = REJECT["too_large"]
_NOT_JSON: Final = REJECT["not_json"]
_NOT_CLOUDEVENT: Final = REJECT["not_cloudevent"]
_UNKNOWN_TYPE: Final = REJECT["unknown_type"]

_ATTRIBUTES: Final = ("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data")
_NOTHING: Final = (None,) * len(_ATTRIBUTES)
_NO_TIME: Final = "?"
"""Stands for a time that is no text: as far from RFC 3339 as any other."""


def parse(buffer: bytes, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Reading:
    """Read the values ``buffer[starts[row]:stops[row]]`` (int64[n]; -1: null); the spans are of a buffer of their own.

    An attribute or data field that is null counts as not given (CloudEvents 1.0, JSON format, section 2.2). Of
    repeated JSON keys the last one counts.
    """
    reject = np.zeros(len(starts), np.int64)
    versions, ids, sources, types, subjects, stamps, media, datas = _parse(buffer, starts, stops, reject)
    ids = _names(ids, MAX_NAME_CHARACTERS, reject)
    sources = _names(sources, MAX_NAME_CHARACTERS, reject)
    kinds = _kinds(versions, media, types, reject)
    unfit = np.zeros(len(starts), np.uint8)
    unfit[find_unfit(kinds, datas)] = 1
    voters, ids_, sources_, times = _spans(_voters(subjects, kinds), ids, sources, _time_texts(stamps))
    control = np.flatnonzero(kinds >= CLOCK_TICK).tolist()
    return Reading(kinds, reject, unfit, voters, ids_, sources_, times, {row: datas[row] for row in control})


def _parse(
    buffer: bytes, starts: NDArray[np.int64], stops: NDArray[np.int64], reject: NDArray[np.int64]
) -> list[list[Any]]:
    """Return by attribute, in the order of _ATTRIBUTES, what each row's JSON object holds; None where it has none.

    A row that is no JSON object has no attribute, and its reason in ``reject``.
    """
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


def _spans(*columns: list[str]) -> list[Spans]:
    """Lay columns of texts one after the other in one buffer."""
    texts = Spans.of_texts(text for column in columns for text in column)
    starts, stops = texts.starts, texts.stops
    bounds = np.cumsum([0, *map(len, columns)]).tolist()
    return [Spans(texts.buffer, starts[first:stop], stops[first:stop]) for first, stop in pairwise(bounds)]


def _mark(reject: NDArray[np.int64], row: int, reason: int) -> None:
    """Give a row its reason if it has none yet."""
    if reject[row] == 0:
        reject[row] = reason
