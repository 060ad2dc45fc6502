"""Work that must not be broken off in the middle: it comes to its end, and what it ends with is heard."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from stream.agents.closing import unbroken


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
