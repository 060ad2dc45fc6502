"""The kernels that fold events into records and read feature rows off them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel
from stream.features.counting_kernels import HALF_LIVES
from stream.features.folding_kernels import clear, fold_event
from stream.features.moment_kernels import int64
from stream.features.row_kernels import find_factors, note_half_lives, read_row
from stream.prefetching import AHEAD, prefetch
from stream.records import USE_ERASE, USE_FOLD, VOTER

# A kernel reads module constants at compile time.
_RECORD_BYTES = VOTER.itemsize


@kernel
def fold(
    records: NDArray[Any],
    slots: NDArray[np.int64],
    kinds: NDArray[np.int64],
    times: NDArray[np.int64],
    now: NDArray[np.int64],
    signals: NDArray[Any],
    use: NDArray[np.int64],
    first: int,
    stop: int,
    columns: NDArray[np.int64],
    rows: NDArray[np.float64],
) -> None:
    """Fold the rows from ``first`` to before ``stop`` that USE_FOLD marks into ``records`` (VOTER by slot), in place.

    ``slots``, ``kinds``, ``times`` (event time, ms), ``now`` (log time, ms) and ``use`` are int64[n], ``signals``
    SIGNAL[n]. After each fold the features at ``columns`` (int64[c], indices in FEATURES) go into that row of ``rows``
    (float64[n, c]), evaluated at the later of log time and the voter's latest event; other rows stay as they are.
    Counts are kept relative to landmarks (forward decay: Cormode, Shkapenyuk, Srivastava, Xu, ICDE 2009), so that late
    events weigh what they would have weighed in time. A row that USE_ERASE marks clears what is folded.
    """
    wanted = np.empty(HALF_LIVES, np.uint8)
    wanted[:] = 0
    note_half_lives(columns, wanted)
    factors = np.empty(HALF_LIVES, np.float64)
    factors[:] = 1.0
    factors_ms = int64(-1)
    for i in range(first, stop):
        j = slots[i]
        prefetch(records, slots[min(i + AHEAD, stop - 1)], 0, _RECORD_BYTES)
        if use[i] == USE_ERASE:
            clear(records, j)
        if use[i] != USE_FOLD:
            continue
        fresh = records[j]["first_seen_s"] == 0
        previous_ms = int64(records[j]["last_seen_ms"])
        fold_event(records, j, kinds[i], times[i], signals, i)
        at_ms = max(now[i], int64(records[j]["last_seen_ms"]))
        if fresh:
            previous_ms = at_ms
        # Rows of one batch of Kafka's have one log time, mostly.
        if at_ms != factors_ms:
            find_factors(at_ms, wanted, factors)
            factors_ms = at_ms
        read_row(records, j, at_ms, previous_ms, factors, columns, rows, i)


@kernel
def read_rows(
    records: NDArray[Any], now_ms: int, first: int, stop: int, columns: NDArray[np.int64], rows: NDArray[np.float64]
) -> None:
    """Write the features of ``records`` (VOTER[n]) from ``first`` to before ``stop`` into ``rows`` (float64[n, c]).

    Those at ``columns`` (int64[c], indices in FEATURES), as they are at the later of ``now_ms`` (log time) and the
    voter's latest event, with no event at that moment; of a record without events all are 0.
    """
    wanted = np.empty(HALF_LIVES, np.uint8)
    wanted[:] = 0
    note_half_lives(columns, wanted)
    factors = np.empty(HALF_LIVES, np.float64)
    factors[:] = 1.0
    for j in range(first, stop):
        last_seen_ms = int64(records[j]["last_seen_ms"])
        if records[j]["first_seen_s"] == 0:
            rows[j, :] = 0.0
            continue
        at_ms = max(int64(now_ms), last_seen_ms)
        find_factors(at_ms, wanted, factors)
        read_row(records, j, at_ms, last_seen_ms, factors, columns, rows, j)
