"""Bytes to columns by the scanner; the rows that it is not sure of by orjson."""

from __future__ import annotations

import numpy as np

from stream.columns import Columns
from stream.events.parsing import parse
from stream.events.reading import Reading
from stream.events.scan_kernels import ID, SOURCE, SPANS, SUBJECT, TIME, scan_rows, unescape_rows
from stream.events.tables import EVENTS
from stream.spans import Spans


def scan(columns: Columns) -> Reading:
    """Read the values of ``columns``.

    The spans are of the batch's own buffer, uncopied, where no row needed orjson and no text was written with
    escapes.
    """
    n = len(columns)
    buffer = np.frombuffer(columns.buffer, np.uint8)
    kinds = np.empty(n, np.int64)
    spans = np.empty((SPANS, 2, n), np.int64)
    escaped = np.empty(n, np.uint8)
    tables = (EVENTS.words, EVENTS.fields, EVENTS.tables)
    scan_rows(buffer, columns.value_starts, columns.value_stops, *tables, 0, n, kinds, spans, escaped)
    if escaped.any():
        plain = buffer.copy()
        unescape_rows(buffer, escaped, 0, n, spans, plain)
        buffer = plain
    reject = np.zeros(n, np.int64)
    unfit = np.zeros(n, np.uint8)
    rows = np.flatnonzero(kinds < 0)
    datas = {}
    if len(rows):
        odd = parse(columns.buffer, columns.value_starts[rows], columns.value_stops[rows])
        kinds[rows], reject[rows], unfit[rows] = odd.kinds, odd.reject, odd.unfit
        for column, texts in ((SUBJECT, odd.voters), (ID, odd.ids), (SOURCE, odd.sources), (TIME, odd.times)):
            spans[column, 0, rows] = texts.starts + len(buffer)
            spans[column, 1, rows] = texts.stops + len(buffer)
        buffer = np.concatenate([buffer, odd.voters.buffer])
        datas = {int(rows[row]): data for row, data in odd.datas.items()}
    voters = Spans(buffer, *spans[SUBJECT])
    ids, sources, times = (Spans(voters.buffer, *spans[column]) for column in (ID, SOURCE, TIME))
    return Reading(kinds, reject, unfit, voters, ids, sources, times, datas)
