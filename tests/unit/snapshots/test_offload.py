"""A snapshot's slow work in threads: its results and errors come back, and who is cancelled does not wait for it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from stream.errors import SnapshotFailedError
from stream.snapshots import MemorySnapshots, OwnLoop, SnapshotName, in_thread
from stream.snapshots.catalogue import Catalogue
from tests.unit.snapshots import kept

BOUND_SECONDS = 10.0
NAME = SnapshotName.make(kept.CREATED_MS, 5, "a")


@dataclass
class Store:
    """A store that knows where it was used, and whether it was closed."""

    loops: list[asyncio.AbstractEventLoop] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)

    async def number(self) -> int:
        self.loops.append(asyncio.get_running_loop())
        return 7

    async def close(self) -> None:
        self.loops.append(asyncio.get_running_loop())
        self.closed.set()


async def test_work_is_done_on_another_loop_and_its_result_comes_back() -> None:
    store = Store()
    assert await OwnLoop(lambda: store)(Store.number) == 7
    first, second = store.loops
    assert first is second is not asyncio.get_running_loop()
    assert first.is_closed()


async def test_error_of_the_work_comes_back_and_the_store_is_closed() -> None:
    async def fail(_store: Store) -> None:
        message = "the partition changed hands"
        raise SnapshotFailedError(message)

    store = Store()
    with pytest.raises(SnapshotFailedError, match="changed hands"):
        await OwnLoop(lambda: store)(fail)
    assert store.closed.is_set()


async def test_loop_goes_on_while_the_work_blocks_its_own() -> None:
    gate = threading.Event()

    async def block(_store: Store) -> bool:
        return gate.wait(BOUND_SECONDS)

    working = asyncio.create_task(OwnLoop(Store)(block))
    await asyncio.sleep(0.01)
    gate.set()
    assert await working


async def test_cancelled_work_ends_in_its_thread_without_being_waited_for() -> None:
    begun, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        gate.wait(BOUND_SECONDS)

    async def work(_store: Store) -> None:
        try:
            await in_thread(block)
        except asyncio.CancelledError:
            ended.set()
            raise

    store = Store()
    working = asyncio.create_task(OwnLoop(lambda: store)(work))
    await in_thread(lambda: begun.wait(BOUND_SECONDS))
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert not gate.is_set()
    assert await in_thread(lambda: ended.wait(BOUND_SECONDS))
    assert await in_thread(lambda: store.closed.wait(BOUND_SECONDS))
    gate.set()


class Held(MemorySnapshots):
    """A storage that is in the middle of writing a file for as long as a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.gate = threading.Event(), threading.Event()

    def write(self, name: str, data: bytes) -> None:
        self.begun.set()
        self.gate.wait(BOUND_SECONDS)
        super().write(name, data)


async def test_file_that_is_being_written_when_the_snapshot_is_given_up_does_not_stay() -> None:
    storage = Held()
    writer = Catalogue(storage, kept.PLACE, in_thread).writer(NAME)
    await writer.add_records(["a"], [kept.record(1)])
    writing = asyncio.create_task(writer.flush())
    await in_thread(lambda: storage.begun.wait(BOUND_SECONDS))
    writing.cancel()
    removal = asyncio.create_task(writer.abandon())
    await asyncio.sleep(0.01)
    storage.gate.set()
    await removal
    assert storage.files == {}
    await writer.add_records(["b"], [kept.record(1)])
    with pytest.raises(SnapshotFailedError, match="was given up"):
        await writer.flush()
    assert storage.files == {}
