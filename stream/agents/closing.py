"""How aiokafka's clients are given up without leaving a connection behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

GRACE_SECONDS: Final = 2.0
"""Longest wait for work that was cancelled, and again for a client that is being closed."""


async def unbroken(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Await ``work``; when cancelled let it come to its end first, for at most GRACE_SECONDS.

    aiokafka forgets a connection whose opening is cancelled: nobody could close it any more.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # Cancelled once more while it waits here, it leaves the task to itself.
        task.add_done_callback(heard)
        await asyncio.wait([task], timeout=GRACE_SECONDS)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            error = task.exception()
            log.debug("work was cancelled and then ended with %r", error)
            if error is None and isinstance(result := task.result(), asyncio.Future):
                result.add_done_callback(heard)
        raise


def heard(future: asyncio.Future[Any]) -> None:
    """Take note of how a future ended that nobody awaits any more; unheard, its error would be logged as one."""
    if not future.cancelled():
        future.exception()


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Close a consumer within GRACE_SECONDS, whatever state it is in."""
    try:
        async with asyncio.timeout(GRACE_SECONDS):
            await consumer.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        log.debug("a consumer did not stop in order: %r", error)
