"""What is freed goes back to the operating system, also where something in use lies behind it."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from asyncio import selector_events

import pytest

from stream.memory import CAN_GIVE_BACK, RECEIVE_BYTES, receive_less

HOLES = """
from pathlib import Path
from stream.memory import give_back

COUNT, BYTES = 200, 240 * 1024

def anonymous_mb():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024 / 1e6

# Once it has seen a larger block go, glibc takes such blocks from the heap, and no longer each by itself.
larger = [bytes(1 << 23)]
larger.clear()
before = anonymous_mb()
passing, kept = [], []
for _ in range(COUNT):
    passing.append(b"x" * BYTES)
    kept.append(b"x" * 6000)
passing.clear()
freed = anonymous_mb() - before
gave = give_back()
print(freed, anonymous_mb() - before, gave)
"""
"""In a process of its own: what others left in the heap of this one would be given back as well."""


@pytest.mark.skipif(not CAN_GIVE_BACK, reason="this C library has no malloc_trim")
def test_holes_in_the_heap_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, timeout=60, check=True)
    freed, left, gave = done.stdout.split()
    assert float(freed) > 40.0, "freeing alone gave it back: nothing is shown here"
    assert float(left) < 5.0
    assert gave == "True"


def test_connections_take_less_for_what_they_may_receive(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    monkeypatch.setattr(transport, "max_size", transport.max_size)
    receive_less()
    assert "self._sock.recv(self.max_size)" in inspect.getsource(transport)
    asyncio.run(_received_in_pieces())


async def _received_in_pieces() -> None:
    """Send much at once, and see that it comes in pieces no larger than asked for."""
    pieces: list[int] = []
    over = asyncio.get_running_loop().create_future()

    class Sink(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            pieces.append(len(data))

        def connection_lost(self, _: Exception | None) -> None:
            over.set_result(None)

    async with await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(bytes(4 * RECEIVE_BYTES))
        await writer.drain()
        writer.close()
        await over
    assert sum(pieces) == 4 * RECEIVE_BYTES
    assert max(pieces) <= RECEIVE_BYTES
