"""Bytes to columns by the scanner; the rows that it is not sure of by orjson."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.columns import Columns
from stream.details import DETAIL, Details
from stream.events.field_kernels import ID, SOURCE, SPANS, SUBJECT, TIME
from stream.events.parsing import parse_event
from stream.events.reading import Reading
from stream.events.scan_kernels import scan_rows, unescape_rows
from stream.events.tables import EVENTS
from stream.records import CLOCK_TICK, KEYS_ROTATED
from stream.spans import Spans


@dataclass(slots=True)
class _Scanned:
    """What the scanner says of some rows, and orjson of the others in the same arrays."""

    kinds: NDArray[np.int64]
    spans: NDArray[np.int64]
    details: NDArray[Any]
    reject: NDArray[np.int64]
    unfit: NDArray[np.uint8]
    datas: dict[int, Any] = field(default_factory=dict)
    added: bytearray = field(default_factory=bytearray)
    """Texts that do not stand in their row's bytes: behind the batch's buffer."""


def scan(columns: Columns) -> Reading:
    """Read the values of ``columns``.

    The spans are of the batch's own buffer, uncopied, where every text stands in its row as it is: it does not where
    it was written with escapes.
    """
    n = len(columns)
    buffer = np.frombuffer(columns.buffer, np.uint8)
    kinds, spans, details = np.empty(n, np.int64), np.empty((SPANS, 2, n), np.int64), np.zeros(n, DETAIL)
    escaped = np.empty(n, np.uint16)
    places, tables = (columns.value_starts, columns.value_stops), (EVENTS.words, EVENTS.fields, EVENTS.tables)
    scan_rows(buffer, *places, *tables, 0, n, kinds, spans, escaped, details)
    found = _Scanned(kinds, spans, details, np.zeros(n, np.int64), np.zeros(n, np.uint8))
    for row in (kinds < 0).nonzero()[0].tolist():
        _parse_row(columns, row, found)
    if found.added or np.count_nonzero(escaped):
        plain = np.empty(len(buffer) + len(found.added), np.uint8)
        plain[: len(buffer)] = buffer
        plain[len(buffer) :] = found.added
        unescape_rows(buffer, escaped, 0, n, spans, details, plain)
        buffer = plain
    starts, stops = spans[:, 0], spans[:, 1]
    voters = Spans(buffer, starts[SUBJECT], stops[SUBJECT])
    ids, sources, times = (Spans(voters.buffer, starts[column], stops[column]) for column in (ID, SOURCE, TIME))
    said = Details(voters.buffer, details)
    return Reading(kinds, found.reject, found.unfit, voters, ids, sources, times, found.datas, said)


def _parse_row(columns: Columns, row: int, found: _Scanned) -> None:
    """Read one row by orjson, in place; its texts where they stand in its bytes, or else behind the batch's buffer."""
    start, stop = int(columns.value_starts[row]), int(columns.value_stops[row])
    event = parse_event(columns.buffer[start:stop] if start >= 0 else None)
    found.kinds[row], found.reject[row], found.unfit[row] = event.kind, event.reject, event.unfit
    if event.kind < 0:
        return

    def place(text: str) -> tuple[int, int]:
        data = text.encode()
        at = columns.buffer.find(data, start, stop)
        if at < 0:
            at = len(columns.buffer) + len(found.added)
            found.added.extend(data)
        return at, at + len(data)

    for column, text in ((SUBJECT, event.voter), (ID, event.id), (SOURCE, event.source), (TIME, event.time)):
        found.spans[column, :, row] = place(text)
    details, said = found.details, event.said
    details["code"][row], details["amount"][row] = said.code, said.amount
    for number, text in said.texts.items():
        details["starts"][row, number], details["stops"][row, number] = place(text)
    if CLOCK_TICK <= event.kind <= KEYS_ROTATED:
        found.datas[row] = event.data
