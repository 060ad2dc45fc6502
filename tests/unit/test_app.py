"""The worker as it is wired: settings that reach its parts, its pages, and a broker that answers late."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiokafka.errors import KafkaConnectionError
from faust import streams as faust_streams
from faust.types import TP, ConsumerMessage

from stream import app as app_room
from stream.agents.warmup import TreesLater
from stream.app import Worker
from stream.memory import settle
from stream.settings import Settings
from tests.unit.agents.test_warmup import shelve_trees
from tests.unit.agents.worksite import Shelf, until


class Broker:
    """In the consumer's place: answers what a test says, after the errors that it names."""

    def __init__(self, errors: Iterable[Exception] = ()) -> None:
        self.errors = list(errors)
        self.ends: dict[TP, int] = {}

    async def log_ranges(self, tps: Iterable[TP]) -> Mapping[TP, tuple[int, int]]:
        if self.errors:
            raise self.errors.pop(0)
        return dict.fromkeys(tps, (3, 9))

    async def log_ends(self) -> Mapping[TP, int]:
        if self.errors:
            raise self.errors.pop(0)
        return self.ends


def worker_of(broker: Broker | None = None, **options: Any) -> Worker:
    worker = Worker(Settings(namespace="east"), "topic-1", 4, **options)
    worker.consumer = broker or Broker()  # type: ignore[assignment]
    return worker


Page = Callable[[str], Awaitable[tuple[int, str, str]]]


@asynccontextmanager
async def served(worker: Worker) -> AsyncIterator[Page]:
    """Serve a worker's pages; the value asks for one and returns status, content type and text."""
    worker.finalize()
    worker.web.init_server()
    application: Any = worker.web
    async with TestClient(TestServer(application.web_app)) as client:

        async def page(path: str) -> tuple[int, str, str]:
            async with client.get(path, allow_redirects=False) as response:
                return response.status, response.headers["Content-Type"], await response.text()

        yield page


# --- what it is given ------------------------------------------------------------------------------------


def test_namespace_prefixes_topics_group_and_keys() -> None:
    worker = worker_of()
    assert worker.events_topic == "east.engagement.events"
    assert worker.conf.id == "east.groundswell"
    log = worker._log()
    assert (log.topic, log.topic_id, log.partition_count) == ("east.engagement.events", "topic-1", 4)


def test_partitions_share_the_room_for_voters() -> None:
    worker = worker_of()
    limits = worker.new_partition(0, worker.engagement)._limits
    assert limits.voters() == worker.settings.worker.voters_in_memory
    for number in range(4):
        worker.engagement.partitions[number] = worker.new_partition(number, worker.engagement)
    assert limits.voters() == worker.settings.worker.voters_in_memory // 4


def test_every_output_has_a_relay() -> None:
    worker = worker_of()
    partition = worker.new_partition(2, worker.engagement)
    assert worker._new_relays(partition._store, 2).keys() == {"triggers", "rejects", "forwards"}


def test_relays_of_all_partitions_share_what_brokers_have_granted() -> None:
    worker = worker_of()
    relays = [
        relay
        for number in (0, 1)
        for relay in worker._new_relays(worker.new_partition(number, worker.engagement)._store, number).values()
    ]
    assert len(relays) == 6
    assert {relay._modes for relay in relays} == {worker._modes}


# --- a broker that answers late --------------------------------------------------------------------------


async def test_bounds_are_asked_for_until_the_broker_answers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app_room, "_BOUNDS_SECONDS", 0.001)
    caplog.set_level(logging.WARNING)
    worker = worker_of(Broker([KafkaConnectionError("gone"), TimeoutError(), OSError("reset")]))
    assert await worker._log().bounds(1) == (3, 9)
    assert caplog.text.count("the bounds of partition 1 are not known") == 3


async def test_defect_in_asking_for_bounds_is_not_repeated() -> None:
    worker = worker_of(Broker([ValueError("defect")]))
    with pytest.raises(ValueError, match="defect"):
        await worker._log().bounds(1)


