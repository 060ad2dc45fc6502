"""Time zones by rule, against the IANA database over the years that the rules are of."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from stream.zones import ZONES, offset_ms
from tests.parts import compiled

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = 6 * 365 * 24
offset_at = compiled(offset_ms)


def expected_ms(name: str, moment: datetime) -> int:
    offset = moment.astimezone(ZoneInfo(name)).utcoffset()
    assert offset is not None
    return int(offset.total_seconds() * 1000)


@pytest.mark.parametrize("zone", range(len(ZONES)), ids=lambda zone: ZONES[zone])
def test_offsets_are_those_of_the_database(zone: int) -> None:
    chance = random.Random(zone)
    hours = [chance.randrange(HOURS) for _ in range(300)]
    # Every hour of the weekends in which clocks are changed somewhere.
    for year in range(2024, 2030):
        for month in (3, 4, 9, 10, 11):
            first = int((datetime(year, month, 1, tzinfo=UTC) - BEGIN).total_seconds()) // 3600
            hours += range(first, first + 24 * 31, 2)
    for hour in hours:
        moment = BEGIN + timedelta(hours=hour)
        assert offset_at(zone + 1, int(moment.timestamp() * 1000)) == expected_ms(ZONES[zone], moment), moment


def test_unknown_zones_are_utc() -> None:
    assert [offset_at(zone, 1_790_000_000_000) for zone in (0, 1, len(ZONES) + 1, 255, -1)] == [0] * 5


def test_zones_are_named_once() -> None:
    assert len(set(ZONES)) == len(ZONES) < 255
