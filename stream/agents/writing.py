"""One producer of a relay: opened behind a fence, awaited write by write, thrown away at the first error."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from stream.agents.closing import discard, unbroken
from stream.agents.fence import REFUSALS, Fence, FenceUnsupportedError
from stream.records import OutboxRow

MARKER_SECONDS: Final = 3600.0
"""How often a fence is renewed."""
OPEN_SECONDS: Final = 30.0
"""Longest wait for a fence, a started producer and the tail."""
SEND_SECONDS: Final = 30.0
"""Longest wait for a write's answer; then its outcome is unknown."""
REQUEST_MS: Final = 10_000


class Writer:
    """One producer, from its opening to its discarding; writes are awaited one by one."""

    def __init__(self, kafka: Mapping[str, Any], mode: str, batch_bytes: int) -> None:
        """Create the producer, not connected yet; ``mode`` is one of MODES."""
        self._producer = AIOKafkaProducer(
            **kafka,
            acks="all",
            enable_idempotence=mode != "plain",
            linger_ms=0,
            max_batch_size=batch_bytes,
            request_timeout_ms=REQUEST_MS,
        )
        self.has_written = False
        self._fence: Fence | None = None
        self._renewal = float("inf")

    async def open(self) -> None:
        """Start the producer under an id that the broker gives it; raise FenceUnsupportedError if it gives none."""
        try:
            await self._producer.start()
        except REFUSALS as error:
            message = f"the broker gives no producer id: {error!r}"
            raise FenceUnsupportedError(message) from error

    async def open_fenced(self, transactional_id: str, topic: str, partition: int) -> None:
        """Fence the partition and start the producer; errors as Fence.claim's."""
        self._fence = Fence(self._producer, transactional_id, topic, partition)
        await self._fence.claim()
        self._renewal = asyncio.get_running_loop().time() + MARKER_SECONDS

    def seconds_to_renewal(self) -> float | None:
        """Return how long the fence may go on without a new marker, in seconds; None where there is no fence."""
        if self._fence is None:
            return None
        return max(0.0, self._renewal - asyncio.get_running_loop().time())

    async def renew(self) -> None:
        """Write the fence's marker again if it is due."""
        if self._fence is not None and self.seconds_to_renewal() == 0.0:
            async with asyncio.timeout(OPEN_SECONDS):
                await unbroken(self._fence.renew())
            self._renewal = asyncio.get_running_loop().time() + MARKER_SECONDS

    async def confirm(self) -> None:
        """Write the fence's marker now; raise RelayFencedError where another owner has claimed the partition."""
        self._renewal = min(self._renewal, asyncio.get_running_loop().time())
        await self.renew()

    async def send(self, topic: str, partition: int, rows: Sequence[OutboxRow], first: int) -> int:
        """Write as many of ``rows[first:]`` as one batch holds, at least one; return how many once acknowledged."""
        batch = self._producer.create_batch()
        count = 0
        for row in rows[first:]:
            if batch.append(timestamp=None, key=row.key, value=row.value, headers=list(row.headers)) is None:
                break
            count += 1
        batch.close()
        async with asyncio.timeout(SEND_SECONDS):
            sending = await unbroken(self._producer.send_batch(batch, topic, partition=partition))
            await sending
        self.has_written = True
        return count

    async def close(self) -> None:
        """Close the producer within a few seconds, whatever state it is in."""
        await discard(self._producer)