async def test_watch_keeps_the_complaints(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_WATCH_SECONDS", "_STARTING_SECONDS"):
        monkeypatch.setattr(app_room, name, 0.001)
    broker = Broker([KafkaConnectionError("gone")])
    worker = worker_of(broker)
    assert worker.complaints == ["the worker is starting"]
    watching = asyncio.create_task(worker._watch())
    await until(lambda: "assigned nothing yet" in worker.complaints[0])
    assert broker.errors
    await worker.engagement.positions(frozenset())
    await until(lambda: worker.complaints == [])
    worker.engagement.partitions[0] = SimpleNamespace(state=None, relays={})  # type: ignore[assignment]
    await until(lambda: worker.complaints)
    assert "gone" in worker.complaints[0]
    await until(lambda: worker.complaints == [])
    watching.cancel()
    await asyncio.wait([watching])


async def test_backlog_and_standstill_are_shown_while_the_broker_does_not_say_where_the_log_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app_room, "_STARTING_SECONDS", 0.001)
    worker = worker_of(Broker([KafkaConnectionError("gone")] * 1000))
    relay = SimpleNamespace(sent_through=3, backlog=4)
    worker.engagement.partitions[2] = SimpleNamespace(state=None, relays={"rejects": relay})  # type: ignore[assignment]
    worker.engagement._moved[2] = (None, float("-inf"))
    watching = asyncio.create_task(worker._watch())
    await until(lambda: "gone" in worker.complaints[0])
    shown = worker.metrics.exposition()
    watching.cancel()
    await asyncio.wait([watching])
    assert b'groundswell_relay_backlog{output="rejects",partition="2"} 4.0' in shown
    assert b'groundswell_standstill_seconds{partition="2"} +Inf' in shown


async def test_worker_that_starts_is_ready_as_soon_as_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_room, "_WATCH_SECONDS", 3600)
    monkeypatch.setattr(app_room, "_STARTING_SECONDS", 0.001)
    worker = worker_of()
    watching = asyncio.create_task(worker._watch())
    await until(lambda: "assigned nothing yet" in worker.complaints[0])
    await worker.engagement.positions(frozenset())
    await until(lambda: worker.complaints == [])
    watching.cancel()
    await asyncio.wait([watching])


async def test_worker_is_not_ready_while_a_model_of_trees_waits_for_its_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_WATCH_SECONDS", "_STARTING_SECONDS"):
        monkeypatch.setattr(app_room, name, 0.001)
    worker, shelf = worker_of(), Shelf()
    worker.contents = TreesLater(shelf)
    await worker.engagement.positions(frozenset())
    watching = asyncio.create_task(worker._watch())
    await until(lambda: worker.complaints == [])
    waiting = asyncio.create_task(worker.contents.wait_for([shelve_trees(shelf)]))
    await until(lambda: worker.complaints == ["a model of trees waits until kernels for it are compiled"])
    await worker.contents.compile(None)
    await waiting
    await until(lambda: worker.complaints == [])
    watching.cancel()
    await asyncio.wait([watching])


# --- what its start leaves -------------------------------------------------------------------------------


@pytest.fixture
def collector() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
def test_what_a_start_leaves_is_not_searched_for_garbage_again() -> None:
    worker = Worker(Settings(), "", 4)
    settle()
    assert gc.get_freeze_count() > 10_000
    assert not any(found is worker.engagement for found in gc.get_objects())


async def test_freed_memory_is_given_back_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[None] = []
    monkeypatch.setattr(app_room, "_GIVE_BACK_SECONDS", 0.001)
    monkeypatch.setattr(app_room, "give_back", lambda: given.append(None))
    giving = asyncio.create_task(worker_of()._give_back())
    await until(lambda: len(given) >= 3)
    giving.cancel()
    await asyncio.wait([giving])


# --- its end ---------------------------------------------------------------------------------------------

