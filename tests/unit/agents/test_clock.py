"""What a tick says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.resources import files

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.agents.clock import tick
from stream.columns import columns_of
from stream.events import decode
from stream.records import CLOCK_TICK

MILLENNIUM_MS = 946_684_800_000


@settings(deadline=None)
@given(st.integers(0, 4095), st.integers(MILLENNIUM_MS, 253_402_300_799_999))
def test_tick_is_accepted_and_moves_log_time_to_its_own(partition: int, now_ms: int) -> None:
    decoded = decode(columns_of(partition, [0], [0], [None], [tick(partition, now_ms)], [()]), 4096, 0)
    assert decoded.kinds.tolist() == [CLOCK_TICK]
    assert decoded.now.tolist() == [now_ms]


@pytest.mark.parametrize("now_ms", [MILLENNIUM_MS, 1_795_555_777_007, 1_795_555_777_120])
def test_tick_fits_its_schema_and_its_time_has_milliseconds(now_ms: int) -> None:
    event = json.loads(tick(3, now_ms))
    schema = json.loads((files("stream.events") / "schemas" / "clock.tick.json").read_text())
    jsonschema.validate(event, schema)
    assert datetime.fromisoformat(event["time"]) == datetime.fromtimestamp(now_ms / 1000, UTC)
    assert len(event["time"]) == len("2026-11-24T21:22:31.123Z")
