"""A voter's features as they are now, without an event."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.arithmetic import decay
from stream.features.kernels import read_row
from stream.records import HALF_LIVES_MS


def current_row(record: NDArray[Any], now_ms: int, columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float64[1, c]: the features at ``columns`` (int64[c], indices in FEATURES) of ``record`` (VOTER[1]).

    As of ``now_ms`` or the voter's latest event, whichever is later; zeros for one of whom no event was folded.
    """
    row = np.zeros((1, len(columns)))
    seen_ms = int(record["last_seen_ms"][0])
    if int(record["first_seen_ms"][0]):
        at_ms = max(now_ms, seen_ms)
        factors = np.array([decay(float(at_ms - seen_ms), half_life_ms) for half_life_ms in HALF_LIVES_MS])
        read_row(record, 0, at_ms, seen_ms, factors, columns, row, 0)
    return row
