"""Servers that tests open on asyncio's streams."""

from __future__ import annotations

import asyncio
from typing import Final

_TURNS: Final = 10
"""Of the event loop, more than a connection takes from being accepted to its handler."""


async def stop_listening(server: asyncio.Server) -> None:
    """Accept no more, let what was accepted reach its handler, and close the server.

    Where a server is closed at once, asyncio loses a connection that is on its way, and nobody closes its socket.
    """
    for listening in server.sockets:
        asyncio.get_running_loop().remove_reader(listening.fileno())
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    server.close()
