"""A second process for a cold start: it compiles one half of the kernels while the worker compiles the other.

Both fill one cache on disk, and nothing else passes between them but how far the second one is: what it leaves out, for
whatever reason, the worker compiles itself. ``python -m stream.agents.compiling`` is that process. Nothing that takes
time is imported here: it begins before the worker reads its settings and imports Faust.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from stream.caching import has_all

logger = logging.getLogger(__name__)

NEEDED: Final = 1
"""How far it is: it has compiled its half of what every worker needs,"""
EXPLAINING: Final = 2
"""and what explains models of trees,"""
ALL: Final = 3
"""and what scores them."""

_COMMAND: Final = (sys.executable, "-m", "stream.agents.compiling")
_WAIT_SECONDS: Final = 60.0


class SecondProcess:
    """The second process as the worker sees it: for each stage that it is through with, it writes a byte."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Take it as it was started, with pipes to its input and from its output."""
        assert process.stdout is not None  # noqa: S101 (a pipe)
        self._process = process
        self._output = process.stdout.fileno()
        self._stage = 0
        self._ended = False
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def until(self, stage: int) -> None:
        """Return when it is through with a stage, or has failed: it says so, and this process compiles the rest."""
        if self._loop is None and not self._ended:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._output, self._listen)
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                while self._stage < stage and not self._ended:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            self._fail(f"not after {_WAIT_SECONDS:g} s")

    def end(self) -> None:
        """End it, if it runs, and wait until it is gone."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._output)
        self._loop, self._ended = None, True
        self._changed.set()
        with self._process:
            self._process.kill()

    def _listen(self) -> None:
        told = os.read(self._output, ALL)
        self._stage += len(told)
        self._changed.set()
        if not told and self._stage < ALL:
            self._fail(self._process.wait())
        elif not told:
            self.end()

    def _fail(self, status: int | str) -> None:
        logger.warning("the second process that compiles has failed (%s): this one compiles what it left out", status)
        self.end()


@contextmanager
def second_process() -> Iterator[SecondProcess | None]:
    """Run it beside the block; None where it would be of no use.

    It is of use where not all kernels are cached yet and a second processor is there. It ends with the block, and with
    this process, however that ends: its standard input is a pipe from here.
    """
    process = None if os.cpu_count() == 1 or has_all() else _start()
    if process is None:
        yield None
        return
    second = SecondProcess(process)
    try:
        yield second
    finally:
        second.end()


def _start() -> subprocess.Popen[bytes] | None:
    try:
        return subprocess.Popen(  # noqa: S603 (this very program)
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        logger.warning("no second process compiles: %s", error)
        return None


def end_with_parent() -> None:
    """End this process when the other end of its standard input is closed."""
    # Not by sys.stdin: Python would not end while a thread reads from that.
    os.read(0, 1)
    os._exit(1)
