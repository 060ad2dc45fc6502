"""Asking for a snapshot: by the worker that holds the partition, or from a Redis that nobody works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from stream.commands.snapshot import Listed, copy_still, list_snapshots, take_one
from stream.errors import SnapshotFailedError, SnapshotStorageError
from stream.records import Header
from stream.snapshots import MemorySnapshots, Request
from stream.stores.memory import MemoryServer, MemoryStore
from tests.unit.agents.worksite import TOPIC
from tests.unit.snapshots import kept

RECORDS = {"ada": kept.record(3), "bob": kept.record(4)}


class Clock:
    """Sleeps at once, and lets something happen at each waking."""

    def __init__(self, happen: Callable[[float], None] = lambda _now: None) -> None:
        self.now = 0.0
        self._happen = happen

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._happen(self.now)


def request(server: MemoryServer) -> Request:
    found = Request.from_bytes(server.values["{0}:snapshot"])
    assert found is not None
    return found


def answer(server: MemoryServer, state: str, text: str = "") -> None:
    server.values["{0}:snapshot"] = replace(request(server), state=state, text=text).to_bytes()


def move(server: MemoryServer) -> None:
    found = Header.from_bytes(server.values["{0}:header"])
    server.values["{0}:header"] = replace(found, offset=found.offset + 1).to_bytes()


async def taken(server: MemoryServer, storage: MemorySnapshots, clock: Clock) -> str:
    header = await kept.store(server).read_header()
    return str(await take_one(kept.store(server), kept.catalogue(storage), TOPIC, header, clock.sleep))


async def test_worker_that_answers_takes_it_and_the_command_copies_nothing() -> None:
    server, storage = kept.server(kept.header(5), RECORDS), MemorySnapshots()

    def work(now: float) -> None:
        if now == 1:
            answer(server, "begun")
        if now == 30:
            answer(server, "taken", "at offset 7")

    clock = Clock(work)
    assert await taken(server, storage, clock) == "partition 0: taken at offset 7, by its worker"
    assert clock.now == 30
    assert storage.files == {}


async def test_workers_failure_is_told_in_its_words() -> None:
    server = kept.server(kept.header(5), RECORDS)
    clock = Clock(lambda now: answer(server, "failed" if now > 1 else "begun", "no space left"))
    assert await taken(server, MemorySnapshots(), clock) == "partition 0: no snapshot: no space left"


async def test_state_that_nobody_works_on_is_copied_from_redis() -> None:
    server, storage = kept.server(kept.header(5, triggers=1), RECORDS, {"triggers": [kept.row(1)]}), MemorySnapshots()
    clock = Clock()
    assert await taken(server, storage, clock) == "partition 0: taken at offset 5, from Redis: no worker is at work"
    (name,) = await kept.catalogue(storage).complete()
    content = await kept.content(storage, name)
    assert (content.records, content.rows["triggers"]) == (RECORDS, [kept.row(1)])
    assert request(server).state == "taken"
    assert name.token == request(server).token
    assert clock.now < 10


async def test_worker_without_snapshots_is_named_and_nothing_is_copied_from_under_it() -> None:
    server, storage = kept.server(kept.header(5), RECORDS), MemorySnapshots()
    with pytest.raises(SnapshotFailedError, match=r"takes? snapshots: set snapshot\.url for the workers as well"):
        await taken(server, storage, Clock(lambda _now: move(server)))
    assert storage.files == {}
    # A worker that is given the setting later does not find a request that nobody waits for any more.
    assert not request(server).is_open


async def test_partition_without_state_has_nothing_to_copy() -> None:
    assert await taken(MemoryServer(), MemorySnapshots(), Clock()) == "partition 0: no state yet"


async def test_partition_that_is_being_restored_is_refused() -> None:
    with pytest.raises(SnapshotFailedError, match="being restored, or that was cut off"):
        await taken(kept.server(replace(kept.header(5), restoring=True)), MemorySnapshots(), Clock())


class Moving(MemoryStore):
    """A store whose header moves while records are read."""

    async def load(self, voters: object) -> list[bytes | None]:
        found = await super().load(voters)  # type: ignore[arg-type]
        move(self._server)
        return found


async def test_copy_of_a_state_that_goes_on_meanwhile_is_dropped() -> None:
    server, storage = kept.server(kept.header(5), RECORDS), MemorySnapshots()
    store = Moving(server, "{0}:")
    header = await store.read_header()
    assert header is not None
    assert await copy_still(store, kept.catalogue(storage), TOPIC, header, "a") is None
    assert storage.files == {}


async def test_damage_and_full_storage_leave_no_file() -> None:
    header = kept.header(5)
    ahead = kept.server(header, {"ada": kept.record(9)})
    storage = MemorySnapshots()
    with pytest.raises(SnapshotFailedError, match="has folded in an event at or past offset 5"):
        await copy_still(kept.store(ahead), kept.catalogue(storage), TOPIC, header, "a")
    full = MemorySnapshots(room_bytes=200)
    with pytest.raises(SnapshotStorageError, match="no room"):
        await copy_still(kept.store(kept.server(header, RECORDS)), kept.catalogue(full), TOPIC, header, "a")
    assert storage.files == full.files == {}


async def test_list_shows_each_snapshot_and_says_what_cannot_be_used() -> None:
    storage = MemorySnapshots()
    assert await list_snapshots([kept.catalogue(storage)]) == []
    old = await kept.snapshot(storage, kept.server(kept.header(5), RECORDS))
    new = await kept.snapshot(storage, kept.server(kept.header(7)), kept.CREATED_MS + 1000)
    storage.files[f"_/0/{old.text}/manifest.json"] = b"{"
    first, second = await list_snapshots([kept.catalogue(storage)])
    assert isinstance(first, Listed)
    assert str(first) == f"partition 0: {new.text}: offset 7, 0 records, 0.0 MB"
    assert str(second).startswith(
        f"partition 0: {old.text}: unusable: the snapshot _/0/{old.text} under memory is torn"
    )
