"""Time zones by rule, as they have been since 2024: the same on every machine, whatever its own tables say.

Folding asks for a voter's local hour and day, and a replay must find the same; so offsets are not read from the system.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel_part

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000
_BEGIN: Final = 2000
_END: Final = 2107

_NONE, _AMERICA, _EUROPE, _AUSTRALIA, _NEW_ZEALAND = range(5)

_TABLE: Final[tuple[tuple[str, int, int], ...]] = (
    ("UTC", 0, _NONE),
    ("America/New_York", -300, _AMERICA),
    ("America/Chicago", -360, _AMERICA),
    ("America/Denver", -420, _AMERICA),
    ("America/Phoenix", -420, _NONE),
    ("America/Los_Angeles", -480, _AMERICA),
    ("America/Anchorage", -540, _AMERICA),
    ("Pacific/Honolulu", -600, _NONE),
    ("America/Puerto_Rico", -240, _NONE),
    ("America/Detroit", -300, _AMERICA),
    ("America/Indiana/Indianapolis", -300, _AMERICA),
    ("America/Boise", -420, _AMERICA),
    ("America/St_Johns", -210, _AMERICA),
    ("America/Halifax", -240, _AMERICA),
    ("America/Toronto", -300, _AMERICA),
    ("America/Winnipeg", -360, _AMERICA),
    ("America/Regina", -360, _NONE),
    ("America/Edmonton", -420, _AMERICA),
    ("America/Vancouver", -480, _AMERICA),
    ("America/Mexico_City", -360, _NONE),
    ("America/Bogota", -300, _NONE),
    ("America/Lima", -300, _NONE),
    ("America/Caracas", -240, _NONE),
    ("America/Sao_Paulo", -180, _NONE),
    ("America/Argentina/Buenos_Aires", -180, _NONE),
    ("Europe/London", 0, _EUROPE),
    ("Europe/Lisbon", 0, _EUROPE),
    ("Europe/Paris", 60, _EUROPE),
    ("Europe/Berlin", 60, _EUROPE),
    ("Europe/Madrid", 60, _EUROPE),
    ("Europe/Rome", 60, _EUROPE),
    ("Europe/Vienna", 60, _EUROPE),
    ("Europe/Zurich", 60, _EUROPE),
    ("Europe/Brussels", 60, _EUROPE),
    ("Europe/Amsterdam", 60, _EUROPE),
    ("Europe/Copenhagen", 60, _EUROPE),
    ("Europe/Stockholm", 60, _EUROPE),
    ("Europe/Oslo", 60, _EUROPE),
    ("Europe/Warsaw", 60, _EUROPE),
    ("Europe/Prague", 60, _EUROPE),
    ("Europe/Budapest", 60, _EUROPE),
    ("Europe/Belgrade", 60, _EUROPE),
    ("Europe/Athens", 120, _EUROPE),
    ("Europe/Helsinki", 120, _EUROPE),
    ("Europe/Bucharest", 120, _EUROPE),
    ("Europe/Sofia", 120, _EUROPE),
    ("Europe/Kyiv", 120, _EUROPE),
    ("Europe/Istanbul", 180, _NONE),
    ("Europe/Moscow", 180, _NONE),
    ("Africa/Lagos", 60, _NONE),
    ("Africa/Johannesburg", 120, _NONE),
    ("Africa/Nairobi", 180, _NONE),
    ("Africa/Accra", 0, _NONE),
    ("Asia/Dubai", 240, _NONE),
    ("Asia/Karachi", 300, _NONE),
    ("Asia/Kolkata", 330, _NONE),
    ("Asia/Dhaka", 360, _NONE),
    ("Asia/Bangkok", 420, _NONE),
    ("Asia/Jakarta", 420, _NONE),
    ("Asia/Singapore", 480, _NONE),
    ("Asia/Manila", 480, _NONE),
    ("Asia/Shanghai", 480, _NONE),
    ("Asia/Hong_Kong", 480, _NONE),
    ("Asia/Taipei", 480, _NONE),
    ("Asia/Seoul", 540, _NONE),
    ("Asia/Tokyo", 540, _NONE),
    ("Australia/Perth", 480, _NONE),
    ("Australia/Brisbane", 600, _NONE),
    ("Australia/Adelaide", 570, _AUSTRALIA),
    ("Australia/Sydney", 600, _AUSTRALIA),
    ("Australia/Melbourne", 600, _AUSTRALIA),
    ("Pacific/Auckland", 720, _NEW_ZEALAND),
)
"""Name, minutes ahead of UTC in winter, and by which rule an hour is added in summer."""

ZONES: Final = tuple(name for name, _, _ in _TABLE)
"""Names by the IANA time zone database; a zone's code in a record is 1 + its place, fixed for life: append only."""


def _sunday(year: int, month: int, place: int) -> int:
    """Return the day (from 1970-01-01) of a month's Sunday: the first (1), the second (2), or the last (-1)."""
    first = (np.datetime64(f"{year}-{month:02}", "D")).astype(np.int64)
    if place < 0:
        last = (np.datetime64(f"{year}-{month:02}", "M") + 1).astype("datetime64[D]").astype(np.int64) - 1
        return int(last - (last + 4) % 7)
    return int(first + (-(first + 4)) % 7 + 7 * (place - 1))


def _switches() -> NDArray[np.int64]:
    """Return int64[rules, switches] in ms: in UTC for Europe, else in the zone's time without its summer hour."""
    table = np.zeros((5, 2 * (_END - _BEGIN)), np.int64)
    for place, year in enumerate(range(_BEGIN, _END)):
        for rule, switches in (
            (_AMERICA, ((3, 2, 2), (11, 1, 1))),
            (_EUROPE, ((3, -1, 1), (10, -1, 1))),
            (_AUSTRALIA, ((4, 1, 2), (10, 1, 2))),
            (_NEW_ZEALAND, ((4, 1, 2), (9, -1, 2))),
        ):
            for half, (month, sunday, hour) in enumerate(switches):
                table[rule, 2 * place + half] = _sunday(year, month, sunday) * _DAY_MS + hour * _HOUR_MS
    return table


# A kernel reads module constants at compile time.
_OFFSETS_MS: NDArray[np.int64] = np.array([minutes * 60_000 for _, minutes, _ in _TABLE], np.int64)
_RULES: NDArray[np.int64] = np.array([rule for _, _, rule in _TABLE], np.int64)
_SWITCHES: NDArray[np.int64] = _switches()
_COUNT = len(_TABLE)


@kernel_part
def offset_ms(zone: int, time_ms: int) -> int:
    """Return how far local time is ahead of UTC at ``time_ms``; ``zone`` is a record's code, UTC for an unknown one."""
    if zone < 1 or zone > _COUNT:
        return 0
    offset = _OFFSETS_MS[zone - 1]
    rule = _RULES[zone - 1]
    if rule == _NONE:
        return offset
    moment = time_ms if rule == _EUROPE else time_ms + offset
    low = 0
    high = _SWITCHES.shape[1]
    while low < high:
        middle = (low + high) // 2
        if _SWITCHES[rule, middle] <= moment:
            low = middle + 1
        else:
            high = middle
    # North of the equator a year begins in winter, south of it in summer.
    summer = low % 2 == 1 if rule <= _EUROPE else low % 2 == 0
    return offset + _HOUR_MS if summer else offset
