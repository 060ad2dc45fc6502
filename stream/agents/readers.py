"""Large batches are read in a thread of their own, ahead of their turn, while the event loop decides others."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
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
