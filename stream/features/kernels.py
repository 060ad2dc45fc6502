"""The kernels that fold events into records and read feature rows off them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.arithmetic import decay
from stream.compiled import kernel, kernel_part
from stream.features.catalogue import DAYS_SINCE_FIRST_SEEN, DECAYED, SESSION_EVENTS, SESSIONS
from stream.records import COUNTED_KINDS, HALF_LIVES_MS, SESSION_GAP_MS, USE_ERASE, USE_FOLD

_HALF_LIVES = len(HALF_LIVES_MS)
_DAY_MS = 86_400_000.0
_HOUR_MS = 3_600_000.0


@kernel
def fold(
    records: NDArray[Any],
    slots: NDArray[np.int64],
    kinds: NDArray[np.int64],
    times: NDArray[np.int64],
    now: NDArray[np.int64],
    use: NDArray[np.int64],
    first: int,
    stop: int,
    columns: NDArray[np.int64],
    rows: NDArray[np.float64],
) -> None:
    """Fold the rows from ``first`` to before ``stop`` that USE_FOLD marks into ``records`` (VOTER by slot), in place.

    ``slots``, ``kinds``, ``times`` (event time, ms), ``now`` (log time, ms) and ``use`` are int64[n]. After each
    fold the features at ``columns`` (int64[c], indices in FEATURES) go into that row of ``rows`` (float64[n, c]),
    evaluated at the later of log time and the voter's latest event; other rows stay as they are. Counts are kept
    relative to the latest event (forward decay: Cormode, Shkapenyuk, Srivastava, Xu, ICDE 2009), so that late
    events weigh what they would have weighed in time. A row that USE_ERASE marks clears what is folded.
    """
    wanted = np.zeros(_HALF_LIVES, np.uint8)
    for c in range(len(columns)):
        if columns[c] < DECAYED:
            wanted[columns[c] % _HALF_LIVES] = 1
    factors = np.ones(_HALF_LIVES)
    for i in range(first, stop):
        j = slots[i]
        if use[i] == USE_ERASE:
            _clear(records, j)
        if use[i] != USE_FOLD:
            continue
        fresh = records[j]["first_seen_ms"] == 0
        previous_ms = records[j]["last_seen_ms"]
        _fold_event(records, j, kinds[i], times[i], factors)
        last_seen_ms = records[j]["last_seen_ms"]
        at_ms = max(now[i], last_seen_ms)
        if fresh:
            previous_ms = at_ms
        for h in range(_HALF_LIVES):
            factors[h] = 1.0
            if wanted[h] == 1 and at_ms > last_seen_ms:
                factors[h] = decay(np.float64(at_ms - last_seen_ms), HALF_LIVES_MS[h])
        _read_row(records, j, at_ms, previous_ms, factors, columns, rows, i)


@kernel
def read_rows(
    records: NDArray[Any], now_ms: int, first: int, stop: int, columns: NDArray[np.int64], rows: NDArray[np.float64]
) -> None:
    """Write the features of ``records`` (VOTER[n]) from ``first`` to before ``stop`` into ``rows`` (float64[n, c]).

    Those at ``columns`` (int64[c], indices in FEATURES), as they are at the later of ``now_ms`` (log time) and the
    voter's latest event, with no event at that moment; of a record without events all are 0.
    """
    factors = np.ones(_HALF_LIVES)
    for j in range(first, stop):
        last_seen_ms = records[j]["last_seen_ms"]
        if records[j]["first_seen_ms"] == 0:
            rows[j, :] = 0.0
            continue
        at_ms = max(np.int64(now_ms), last_seen_ms)
        for h in range(_HALF_LIVES):
            factors[h] = 1.0
            if at_ms > last_seen_ms:
                factors[h] = decay(np.float64(at_ms - last_seen_ms), HALF_LIVES_MS[h])
        _read_row(records, j, at_ms, last_seen_ms, factors, columns, rows, j)


@kernel_part
def _clear(records: NDArray[Any], j: int) -> None:
    """Set every field that folding writes in record ``j`` to zero, in place."""
    r = records[j]
    r["first_seen_ms"] = 0
    r["last_seen_ms"] = 0
    r["sessions"] = 0
    r["session_events"] = 0
    r["decayed"][:, :] = 0.0


@kernel_part
def _fold_event(records: NDArray[Any], j: int, kind: int, time_ms: int, factors: NDArray[np.float64]) -> None:
    """Fold one event into record ``j``, in place; ``factors`` is room for one number for each half-life."""
    r = records[j]
    counts = r["decayed"]
    if r["first_seen_ms"] == 0:
        r["first_seen_ms"] = time_ms
        r["last_seen_ms"] = time_ms
        r["sessions"] = 1
        r["session_events"] = 1
    elif time_ms >= r["last_seen_ms"]:
        gap_ms = time_ms - r["last_seen_ms"]
        if gap_ms > 0:
            for h in range(_HALF_LIVES):
                factors[h] = decay(np.float64(gap_ms), HALF_LIVES_MS[h])
            for k in range(COUNTED_KINDS):
                for h in range(_HALF_LIVES):
                    counts[k, h] = counts[k, h] * factors[h]
        if gap_ms > SESSION_GAP_MS:
            r["sessions"] += 1
            r["session_events"] = 1
        else:
            r["session_events"] += 1
        r["last_seen_ms"] = time_ms
    else:
        r["first_seen_ms"] = min(r["first_seen_ms"], time_ms)
        r["session_events"] += 1
    if 0 <= kind < COUNTED_KINDS:
        late_ms = r["last_seen_ms"] - time_ms
        for h in range(_HALF_LIVES):
            weight = 1.0
            if late_ms > 0:
                weight = decay(np.float64(late_ms), HALF_LIVES_MS[h])
            counts[kind, h] = counts[kind, h] + weight


@kernel_part
def _read_row(
    records: NDArray[Any],
    j: int,
    at_ms: int,
    previous_ms: int,
    factors: NDArray[np.float64],
    columns: NDArray[np.int64],
    rows: NDArray[np.float64],
    i: int,
) -> None:
    """Write record ``j``'s features into row ``i``, in place; ``factors`` bring the counts from last_seen to at."""
    r = records[j]
    counts = r["decayed"]
    for c in range(len(columns)):
        feature = columns[c]
        if feature < DECAYED:
            h = feature % _HALF_LIVES
            rows[i, c] = counts[feature // _HALF_LIVES, h] * factors[h]
        elif feature == SESSIONS:
            rows[i, c] = r["sessions"]
        elif feature == SESSION_EVENTS:
            rows[i, c] = r["session_events"]
        elif feature == DAYS_SINCE_FIRST_SEEN:
            rows[i, c] = np.float64(at_ms - r["first_seen_ms"]) / _DAY_MS
        else:
            rows[i, c] = np.float64(at_ms - previous_ms) / _HOUR_MS
