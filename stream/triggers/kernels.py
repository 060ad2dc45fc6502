"""The kernel that decides which campaigns a voter's new score fires."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel, kernel_part
from stream.layout import bytes_of
from stream.prefetching import AHEAD, prefetch
from stream.records import MAX_CAMPAIGNS, MAX_MODELS, USE_ERASE, USE_FOLD

# A kernel reads module constants at compile time.
_LAST_S = 4_294_967_295
_ARMED, _ARMED_STOP = bytes_of("armed", "armed")
_SCORES, _SCORES_STOP = bytes_of("score", "score_tag")
_MOST_SCORE = float(np.finfo(np.float32).max)


@kernel
def decide_rows(
    records: NDArray[Any],
    slots: NDArray[np.int64],
    now: NDArray[np.int64],
    use: NDArray[np.int64],
    scores: NDArray[np.float64],
    model_tags: NDArray[np.uint32],
    model_empty: NDArray[np.float64],
    canaries: NDArray[np.int64],
    tags: NDArray[np.uint32],
    models: NDArray[np.int64],
    upward: NDArray[np.uint8],
    thresholds: NDArray[np.float64],
    rearms: NDArray[np.float64],
    cooldowns_ms: NDArray[np.int64],
    first: int,
    stop: int,
    rows: NDArray[np.int64],
    campaigns: NDArray[np.int64],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
) -> int:
    """Decide on the rows from ``first`` to before ``stop`` that USE_FOLD marks; return how many triggers fired.

    ``records`` (VOTER by slot) changes in place. ``slots``, ``now`` (log time, ms), ``use``, ``canaries`` int64[n];
    ``scores`` float64[n, MAX_MODELS or more]. By model slot: ``model_tags`` (0: inactive), ``model_empty`` (float64[2,
    MAX_MODELS]: scores at no events, of active versions, then of canaries, whose score it is where ``canaries`` has bit
    ``m``). By campaign slot: ``tags`` (0: free), ``models`` (slot; -1: none), ``upward``, ``thresholds``, ``rearms``,
    ``cooldowns_ms``. Triggers fill ``rows``, ``campaigns`` (slot), ``before``, ``after``. NaN fires nothing.
    """
    count = 0
    for i in range(first, stop):
        j = slots[i]
        _ask_for(records, slots[min(i + AHEAD, stop - 1)])
        if use[i] == USE_ERASE:
            _clear(records, j)
        if use[i] != USE_FOLD:
            continue
        score, score_tag = records[j]["score"], records[j]["score_tag"]
        for c in range(MAX_CAMPAIGNS):
            m = models[c]
            if tags[c] == 0 or m < 0:
                continue
            # A downward campaign is an upward one on negated numbers, which is exact.
            sign = 1.0 if upward[c] == 1 else -1.0
            empty = model_empty[canaries[i] >> np.int64(m) & 1, m]
            _renew(records, j, c, tags[c], sign * empty <= sign * rearms[c])
            reached = sign * scores[i, m] >= sign * thresholds[c]
            returned = sign * scores[i, m] <= sign * rearms[c]
            if _fires(records, j, c, reached, returned, cooldowns_ms[c], now[i]):
                rows[count] = i
                campaigns[count] = c
                before[count] = score[m] if score_tag[m] == model_tags[m] else empty
                after[count] = scores[i, m]
                count += 1
        for m in range(MAX_MODELS):
            if model_tags[m] != 0:
                score[m] = _kept(scores[i, m])
                score_tag[m] = model_tags[m]
    return count


@kernel_part
def _ask_for(records: NDArray[Any], j: int) -> None:
    """Ask for what deciding reads of record ``j``."""
    prefetch(records, j, _ARMED, _ARMED_STOP)
    prefetch(records, j, _SCORES, _SCORES_STOP)


@kernel_part
def _kept(score: float) -> float:
    """Return a score as a single holds it: what is beyond would be infinite, and NaN stays what it is."""
    if score > _MOST_SCORE:
        return _MOST_SCORE
    if score < -_MOST_SCORE:
        return -_MOST_SCORE
    return score


@kernel_part
def _renew(records: NDArray[Any], j: int, c: int, tag: int, armed: bool) -> None:
    """Begin campaign slot ``c``'s state in record ``j`` afresh if it is another campaign's, in place."""
    r = records[j]
    if r["campaign_tag"][c] != tag:
        bit = np.int64(1) << np.int64(c)
        r["campaign_tag"][c] = tag
        r["fired_s"][c] = 0
        r["armed"] = np.int64(r["armed"]) & ~bit
        if armed:
            r["armed"] = np.int64(r["armed"]) | bit


@kernel_part
def _fires(records: NDArray[Any], j: int, c: int, reached: bool, returned: bool, cooldown_ms: int, now_ms: int) -> bool:
    """Return whether campaign slot ``c`` fires for record ``j``, and move its state there, in place.

    ``reached``: the score is at the threshold or beyond; ``returned``: it is back at the re-arm level. A crossing
    within the cooldown disarms without firing. A cooldown begins at the whole second at or after the trigger.
    """
    r = records[j]
    bit = np.int64(1) << np.int64(c)
    armed = np.int64(r["armed"])
    if armed & bit == 0:
        if returned:
            r["armed"] = armed | bit
        return False
    if not reached:
        return False
    r["armed"] = armed & ~bit
    fired_s = r["fired_s"]
    if fired_s[c] != 0 and cooldown_ms > 0 and now_ms - np.int64(fired_s[c]) * 1000 < cooldown_ms:
        return False
    # 0 says never, also while the log knows no time.
    fired_s[c] = min(max((now_ms + 999) // 1000, np.int64(1)), np.int64(_LAST_S))
    return True


@kernel_part
def _clear(records: NDArray[Any], j: int) -> None:
    """Set every field that deciding writes in record ``j`` to zero, in place."""
    r = records[j]
    r["armed"] = 0
    r["score"][:] = 0.0
    r["score_tag"][:] = 0
    r["fired_s"][:] = 0
    r["campaign_tag"][:] = 0
