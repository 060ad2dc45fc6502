"""One partition's fetched batches until they are processed."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from stream.columns import Columns, joined

_MOST_BYTES: Final = 1 << 20
"""Of the buffers that are copied into one."""


class BatchQueue:
    """Batches in the order in which they were fetched; those that wait already are taken as one.

    What a batch costs beside its rows, several exchanges with Redis among it, comes once then: the later a partition
    is, the larger are its batches.
    """

    def __init__(self, most_events: int) -> None:
        """Join no batches to more than ``most_events`` rows."""
        self._most_events = most_events
        self._batches: deque[Columns] = deque()
        self._fed = asyncio.Event()

    def __len__(self) -> int:
        """Return how many batches wait."""
        return len(self._batches)

    def put(self, columns: Columns) -> None:
        """Add a batch."""
        self._batches.append(columns)
        self._fed.set()

    def clear(self) -> None:
        """Drop all that wait."""
        self._batches.clear()

    async def take(self) -> tuple[Columns, int]:
        """Return what is next, and of how many batches it was made: of one epoch, each beginning where one ends."""
        while not self._batches:
            self._fed.clear()
            await self._fed.wait()
        taken = [self._batches.popleft()]
        events, size = len(taken[0]), len(taken[0].buffer)
        while self._batches:
            last, following = taken[-1], self._batches[0]
            events, size = events + len(following), size + len(following.buffer)
            follows = following.epoch == last.epoch and following.start == last.next
            if not follows or events > self._most_events or size > _MOST_BYTES:
                break
            taken.append(self._batches.popleft())
        return joined(taken), len(taken)
