"""A TCP proxy of our own, to break a wire on purpose: cut it at once or in the middle of a request, slow it, stop it.

All proxies run on one event loop in a thread of its own; what is set from another thread holds from the next bytes on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

_CHUNK_BYTES: Final = 1 << 16
_LOOPBACK: Final = "127.0.0.1"

PRODUCE: Final = 0
"""Kafka's API key of a write."""


@dataclass
class Trap:
    """Cuts one connection in the middle of the first request that ``matches``, and then rests.

    ``after`` bytes of the request go through; or, of a trap for answers, all of the request and ``after`` bytes of
    what comes back.
    """

    matches: Callable[[bytes], bool]
    """Whether bytes, as a client sent them at once, begin a request of the kind."""
    after: int
    answers: bool = False
    sprung: threading.Event = field(default_factory=threading.Event)


def is_commit(data: bytes) -> bool:
    """Whether bytes begin the transaction by which a worker commits to Redis."""
    return data.startswith(b"*1\r\n$5\r\nMULTI\r\n")


def produces_to(topic: str) -> Callable[[bytes], bool]:
    """Return what tells whether bytes begin a write to a topic: length, API key, and the topic's name near by."""
    name = topic.encode()
    return lambda data: int.from_bytes(data[4:6], "big") == PRODUCE and name in data[:400]


class _Link:
    """One connection: a client's side and a server's."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self._writers = writers
        self.trap: Trap | None = None
        """One that lets only so many bytes of the answers through."""

    def cut(self) -> None:
        """End both sides at once; what was written and not sent is dropped."""
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        """Let what was written arrive, then end both sides."""
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with suppress(OSError):
                await writer.wait_closed()


class Proxy:
    """Listens on ``port`` of loopback and carries bytes to and from another port of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int, target: int) -> None:
        """Nothing listens yet; ``Proxies.between`` makes one that does."""
        self.port = port
        self.target = target
        """Where new connections lead to."""
        self.delay_seconds = 0.0
        """How long each piece of bytes is held back, in either direction."""
        self.bytes_per_second = 0.0
        """How fast the wire is; 0: as fast as it goes."""
        self._loop = loop
        self._links: set[_Link] = set()
        self._cuts = 0
        self._flows = asyncio.Event()
        self._flows.set()
        self._trap: Trap | None = None

    async def listen(self) -> None:
        """Take connections from now on."""
        await asyncio.start_server(self._serve, _LOOPBACK, self.port)

    def arm(self, trap: Trap | None) -> None:
        """Set a trap in the place of any other; None: none."""
        self._trap = trap

    def cut(self) -> None:
        """Cut every connection; new ones are taken."""
        self._call(self._cut)

    def lead_to(self, target: int) -> None:
        """Let new connections lead to another port, and cut those that lead to the old one."""
        self.target = target
        self.cut()

    def stop_flow(self) -> None:
        """Let no byte through, and keep the connections: a wire that is silent."""
        self._call(self._flows.clear)

    def resume_flow(self) -> None:
        """Let bytes through again."""
        self._call(self._flows.set)

    def heal(self) -> None:
        """Be a good wire again."""
        self.delay_seconds = self.bytes_per_second = 0.0
        self.arm(None)
        self.resume_flow()

    def _call(self, action: Callable[[], object]) -> None:
        done = threading.Event()

        def act() -> None:
            action()
            done.set()

        self._loop.call_soon_threadsafe(act)
        done.wait(5)

    def _cut(self) -> None:
        self._cuts += 1
        for link in self._links:
            link.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cuts = self._cuts
        try:
            there, back = await asyncio.open_connection(_LOOPBACK, self.target)
        except OSError:
            # As a port that nobody listens on.
            writer.transport.abort()
            return
        link = _Link(writer, back)
        if cuts != self._cuts:
            link.cut()
            return
        self._links.add(link)
        ways = [
            asyncio.create_task(self._requests(link, reader, back)),
            asyncio.create_task(self._answers(link, there, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            self._links.discard(link)
            await link.close()

    async def _requests(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left: int | None = None
        trap: Trap | None = None
        while data := await self._read(reader):
            if trap is None and self._trap is not None and self._trap.matches(data):
                trap, self._trap = self._trap, None
                if trap.answers:
                    link.trap = trap
                else:
                    left = trap.after
            if left is not None and trap is not None:
                data, left = data[:left], left - len(data)
            writer.write(data)
            await writer.drain()
            if left is not None and trap is not None and left <= 0:
                # What came before the cut arrives: the server's side is closed, not broken.
                trap.sprung.set()
                await link.close()
                return

    async def _answers(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await self._read(reader):
            trap = link.trap
            if trap is not None:
                data, trap.after = data[: trap.after], trap.after - len(data)
            writer.write(data)
            await writer.drain()
            if trap is not None and trap.after <= 0:
                trap.sprung.set()
                await link.close()
                return

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        """Return the next bytes, as late as the wire is slow; none at the end."""
        try:
            data = await reader.read(_CHUNK_BYTES)
        except OSError:
            return b""
        seconds = self.delay_seconds
        if self.bytes_per_second:
            seconds += len(data) / self.bytes_per_second
        if seconds:
            await asyncio.sleep(seconds)
        await self._flows.wait()
        return data


class Proxies:
    """The thread that all proxies run in; a daemon, which ends with the process."""

    def __init__(self) -> None:
        """Start the thread."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def between(self, port: int, target: int) -> Proxy:
        """Return a proxy that listens on ``port`` and leads to ``target``, both of loopback."""
        proxy = Proxy(self._loop, port, target)
        asyncio.run_coroutine_threadsafe(proxy.listen(), self._loop).result(5)
        return proxy
