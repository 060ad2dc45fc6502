"""Compiles every kernel, or loads it from the cache, before the first event needs it.

``python -m stream.agents.warmup`` compiles one half of them, beside a worker that compiles the other.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import numpy as np
import orjson

from stream.activation import restore
from stream.agents.cold_start import end_with_parent, first_events
from stream.ahead import Ahead, read_ahead
from stream.events import decode, read
from stream.features import FEATURES, NO_TAXONOMY
from stream.pipeline import PartitionState, process_batch, take_commit
from stream.records import USE_FOLD, ContentId, Header
from stream.scoring import Models, explain, score
from stream.scoring.forest_kernels import WALKED_ROWS
from stream.signals import SIGNAL
from stream.spans import Spans
from stream.stores.packing import warm_packing
from stream.stores.table import Table
from stream.versions import CANARY, ModelVersion

logger = logging.getLogger(__name__)

_OBJECTS: Final = 50_000
"""New objects before Python looks for unreachable ones among them."""


class _OneModel:
    """A library of one model, of a tree, also as its own canary: others are arrays to kernels, and compile nothing."""

    def get(self, content: ContentId) -> bytes | None:
        trees = {"leaves": [2], "feature": [0], "threshold": [0.0], "missing": [0], "left": [1]}
        trees |= {"value": [0.0, 1.0], "cover": [1, 1]}
        fields = {"name": content.name, "kind": "trees", "link": "identity", "features": [FEATURES[0]], "trees": trees}
        return orjson.dumps(fields)

    async def wait_for(self, contents: Iterable[ContentId]) -> None:
        return None


async def _no_records(voters: Spans) -> list[bytes | None]:
    return [None] * len(voters)


async def warm_up(also: Callable[[], None] | None = None, helper: Callable[[], Awaitable[None]] | None = None) -> float:
    """Take a few events through every step in memory; return the seconds that it took.

    ``also`` compiles what is needed besides. Where there is a ``helper`` that compiles what ``_compile_other_half``
    needs, this process does everything else before it awaits it.
    """
    started = time.perf_counter()
    logger.info("loading kernels (a first start on a machine compiles them, which takes some seconds)")
    if also is not None:
        also()
    if helper is not None:
        await _take_events(reference=True)
        await helper()
    await _take_events(reference=False)
    seconds = time.perf_counter() - started
    logger.info("kernels are ready after %.1f s", seconds)
    return seconds


async def _take_events(*, reference: bool) -> None:
    """Take the events through every step; ``reference``: as if they were read already, and none explained."""
    header = _header()
    table = Table(16)
    active = await restore(header, _OneModel())
    # Before reading: by then a helper has compiled the part of it that this process needs as well.
    _score_blocks(active.models)
    state = PartitionState(0, "warmup", header, table, active, reference=reference)
    columns = first_events()
    ahead = None
    if reference:
        n = len(columns)
        facts = read(columns, 1, reference=True)
        ahead = Ahead(facts, active.taxonomy, np.zeros(n, SIGNAL), np.zeros(n, np.uint16))
    await process_batch(state, columns, _OneModel(), _no_records, ahead)
    warm_packing(take_commit(state, 0).records)
    table.forget(np.empty(0, np.int64))
    if not reference:
        _explain(active.models)


async def _compile_other_half() -> None:
    """Read the events, and explain: neither needs what the worker compiles meanwhile."""
    columns = first_events()
    decode(columns, 1, 0, facts=read_ahead(columns, 1, NO_TAXONOMY).facts)
    _explain((await restore(_header(), _OneModel())).models)


def _header() -> Header:
    header = Header(topic_id="", partition_count=1, owner="", start=0, offset=0)
    header.slots["model"] = [["warmup", ""]]
    header.versions = [ModelVersion("warmup", "", CANARY, 0.5).to_entry()]
    return header


def _score_blocks(models: Models) -> None:
    """Score so many rows that they go through a tree together."""
    n = WALKED_ROWS + 1
    score(models, np.zeros((n, len(models.columns))), np.full(n, USE_FOLD), 0, n, np.empty((n, len(models.tags))))


def _explain(models: Models) -> None:
    """Explain a row's score: whether any event triggers, and so is explained, is up to models."""
    explain(models, np.zeros((1, len(models.columns))), np.zeros(1, np.int64), 0)


if __name__ == "__main__":
    # As in the worker: looking for unreachable objects takes a tenth of the time that compiling does.
    gc.set_threshold(_OBJECTS)
    threading.Thread(target=end_with_parent, daemon=True).start()
    asyncio.run(_compile_other_half())
