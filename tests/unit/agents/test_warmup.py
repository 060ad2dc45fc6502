"""After the warm-up nothing is compiled any more, whatever the first events are; models of trees wait for theirs."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import orjson
import pytest

from stream.agents import warmup as room
from stream.agents.cold_start import ALL, EXPLAINING, NEEDED, SecondProcess
from stream.agents.warmup import TreesLater, warm_up
from stream.features import FEATURES
from stream.pipeline import process_batch
from stream.records import ContentId
from stream.scoring.forest import write_forest
from tests.forests import some_forest
from tests.unit.agents.worksite import Shelf, activation, like
from tests.unit.test_pipeline import Desk

SCRIPT = """
import asyncio, gc
from pathlib import Path
from numba.core.dispatcher import Dispatcher
from stream.agents.warmup import TreesLater, warm_up
from stream.versions import ModelVersion
from tests.unit.agents.test_warmup import Stages, shelve_trees
from tests.unit.agents.worksite import activation, event, like, tick
from tests.unit.test_pipeline import Desk, voter_at

def compiled():
    found = [item for item in gc.get_objects() if isinstance(item, Dispatcher)]
    return {(item.py_func.__module__, item.py_func.__name__, str(sign)) for item in found for sign in item.signatures}

async def lively(has_trees):
    desk = await Desk(2).opened()
    logistic = desk.shelf.model("logistic", kind="logistic", calibration={"slope": 2.0, "intercept": 0.1})
    trees = [shelve_trees(desk.shelf)] if has_trees else []
    other = desk.shelf.model(bias=0.5)
    trials = [ModelVersion("likes", other.sha256, "canary", 0.5), ModelVersion("likes", other.sha256, "shadow")]
    contents = (desk.shelf.model(), logistic, *trees, desk.shelf.campaign())
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
second = Stages(1) if IN_TWO else None
asyncio.run(warm_up(second=second))
gc.unfreeze()
before = compiled()
assert before
asyncio.run(lively(not IN_TWO))
print(sorted(compiled() - before))
if IN_TWO:
    assert not any(module.endswith("forest_kernels") for module, _, _ in before)
    second.advance(3)
    asyncio.run(TreesLater(None).compile(second))
    before = compiled()
    asyncio.run(lively(True))
    print(sorted(compiled() - before))
"""


class Stages(SecondProcess):
    """A second process that is as far as a test says."""

    def __init__(self, stage: int = 0) -> None:
        self.reached = stage
        self.asked: list[int] = []
        self.ends = 0
        self._moved = asyncio.Event()

    def advance(self, stage: int) -> None:
        self.reached = stage
        self._moved.set()

    async def until(self, stage: int) -> None:
        self.asked.append(stage)
        while self.reached < stage:
            self._moved.clear()
            await self._moved.wait()

    def end(self) -> None:
        self.ends += 1


def shelve_trees(shelf: Shelf) -> ContentId:
    fields = {"name": "trees", "kind": "trees", **write_forest(some_forest(1, 5, 20, 8), FEATURES)}
    return shelf.add("model", "trees", orjson.dumps(fields))


async def turns() -> None:
    """Let all that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("in_two", "lists"), [(False, 1), (True, 2)])
def test_lively_first_batch_compiles_nothing_more(in_two: bool, lists: int) -> None:
    script = f"IN_TWO = {in_two}\n{SCRIPT}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[]"] * lists


def test_second_process_compiles_nothing_that_a_worker_does_not_need() -> None:
    find = SCRIPT[SCRIPT.index("def compiled") : SCRIPT.index("async def lively")]
    script = f"""
import asyncio, gc
from numba.core.dispatcher import Dispatcher
from stream.agents import compiling
from stream.agents.warmup import warm_up
{find}
asyncio.run(warm_up())
before = compiled()
compiling._compile_half()
assert compiled() == before
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "..."


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What of models of trees this process compiled."""
    done: list[str] = []

    def noting(name: str) -> Callable[[], None]:
        return lambda: done.append(name)

    monkeypatch.setattr(room, "score_trees", noting("score"))
    monkeypatch.setattr(room, "explain_trees", noting("explain"))
    monkeypatch.setattr(room, "note_all", noting("all"))
    monkeypatch.setattr(gc, "freeze", lambda: None)
    return done


