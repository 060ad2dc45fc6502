"""Bytes to columns by orjson, row by row: the reference, and what reads the rows that the scanner is not sure of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from stream.details import DETAIL, Details
from stream.events.fields import MAX_NAME_CHARACTERS, Said, data_fits, read_details
from stream.events.reading import Reading
from stream.records import CLOCK_TICK, KEYS_ROTATED, KIND, MAX_EVENT_BYTES, REJECT
from stream.spans import Spans

_NO_TIME: Final = "?"
"""Stands for a time that is no text: as far from RFC 3339 as any other."""


class Event(NamedTuple):
    """What one row's bytes say."""

    kind: int
    """Kind code; -1 where it is no event of a known type, and nothing else is said of it."""
    reject: int
    """Code of the reason for that."""
    unfit: bool = False
    """Whether the data does not fit the kind."""
    voter: str = ""
    """The subject; empty where it is no text, and for control records."""
    id: str = ""
    source: str = ""
    time: str = ""
    """Empty where none is given."""
    data: Any = None
    said: Said = Said()
    """What of the data features read; nothing where it does not fit."""


_TOO_LARGE: Final = Event(-1, REJECT["too_large"])
_NOT_JSON: Final = Event(-1, REJECT["not_json"])
_NOT_CLOUDEVENT: Final = Event(-1, REJECT["not_cloudevent"])
_UNKNOWN_TYPE: Final = Event(-1, REJECT["unknown_type"])


def parse(buffer: bytes, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Reading:
    """Read the values ``buffer[starts[row]:stops[row]]`` (int64[n]; -1: null); the spans are of a buffer of their own.

    An attribute or data field that is null counts as not given (CloudEvents 1.0, JSON format, section 2.2). Of
    repeated JSON keys the last one counts.
    """
    places = zip(starts.tolist(), stops.tolist(), strict=True)
    events = [parse_event(buffer[start:stop] if start >= 0 else None) for start, stop in places]
    n = len(events)
    texts = [event.voter for event in events]
    texts += [event.id for event in events]
    texts += [event.source for event in events]
    texts += [event.time for event in events]
    given = [(row, place, text) for row, event in enumerate(events) for place, text in event.said.texts.items()]
    texts += [text for _, _, text in given]
    laid = Spans.of_texts(texts)
    voters, ids, sources, times = (
        Spans(laid.buffer, laid.starts[first : first + n], laid.stops[first : first + n])
        for first in (0, n, 2 * n, 3 * n)
    )
    details = np.zeros(n, DETAIL)
    details["code"] = [event.said.code for event in events]
    details["amount"] = [event.said.amount for event in events]
    for at, (row, place, _) in enumerate(given, 4 * n):
        details["starts"][row, place], details["stops"][row, place] = laid.starts[at], laid.stops[at]
    return Reading(
        np.fromiter([event.kind for event in events], np.int64, n),
        np.fromiter([event.reject for event in events], np.int64, n),
        np.fromiter([event.unfit for event in events], np.uint8, n),
        voters,
        ids,
        sources,
        times,
        {row: event.data for row, event in enumerate(events) if CLOCK_TICK <= event.kind <= KEYS_ROTATED},
        Details(laid.buffer, details),
    )


def parse_event(value: bytes | None) -> Event:
    """Read one row's value (None: null)."""
    if value is None:
        return _NOT_JSON
    if len(value) > MAX_EVENT_BYTES:
        return _TOO_LARGE
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        return _NOT_JSON
    if type(document) is not dict:
        return _NOT_CLOUDEVENT
    get: Callable[[str], Any] = document.get
    name, source, word = get("id"), get("source"), get("type")
    if not (_is_text(name, MAX_NAME_CHARACTERS) and _is_text(source, MAX_NAME_CHARACTERS)):
        return _NOT_CLOUDEVENT
    if type(word) is not str or not word or get("specversion") != "1.0":
        return _NOT_CLOUDEVENT
    if get("datacontenttype") not in (None, "application/json"):
        return _NOT_CLOUDEVENT
    kind = KIND.get(word, -1)
    if kind < 0:
        return _UNKNOWN_TYPE
    voter, time, data = get("subject"), get("time"), get("data")
    if type(voter) is not str or CLOCK_TICK <= kind <= KEYS_ROTATED:
        voter = ""
    if type(time) is not str or not time:
        time = "" if time is None else _NO_TIME
    fits = data_fits(kind, data)
    return Event(kind, 0, not fits, voter, name, source, time, data, read_details(kind, data) if fits else Said())


def _is_text(value: Any, most: int) -> bool:
    """Return whether a required attribute is a text of 1 to ``most`` characters."""
    return type(value) is str and 0 < len(value) <= most
