"""Compiles every kernel, or loads it from the cache, before the first event needs it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

import numpy as np
import orjson

from stream.activation import restore
from stream.columns import columns_of
from stream.pipeline import PartitionState, process_batch, take_commit
from stream.records import ContentId, Header
from stream.spans import Spans
from stream.stores.packing import warm_packing
from stream.stores.table import Table

logger = logging.getLogger(__name__)

_EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/warmup",
    "type": "social.like",
    "subject": "voter",
    "time": "2026-01-01T00:00:00Z",
    "data": {},
}


class _NoContents:
    """A library of nothing: kernels take models and campaigns as arrays, so none is needed to compile them."""

    def get(self, content: ContentId) -> bytes | None:
        return None

    async def wait_for(self, contents: Iterable[ContentId]) -> None:
        return None


async def _no_records(voters: Spans) -> list[bytes | None]:
    return [None] * len(voters)


async def warm_up() -> float:
    """Take a few events through every step in memory; return the seconds that it took.

    One is written with escapes, and one is for orjson: each has kernels of its own.
    """
    started = time.perf_counter()
    logger.info("loading kernels (a first start on a machine compiles them, which takes some seconds)")
    library = _NoContents()
    header = Header(topic_id="", partition_count=1, owner="", start=0, offset=0)
    table = Table(16)
    state = PartitionState(0, "warmup", header, table, await restore(header, library))
    value = orjson.dumps(_EVENT)
    values = [value, value.replace(b"/", b"\\/"), b"{}"]
    columns = columns_of(0, [0, 1, 2], [1, 2, 3], [None, b"voter", b"voter"], values, [(), (), ()])
    await process_batch(state, columns, library, _no_records)
    warm_packing(take_commit(state, 0).records)
    table.forget(np.empty(0, np.int64))
    seconds = time.perf_counter() - started
    logger.info("kernels are ready after %.1f s", seconds)
    return seconds
