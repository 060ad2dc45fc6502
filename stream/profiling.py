"""Where the processor's time goes, step by step: ``groundswell worker --profile``."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from rich.console import Console
from rich.table import Table

_Result = TypeVar("_Result")

STEPS: Final = (
    ("fetch", "fetching, framing and reading ahead, in their own threads"),
    ("decode", "1 decode"),
    ("index", "2 index"),
    ("load", "3 load"),
    ("gate", "4 gate"),
    ("update", "5 fold"),
    ("score", "6 score"),
    ("decide", "7 decide, and compose triggers"),
    ("commit", "8 commit"),
    ("relay", "relay of triggers and rejects"),
    ("rest", "event loop, sockets, and all else"),
)
"""Each step's name and what it holds, in the order of an event's way."""

_BAR: Final = 40


@dataclass(slots=True)
class Profile:
    """Seconds of the processor by step, of the thread that the event loop runs in and of all others together."""

    thread_seconds: Callable[[], float] = time.thread_time
    process_seconds: Callable[[], float] = time.process_time
    events: int = 0
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _began: tuple[float, float] = (0.0, 0.0)
    _beside: float = 0.0

    def begin(self) -> None:
        """Count from here on; to be called in the event loop's thread, as all else."""
        self.seconds.clear()
        self.events, self._beside = 0, 0.0
        self._began = self.thread_seconds(), self.process_seconds()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count the block, in which nothing may be awaited, to a step."""
        started = self.thread_seconds()
        try:
            yield
        finally:
            self.seconds[name] += self.thread_seconds() - started

    def scored_beside(self, seconds: float) -> None:
        """Count to scoring what another thread did of it."""
        self.seconds["score"] += seconds
        self._beside += seconds

    async def timed(self, name: str, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Await ``work``, and count to a step what it runs itself, not what runs while it waits."""
        result: _Result = await _Timed(self, name, work)
        return result

    def by_step(self) -> dict[str, float]:
        """Return microseconds of the processor for each event, by step; what other threads did else is ``fetch``."""
        thread, process = self.thread_seconds() - self._began[0], self.process_seconds() - self._began[1]
        seconds = {
            **self.seconds,
            "fetch": max(process - thread - self._beside, 0.0),
            "rest": max(thread + self._beside - sum(self.seconds.values()), 0.0),
        }
        return {name: seconds.get(name, 0.0) / max(self.events, 1) * 1e6 for name, _ in STEPS}

    def show(self) -> None:
        """Print a bar for each step."""
        costs = self.by_step()
        whole = sum(costs.values())
        table = Table(title=f"processor time an event, over {self.events:,} events: {whole:.2f} us")
        table.add_column("step")
        table.add_column("us", justify="right")
        table.add_column("share", justify="right")
        table.add_column("")
        longest = max(costs.values()) or 1.0
        for name, meaning in STEPS:
            share = costs[name] / whole if whole else 0.0
            table.add_row(meaning, f"{costs[name]:.3f}", f"{share:.0%}", "█" * round(costs[name] / longest * _BAR))
        Console().print(table)


class _Timed:
    """Awaits a coroutine and counts the processor's time of each of its turns."""

    def __init__(self, profile: Profile, name: str, work: Coroutine[Any, Any, Any]) -> None:
        self._profile = profile
        self._name = name
        self._work = work

    def __await__(self) -> Generator[Any, Any, Any]:
        turns = self._work.__await__()
        error: BaseException | None = None
        while True:
            try:
                with self._profile.step(self._name):
                    awaited = turns.send(None) if error is None else turns.throw(error)
            except StopIteration as end:
                return end.value
            error = None
            try:
                yield awaited
            except GeneratorExit:
                turns.close()
                raise
            except BaseException as thrown:
                error = thrown
