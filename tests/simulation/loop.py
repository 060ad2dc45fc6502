"""An event loop of virtual time: nothing on it waits, and everything on it happens in one order."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from itertools import count
from typing import Any, TypeVar

_Value = TypeVar("_Value")

TURN_SECONDS = 1e-5
"""What a turn of the loop takes: where code waits for less time than a float tells apart, it would wait for ever."""


class _Future(asyncio.Future[Any]):
    """A future whose place in a set is the same in every run: by number and not by address."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._number = number

    def __hash__(self) -> int:
        return self._number


class Task(asyncio.Task[Any]):
    """A task whose place in a set is the same in every run: by number and not by address."""

    _number: int

    def __init__(self, body: Any, loop: VirtualLoop, **options: Any) -> None:
        self._number = loop.next_number()
        super().__init__(body, loop=loop, **options)

    def __hash__(self) -> int:
        return self._number


class DeadlockError(Exception):
    """Nothing is ready and no timer runs: whoever waits, waits for ever."""


class _Jump(selectors.SelectSelector):
    """Where an event loop would sleep until its next timer, time moves there instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return no event: nothing here speaks to the outside."""
        if timeout is None:
            raise DeadlockError
        self.now += max(timeout, TURN_SECONDS)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, but for its time, in seconds from 0."""

    def __init__(self) -> None:
        """Start at time 0."""
        self._jump = _Jump()
        super().__init__(self._jump)
        self._numbers = count()
        self.set_exception_handler(self._unheard)
        self.unheard: list[str] = []
        """What nobody caught: errors of callbacks and of tasks whose end nobody asked for."""

    def next_number(self) -> int:
        """Return how many futures and tasks there were before."""
        return next(self._numbers)

    def create_future(self) -> asyncio.Future[Any]:
        """Return a new future."""
        return _Future(next(self._numbers), self)

    def time(self) -> float:
        """Return virtual seconds since the start."""
        return self._jump.now

    def _unheard(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        del loop
        self.unheard.append(f"{context.get('message')}: {context.get('exception')!r}")


def run(main: Coroutine[Any, Any, _Value]) -> _Value:
    """Run ``main`` on a loop of virtual time; whatever else still runs there when it ends is dropped.

    Raises DeadlockError, naming what ``main`` waits for, where time cannot pass any more.
    """
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    task = loop.create_task(main, name="main")
    try:
        return loop.run_until_complete(task)
    except DeadlockError:
        waiting = sorted(f"{other.get_name()}: {other.get_coro()!r}" for other in asyncio.all_tasks(loop))
        message = f"nothing can happen any more after {loop.time():.3f} s; waiting: {waiting}"
        raise DeadlockError(message) from None
    finally:
        asyncio.set_event_loop(None)
        loop.close()
