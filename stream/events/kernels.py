"""The numeric half of decoding: RFC 3339 times, home partitions, log time and reasons, as loops over flat arrays."""

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel, kernel_part
from stream.partitioning import murmur2
from stream.records import CLOCK_TICK, KEYS_ROTATED, MAX_AHEAD_MS, MAX_VOTER_BYTES, REJECT

# A kernel reads module constants at compile time.
_TICK = CLOCK_TICK
_ROTATED = KEYS_ROTATED
_AHEAD_MS = MAX_AHEAD_MS
_VOTER_BYTES = MAX_VOTER_BYTES
_BAD_SUBJECT = REJECT["bad_subject"]
_BAD_TIME = REJECT["bad_time"]
_BAD_DATA = REJECT["bad_data"]
_WRONG_PARTITION = REJECT["wrong_partition"]

YEAR_2000_MS = 946_684_800_000
NOT_A_TIME = -(1 << 62)


@kernel_part
def _digits(buffer: NDArray[np.uint8], first: int, stop: int) -> int:
    """Return the number that the decimal digits ``buffer[first:stop]`` spell, -1 if one is no digit."""
    value = 0
    for position in range(first, stop):
        digit = int(buffer[position]) - 48
        if digit < 0 or digit > 9:
            return -1
        value = value * 10 + digit
    return value


@kernel_part
def _days_since_epoch(year: int, month: int, day: int) -> int:
    """Return days from 1970-01-01 to a day of the proleptic Gregorian calendar, years 0 to 9999.

    Counts from 1 March, so that a leap day is a year's last: Hinnant, "chrono-Compatible Low-Level Date
    Algorithms", ``days_from_civil``.
    """
    if month <= 2:
        year -= 1
        month += 12
    era = (year + 400) // 400 - 1
    year_of_era = year - era * 400
    day_of_year = (153 * (month - 3) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


@kernel_part
def _days_of_month(year: int, month: int) -> int:
    """Return how many days a month, 1 to 12, has."""
    if month == 2:
        if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0):
            return 29
        return 28
    if month in (4, 6, 9, 11):
        return 30
    return 31


@kernel_part
def parse_time(buffer: NDArray[np.uint8], first: int, stop: int) -> int:
    """Return the RFC 3339 date-time ``buffer[first:stop]`` in ms since the epoch, NOT_A_TIME for anything else.

    Section 5.6 to the letter: ``T`` and ``Z`` in either case, a fraction of one digit or more (what is finer than
    a millisecond is cut off), an offset of ``Z`` or ``+hh:mm`` up to 23:59. A second of 60 is refused: the log's
    milliseconds have no place for a leap second.
    """
    if stop - first < 20:
        return NOT_A_TIME
    if buffer[first + 4] != 45 or buffer[first + 7] != 45 or buffer[first + 13] != 58 or buffer[first + 16] != 58:
        return NOT_A_TIME
    if buffer[first + 10] | 32 != 116:
        return NOT_A_TIME
    year = _digits(buffer, first, first + 4)
    month = _digits(buffer, first + 5, first + 7)
    day = _digits(buffer, first + 8, first + 10)
    hour = _digits(buffer, first + 11, first + 13)
    minute = _digits(buffer, first + 14, first + 16)
    second = _digits(buffer, first + 17, first + 19)
    if year < 0 or month < 1 or month > 12 or day < 1 or hour < 0 or hour > 23:
        return NOT_A_TIME
    if minute < 0 or minute > 59 or second < 0 or second > 59 or day > _days_of_month(year, month):
        return NOT_A_TIME
    position = first + 19
    milliseconds = 0
    if buffer[position] == 46:
        position += 1
        unit = 100
        begin = position
        while position < stop and 48 <= buffer[position] <= 57:
            milliseconds += (int(buffer[position]) - 48) * unit
            unit //= 10
            position += 1
        if position in (begin, stop):
            return NOT_A_TIME
    offset_minutes = 0
    sign = buffer[position]
    if sign | 32 == 122:
        if stop - position != 1:
            return NOT_A_TIME
    else:
        if sign not in (43, 45) or stop - position != 6 or buffer[position + 3] != 58:
            return NOT_A_TIME
        hours = _digits(buffer, position + 1, position + 3)
        minutes = _digits(buffer, position + 4, position + 6)
        if hours < 0 or hours > 23 or minutes < 0 or minutes > 59:
            return NOT_A_TIME
        offset_minutes = hours * 60 + minutes
        if sign == 45:
            offset_minutes = -offset_minutes
    minutes_since_epoch = (_days_since_epoch(year, month, day) * 24 + hour) * 60 + minute - offset_minutes
    return (minutes_since_epoch * 60 + second) * 1000 + milliseconds


