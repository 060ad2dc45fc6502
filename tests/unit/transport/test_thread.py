"""How the consumer's thread asks Kafka for rows, and what it says of those that it takes."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from stream.columns import Columns, columns_of
from stream.transport import aiokafka_fetcher
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


@pytest.mark.parametrize(("stable", "is_followed"), [(14, True), (13, False), (None, False)])
async def test_rows_know_whether_the_log_went_on_behind_them(
    monkeypatch: pytest.MonkeyPatch, stable: int | None, is_followed: bool
) -> None:
    where = TP("events", 3)
    fetched = [[columns_of(3, [11, 12], [0, 0], [None] * 2, [b""] * 2, [()] * 2)]]

    async def take(*_: Any) -> list[Columns]:
        if not fetched:
            return []
        state.position = 13
        return fetched.pop()

    monkeypatch.setattr(aiokafka_fetcher, "take", take)
    state = SimpleNamespace(position=11, lso=stable)
    assignment = SimpleNamespace(state_value=lambda _: state)
    subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment), reassignment_in_progress=False)
    places = SimpleNamespace(ready=lambda _: [where], take=lambda *_: (1, 11))
    thread: Any = SimpleNamespace(places=places)
    thread._columns = partial(ConsumerThread._columns, thread)
    consumer: Any = SimpleNamespace(_subscription=subscription, _fetcher=None)
    taken = await ConsumerThread._take(thread, consumer, 10)
    assert [columns.is_followed for columns in taken[where]] == [is_followed]
