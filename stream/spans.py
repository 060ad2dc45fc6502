"""Texts of many rows as stretches of one buffer, so that no row needs an object of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Spans:
    """One text for each row, UTF-8: ``buffer[starts[row]:stops[row]]``. An empty one stands for none."""

    buffer: NDArray[np.uint8]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Look at the buffer, whoever's it is, as read-only: kernels are compiled for that alone."""
        if self.buffer.flags.writeable:
            view = self.buffer.view()
            view.flags.writeable = False
            object.__setattr__(self, "buffer", view)

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> Spans:
        """Lay texts one after the other in a buffer of their own."""
        return cls._laid(b"".join(texts), np.fromiter(map(len, texts), np.int64, len(texts)))

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> Spans:
        """Lay texts one after the other in a buffer of their own, as UTF-8."""
        found = list(texts)
        joined = "".join(found)
        data = joined.encode()
        encoded = found if len(data) == len(joined) else [text.encode() for text in found]
        return cls._laid(data, np.fromiter(map(len, encoded), np.int64, len(found)))

    @classmethod
    def _laid(cls, data: bytes, lengths: NDArray[np.int64]) -> Spans:
        stops = np.cumsum(lengths)
        return cls(np.frombuffer(data, np.uint8), stops - lengths, stops)

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

    def texts(self) -> list[str]:
        """Return each row's text as a string."""
        return [text.decode() for text in self]

    def take(self, rows: NDArray[np.int64]) -> Spans:
        """Return the texts of some rows, in that order, over the same buffer."""
        return Spans(self.buffer, self.starts[rows], self.stops[rows])

    def without(self, rows: NDArray[np.bool_]) -> Spans:
        """Return the same texts, but none for the rows that are marked."""
        return Spans(self.buffer, self.starts, np.where(rows, self.starts, self.stops))
