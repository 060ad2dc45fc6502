"""What a soak sets up: a log that the checker may be behind of, on a disk that stays bounded."""

from __future__ import annotations

import pytest

from load_tests.soak import LOG_BYTES, LOG_SECONDS, retention


@pytest.mark.parametrize("rate", [1.0, 1000.0, 25_000.0, 400_000.0])
def test_log_is_bounded_by_time_and_by_what_the_disk_is_to_hold(rate: float) -> None:
    kept = retention(rate)
    seconds = int(kept["retention.ms"]) / 1000
    assert 0 < seconds <= LOG_SECONDS
    assert seconds * rate * 75 <= LOG_BYTES
    assert "retention.bytes" not in kept, "the worker would not start"


def test_a_slow_log_is_kept_for_as_long_as_the_checker_may_be_behind() -> None:
    assert retention(1000.0)["retention.ms"] == str(int(LOG_SECONDS * 1000))
