"""What compiles kernels by itself, apart from the way of an event: reading, deciding, and models of trees.

``python -m stream.agents.compiling`` compiles one half of them, beside a worker that compiles the other: first of what
every worker needs, then what only models of trees need.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterable
from typing import Final

import numpy as np
import orjson

from stream.activation import build
from stream.agents.cold_start import end_with_parent
from stream.ahead import read_ahead
from stream.columns import Columns, columns_of
from stream.events import read
from stream.features import FEATURES, NO_TAXONOMY
from stream.records import MAX_MODELS, USE_FOLD, VOTER, ContentId, Header
from stream.scoring import Models, compile_models, explain, read_model, score, take_canaries
from stream.scoring.forest_kernels import WALKED_ROWS
from stream.triggers import decide
from stream.versions import CANARY, ModelVersion

_EVENT: Final = (
    b'{"specversion":"1.0","id":"1","source":"/warmup","type":"social.like","subject":"voter",'
    b'"time":"2026-01-01T00:00:00Z","data":{}}'
)
TRIAL: Final = ModelVersion("warmup", "", CANARY, 0.5)
_SUM: Final = orjson.dumps({"name": "warmup", "kind": "linear", "bias": 0.0, "weights": {FEATURES[0]: 1.0}})
_TREE: Final = {"leaves": [2], "feature": [0], "threshold": [0.0], "missing": [0], "left": [1], "value": [0.0, 1.0]}
_TREES: Final = orjson.dumps(
    {
        "name": "warmup",
        "kind": "trees",
        "link": "identity",
        "features": [FEATURES[0]],
        "trees": {**_TREE, "cover": [1, 1]},
    }
)
_OBJECTS: Final = 50_000
"""New objects before Python looks for unreachable ones among them."""


class OneModel:
    """A library (interfaces.Library) of one weighted sum: others are arrays to kernels, and compile nothing."""

    def get(self, content: ContentId) -> bytes | None:
        """Return its file, whatever is asked for."""
        return _SUM

    async def wait_for(self, contents: Iterable[ContentId]) -> None:
        """Return at once."""


def first_header() -> Header:
    """Return a header of a partition in which that model is active."""
    header = Header(topic_id="", partition_count=1, owner="", start=0, offset=0)
    header.slots["model"] = [[TRIAL.name, TRIAL.sha256]]
    return header


def first_events() -> Columns:
    """Return events that need every kernel of reading: one of them is written with escapes, one is for orjson."""
    values = [_EVENT, _EVENT.replace(b"/", b"\\/"), b"{}"]
    return columns_of(0, [0, 1, 2], [1, 2, 3], [None, b"voter", b"voter"], values, [(), (), ()])


def score_trees() -> None:
    """Score by a model of trees: a row by itself, and so many that they go through a tree together."""
    models = _models()
    n = WALKED_ROWS + 1
    score(models, np.zeros((n, len(models.columns))), np.full(n, USE_FOLD), 0, n, np.empty((n, len(models.tags))))


def explain_trees() -> None:
    """Explain a row's score by a model of trees."""
    models = _models()
    explain(models, np.zeros((1, len(models.columns))), np.zeros(1, np.int64), 0)


def _models() -> Models:
    return compile_models([read_model(_TREES, FEATURES)], np.ones(MAX_MODELS, np.uint32))


def _compile_half() -> None:
    """Compile, and after each stage of ``stream.agents.cold_start`` write a byte."""
    # First what the worker needs as well: it is still importing, and finds that done.
    header, columns = first_header(), first_events()
    active = build(header.slots, OneModel(), [TRIAL])
    n, tags = len(columns), active.models.tags
    none, scores = np.zeros(n, np.int64), np.empty((n, len(tags)))
    decide(np.zeros(1, VOTER), none, none, none, scores, tags, active.empty, none, active.campaigns, 0, n)
    read(columns, 1, reference=True)
    voters = read_ahead(columns, 1, NO_TAXONOMY).facts.reading.voters
    take_canaries(active.canaries, voters, none, 0, n, scores, none)
    os.write(1, b".")
    for stage in (explain_trees, score_trees):
        stage()
        os.write(1, b".")


if __name__ == "__main__":
    # As in the worker: looking for unreachable objects takes a tenth of the time that compiling does, and part of that
    # is looking through what was imported, which stays.
    gc.set_threshold(_OBJECTS)
    gc.freeze()
    threading.Thread(target=end_with_parent, daemon=True).start()
    _compile_half()
