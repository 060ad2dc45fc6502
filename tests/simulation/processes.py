"""Processes on one event loop: killed at any await, paused and woken like the real ones, from outside.

Every step of a task that a process created goes through a gate. A killed process takes no further step, so no
``finally`` of it ever runs; a paused one takes none until it is woken, while the rest of the world goes on.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from inspect import isasyncgen, iscoroutine
from typing import Any, cast
from unittest.mock import patch

from tests.simulation.loop import Task

_CLEANUPS = 10
"""How many awaits a dropped coroutine's ``finally`` blocks may hold one after the other."""

_process: ContextVar[Process | None] = ContextVar("process", default=None)


class Process:
    """What is killed, paused and woken as a whole."""

    def __init__(self, name: str) -> None:
        """A process that runs, without a task."""
        self.name = name
        self.alive = True
        self.paused = False
        self.steps = 0
        self.kill_at: int | None = None
        """The step at which it is killed."""
        self.on_death: Callable[[], None] = lambda: None
        self.pause_at: int | None = None
        """The step at which it is paused."""
        self.on_pause: Callable[[], None] = lambda: None
        self._context: Context = copy_context()
        self._context.run(_process.set, self)
        self._parked: list[asyncio.Future[None]] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._bodies: list[Coroutine[Any, Any, Any]] = []
        """Held, since a coroutine that is thrown away runs its ``finally``."""

    def start(self, main: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a task, and all that it creates, in this process."""
        return asyncio.get_running_loop().create_task(main, name=name, context=self._context)

    def kill(self) -> None:
        """Take no further step."""
        if self.alive:
            self.alive = False
            self.on_death()

    def pause(self) -> None:
        """Take no further step until woken."""
        self.paused = True

    def wake(self) -> None:
        """Go on where it was paused."""
        self.paused = False
        parked, self._parked = self._parked, []
        for future in parked:
            if not future.done():
                future.set_result(None)

    def may_step(self) -> bool:
        """Count a step, and return whether it may be taken."""
        if not self.alive or self.paused:
            return False
        self.steps += 1
        if self.kill_at is not None and self.steps >= self.kill_at:
            self.kill_at = None
            self.kill()
            return False
        if self.pause_at is not None and self.steps >= self.pause_at:
            self.pause_at = None
            self.pause()
            self.on_pause()
            return False
        return True

    def park(self) -> asyncio.Future[None]:
        """Return what a task that may not step waits for."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parked.append(future)
        return future

    def bury(self) -> None:
        """Let go of what is left, once its loop has ended: clean-up that runs now meets nothing any more."""
        self.alive = False
        for body in self._bodies:
            for _ in range(_CLEANUPS):
                try:
                    body.close()
                except BaseException:  # noqa: S112 (whatever a finally does without its loop, it is over)
                    continue
                break
        self._tasks.clear()
        self._bodies.clear()
        self._parked.clear()

    def hold(self, task: asyncio.Task[Any], body: Coroutine[Any, Any, Any]) -> None:
        """Keep a task and its coroutine as long as the process, whatever becomes of them."""
        self._tasks.append(task)
        self._bodies.append(body)


class _Gate(Coroutine[Any, Any, Any]):
    """A coroutine that steps only while its process does."""

    def __init__(self, body: Coroutine[Any, Any, Any], process: Process) -> None:
        self._body = body
        self._process = process
        self._parking: Generator[Any, None, None] | None = None
        self._thrown: BaseException | None = None

    def send(self, value: Any) -> Any:
        if not self._process.may_step():
            return self._park()
        self._parking = None
        thrown, self._thrown = self._thrown, None
        return self._body.send(value) if thrown is None else self._body.throw(thrown)

    def throw(self, *error: Any) -> Any:
        thrown = error[0] if isinstance(error[0], BaseException) else error[0]()
        if not self._process.may_step():
            self._thrown = thrown
            return self._park()
        self._parking = self._thrown = None
        return self._body.throw(thrown)

    def _park(self) -> Any:
        # As an awaited future would have it.
        self._parking = self._process.park().__await__()
        return self._parking.send(None)

    def close(self) -> None:
        """Let the body be: a process that was killed cleans nothing up."""

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._body.__await__()

    def __repr__(self) -> str:
        return f"<{self._process.name}: {self._body!r}>"


def gated(loop: asyncio.AbstractEventLoop, body: Any, **options: Any) -> asyncio.Task[Any]:
    """Create a task (asyncio's task factory, on a VirtualLoop) that steps as its process does."""
    context = options.get("context")
    process = _process.get() if context is None else context.get(_process)
    virtual: Any = loop
    if process is None:
        return Task(body, virtual, **options)
    task: Any = Task(_Gate(body, process), virtual, **options)
    # One that never ends is what a killed process leaves.
    task._log_destroy_pending = False
    process.hold(task, body)
    return cast("Task", task)


@contextmanager
def burial() -> Iterator[None]:
    """Let nothing be said of what killed processes left unclosed, nor of what their clean-up meets without a loop.

    Closing a coroutine does not reach those that an asynchronous generator inside it awaits (before Python 3.13): they
    are closed when they are collected, where an error has no caller.
    """
    hook = sys.unraisablehook

    def hear(unraisable: Any) -> None:
        if not (iscoroutine(unraisable.object) or isasyncgen(unraisable.object)):
            hook(unraisable)

    with warnings.catch_warnings(), patch.object(sys, "unraisablehook", hear):
        warnings.simplefilter("ignore")
        yield


def current_process() -> Process | None:
    """Return the process that the running code belongs to; None for the world around."""
    return _process.get()
