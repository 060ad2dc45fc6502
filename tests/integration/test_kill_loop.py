"""Two workers under load on real Kafka and Redis: killed, paused, woken, and checked from outside."""

from __future__ import annotations

import os

import pytest

from load_tests.faults import kill_loop

pytestmark = pytest.mark.kafka

BROKER = os.environ.get("GROUNDSWELL_TEST_KAFKA", "")
REDIS = os.environ.get("GROUNDSWELL_TEST_REDIS", "")
KILLS = 10


@pytest.mark.skipif(not BROKER or not REDIS, reason="GROUNDSWELL_TEST_KAFKA and GROUNDSWELL_TEST_REDIS are not set")
def test_killed_and_paused_workers_lose_double_and_misplace_nothing() -> None:
    result = kill_loop(BROKER, REDIS, kills=KILLS, seed=int(os.environ.get("GROUNDSWELL_TEST_SEED", "20261103")))
    assert result.holds, f"\n{result}"
    assert len(result.kills) == KILLS
    assert len(result.pauses) == 1
    compared = result.findings.compared
    assert compared["folded"] > 50_000
    assert 0.02 < compared["triggers"] / compared["folded"] < 0.3
    assert compared["rejects"] > 50
