"""After the warm-up nothing is compiled any more, whatever the first events are."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import asyncio, gc
from pathlib import Path
import orjson
from numba.core.dispatcher import Dispatcher
from stream.agents.warmup import warm_up
from stream.features import FEATURES
from stream.scoring.forest import write_forest
from stream.versions import ModelVersion
from tests.forests import some_forest
from tests.unit.agents.worksite import activation, event, like, tick
from tests.unit.test_pipeline import Desk, voter_at

def compiled():
    found = [item for item in gc.get_objects() if isinstance(item, Dispatcher)]
    return {(item.py_func.__module__, item.py_func.__name__, str(sign)) for item in found for sign in item.signatures}

async def lively():
    desk = await Desk(2).opened()
    logistic = desk.shelf.model("logistic", kind="logistic", calibration={"slope": 2.0, "intercept": 0.1})
    fields = {"name": "trees", "kind": "trees", **write_forest(some_forest(1, 5, 20, 8), FEATURES)}
    trees = desk.shelf.add("model", "trees", orjson.dumps(fields))
    other = desk.shelf.model(bias=0.5)
    trials = [ModelVersion("likes", other.sha256, "canary", 0.5), ModelVersion("likes", other.sha256, "shadow")]
    contents = (desk.shelf.model(), logistic, trees, desk.shelf.campaign())
    words = desk.shelf.add("taxonomy", "words", Path("configs/taxonomy.toml").read_bytes())
    await desk.take(activation(*contents, words, versions=trials), tick(1))
    await desk.take(event("social.comment", eve, "c", {"text": "Ünï health care", "account": "apnews"}))
    late = event("social.like", ada, "late", {}, time="2026-09-01T00:00:00Z")
    await desk.take(*(like(ada, n) for n in range(4)), late, like(eve, 1), b"broken")
    await desk.take(event("consent.withdrawn", bob, "w", {"channel": "email"}), event("privacy.erased", ada, "e", {}))
    commit = desk.commit()
    assert commit.outbox.keys() == {"triggers", "rejects", "forwards"}

# Finding voters for a partition runs a kernel that the worker itself never calls.
ada, bob, eve = voter_at(0, 2), voter_at(0, 2, 1), voter_at(1, 2)
asyncio.run(warm_up())
before = compiled()
assert before
asyncio.run(lively())
print(sorted(compiled() - before))
"""


def test_lively_first_batch_compiles_nothing_more() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
