"""Voters' records for tests: decayed counts put in and read off by their features' names."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream.features import FEATURES, read_rows
from stream.layout import COUNTS, HALF_LIFE_NAMES, HALF_LIVES_DAYS, MOMENTS

_DAY_MS = 86_400_000


def put_social(records: NDArray[Any], kind: str, life: str, counts: ArrayLike, at_ms: int) -> None:
    """Give records (VOTER[n]) a social count that is ``counts`` at ``at_ms``, the kind's latest event's time."""
    life_ms = HALF_LIVES_DAYS[HALF_LIFE_NAMES.index(life)] * _DAY_MS
    records["counts"][:, COUNTS.index(f"{kind}.{life}")] = np.asarray(counts) * 2.0 ** (at_ms % life_ms / life_ms)
    records["last_s"][:, MOMENTS.index(kind)] = at_ms // 1000


def features_of(records: NDArray[Any], now_ms: int = 0) -> list[dict[str, float]]:
    """Return every feature of records (VOTER[n]) by name, as at the later of ``now_ms`` and their latest event."""
    rows = np.empty((len(records), len(FEATURES)))
    read_rows(records, now_ms, 0, len(records), np.arange(len(FEATURES)), rows)
    return [dict(zip(FEATURES, row, strict=True)) for row in rows.tolist()]
