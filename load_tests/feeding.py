"""Events that a worker never comes to the end of, written as it goes: full load however fast the machine is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from load_tests.filling import SEED, fill
from load_tests.rig import BenchmarkError, Rig

AHEAD_EVENTS: Final = 300_000
"""Between the worker and its log's end: several seconds' work, while a feeding takes about one."""
LEAST_EVENTS: Final = 20_000
"""With fewer than these, what was fetched ahead included, the worker may have waited."""
FED_EVENTS: Final = 50_000
_PAUSE_SECONDS: Final = 0.1


class Feeder:
    """Keeps a log of one partition ahead of its worker."""

    def __init__(self, rig: Rig, voters: int, offset: Callable[[], int]) -> None:
        """``offset`` says how far the worker is."""
        self._rig = rig
        self._voters = voters
        self._offset = offset
        self._ended = threading.Event()
        self._trouble: Exception | None = None

    @contextmanager
    def fed(self) -> Iterator[None]:
        """Feed for the block, once there is as much ahead as there should be."""
        (end,) = self._rig.ends()
        end = self._feed(end)
        thread = threading.Thread(target=self._run, args=(end,), daemon=True)
        thread.start()
        try:
            yield
            self.check()
        finally:
            self._ended.set()
            thread.join()

    def check(self) -> None:
        """Raise BenchmarkError if the worker may have been without work, or feeding failed."""
        if self._trouble is not None:
            message = f"the worker was not kept at work: {self._trouble}"
            raise BenchmarkError(message) from self._trouble

    def _run(self, end: int) -> None:
        try:
            while not self._ended.wait(_PAUSE_SECONDS):
                ahead = end - self._offset()
                if ahead < LEAST_EVENTS:
                    message = f"it was {ahead} events from its log's end"
                    raise BenchmarkError(message)
                end = self._feed(end)
        except Exception as error:
            self._trouble = error

    def _feed(self, end: int) -> int:
        """Write until there is as much ahead as there should be; return the log's end."""
        topic = self._rig.settings.topic("events")
        while end - self._offset() < AHEAD_EVENTS and not self._ended.is_set():
            # A seed of its own each time: other voters have the same ids, and none is a duplicate.
            fill(self._rig.kafka, topic, FED_EVENTS, self._voters, SEED + 1 + end)
            end += FED_EVENTS
        return end
