"""What an event's time alone does to its voter's record: sessions, and the rhythm of what the voter does."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel_part
from stream.layout import DAYS, MARKS, PARTS_OF_DAY
from stream.records import SESSION_GAP_MS
from stream.zones import offset_ms

DAY_MS = 86_400_000
PART_OF_DAY_MS = DAY_MS // 4
ALL_DAYS = (1 << DAYS) - 1
MOST_U1 = 255
MOST_U2 = 65_535
MOST_U4 = 4_294_967_295

# Where an event stands among the voter's sessions.
EARLIER, BEGINS, WITHIN, LATEST = range(4)

# A kernel reads module constants at compile time.
_GAP_MS = SESSION_GAP_MS
_DAYS = DAYS
_LANDING = MARKS.index("landing")
_NEXT_STEP = MARKS.index("next_step")
_BOUNCES = MARKS.index("bounces")
_WEEKEND = PARTS_OF_DAY.index("weekend")


@kernel_part
def add_to(counts: NDArray[Any], place: int, more: int, most: int) -> None:
    """Add to a number that stops at ``most``, in place."""
    counts[place] = min(np.int64(counts[place]) + np.int64(more), np.int64(most))


@kernel_part
def fold_moment(records: NDArray[Any], j: int, time_ms: int, is_deed: bool) -> int:
    """Take an event's time into first and last seen, sessions and rhythm; return its place among the sessions.

    A late event belongs to the latest session where it lies in it, or no more than the gap before it; one that is
    earlier begins no session.
    """
    r = records[j]
    time_s = time_ms // 1000
    before_ms = np.int64(r["last_seen_ms"])
    if r["first_seen_s"] == 0:
        r["first_seen_s"] = time_s
        r["last_seen_ms"] = time_ms
        r["active_days"] = 0
        r["sessions"] = 0
        _begin_session(records, j)
        _fold_rhythm(records, j, time_ms, time_ms, is_deed)
        return BEGINS
    _fold_rhythm(records, j, time_ms, before_ms, is_deed)
    if time_ms >= before_ms:
        r["last_seen_ms"] = time_ms
        if time_ms - before_ms > _GAP_MS:
            if r["depth"] == 1 and r["session_events"] == 1:
                add_to(r["marks"], _BOUNCES, 1, MOST_U1)
            _begin_session(records, j)
            return BEGINS
        _lengthen(records, j, time_s - before_ms // 1000)
        return LATEST
    r["first_seen_s"] = min(np.int64(r["first_seen_s"]), time_s)
    begun_s = before_ms // 1000 - np.int64(r["session_length_s"])
    if time_s >= begun_s:
        _lengthen(records, j, 0)
        return WITHIN
    if (begun_s - time_s) * 1000 <= _GAP_MS:
        _lengthen(records, j, begun_s - time_s)
        return BEGINS
    return EARLIER


@kernel_part
def _begin_session(records: NDArray[Any], j: int) -> None:
    """Begin a session with one event, in place."""
    r = records[j]
    r["sessions"] = min(np.int64(r["sessions"]) + 1, np.int64(MOST_U2))
    r["session_events"] = 1
    r["session_length_s"] = 0
    r["depth"] = 0
    r["marks"][_LANDING] = 0
    r["marks"][_NEXT_STEP] = 0


@kernel_part
def _lengthen(records: NDArray[Any], j: int, seconds: int) -> None:
    """Take one event more into the latest session, which becomes so many seconds longer, in place."""
    r = records[j]
    r["session_events"] = min(np.int64(r["session_events"]) + 1, np.int64(MOST_U2))
    r["session_length_s"] = min(np.int64(r["session_length_s"]) + seconds, np.int64(MOST_U2))
    r["session_seconds"] = min(np.int64(r["session_seconds"]) + seconds, np.int64(MOST_U4))


@kernel_part
def _fold_rhythm(records: NDArray[Any], j: int, time_ms: int, before_ms: int, is_deed: bool) -> None:
    """Take an event's time into active days and shares, in place; ``before_ms`` was the latest event's time."""
    r = records[j]
    zone = np.int64(r["zone"])
    local_ms = time_ms + offset_ms(zone, time_ms)
    day = local_ms // DAY_MS
    before = (before_ms + offset_ms(zone, before_ms)) // DAY_MS if before_ms != time_ms else day
    bits = np.int64(r["active_days"])
    if day > before:
        bits = (bits << (day - before)) & ALL_DAYS if day - before < _DAYS else np.int64(0)
        before = day
    if is_deed:
        if before - day < _DAYS:
            bits |= np.int64(1) << (before - day)
        add_to(r["parts_of_day"], (local_ms - day * DAY_MS) // PART_OF_DAY_MS, 1, MOST_U2)
        # 1970-01-01 was a Thursday: Sundays are 0, Saturdays 6.
        if (day + 4) % 7 % 6 == 0:
            add_to(r["parts_of_day"], _WEEKEND, 1, MOST_U2)
    r["active_days"] = bits
