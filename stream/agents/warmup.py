"""Compiles every kernel, or loads it from the cache, before an event needs it.

Beside a second process (``stream.agents.cold_start``) a worker begins when it has those that any event needs, and the
ones that only models of trees need follow.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from stream.activation import restore
from stream.agents.cold_start import ALL, EXPLAINING, NEEDED, SecondProcess
from stream.agents.compiling import TRIAL, OneModel, explain_trees, first_events, first_header, score_trees
from stream.ahead import Ahead
from stream.caching import note_all
from stream.events import read
from stream.interfaces import Library
from stream.memory import settle
from stream.pipeline import PartitionState, process_batch, take_commit
from stream.records import ContentId
from stream.signals import SIGNAL
from stream.spans import Spans
from stream.stores.packing import warm_packing
from stream.stores.table import Table

logger = logging.getLogger(__name__)

_WAITS: Final = "a model of trees waits until kernels for it are compiled"


async def _no_records(voters: Spans) -> list[bytes | None]:
    return [None] * len(voters)


async def warm_up(also: Callable[[], None] | None = None, second: SecondProcess | None = None) -> float:
    """Take a few events through every step in memory; return the seconds that it took.

    ``also`` compiles what is needed besides. Where there is a ``second`` process, it compiles its half meanwhile, and
    kernels for models of trees are left to ``TreesLater``.
    """
    started = time.perf_counter()
    logger.info("loading kernels (a first start on a machine compiles them, which takes some seconds)")
    if also is not None:
        also()
    if second is not None:
        # What was imported stays: Python need not look for garbage in it while kernels are compiled.
        gc.freeze()
        await _take_events(reference=True)
        await second.until(NEEDED)
    await _take_events(reference=False)
    if second is None:
        score_trees()
        explain_trees()
        note_all()
    seconds = time.perf_counter() - started
    later = "" if second is None else "; those that only models of trees need follow"
    logger.info("kernels are ready after %.1f s%s", seconds, later)
    return seconds


async def _take_events(*, reference: bool) -> None:
    """Take the events through every step; ``reference``: but what the second process compiles.

    As if they were read already, and without a canary.
    """
    header = first_header()
    if not reference:
        header.versions = [TRIAL.to_entry()]
    table = Table(16)
    active = await restore(header, OneModel())
    state = PartitionState(0, "warmup", header, table, active, reference=reference)
    columns = first_events()
    ahead = None
    if reference:
        n = len(columns)
        facts = read(columns, 1, reference=True)
        ahead = Ahead(facts, active.taxonomy, np.zeros(n, SIGNAL), np.zeros(n, np.uint16))
    await process_batch(state, columns, OneModel(), _no_records, ahead)
    warm_packing(take_commit(state, 0).records)
    table.forget(np.empty(0, np.int64))


class TreesLater:
    """A library (interfaces.Library) in which a model of trees is in hand only once the kernels for such are ready.

    Whoever waits for contents goes on by then: what comes of them is as it would have been, only later.
    """

    def __init__(self, library: Library) -> None:
        """Take the library that holds the contents; nothing of trees is ready before ``compile`` is through."""
        self._library = library
        self._ready = asyncio.Event()
        self._wanted = asyncio.Event()
        self._is_compiling = False

    def get(self, content: ContentId) -> bytes | None:
        """Return a content's bytes, None while it is not in hand."""
        return self._library.get(content)

    async def wait_for(self, contents: Iterable[ContentId]) -> None:
        """Return when every one of ``contents`` is in hand, and what it takes to use it."""
        wanted = list(contents)
        await self._library.wait_for(wanted)
        if self._ready.is_set() or not any(map(self._has_trees, wanted)):
            return
        if not self._wanted.is_set():
            logger.info(_WAITS)
        self._wanted.set()
        await self._ready.wait()

    def complaints(self) -> list[str]:
        """Return why the worker is not ready, if a partition waits here."""
        return [_WAITS] if self._wanted.is_set() and not self._ready.is_set() else []

    def _has_trees(self, content: ContentId) -> bool:
        # No more than a look, of which nothing but time depends: a file that spells it otherwise is compiled for then.
        return content.kind == "model" and b'"trees"' in (self._library.get(content) or b"")

    async def compile(self, second: SecondProcess | None) -> None:
        """Have kernels for models of trees ready: at once where there is no ``second`` process, they are warm then.

        While nobody wants them they are its work alone; from then on this process compiles one half, in a thread.
        """
        if second is not None:
            started = time.perf_counter()
            waiting = [asyncio.create_task(_through(second)), asyncio.create_task(self._wanted.wait())]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                await self._compile(score_trees)
                await second.until(EXPLAINING)
                await self._compile(explain_trees)
            finally:
                for task in waiting:
                    task.cancel()
                second.end()
            note_all()
            settle()
            logger.info("kernels for models of trees are ready %.1f s later", time.perf_counter() - started)
        self._ready.set()

    async def _compile(self, kernels: Callable[[], None]) -> None:
        self._is_compiling = True
        await asyncio.to_thread(kernels)
        self._is_compiling = False

    def abandon(self) -> None:
        """End the process that is about to end, with its status, where a thread still compiles.

        Python would wait for the thread, longer than a worker may take to stop.
        """
        if self._is_compiling:
            end = sys.exc_info()[1]
            logging.shutdown()
            os._exit(int(end.code or 0) if isinstance(end, SystemExit) else 1)


async def _through(second: SecondProcess) -> None:
    """Return when it is through with all; each stage has its own time."""
    await second.until(EXPLAINING)
    await second.until(ALL)
