"""Texts of many rows as stretches of one buffer, so that no row needs an object of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Spans:
    """One text for each row, UTF-8: ``buffer[starts[row]:stops[row]]``. An empty one stands for none."""

    buffer: NDArray[np.uint8]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> Spans:
        """Lay texts one after the other in a buffer of their own."""
        stops = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        lengths = np.diff(stops, prepend=0)
        return cls(np.frombuffer(b"".join(texts), np.uint8), stops - lengths, stops)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.starts)

    def __getitem__(self, row: int) -> bytes:
        """Return one row's text."""
        return self.buffer[self.starts[row] : self.stops[row]].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        """Give each row's text."""
        view = self.buffer.data
        for start, stop in zip(self.starts.tolist(), self.stops.tolist(), strict=True):
            yield bytes(view[start:stop])

    def take(self, rows: NDArray[np.int64]) -> Spans:
        """Return the texts of some rows, in that order, over the same buffer."""
        return Spans(self.buffer, self.starts[rows], self.stops[rows])

    def without(self, rows: NDArray[np.bool_]) -> Spans:
        """Return the same texts, but none for the rows that are marked."""
        return Spans(self.buffer, self.starts, np.where(rows, self.starts, self.stops))
