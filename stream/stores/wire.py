"""One connection to Redis, spoken to in packed commands; dropped at the first sign of trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from redis.asyncio import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ResponseError

UNREADABLE: Final = (ValueError, TypeError, MemoryError, IndexError)
"""Raised by redis-py and hiredis at a redirection without a port, a map of lists, a list of billions, an empty push."""


def unreadable(error: Exception) -> InvalidResponse:
    """Return the error to raise in the place of one of UNREADABLE."""
    return InvalidResponse(f"an answer that is none of Redis' protocol ({type(error).__name__})")


def pack(*words: bytes) -> bytes:
    """Return one command in Redis' protocol (RESP arrays of bulk strings)."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


class Session:
    """A connection, which one task at a time has to itself."""

    def __init__(self, connection: Connection, timeout_seconds: float) -> None:
        """Speak over ``connection``, an exchange taking ``timeout_seconds`` at most."""
        self.connection = connection
        self.ahead: list[Any] | None = None
        """Answers to what was asked right behind the last transaction, whose WATCH stands until the next; else None."""
        self._timeout_seconds = timeout_seconds

    async def ask(self, payload: bytes | Sequence[bytes | memoryview], count: int) -> list[Any]:
        """Send packed commands and return their ``count`` answers; an error answer is returned, not raised.

        A payload in pieces is sent piece by piece, as the server takes it.
        Raises TimeoutError, and redis' ConnectionError where the connection broke (or the server is loading, or
        wants credentials: outcomes.is_lost tells them apart).
        """
        connection = self.connection
        if not connection.is_connected:
            # redis-py would connect again by itself here, and forget the WATCH.
            message = "the connection was closed between two exchanges"
            raise RedisConnectionError(message)
        answers: list[Any] = []
        async with asyncio.timeout(self._timeout_seconds):
            for piece in (payload,) if isinstance(payload, bytes) else payload:
                await connection.send_packed_command(cast(list[bytes], [piece]), check_health=False)
            for _ in range(count):
                try:
                    answers.append(await connection.read_response())
                except ResponseError as error:
                    answers.append(error)
                except UNREADABLE as error:
                    await connection.disconnect(nowait=True)
                    raise unreadable(error) from None
        return answers


class Wire:
    """Hands out one connection, to one task at a time, and makes a new one after any error."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], timeout_seconds: float) -> None:
        """``connect`` returns a connected connection."""
        self._connect = connect
        self._timeout_seconds = timeout_seconds
        self._lock = asyncio.Lock()
        self._idle: Session | None = None
        self._generation = 0

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Lend the connection. Whatever leaves the block by an exception, cancellation included, drops it."""
        async with self._lock:
            generation = self._generation
            session, self._idle = self._idle, None
            if session is None:
                session = Session(await self._connect(), self._timeout_seconds)
            try:
                yield session
            except BaseException:
                await session.connection.disconnect(nowait=True)
                raise
            if generation == self._generation:
                self._idle = session
            else:
                await session.connection.disconnect(nowait=True)

    async def drop(self) -> None:
        """Close the connection, or let it be closed when it is given back."""
        self._generation += 1
        session, self._idle = self._idle, None
        if session is not None:
            await session.connection.disconnect(nowait=True)


def first_error(answers: Sequence[Any]) -> Exception | None:
    """Return the first error among answers."""
    return next((answer for answer in answers if isinstance(answer, Exception)), None)
