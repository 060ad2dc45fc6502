"""Where slow work of a snapshot is done: packing, hashing, reading and writing files; and copying records out of Redis.

Both are handed in, so that tests and simulation, where no thread may be, do all of it in place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

_Result = TypeVar("_Result")


class Offload(Protocol):
    """Runs a function that blocks, and returns what it returns, or raises what it raises."""

    async def __call__(self, work: Callable[[], _Result], /) -> _Result:
        """Return ``work()``."""
        ...


async def in_thread(work: Callable[[], _Result], /) -> _Result:
    """Run ``work`` in a thread, so that the event loop goes on meanwhile."""
    return await asyncio.to_thread(work)


async def inline(work: Callable[[], _Result], /) -> _Result:
    """Run ``work`` here and now: for tests and simulation, where no thread may be."""
    return work()


class _Closing(Protocol):
    async def close(self) -> None:
        """Close the connections."""
        ...


_Store = TypeVar("_Store", bound=_Closing)


class OwnLoop(Generic[_Store]):
    """Runs a coroutine over a store on an event loop of their own, in a thread.

    Where batches keep the caller's loop for tens of milliseconds each, every answer that the coroutine awaits would
    wait for one of them.
    """

    def __init__(self, open_store: Callable[[], _Store]) -> None:
        """``open_store`` makes a store that connects where it is used."""
        self._open_store = open_store

    async def __call__(self, work: Callable[[_Store], Coroutine[Any, Any, _Result]], /) -> _Result:
        """Return what ``work`` does of a fresh store, closed afterwards, or raise what it raises.

        Cancelled, this ends at once, and ``work`` is cancelled in its thread.
        """
        here, ended = asyncio.get_running_loop(), asyncio.Event()
        loop = asyncio.new_event_loop()
        task = loop.create_task(self._closing(work))
        executor = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        running = executor.submit(_run, loop, task)
        executor.shutdown(wait=False)
        running.add_done_callback(lambda _: _call(here, ended.set))
        try:
            await ended.wait()
        except asyncio.CancelledError:
            _call(loop, task.cancel)
            raise
        return running.result()

    async def _closing(self, work: Callable[[_Store], Coroutine[Any, Any, _Result]]) -> _Result:
        store = self._open_store()
        try:
            return await work(store)
        finally:
            await store.close()


def _call(loop: asyncio.AbstractEventLoop, what: Callable[[], object]) -> None:
    """Call ``what`` on another thread's loop, unless that is over."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(what)


def _run(loop: asyncio.AbstractEventLoop, task: asyncio.Task[_Result]) -> _Result:
    try:
        return loop.run_until_complete(task)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
