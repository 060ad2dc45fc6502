"""The consumer's thread asks Kafka to collect rows while they come, and for the first one at once after a lull."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from stream.transport.thread import LINGER_BYTES, ConsumerThread


def lingering(linger_ms: int, *, rows_come: bool) -> tuple[int, int]:
    """Return the least bytes and the longest wait of the next fetch."""
    thread: Any = SimpleNamespace(hooks=SimpleNamespace(linger_ms=linger_ms, fetch_max_wait_ms=50))
    fetcher: Any = SimpleNamespace()
    ConsumerThread._linger(thread, fetcher, rows_come=rows_come)
    return fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms


def test_kafka_collects_rows_while_they_come() -> None:
    assert lingering(5, rows_come=True) == (LINGER_BYTES, 5)


def test_first_row_after_a_lull_is_answered_at_once() -> None:
    assert lingering(5, rows_come=False) == (1, 50)


def test_without_lingering_every_row_is_answered_at_once() -> None:
    assert lingering(0, rows_come=True) == (1, 50)
