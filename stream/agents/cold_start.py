"""A second process for a cold start: it compiles what reads events, while the worker compiles everything else.

Both fill one cache on disk, and nothing else passes between them: what the helper leaves out, for whatever reason, the
worker compiles itself. ``python -m stream.agents.cold_start`` is that process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from stream.ahead import read_ahead
from stream.columns import Columns, columns_of
from stream.compiled import has_cache
from stream.events import decode
from stream.features import NO_TAXONOMY

logger = logging.getLogger(__name__)

_COMMAND: Final = (sys.executable, "-m", "stream.agents.cold_start")
_WAIT_SECONDS: Final = 60.0
_EVENT: Final = (
    b'{"specversion":"1.0","id":"1","source":"/warmup","type":"social.like","subject":"voter",'
    b'"time":"2026-01-01T00:00:00Z","data":{}}'
)


def first_events() -> Columns:
    """Return events that need every kernel of reading: one of them is written with escapes, one is for orjson."""
    values = [_EVENT, _EVENT.replace(b"/", b"\\/"), b"{}"]
    return columns_of(0, [0, 1, 2], [1, 2, 3], [None, b"voter", b"voter"], values, [(), (), ()])


@asynccontextmanager
async def helped() -> AsyncIterator[Callable[[], Awaitable[None]] | None]:
    """Run the helper beside the block, and give what waits until it is through; None where it would be of no use.

    It is of use where nothing is cached yet and a second processor is there. It ends with the block, and with this
    process, however that ends: its standard input is a pipe from here.
    """
    process = None if has_cache() or os.cpu_count() == 1 else _start()
    if process is None:
        yield None
        return
    with process:
        try:
            yield partial(_through, process)
        finally:
            process.kill()


def _start() -> subprocess.Popen[bytes] | None:
    try:
        return subprocess.Popen(  # noqa: S603 (this very program)
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        logger.warning("no second process compiles: %s", error)
        return None


async def _through(process: subprocess.Popen[bytes]) -> None:
    try:
        status: int | str = await asyncio.to_thread(process.wait, _WAIT_SECONDS)
    except subprocess.TimeoutExpired:
        status = f"not after {_WAIT_SECONDS:g} s"
    if status != 0:
        logger.warning("the second process that compiles has failed (%s): this one compiles what it left out", status)


def _end_with_parent() -> None:
    """End this process when the other end of its standard input is closed."""
    # Not by sys.stdin: Python would not end while a thread reads from that.
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    decode(first_events(), 1, 0, facts=read_ahead(first_events(), 1, NO_TAXONOMY).facts)