HANGING_STOP = """
import asyncio
from types import SimpleNamespace
from stream.agents.warmup import TreesLater
from stream.app import Worker
from stream.memory import settle
from stream.settings import Settings

async def hang():
    await asyncio.Event().wait()

async def main():
    worker = Worker(Settings(worker={"shutdown_seconds": 0.2}), "topic-1", 4)
    worker.consumer = SimpleNamespace(stop_flow=lambda: None)
    worker.engagement.stop = hang
    await worker.on_stop()

asyncio.run(main())
"""


def test_stop_that_does_not_come_to_its_end_is_broken_off_with_a_clear_line() -> None:
    done = subprocess.run([sys.executable, "-c", HANGING_STOP], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert "stopped: stopping took longer than worker.shutdown_seconds = 0.2" in done.stderr
    assert "Traceback" not in done.stderr


# --- pages -----------------------------------------------------------------------------------------------


async def test_pages_say_alive_ready_and_measured() -> None:
    worker = worker_of()
    async with served(worker) as page:
        assert (await page("/healthz"))[::2] == (200, "ok\n")
        assert (await page("/readyz"))[::2] == (503, "the worker is starting\n")
        worker.complaints = ["one thing", "another"]
        assert (await page("/readyz"))[::2] == (503, "one thing\nanother\n")
        worker.complaints = []
        assert (await page("/readyz"))[::2] == (200, "ready\n")
        status, kind, text = await page("/metrics")
        assert (status, kind) == (200, "text/plain; version=0.0.4")
        assert "groundswell_build_info" in text


# --- what it must not keep -------------------------------------------------------------------------------


@pytest.mark.parametrize("acks", [False, True])
async def test_faust_keeps_no_offset_of_a_batch_that_was_taken(acks: bool) -> None:
    """Faust's compiled stream acks past the consumer, one offset for each batch, and only a commit would let it go.

    A topic of the default settings shows that it still does: without that this test could not fail.
    """
    worker = Worker(Settings(namespace="east"), "topic-1", 4)
    worker.loop = asyncio.get_running_loop()
    topic: Any = worker.topic(worker.events_topic) if acks else worker.agents["engagement"].channel
    topics: Any = worker.topics
    topics.add(topic)
    await topics._update_indices()
    tp = TP(worker.events_topic, 1)
    message: Any = ConsumerMessage(tp.topic, 1, 9, 0.0, 1, None, None, b"", None, tp=tp)
    message.refcount = 1
    stream: Any = worker.stream(topic)
    compiled: Any = faust_streams
    compiled._CStreamIterator(stream).after(topic._create_event(None, b"", {}, message), stream.enable_acks, None)
    consumer: Any = worker.consumer
    consumer._thread.thread_loop.close()
    assert message.acked
    assert dict(consumer._acked) == ({tp: [9]} if acks else {})
    assert dict(consumer._acked_index) == ({tp: {9}} if acks else {})


async def test_start_leaves_no_directory_where_the_worker_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    worker = Worker(Settings(namespace="east"), "topic-1", 4)
    await worker.on_first_start()
    assert not list(tmp_path.iterdir())


async def test_one_partitions_rows_are_processed_before_the_next_ones_are_handed_over() -> None:
    worker, seen = worker_of(), list[tuple[str, int]]()

    def accept(columns: Any) -> None:
        seen.append(("accepted", columns.partition))
        asyncio.get_running_loop().call_soon(seen.append, ("processed", columns.partition))

    async def events() -> AsyncIterator[Any]:
        yield SimpleNamespace(value=[SimpleNamespace(partition=number) for number in (0, 0, 3)])

    worker.engagement.accept = accept  # type: ignore[method-assign]
    await worker.deliver(SimpleNamespace(events=events))  # type: ignore[arg-type]
    assert seen == [
        *(("accepted", 0), ("accepted", 0), ("processed", 0), ("processed", 0)),
        *(("accepted", 3), ("processed", 3)),
    ]
