"""One partition's fetched batches until they are processed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from stream.ahead import Ahead
from stream.columns import Columns, joined

_MOST_BYTES: Final = 1 << 20
"""Of the buffers that are copied into one."""


class BatchQueue:
    """Batches in the order in which they were fetched; those that wait already are taken as one.

    What a batch costs beside its rows, several exchanges with Redis among it, comes once then: the later a partition
    is, the larger are its batches.
    """

    def __init__(self, most_events: int, read: Callable[[Columns], asyncio.Future[Ahead] | None]) -> None:
        """Join no batches to more than ``most_events`` rows, and none whose reading ``read`` has begun."""
        self._most_events = most_events
        self._read = read
        self._batches: deque[tuple[Columns, asyncio.Future[Ahead] | None]] = deque()
        self._fed = asyncio.Event()

    def __len__(self) -> int:
        """Return how many batches wait."""
        return len(self._batches)

    def put(self, columns: Columns) -> None:
        """Add a batch."""
        self._batches.append((columns, self._read(columns)))
        self._fed.set()

    def clear(self) -> None:
        """Drop all that wait, and the reading of it that has not begun."""
        for _, reading in self._batches:
            if reading is not None:
                reading.cancel()
        self._batches.clear()

    async def take(self) -> tuple[Columns, int, Ahead | None]:
        """Return what is next, of how many batches it was made, and what was read of it ahead.

        What is joined is of one epoch, and each begins where the one before ends.
        """
        while not self._batches:
            self._fed.clear()
            await self._fed.wait()
        first, reading = self._batches.popleft()
        if reading is not None:
            return first, 1, await reading
        taken = [first]
        events, size = len(first), len(first.buffer)
        while self._batches:
            last, (following, reading) = taken[-1], self._batches[0]
            events, size = events + len(following), size + len(following.buffer)
            follows = following.epoch == last.epoch and following.start == last.next and reading is None
            if not follows or events > self._most_events or size > _MOST_BYTES:
                break
            taken.append(self._batches.popleft()[0])
        return joined(taken), len(taken), None
