"""Redis servers of a test's own, on free ports of loopback."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from stream.errors import StoreUnavailableError
from stream.stores.endpoint import RedisEndpoint
from stream.stores.route import connected
from stream.stores.wire import Session, pack

needs_redis_server = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


async def ask(endpoint: RedisEndpoint, *words: str | bytes) -> Any:
    """Send one command on a connection of its own, and return the answer; raise an error answer."""
    connection = await connected(endpoint)
    try:
        command = pack(*[word.encode() if isinstance(word, str) else word for word in words])
        (answer,) = await Session(connection, 5).ask(command, 1)
    finally:
        await connection.disconnect(nowait=True)
    if isinstance(answer, Exception):
        raise answer
    return answer


class RedisProcess:
    """A running ``redis-server``, without a snapshot; stopped at the end of the block."""

    def __init__(self, directory: Path, *options: str, endpoint: RedisEndpoint | None = None) -> None:
        self.endpoint = endpoint or RedisEndpoint(port=free_ports(1)[0])
        port = ["--tls-port", str(self.endpoint.port), "--port", "0"]
        if not self.endpoint.tls:
            port = ["--port", str(self.endpoint.port)]
        directory.mkdir(exist_ok=True)
        self._words: Sequence[str] = ["redis-server", *port, "--save", "", "--dir", str(directory), *options]
        self.process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        self.process = subprocess.Popen(self._words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                await ask(self.endpoint, "PING")
            except StoreUnavailableError:
                assert self.process.poll() is None, f"{self._words} has ended"
                await asyncio.sleep(0.05)
            else:
                return self
        raise AssertionError(f"{self._words} does not answer")  # noqa: EM102

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
