"""Where slow work of a snapshot (compressing, hashing, reading and writing files) is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

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
