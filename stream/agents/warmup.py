"""Compiles every kernel, or loads it from the cache, before the first event needs it."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable

import numpy as np
import orjson

from stream.activation import restore
from stream.agents.cold_start import first_events
from stream.ahead import Ahead
from stream.events import read
from stream.features import FEATURES
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

    ``also`` compiles what is needed besides. Where there is a ``helper`` that compiles what reads events, this process
    does everything else before it awaits it.
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
    """Take the events through every step; ``reference``: read by library code, for which nothing is compiled."""
    library = _OneModel()
    header = Header(topic_id="", partition_count=1, owner="", start=0, offset=0)
    header.slots["model"] = [["warmup", ""]]
    header.versions = [ModelVersion("warmup", "", CANARY, 0.5).to_entry()]
    table = Table(16)
    state = PartitionState(0, "warmup", header, table, await restore(header, library), reference=reference)
    columns = first_events()
    ahead = None
    if reference:
        # As if their signals were read, since the helper compiles that too.
        n = len(columns)
        facts = read(columns, 1, reference=True)
        ahead = Ahead(facts, state.active.taxonomy, np.zeros(n, SIGNAL), np.zeros(n, np.uint16))
    await process_batch(state, columns, library, _no_records, ahead)
    _score_block(state.active.models)
    # Whether any of them fires a trigger that explains itself is the models' affair.
    explain(state.active.models, np.zeros((1, 1)), np.zeros(1, np.int64), 0)
    warm_packing(take_commit(state, 0).records)
    table.forget(np.empty(0, np.int64))


def _score_block(models: Models) -> None:
    """Score so many rows that they go through a tree together."""
    n = WALKED_ROWS + 1
    rows, use = np.zeros((n, len(models.columns))), np.full(n, USE_FOLD)
    score(models, rows, use, 0, n, np.empty((n, len(models.tags))))
