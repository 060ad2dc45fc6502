"""Threads beside the event loop's: large batches are read ahead of their turn, and half of them scored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final

from stream.ahead import Ahead, read_ahead
from stream.columns import Columns
from stream.features import CompiledTaxonomy

MOST_BYTES: Final = 4 * 1024 * 1024
"""Of a batch's buffer, which several may share: reading texts with escapes copies it."""


def unread(columns: Columns, partition_count: int, taxonomy: CompiledTaxonomy) -> asyncio.Future[Ahead] | None:
    """Leave every batch to be read when it is decided (ReadAhead's place where there is none)."""
    del columns, partition_count, taxonomy
    return None


class ReadAhead:
    """One thread for all partitions: what reading takes is a third of what the event loop's thread has to do else."""

    def __init__(self, least_rows: int) -> None:
        """Batches of fewer than ``least_rows`` rows are not worth the handing over."""
        self._least_rows = least_rows
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reader")

    def __call__(
        self, columns: Columns, partition_count: int, taxonomy: CompiledTaxonomy
    ) -> asyncio.Future[Ahead] | None:
        """Begin to read a batch; None for one that is too small, or lies in too large a buffer."""
        if len(columns) < self._least_rows or len(columns.buffer) > MOST_BYTES:
            return None
        return asyncio.get_running_loop().run_in_executor(self._thread, read_ahead, columns, partition_count, taxonomy)


class SecondThread:
    """Does half of the work in a thread (interfaces.Both): worth it where compiled code does it, without the lock."""

    def __init__(self, took: Callable[[float], None] = lambda _seconds: None) -> None:
        """One thread for all partitions; ``took`` is told the processor's seconds that it took for each half."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")
        self._took = took

    def __call__(self, one: Callable[[], None], other: Callable[[], None]) -> None:
        """Do ``one`` here and ``other`` in the thread."""
        doing = self._thread.submit(_timed, other)
        try:
            one()
        finally:
            # Whatever comes of it, the thread writes into the caller's arrays no longer.
            wait([doing])
        self._took(doing.result())


def _timed(work: Callable[[], None]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started
