"""Bytes to columns by the scanner; the rows that it is not sure of by orjson."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.columns import Columns
from stream.details import DETAIL, Details
from stream.events.parsing import parse_event
from stream.events.reading import Reading
from stream.events.scan_kernels import ID, SOURCE, SPANS, SUBJECT, TIME, scan_rows, unescape_rows
from stream.events.tables import EVENTS
from stream.records import CLOCK_TICK, KEYS_ROTATED
from stream.spans import Spans


def scan(columns: Columns) -> Reading:
    """Read the values of ``columns``.

    The spans are of the batch's own buffer, uncopied, where every text stands in its row as it is: it does not where
    it was written with escapes.
    """
    n = len(columns)
    buffer = np.frombuffer(columns.buffer, np.uint8)
    kinds = np.empty(n, np.int64)
    spans = np.empty((SPANS, 2, n), np.int64)
    escaped = np.empty(n, np.uint16)
    details = np.zeros(n, DETAIL)
    tables = (EVENTS.words, EVENTS.fields, EVENTS.tables)
    places = (columns.value_starts, columns.value_stops)
    scan_rows(buffer, *places, *tables, 0, n, kinds, spans, escaped, details)
    reject = np.zeros(n, np.int64)
    unfit = np.zeros(n, np.uint8)
    datas: dict[int, Any] = {}
    added = bytearray()
    odd = (kinds < 0).nonzero()[0].tolist()
    for row in odd:
        _parse_row(columns, row, kinds, reject, unfit, spans, details, datas, added)
    if added or np.count_nonzero(escaped):
        plain = np.empty(len(buffer) + len(added), np.uint8)
        plain[: len(buffer)] = buffer
        plain[len(buffer) :] = added
        unescape_rows(buffer, escaped, 0, n, spans, details, plain)
        buffer = plain
    starts, stops = spans[:, 0], spans[:, 1]
    voters = Spans(buffer, starts[SUBJECT], stops[SUBJECT])
    ids, sources, times = (Spans(voters.buffer, starts[column], stops[column]) for column in (ID, SOURCE, TIME))
    return Reading(kinds, reject, unfit, voters, ids, sources, times, datas, Details(voters.buffer, details))


def _parse_row(  # noqa: PLR0913 (each column that a row is written to)
    columns: Columns,
    row: int,
    kinds: NDArray[np.int64],
    reject: NDArray[np.int64],
    unfit: NDArray[np.uint8],
    spans: NDArray[np.int64],
    details: NDArray[Any],
    datas: dict[int, Any],
    added: bytearray,
) -> None:
    """Read one row by orjson, in place; its texts where they stand in its bytes, or else at the end of ``added``."""
    start, stop = int(columns.value_starts[row]), int(columns.value_stops[row])
    event = parse_event(columns.buffer[start:stop] if start >= 0 else None)
    kinds[row], reject[row], unfit[row] = event.kind, event.reject, event.unfit
    if event.kind < 0:
        return

    def place(text: str) -> tuple[int, int]:
        data = text.encode()
        at = columns.buffer.find(data, start, stop)
        if at < 0:
            at = len(columns.buffer) + len(added)
            added.extend(data)
        return at, at + len(data)

    for column, text in ((SUBJECT, event.voter), (ID, event.id), (SOURCE, event.source), (TIME, event.time)):
        spans[column, :, row] = place(text)
    details["code"][row], details["amount"][row] = event.said.code, event.said.amount
    for number, text in event.said.texts.items():
        details["starts"][row, number], details["stops"][row, number] = place(text)
    if CLOCK_TICK <= event.kind <= KEYS_ROTATED:
        datas[row] = event.data
