"""Writes ticks into the log, so that log time passes where nobody acts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream.agents.closing import discard, unbroken

log = logging.getLogger(__name__)

CLOCK_SOURCE: Final = "/groundswell/clock"
Sign = Callable[[int, bytes], Iterable[tuple[str, bytes]] | None]
"""Takes a partition and a tick's value; returns the headers that it goes with, None where it cannot be signed yet."""
WRITE_SECONDS: Final = 10.0
"""Longest wait for a round of ticks to be answered."""


def tick(partition: int, now_ms: int) -> bytes:
    """Return a ``clock.tick`` CloudEvent (structured JSON) for one partition; ``now_ms`` since the epoch, UTC."""
    seconds, milliseconds = divmod(now_ms, 1000)
    time = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"
    event = {
        "specversion": "1.0",
        "id": f"{partition}-{now_ms}",
        "source": CLOCK_SOURCE,
        "type": "clock.tick",
        "time": time,
    }
    return orjson.dumps(event)


class Clock:
    """Ticks for this worker's partitions. Doubled and late ones are harmless: log time never runs backwards."""

    def __init__(
        self,
        topic: str,
        partitions: Callable[[], Iterable[int]],
        kafka: Mapping[str, Any],
        now_ms: Callable[[], int],
        *,
        interval_seconds: float = 1.0,
        sign: Sign = lambda _partition, _value: (),
    ) -> None:
        """Take the events topic and who names the partitions; ``now_ms`` gives the time that ticks carry.

        ``sign`` gives the headers that a tick goes with.
        """
        self._topic = topic
        self._partitions = partitions
        self._kafka = kafka
        self._now_ms = now_ms
        self._interval_seconds = interval_seconds
        self._sign = sign

    async def run(self) -> None:
        """Write a tick to each partition at once and then at every interval, until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            producer = AIOKafkaProducer(
                **self._kafka, acks="all", enable_idempotence=False, request_timeout_ms=int(WRITE_SECONDS * 1000)
            )
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await unbroken(producer.start())
                while True:
                    await unbroken(self._tick_all(producer))
                    # A round that took longer than an interval is not made up for.
                    due = max(due + self._interval_seconds, loop.time())
                    await asyncio.sleep(due - loop.time())
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("ticks to %s could not be written, the next try follows: %r", self._topic, error)
            finally:
                await discard(producer)
            due = loop.time() + self._interval_seconds
            await asyncio.sleep(self._interval_seconds)

    async def _tick_all(self, producer: AIOKafkaProducer) -> None:
        now_ms = self._now_ms()
        answers = []
        async with asyncio.timeout(WRITE_SECONDS):
            for partition in sorted(self._partitions()):
                value = tick(partition, now_ms)
                headers = self._sign(partition, value)
                if headers is None:
                    continue
                batch = producer.create_batch()
                batch.append(timestamp=now_ms, key=None, value=value, headers=list(headers))
                batch.close()
                answers.append(await producer.send_batch(batch, self._topic, partition=partition))
            for error in await asyncio.gather(*answers, return_exceptions=True):
                if isinstance(error, BaseException):
                    raise error