@kernel
def parse_times(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], stops: NDArray[np.int64], out: NDArray[np.int64]
) -> None:
    """Write the time (ms since the epoch) of each text ``buffer[start:stop]`` into ``out`` (int64[n]), in place.

    ``buffer`` is uint8, ``starts`` and ``stops`` int64[n]. NOT_A_TIME marks what is no time, or one before the year
    2000; -1 an empty text: none was given.
    """
    for row in range(len(starts)):
        out[row] = -1
        if stops[row] > starts[row]:
            out[row] = parse_time(buffer, starts[row], stops[row])
            if out[row] < YEAR_2000_MS:
                out[row] = NOT_A_TIME


@kernel
def find_homes(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    partition_count: int,
    out: NDArray[np.int64],
) -> None:
    """Write the home partition of each voter id into ``out`` (int64[n]), in place; -1: no fit voter id.

    The ids are the texts ``buffer[start:stop]`` (uint8, int64[n] each), UTF-8. One that is fit has 1 to 64 bytes, none
    of them a control character (below 0x20, or 0x7f).
    """
    for row in range(len(starts)):
        first = starts[row]
        stop = stops[row]
        out[row] = -1
        if first < stop <= first + _VOTER_BYTES:
            fit = True
            for position in range(first, stop):
                if buffer[position] < 32 or buffer[position] == 127:
                    fit = False
            if fit:
                out[row] = murmur2(buffer, first, stop) % partition_count


@kernel
def settle(
    kinds: NDArray[np.int64],
    times: NDArray[np.int64],
    homes: NDArray[np.int64],
    unfit: NDArray[np.uint8],
    log_times: NDArray[np.int64],
    origins: NDArray[np.int64],
    partition: int,
    log_time_ms: int,
    reject: NDArray[np.int64],
    now: NDArray[np.int64],
) -> None:
    """Run log time along the rows and give each row its first reason, in place; every array has one element a row.

    In: ``kinds``, ``unfit`` (1: data does not fit), ``log_times`` (append times in ms, 0: none), ``origins``
    (-1: not forwarded), ``log_time_ms`` before the first row. In and out: ``reject`` (0 where nothing is wrong
    so far), ``times`` (as parse_times wrote them; out: ``now`` where none was given), ``homes`` (as find_homes
    wrote them; out: -1 for rejected rows and control records). Out: ``now``. How far a tick's or a rotation's time is
    ahead does not matter: a rotation counts before the log's time at its row is known.
    """
    for row in range(len(kinds)):
        control = _TICK <= kinds[row] <= _ROTATED
        tick = kinds[row] == _TICK
        reason = reject[row]
        if reason == 0 and not control and homes[row] < 0:
            reason = _BAD_SUBJECT
        if reason == 0 and (times[row] == NOT_A_TIME or (tick and times[row] < 0)):
            reason = _BAD_TIME
        if log_times[row] > 0:
            log_time_ms = max(log_time_ms, log_times[row])
        elif tick and reason == 0 and unfit[row] == 0:
            log_time_ms = max(log_time_ms, times[row])
        now[row] = log_time_ms
        timeless = tick or kinds[row] == _ROTATED
        if reason == 0 and not timeless and log_time_ms > 0 and times[row] > log_time_ms + _AHEAD_MS:
            reason = _BAD_TIME
        if reason == 0 and unfit[row] != 0:
            reason = _BAD_DATA
        if reason == 0 and not control and homes[row] != partition and origins[row] >= 0:
            reason = _WRONG_PARTITION
        reject[row] = reason
        if reason != 0:
            kinds[row] = -1
        if reason != 0 or control:
            homes[row] = -1
        if reason != 0 or times[row] < 0:
            times[row] = log_time_ms
