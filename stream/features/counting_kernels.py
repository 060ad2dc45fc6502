"""Counts that decay, and counts by hour, day and week, in a voter's record."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.arithmetic import halved, power
from stream.compiled import kernel_part
from stream.features.moment_kernels import DAY_MS
from stream.layout import CHANNELS, COUNTS, DAYS, HALF_LIVES_DAYS, HOURS, MESSAGE_ACTIONS, MOMENTS, SOCIAL_TYPES, WEEKS

HOUR_S = 3600
DAY_S = 86_400
WEEK_S = 604_800
HALF_LIVES = len(HALF_LIVES_DAYS)
SOCIAL_COUNTS = len(SOCIAL_TYPES) * HALF_LIVES
AMOUNT = COUNTS.index("donation.amount")
FIRST_VISIT = MOMENTS.index("site.page_view")
LAST_VISIT = MOMENTS.index("donation.completed")
RESPONSE = MOMENTS.index("message.response")
DELIVERY = MOMENTS.index("message.delivered")

# How likes, comments, shares and follows lie in a bucket, by kind: follow, like, share, comment.
HOUR_SHIFTS = (13, 0, 10, 6)
HOUR_MOST = (7, 63, 7, 15)
DAY_SHIFTS = (19, 0, 14, 8)
DAY_MOST = (31, 255, 31, 63)

# A kernel reads module constants at compile time.
_DAYS = DAYS
_HOURS = HOURS
_WEEKS = WEEKS
_CHANNELS = len(CHANNELS)
_ACTIONS = len(MESSAGE_ACTIONS)


@kernel_part
def period_of(day: int, h: int) -> int:
    """Return in which period of half-life ``h`` a day (from 1970-01-01) lies: which landmark is the last one."""
    # Each by a constant, which costs a multiplication.
    if h == 0:
        return day
    if h == 1:
        return day // 7
    if h == 2:
        return day // 30
    return day // 90


@kernel_part
def fraction_of(day: int, rest_ms: int, h: int) -> float:
    """Return by which part of half-life ``h`` the moment ``rest_ms`` into ``day`` lies after the last landmark."""
    if h == 0:
        return np.float64(rest_ms) / 86_400_000.0
    if h == 1:
        return np.float64(day % 7 * DAY_MS + rest_ms) / 604_800_000.0
    if h == 2:
        return np.float64(day % 30 * DAY_MS + rest_ms) / 2_592_000_000.0
    return np.float64(day % 90 * DAY_MS + rest_ms) / 7_776_000_000.0


@kernel_part
def count(counts: NDArray[np.float64], place: int, h: int, last_s: int, time_ms: int, amount: float) -> None:
    """Add ``amount`` at ``time_ms`` to a count that decays, in place, and bring it to the later landmark.

    Before, it is as of the landmark at or before ``last_s``. Moving a landmark by whole half-lives is exact, so only
    additions round (forward decay: Cormode, Shkapenyuk, Srivastava, Xu, ICDE 2009).
    """
    day = time_ms // DAY_MS
    periods = period_of(day, h) - period_of(last_s // DAY_S, h)
    weight = amount * power(fraction_of(day, time_ms - day * DAY_MS, h))
    counts[place] = halved(counts[place], periods) + halved(weight, -periods)


@kernel_part
def count_visit(records: NDArray[Any], j: int, visit: int, time_ms: int) -> None:
    """Count one of VISITS at its half-life, in place."""
    r = records[j]
    latest = r["last_s"]
    last_s = np.int64(latest[FIRST_VISIT + visit])
    count(r["counts"], SOCIAL_COUNTS + visit, 1, last_s, time_ms, 1.0)
    latest[FIRST_VISIT + visit] = max(last_s, time_ms // 1000)


@kernel_part
def latest_social_s(records: NDArray[Any], j: int) -> int:
    """Return the time of the latest social event: hours and days are counted up to it."""
    latest = records[j]["last_s"]
    return max(np.int64(latest[0]), np.int64(latest[1]), np.int64(latest[2]), np.int64(latest[3]))


@kernel_part
def count_social(records: NDArray[Any], j: int, kind: int, time_ms: int) -> None:
    """Count a social event at each half-life, in its hour and on its day, in place."""
    r = records[j]
    latest = r["last_s"]
    last_s = np.int64(latest[kind])
    for h in range(HALF_LIVES):
        count(r["counts"], kind * HALF_LIVES + h, h, last_s, time_ms, 1.0)
    time_s = time_ms // 1000
    end_s = latest_social_s(records, j)
    _clear_buckets(records, j, end_s, time_s)
    end_s = max(end_s, time_s)
    hour = time_s // HOUR_S
    if hour > end_s // HOUR_S - _HOURS:
        hours = r["hours"]
        hours[hour % _HOURS] = _counted(np.int64(hours[hour % _HOURS]), HOUR_SHIFTS[kind], HOUR_MOST[kind])
    day = time_s // DAY_S
    if day > end_s // DAY_S - _DAYS:
        days = r["days"]
        place = day % _DAYS
        bits = _counted(bits_of(days, place), DAY_SHIFTS[kind], DAY_MOST[kind])
        days[place, 0] = bits & 255
        days[place, 1] = bits >> 8 & 255
        days[place, 2] = bits >> 16
    latest[kind] = max(last_s, time_s)


@kernel_part
def bits_of(days: NDArray[np.uint8], place: int) -> int:
    """Return a day's bucket as one number."""
    return np.int64(days[place, 0]) | np.int64(days[place, 1]) << 8 | np.int64(days[place, 2]) << 16