async def test_warm_up_waits_for_what_every_worker_needs_and_leaves_trees_to_later(compiled: list[str]) -> None:
    second = Stages()
    warming = asyncio.create_task(warm_up(second=second))
    while not second.asked:
        await asyncio.sleep(0)
    await turns()
    assert not warming.done()
    second.advance(NEEDED)
    await warming
    assert second.asked == [NEEDED]
    assert compiled == []


async def test_warm_up_in_one_process_compiles_trees_too(compiled: list[str]) -> None:
    await warm_up()
    assert compiled == ["score", "explain", "all"]
    later = TreesLater(shelf := Shelf())
    await later.compile(None)
    await later.wait_for([shelve_trees(shelf)])
    assert compiled == ["score", "explain", "all"]


async def test_what_has_no_trees_waits_for_none() -> None:
    shelf = Shelf()
    later = TreesLater(shelf)
    sums = shelf.model()
    await later.wait_for([sums, shelf.campaign()])
    assert later.get(sums) == shelf.get(sums)


async def test_trees_that_are_wanted_are_compiled_by_both(
    compiled: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    shelf, second = Shelf(), Stages(NEEDED)
    later = TreesLater(shelf)
    compiling = asyncio.create_task(later.compile(second))
    await turns()
    assert (compiled, later.complaints()) == ([], [])
    waiting = [asyncio.create_task(later.wait_for([shelve_trees(shelf), shelf.model()])) for _ in range(2)]
    while not compiled:
        await asyncio.sleep(0)
    await turns()
    assert compiled == ["score"]
    assert not any(one.done() for one in waiting)
    assert later.complaints() == [room._WAITS]
    second.advance(EXPLAINING)
    await asyncio.gather(compiling, *waiting)
    assert compiled == ["score", "explain", "all"]
    assert later.complaints() == []
    assert caplog.text.count(room._WAITS) == 1
    assert second.ends == 1


async def test_trees_that_nobody_wants_are_left_to_the_second_process(compiled: list[str]) -> None:
    shelf, second = Shelf(), Stages(EXPLAINING)
    later = TreesLater(shelf)
    compiling = asyncio.create_task(later.compile(second))
    await turns()
    assert compiled == []
    second.advance(ALL)
    await compiling
    await later.wait_for([shelve_trees(shelf)])
    assert compiled == ["score", "explain", "all"]


async def test_process_does_not_wait_for_what_still_compiles(
    compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended, exits = asyncio.Event(), threading.Event(), list[int]()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(os, "_exit", exits.append)
    monkeypatch.setattr(logging, "shutdown", lambda: None)

    def compile_slowly() -> None:
        loop.call_soon_threadsafe(begun.set)
        ended.wait(60)

    monkeypatch.setattr(room, "score_trees", compile_slowly)
    later = TreesLater(Shelf())
    later.abandon()
    compiling = asyncio.create_task(later.compile(Stages(ALL)))
    await begun.wait()
    compiling.cancel()
    await asyncio.wait([compiling])
    for status in (0, 3):
        try:
            raise SystemExit(status)
        except SystemExit:
            later.abandon()
    ended.set()
    assert exits == [0, 3]
    assert compiled == []


async def test_second_process_ends_with_a_worker_that_stops_meanwhile() -> None:
    second = Stages(NEEDED)
    compiling = asyncio.create_task(TreesLater(Shelf()).compile(second))
    await turns()
    compiling.cancel()
    await asyncio.wait([compiling])
    assert compiling.cancelled()
    assert second.ends == 1
    assert len(asyncio.all_tasks()) == 1


async def test_activation_of_trees_waits_and_decides_what_it_would_have(compiled: list[str]) -> None:
    ends = []
    for waits in (False, True):
        desk = await Desk().opened()
        contents = shelve_trees(desk.shelf), desk.shelf.model(), desk.shelf.campaign()
        rows = (like("ada", 1), activation(*contents), *(like("ada", n) for n in range(2, 6)))
        if waits:
            later, second = TreesLater(desk.shelf), Stages(NEEDED)
            desk.tape.write(*rows)
            taking = asyncio.create_task(process_batch(desk.state, desk.tape.take(1000), later, desk.load))
            await turns()
            assert not taking.done()
            assert desk.state.header.offset == 0
            second.advance(ALL)
            await later.compile(second)
            await taking
        else:
            await desk.take(*rows)
        commit = desk.commit()
        ends.append((commit.header, sorted(commit.records), commit.outbox))
    assert ends[0] == ends[1]
    assert ends[0][2]["triggers"]
