"""Wires with delays and faults, drawn from a seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.simulation.link import LinkBrokenError
from tests.simulation.processes import Process, current_process
from tests.simulation.redis_wire import Payload

_Answer = TypeVar("_Answer")


@dataclass
class Weather:
    """How wires to one server behave at the moment."""

    cut: float = 0.0
    """Probability that an exchange breaks the connection."""
    slow: float = 1.0
    """Factor of all delays."""
    only: str = ""
    """The operation that cuts strike; any where empty."""


class Wires:
    """All wires to one server."""

    def __init__(
        self,
        chance: random.Random,
        latency_seconds: float,
        tell: Callable[[str], None],
        lasts: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """``tell`` takes a line for the trace, ``lasts`` how long something on its way will be there yet."""
        self.weather = Weather()
        self.chance = chance
        self.on_answer: list[Callable[[Process | None, str, Any], None]] = []
        """Told of each answer as it leaves for the process that asked: process, operation, answer."""
        self.latency_seconds = latency_seconds
        self.tell = tell
        self._lasts = lasts

    def link(self, name: str) -> Wire:
        """Return a new wire for the client of that name, in the process that runs."""
        return Wire(self, name, current_process())

    def strike(self, operation: str, can_be_parted: bool) -> str:
        """Draw whether and how an exchange breaks; return "" where it does not."""
        weather, chance = self.weather, self.chance
        if weather.cut == 0.0 or weather.only not in {"", operation} or chance.random() >= weather.cut:
            return ""
        return chance.choice(("before", "after", "later", "within") if can_be_parted else ("before", "after", "later"))

    def delay(self) -> float:
        """Draw how long one way takes, in seconds: mostly short, rarely long."""
        chance = self.chance
        seconds = self.latency_seconds * chance.random()
        if chance.random() < 0.02:
            seconds *= 50
        seconds *= self.weather.slow
        if self.weather.slow != 1.0:
            # Bad weather is over when what it holds up has come.
            self._lasts(seconds)
        return seconds


class Wire:
    """One connection's wire (link.Link)."""

    def __init__(self, wires: Wires, name: str, process: Process | None) -> None:
        """A wire of one process, or of the world."""
        self._wires = wires
        self._name = name
        self._process = process

    async def exchange(self, operation: str, execute: Callable[[], _Answer]) -> _Answer:
        """Carry a request and its answer, or break: before, after or within its execution, or before a late one."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_Answer] = loop.create_future()
        wires, context = self._wires, Context()
        manner = wires.strike(operation, isinstance(execute, Payload))
        if manner:
            wires.tell(f"cut {self._name} {operation} {manner}")

        def fail() -> None:
            if not answer.done():
                answer.set_exception(LinkBrokenError(f"{operation}: cut {manner}"))

        def arrive() -> None:
            # What a process sent just before it was killed may still have been in its own buffers.
            if self._process is not None and not self._process.alive and wires.chance.random() < 0.5:
                return
            if manner == "within" and isinstance(execute, Payload):
                execute.part(wires.chance.randrange(len(execute.data)))
                fail()
                return
            outcome = _outcome(execute)
            if manner == "after":
                fail()
            elif not manner:
                for heard in list(wires.on_answer):
                    heard(self._process, operation, outcome[0])
                loop.call_later(wires.delay(), _give, answer, outcome, context=context)

        there = wires.delay()
        if manner in {"", "after", "within"}:
            loop.call_later(there, arrive, context=context)
        else:
            loop.call_later(there, fail, context=context)
        if manner == "later":
            loop.call_later(there + wires.delay() + wires.chance.random() * 0.2, arrive, context=context)
        return await answer


def _outcome(execute: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return execute(), None
    except Exception as error:
        return None, error


def _give(answer: asyncio.Future[Any], outcome: tuple[Any, Exception | None]) -> None:
    if answer.done():
        return
    result, error = outcome
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)
