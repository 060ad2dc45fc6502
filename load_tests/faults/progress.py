"""How long nothing moved: the workers' commits, and beside them a bare consumer's reading, partition by partition."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

_EVERY_SECONDS: Final = 0.05

Offsets = Sequence[int] | None


@dataclass
class Gaps:
    """The longest time in which a partition got no further, over all partitions, and how often one fell back."""

    best: list[int] = field(default_factory=list)
    """By partition, the furthest offset ever seen."""
    since: list[float] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    longest_seconds: float = 0.0
    rows_back: int = 0
    """Rows that a partition fell back by, in sum: so many were done a second time."""

    def begin(self, now: float) -> None:
        """Measure anew from here."""
        self.since = [now] * len(self.best)
        self.longest_seconds, self.rows_back = 0.0, 0

    def note(self, offsets: Offsets, now: float) -> None:
        """Take what was seen; None, where nothing could be: then nothing moved."""
        if offsets is not None and not self.best:
            self.best, self.since, self.last = list(offsets), [now] * len(offsets), list(offsets)
        for number, best in enumerate(self.best):
            self.longest_seconds = max(self.longest_seconds, now - self.since[number])
            if offsets is None:
                continue
            self.rows_back += max(self.last[number] - offsets[number], 0)
            self.last[number] = offsets[number]
            if offsets[number] > best:
                self.best[number], self.since[number] = offsets[number], now


class Watch:
    """A thread that looks at both, many times a second."""

    def __init__(self, ours: Callable[[], Offsets], bare: Callable[[], Offsets]) -> None:
        """Take what gives, by partition, the offsets reached; None where they cannot be asked for."""
        self._askers = (ours, bare)
        self._gaps = (Gaps(), Gaps())
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(_EVERY_SECONDS):
            for ask, gaps in zip(self._askers, self._gaps, strict=True):
                offsets = ask()
                with self._lock:
                    gaps.note(offsets, time.monotonic())

    def begin(self) -> None:
        """Measure anew from here."""
        with self._lock:
            for gaps in self._gaps:
                gaps.begin(time.monotonic())

    def longest(self) -> tuple[float, float, int]:
        """Return the longest time without progress since it began, ours and the bare consumer's, and rows redone."""
        with self._lock:
            ours, bare = self._gaps
            return ours.longest_seconds, bare.longest_seconds, ours.rows_back

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
