"""One connection to Redis, spoken to in packed commands; dropped at the first sign of trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from redis.asyncio import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ResponseError

UNREADABLE: Final = (ValueError, TypeError, MemoryError, IndexError)
"""Raised by redis-py and hiredis at a redirection without a port, a map of lists, a list of billions, an empty push."""

LEAST_BYTES_PER_SECOND: Final = 5_000_000
"""What is on its way has so much longer to arrive than an answer has to come."""
BUFFERED_BYTES: Final = 10_000_000
"""What both ends' buffers may hold when the last byte seems to be sent: Linux keeps 4 MB here and 6 MB there."""


def unreadable(error: Exception) -> InvalidResponse:
    """Return the error to raise in the place of one of UNREADABLE."""
    return InvalidResponse(f"an answer that is none of Redis' protocol ({type(error).__name__})")


def pack(*words: bytes) -> bytes:
    """Return one command in Redis' protocol (RESP arrays of bulk strings)."""
    return head(len(words), *words)


def head(count: int, *words: bytes) -> bytes:
    """Return the beginning of a command of ``count`` words: their number, and the first of them."""
    return b"*%d\r\n" % count + bulks(words)


def bulks(words: Iterable[bytes]) -> bytes:
    """Return words as bulk strings, which a command's head counts."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


class Session:
    """A connection, which one task at a time has to itself."""

    def __init__(self, connection: Connection, timeout_seconds: float) -> None:
        """Speak over ``connection``, waiting ``timeout_seconds`` at most for what it does next."""
        self.connection = connection
        self.ahead: list[Any] | None = None
        """Answers to what was asked right behind the last transaction, whose WATCH stands until the next; else None."""
        self._timeout_seconds = timeout_seconds

    async def ask(self, payload: bytes | Sequence[bytes | memoryview], count: int) -> list[Any]:
        """Send packed commands and return their ``count`` answers; an error answer is returned, not raised.

        A payload in pieces is sent piece by piece, as the server takes it, and each has the time of an answer: while a
        worker catches up a commit has some 100 MB, and one that a slow link breaks off would be sent again for ever.
        Raises TimeoutError, which names the setting, and redis' ConnectionError where the connection broke (or the
        server is loading, or wants credentials: outcomes.is_lost tells them apart).
        """
        connection = self.connection
        if not connection.is_connected:
            # redis-py would connect again by itself here, and forget the WATCH.
            message = "the connection was closed between two exchanges"
            raise RedisConnectionError(message)
        answers: list[Any] = []
        pieces = (payload,) if isinstance(payload, bytes) else payload
        taken = 0
        try:
            async with asyncio.timeout(None) as bound:
                for piece in pieces:
                    self._extend(bound, len(piece))
                    await connection.send_packed_command(cast(list[bytes], [piece]), check_health=False)
                    taken += len(piece)
                self._extend(bound, min(taken, BUFFERED_BYTES))
                for _ in range(count):
                    try:
                        answers.append(await connection.read_response())
                    except ResponseError as error:
                        answers.append(error)
                    except UNREADABLE as error:
                        await connection.disconnect(nowait=True)
                        raise unreadable(error) from None
        except TimeoutError as error:
            if not bound.expired():
                raise
            raise self._late(taken, sum(map(len, pieces))) from error
        return answers

    def _extend(self, bound: asyncio.Timeout, size: int) -> None:
        """Let an exchange go on for as long as an answer may take, and ``size`` bytes before it."""
        seconds = self._timeout_seconds + size / LEAST_BYTES_PER_SECOND
        bound.reschedule(asyncio.get_running_loop().time() + seconds)

    def _late(self, taken: int, size: int) -> TimeoutError:
        return TimeoutError(
            f"of {size / 1e6:.1f} MB it took {taken / 1e6:.1f} and then neither took more nor answered for longer than "
            f"redis.answer_timeout_seconds = {self._timeout_seconds:g}; raise it if server and link are only slow"
        )


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
