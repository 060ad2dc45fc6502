"""Rows of one kind with texts of their own, and what they say under a taxonomy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.details import DETAIL, Details
from stream.features import CompiledTaxonomy
from stream.records import KIND
from stream.signals import SIGNAL, UNKNOWN
from stream.spans import Spans

EDGE = b"/google.com?gclid=1& tax tv @ourcampaign"
"""Stands between all texts, so that reading beyond one is seen."""


def signals_of(
    taxonomy: CompiledTaxonomy, kind: str, rows: Sequence[Mapping[int, bytes]], code: int = 0, amount: float = 0.0
) -> tuple[NDArray[Any], list[set[str]]]:
    """Return the signals of rows of a kind, each with its texts by place, and the names of what is unknown in each."""
    details = np.zeros(len(rows), DETAIL)
    details["code"], details["amount"] = code, amount
    laid = Spans.of([EDGE, *(part for texts in rows for text in texts.values() for part in (text, EDGE))])
    at = 1
    for row, texts in enumerate(rows):
        for place in texts:
            details["starts"][row, place], details["stops"][row, place] = laid.starts[at], laid.stops[at]
            at += 2
    signals, unknown = np.zeros(len(rows), SIGNAL), np.zeros(len(rows), np.uint16)
    taxonomy.read(Details(laid.buffer, details), np.full(len(rows), KIND[kind]), 0, len(rows), signals, unknown)
    names = [{name for place, name in enumerate(UNKNOWN) if mask >> place & 1} for mask in unknown.tolist()]
    return signals, names


def issue_of(signal: Any) -> int:
    """Return which issue has a whole weight, -1 for none."""
    found = np.flatnonzero(signal["issues"] == 10).tolist()
    return found[0] if found else -1
