"""Work that must not be broken off in the middle: it comes to its end, and what it ends with is heard."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

from stream.agents.closing import close_consumer, discard, shut, unbroken


async def test_work_cancelled_twice_ends_by_itself_and_its_error_is_not_logged_as_unheard() -> None:
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    begun, closed = asyncio.Event(), asyncio.Event()
    ended: list[str] = []

    async def work() -> None:
        begun.set()
        try:
            await closed.wait()
            message = "the connection was closed"
            raise KafkaConnectionError(message)
        finally:
            ended.append("work")

    waiting = asyncio.create_task(unbroken(work()))
    await begun.wait()
    waiting.cancel()
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == []
    closed.set()
    while not ended:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    assert ended == ["work"]
    assert heard == []


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def _cancelled_by_itself() -> None:
    """End as aiokafka's fetcher does, which awaits a task that it has cancelled."""
    task = asyncio.create_task(_for_ever())
    await asyncio.sleep(0)
    task.cancel()
    await task


async def test_work_that_aiokafka_cancels_by_itself_is_an_error_and_no_cancellation_of_its_caller() -> None:
    with pytest.raises(KafkaConnectionError, match="by itself"):
        await unbroken(_cancelled_by_itself())


async def test_a_closing_that_is_cancelled_by_itself_has_not_closed_in_order_and_does_not_cancel_its_caller() -> None:
    assert not await shut(_cancelled_by_itself())
    assert not await shut(_fails())
    assert await shut(asyncio.sleep(0))


async def _fails() -> None:
    message = "no way to the broker"
    raise KafkaConnectionError(message)


async def test_a_closing_cannot_swallow_the_cancellation_of_its_caller() -> None:
    """As aiokafka's client does, which awaits a task that it has cancelled and takes any cancellation for that one."""
    begun, release = asyncio.Event(), asyncio.Event()
    ended: list[str] = []

    async def closing() -> None:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await release.wait()
        ended.append("closing")

    async def caller() -> None:
        await shut(closing())
        ended.append("caller")

    task = asyncio.create_task(caller())
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["closing"]


async def test_connections_are_closed_where_a_client_does_not_stop_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    async def close(client: Any) -> None:
        closed.append(type(client).__name__)

    monkeypatch.setattr("aiokafka.client.AIOKafkaClient.close", close)
    for cls in (AIOKafkaConsumer, AIOKafkaProducer):
        monkeypatch.setattr(cls, "stop", lambda _: _cancelled_by_itself())
    consumer, producer = AIOKafkaConsumer(), AIOKafkaProducer()
    await close_consumer(consumer)
    await discard(producer)
    assert closed == ["AIOKafkaClient", "AIOKafkaClient"]
    consumer._closed = producer._closed = True
