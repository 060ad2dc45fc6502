"""Where each partition stands, and which batches of it are in flight."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from faust.types import TP


@dataclass(slots=True)
class Place:
    """One partition as the fetching sees it."""

    epoch: int = 0
    """Raised by each seek and each revocation, and never lowered."""
    assignment: object = None
    """aiokafka's assignment in which it was sought; None while it may not be fetched."""
    next: int = 0
    """Offset after the last batch handed over, or the one sought."""
    in_flight: int = 0
    """Batches of this epoch handed over and not released."""


class Places:
    """The places of all partitions: moved by the consumer's thread, released by any.

    Faust's own bound on its buffers makes the fetching sleep a whole second once they are full; here a release
    wakes it at once.
    """

    def __init__(self, limit: int, wake: Callable[[], None]) -> None:
        """``wake`` is called, from any thread, when a partition that was at its ``limit`` no longer is."""
        self._limit = limit
        self._wake = wake
        self._places: dict[TP, Place] = {}
        self._lock = threading.Lock()

    def epoch(self, tp: TP) -> int:
        """Return the epoch whose batches count; 0 before the first seek."""
        place = self._places.get(tp)
        return place.epoch if place else 0

    def next(self, tp: TP) -> int:
        """Return the offset after what was handed over."""
        return self._places[tp].next

    def in_flight(self, tp: TP) -> int:
        """Return how many batches are handed over and not released."""
        place = self._places.get(tp)
        return place.in_flight if place else 0

    def open(self, tp: TP, assignment: object, offset: int) -> int:
        """Note a seek in this assignment: raise the epoch, forget the batches of older ones; return the epoch."""
        with self._lock:
            place = self._places.setdefault(tp, Place())
            place.epoch += 1
            place.assignment = assignment
            place.next = offset
            place.in_flight = 0
            return place.epoch

    def close(self) -> None:
        """Let nothing more be fetched until it is sought again; all that was fetched is of an older epoch."""
        with self._lock:
            for place in self._places.values():
                place.epoch += 1
                place.assignment = None
                place.in_flight = 0

    def ready(self, assignment: object) -> list[TP]:
        """Return the partitions that were sought in this assignment and have room for a batch."""
        with self._lock:
            return [
                tp
                for tp, place in self._places.items()
                if place.assignment is assignment and place.in_flight < self._limit
            ]

    def take(self, tp: TP, next_offset: int) -> tuple[int, int]:
        """Note a batch handed over, up to ``next_offset``; return its epoch and where it starts."""
        with self._lock:
            place = self._places[tp]
            start, place.next = place.next, next_offset
            place.in_flight += 1
            return place.epoch, start

    def release(self, tp: TP, epoch: int) -> None:
        """Give back the place of one batch; that of an older epoch was forgotten at the seek."""
        with self._lock:
            place = self._places.get(tp)
            if place is None or place.epoch != epoch or place.in_flight == 0:
                return
            was_full = place.in_flight >= self._limit
            place.in_flight -= 1
        if was_full:
            self._wake()