@kernel_part
def _counted(bits: int, shift: int, most: int) -> int:
    """Return a bucket with one event more in the count at ``shift``, unless that is ``most`` already."""
    if bits >> shift & most == most:
        return bits
    return bits + (np.int64(1) << np.int64(shift))


@kernel_part
def _clear_buckets(records: NDArray[Any], j: int, end_s: int, time_s: int) -> None:
    """Empty the buckets that come into use as the latest social event's time goes from ``end_s`` to ``time_s``."""
    hours = records[j]["hours"]
    begin = end_s // HOUR_S + 1
    for hour in range(begin, min(time_s // HOUR_S + 1, begin + _HOURS)):
        hours[hour % _HOURS] = 0
    days = records[j]["days"]
    begin = end_s // DAY_S + 1
    for day in range(begin, min(time_s // DAY_S + 1, begin + _DAYS)):
        days[day % _DAYS, 0] = 0
        days[day % _DAYS, 1] = 0
        days[day % _DAYS, 2] = 0


@kernel_part
def latest_message_s(records: NDArray[Any], j: int) -> int:
    """Return the time of the latest message, or response to one: weeks are counted up to it."""
    latest = records[j]["last_s"]
    return max(np.int64(latest[RESPONSE]), np.int64(latest[DELIVERY]))


@kernel_part
def count_message(records: NDArray[Any], j: int, action: int, channel: int, time_s: int) -> None:
    """Count one of MESSAGE_ACTIONS in its week, in place, where ``channel`` is one of CHANNELS."""
    end_s = latest_message_s(records, j)
    counts = records[j]["messages"]
    begin = end_s // WEEK_S + 1
    for week in range(begin, min(time_s // WEEK_S + 1, begin + _WEEKS)):
        kept = 65_535 - (15 << 4 * (week % _WEEKS))
        for each in range(_ACTIONS):
            for other in range(_CHANNELS):
                counts[each, other] = np.int64(counts[each, other]) & kept
    week = time_s // WEEK_S
    if channel < _CHANNELS and week > max(end_s, time_s) // WEEK_S - _WEEKS:
        counts[action, channel] = _counted(np.int64(counts[action, channel]), 4 * (week % _WEEKS), 15)
