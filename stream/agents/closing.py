"""How tasks end, and how aiokafka's clients are given up without leaving a connection behind.

With ``stream.agents.fence`` the only module that touches private names of aiokafka.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, ProducerClosed

from stream.errors import GroundswellError

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

GRACE_SECONDS: Final = 2.0
"""Longest wait for work that was cancelled, and again for a client that is being closed."""


async def unbroken(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Await ``work``; when cancelled let it come to its end first, for at most GRACE_SECONDS.

    aiokafka forgets a connection whose opening is cancelled: nobody could close it any more. Raises
    KafkaConnectionError where aiokafka itself has cancelled the work: its caller must not end as if cancelled.
    """
    task = asyncio.create_task(work)
    await _wait(task, None)
    if task.cancelled():
        message = f"aiokafka has given up by itself: {task!r}"
        raise KafkaConnectionError(message)
    return task.result()


async def shut(closing: Coroutine[Any, Any, object]) -> bool:
    """Let a client close within GRACE_SECONDS; return whether it did so in order.

    aiokafka does not tell the cancelling of its own tasks from that of the one that closes it: its client swallows the
    caller's, its fetcher raises that of its tasks. So the closing has a task to itself, and neither gets out or in.
    """
    task = asyncio.create_task(closing)
    await _wait(task, GRACE_SECONDS)
    in_order = task.done() and not task.cancelled() and task.exception() is None
    if not in_order:
        log.debug("a client did not close in order: %r", task)
    return in_order


async def _wait(task: asyncio.Task[Any], seconds: float | None) -> None:
    """Wait until a task has ended, for at most ``seconds``, and cancel it then.

    Cancelled itself it lets the task come to its end first, for at most GRACE_SECONDS; cancelled once more, it leaves
    the task to itself.
    """
    task.add_done_callback(heard)
    try:
        await asyncio.wait([task], timeout=seconds)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=GRACE_SECONDS)
        await _end(task)
        raise
    await _end(task)


async def _end(task: asyncio.Task[Any]) -> None:
    if not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=GRACE_SECONDS)


def heard(future: asyncio.Future[Any]) -> None:
    """Take note of how a future ended that nobody may await any more; unheard, its error would be logged as one."""
    if not future.cancelled() and future.exception() is None and isinstance(result := future.result(), asyncio.Future):
        result.add_done_callback(heard)


def failure_of(task: asyncio.Task[Any]) -> BaseException | None:
    """Return what ended a task that works until it is cancelled; None where somebody did cancel it, or it returned."""
    if not task.cancelled():
        return task.exception()
    if task.cancelling():
        return None
    return GroundswellError(f"{task.get_name()} has ended though nobody stopped it: work within it was cancelled")


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Close a consumer within about GRACE_SECONDS, whatever state it is in."""
    if not await shut(consumer.stop()):
        await shut(consumer._client.close())  # noqa: SLF001 (stop does nothing a second time)


async def discard(producer: AIOKafkaProducer) -> None:
    """Close a producer within about GRACE_SECONDS; what it still holds is failed, not flushed.

    aiokafka's own ``stop`` waits for queued batches, and an idempotent producer retries those for ever: a batch of
    unknown outcome would be written after its successor had read the partition's tail.
    """
    accumulator = producer._message_accumulator  # noqa: SLF001 (no public way)
    queued = [batch for batches in accumulator._batches.values() for batch in batches]  # noqa: SLF001
    for batch in queued:
        batch._drain_waiter.add_done_callback(heard)  # noqa: SLF001
        batch.future.add_done_callback(heard)
    accumulator.fail_all(ProducerClosed())
    if not await shut(producer.stop()):
        await shut(producer.client.close())
