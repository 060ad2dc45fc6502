"""Outbox rows on their way from the commit that wrote them to the relay that sends them, past the store."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from stream.records import OutboxRow

MOST_ROWS: Final = 16_384
MOST_BYTES: Final = 24 * 1024 * 1024
"""Of keys and values; what a relay does not take in time it reads from the store."""
TAKEN_BYTES: Final = 1024 * 1024
"""Given up at once, at least one row: what a relay was given it sends, though an erasure withdraws it meanwhile."""


class Handover:
    """Rows of one output whose commit was acknowledged, without a gap among them; nothing that the store lacks."""

    def __init__(self) -> None:
        """Nothing is handed over yet."""
        self._rows: deque[OutboxRow] = deque()
        self._bytes = 0

    def put(self, rows: Sequence[OutboxRow]) -> None:
        """Add a commit's rows; of more than MOST_ROWS or MOST_BYTES none is kept."""
        size = sum(map(_size, rows))
        follows = not self._rows or not rows or self._rows[-1].sequence + 1 == rows[0].sequence
        if not follows or len(self._rows) + len(rows) > MOST_ROWS or self._bytes + size > MOST_BYTES:
            self.clear()
        if len(rows) <= MOST_ROWS and size <= MOST_BYTES:
            self._rows.extend(rows)
            self._bytes += size

    def take(self, after: int) -> list[OutboxRow]:
        """Give up the first rows behind the sequence ``after``; none where the first of them is not the next one."""
        rows = self._rows
        while rows and rows[0].sequence <= after:
            self._drop()
        if not rows or rows[0].sequence != after + 1:
            return []
        taken = [self._drop()]
        size = _size(taken[0])
        while rows and size + _size(rows[0]) <= TAKEN_BYTES:
            size += _size(rows[0])
            taken.append(self._drop())
        return taken

    def clear(self) -> None:
        """Forget all: the store has other rows by now, or will have."""
        self._rows.clear()
        self._bytes = 0

    def _drop(self) -> OutboxRow:
        row = self._rows.popleft()
        self._bytes -= _size(row)
        return row


def _size(row: OutboxRow) -> int:
    return len(row.key or b"") + len(row.value or b"")
