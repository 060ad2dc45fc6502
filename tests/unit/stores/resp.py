"""A small server on loopback that speaks Redis' protocol and answers as a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import hiredis

from tests.listening import stop_listening


class Close(Exception):  # noqa: N818 (an order, not an error)
    """Raised by an answer: close the connection in its place."""


Answer = bytes | None
"""RESP bytes, or None: never answer."""


@dataclass
class FakeRedis:
    """Answers each command by its name from ``answers``; ``heard`` lists what came, by connection and name."""

    answers: dict[str, Answer | Callable[[list[bytes]], Answer]] = field(default_factory=dict)
    heard: list[tuple[int, str]] = field(default_factory=list)
    port: int = 0
    connections: int = 0

    def __post_init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        await stop_listening(self._server)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        number = self.connections
        parser = hiredis.Reader()
        try:
            while data := await reader.read(1 << 16):
                parser.feed(data)
                while (command := parser.gets()) is not False:
                    writer.write(self._answer(number, command) or b"")
        except (Close, ConnectionError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    def _answer(self, number: int, command: list[bytes]) -> Answer:
        name = command[0].decode().upper()
        if name == "CLIENT":
            return b"+OK\r\n"
        self.heard.append((number, name))
        answer: Any = self.answers[name]
        return answer(command) if callable(answer) else answer  # type: ignore[no-any-return]


def bulk(data: bytes) -> bytes:
    """Return one bulk string."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


def close(_: list[bytes]) -> Answer:
    """Close the connection in place of an answer."""
    raise Close
