"""Fetched batches of a partition: those that wait are taken as one, as far as they follow each other."""

from __future__ import annotations

import asyncio

import pytest

from stream.agents.queue import BatchQueue
from stream.agents.threads import ReadAhead
from stream.columns import Columns, columns_of
from stream.features import NO_TAXONOMY


def batch(start: int, stop: int, epoch: int = 1, size: int = 1) -> Columns:
    n = stop - start
    values = [b"x" * size] * n
    return columns_of(0, range(start, stop), [1] * n, [None] * n, values, [()] * n, epoch=epoch, start=start)


async def taken(*batches: Columns, most: int = 100) -> list[tuple[int, int, int]]:
    """Return (start, next, batches) of all that is taken."""
    queue = BatchQueue(most, lambda columns: None)
    for columns in batches:
        queue.put(columns)
    found = []
    while queue:
        columns, count, _ = await queue.take()
        assert columns.offsets.tolist() == list(range(columns.start, columns.next))
        found.append((columns.start, columns.next, count))
    return found


async def test_batches_that_wait_are_taken_as_one() -> None:
    assert await taken(batch(0, 3), batch(3, 4), batch(4, 9)) == [(0, 9, 3)]


@pytest.mark.parametrize(
    ("other", "reason"),
    [(batch(3, 5, epoch=2), "epoch"), (batch(4, 5), "a hole"), (batch(3, 5, size=1 << 20), "size")],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_one_that_does_not_follow_or_fit_is_taken_by_itself(other: Columns, reason: str) -> None:
    assert await taken(batch(0, 3), other) == [(0, 3, 1), (other.start, 5, 1)], reason


async def test_no_more_rows_are_joined_than_a_batch_may_have() -> None:
    batches = [batch(first, first + 2) for first in range(0, 10, 2)]
    assert await taken(*batches, most=5) == [(0, 4, 2), (4, 8, 2), (8, 10, 1)]
    assert await taken(batch(0, 9), most=5) == [(0, 9, 1)]


async def test_what_is_taken_is_waited_for_and_may_be_dropped() -> None:
    queue = BatchQueue(10, lambda columns: None)
    queue.put(batch(0, 3))
    queue.clear()
    assert len(queue) == 0
    taking = asyncio.ensure_future(queue.take())
    await asyncio.sleep(0)
    assert not taking.done()
    queue.put(batch(5, 7))
    columns, count, _ = await taking
    assert (columns.start, count) == (5, 1)


async def test_large_batches_are_read_ahead_and_taken_one_by_one() -> None:
    ahead = ReadAhead(3)
    queue = BatchQueue(100, lambda columns: ahead(columns, 7, NO_TAXONOMY))
    for columns in (batch(0, 3), batch(3, 5), batch(5, 6), batch(6, 12), batch(12, 13)):
        queue.put(columns)
    found = []
    while queue:
        columns, count, read = await queue.take()
        assert read is None or len(read.facts.homes) == len(read.signals) == len(columns)
        found.append((columns.start, columns.next, count, read is not None))
    assert found == [(0, 3, 1, True), (3, 6, 2, False), (6, 12, 1, True), (12, 13, 1, False)]
