"""Snapshots of a partition at work: each is the state at its offset, and nothing that befalls one stops work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from stream.agents.snapshots import PartitionSnapshots, Schedule, SnapshotObserver
from stream.agents.warmup import warm_up
from stream.errors import StoreUnavailableError
from stream.records import OUTPUTS, Header, OutboxRow
from stream.snapshots import Catalogue, Manifest, MemorySnapshots, OwnLoop, Place, in_thread, inline
from stream.snapshots import capture as captures
from stream.snapshots.catalogue import Retention
from stream.snapshots.requests import Request
from stream.stores.memory import Fault, MemoryServer, MemoryStore
from tests.unit.agents.worksite import (
    TOPIC,
    Shelf,
    Site,
    activation,
    event,
    like,
    opened,
    site_of,
    tick,
    turns,
    until,
)
from tests.unit.snapshots import kept

RETENTION = Retention(count=5, age_ms=10**12)


class SlowStore(MemoryStore):
    """Answers of which a test lets through one at a time."""

    def __init__(self, server: MemoryServer, prefix: str) -> None:
        super().__init__(server, prefix)
        self.turnstile = asyncio.Semaphore(0)
        self.waiting = 0

    async def voters(self, step: int = 1000) -> AsyncIterator[list[str]]:
        async for page in super().voters(step):
            await self._wait()
            yield page

    async def outbox(self, output: str, after: int, limit: int) -> list[OutboxRow]:
        await self._wait()
        return await super().outbox(output, after, 3)

    async def _wait(self) -> None:
        self.waiting += 1
        await self.turnstile.acquire()
        self.waiting -= 1

    def free(self) -> None:
        """Let everything through from here on."""
        for _ in range(100_000):
            self.turnstile.release()


@dataclass
class Desk:
    """Snapshots of one site, their storage, and what was told of them."""

    site: Site
    storage: MemorySnapshots = field(default_factory=MemorySnapshots)
    found: list[int] = field(default_factory=list)
    taken: list[Manifest] = field(default_factory=list)
    failures: int = 0
    seconds: float = 1000.0

    def __post_init__(self) -> None:
        self.store = SlowStore(self.site.server, self.site.prefix)
        self.snapshots = PartitionSnapshots(
            topic=TOPIC,
            catalogue=Catalogue(self.storage, Place("", 0), inline),
            store=self.store,
            schedule=Schedule(900.0, 0, 1),
            retention=RETENTION,
            observer=SnapshotObserver(self._found, self._taken, self._failed),
            now=lambda: self.seconds,
            poll_seconds=0.001,
        )
        self.site.partition.snapshots = self.snapshots

    async def ask(self) -> None:
        await self.store.write_request(Request("0a1b").to_bytes())

    async def answer(self) -> Request:
        found = Request.from_bytes(await self.store.read_request())
        assert found is not None
        return found

    async def content(self, place: int = 0) -> kept.Content:
        names = await self.snapshots.catalogue.complete()
        return await kept.content(self.storage, names[place])

    def _found(self, number: int, created_ms: int) -> None:
        assert number == 0
        self.found.append(created_ms)

    def _taken(self, number: int, manifest: Manifest, seconds: float, hold_seconds: float) -> None:
        assert number == 0
        assert 0 <= hold_seconds <= seconds
        self.taken.append(manifest)

    def _failed(self, number: int) -> None:
        assert number == 0
        self.failures += 1


def rows(shelf: Shelf, seed: int, count: int = 300) -> list[bytes]:
    """Return a log of likes, comings and goings of consent, erasures, duplicates and rubbish."""
    random = Random(seed)
    made = [activation(shelf.model(), shelf.campaign(threshold=1.5))]
    for name in range(count):
        voter, chance = f"voter-{random.randrange(40)}", random.random()
        if chance < 0.75:
            made.append(like(voter, name if chance < 0.65 else name - 1))
        elif chance < 0.9:
            kind = random.choice(["consent.withdrawn", "consent.granted"])
            made.append(event(kind, voter, name, {"purposes": ["engagement"]}))
        elif chance < 0.93:
            made.append(event("privacy.erased", voter, name, {}))
        else:
            made.append(random.choice([b"rubbish", tick(random.randrange(60))]))
    return made


async def state_at(log: list[bytes], offset: int) -> tuple[dict[str, bytes], Header, dict[str, list[OutboxRow]]]:
    """Return records, header and all outputs of a log processed up to an offset and no further, in one batch."""
    site = site_of()
    rows(site.shelf, 0)
    async with opened(site):
        await site.work(*log[:offset])
        start = f"{site.prefix}v:"
        records = {key.removeprefix(start): data for key, data in site.server.values.items() if key.startswith(start)}
        outputs = {output: await site.store.outbox(output, 0, 10_000) for output in OUTPUTS}
        return records, replace(site.header(), owner=""), outputs


@pytest.mark.parametrize("seed", range(12))
async def test_snapshot_is_the_state_at_its_offset_whatever_goes_on_meanwhile(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await warm_up()
    random = Random(seed)
    monkeypatch.setattr(captures, "SCAN_KEYS", random.choice([1, 5, 100]))
    site = site_of(voters=lambda: random.choice([5, 1000]))
    log = rows(site.shelf, seed)
    site.tape.write(*log)
    desk = Desk(site)
    if random.random() < 0.5:
        site.carries.set()
    async with opened(site):
        while site.tape.position < random.randrange(20, 150):
            site.partition.feed(site.tape.take(random.randrange(1, 30)))
            await turns(random.randrange(20))
        if random.random() < 0.5:
            site.store.gate.clear()
        await desk.ask()
        await until(lambda: site.partition.state is not None and site.partition.state.before_change)
        state = site.partition.state
        assert state is not None
        while site.tape.position < site.tape.end:
            site.partition.feed(site.tape.take(random.randrange(1, 30)))
            await turns(random.randrange(20))
            desk.store.turnstile.release()
            if random.random() < 0.3:
                site.store.gate.set()
            if random.random() < 0.2:
                site.carries.set()
        site.store.gate.set()
        desk.store.free()
        await until(lambda: desk.taken)
        await until(site.is_done)
        assert (await desk.answer()).state == "taken"
        assert desk.failures == 0
        assert state.before_change is None
    await assert_state_at_its_offset(site, log, await desk.content())


async def assert_state_at_its_offset(site: Site, log: list[bytes], content: kept.Content) -> None:
    records, header, outputs = await state_at(log, content.manifest.offset)
    assert content.header == header
    assert content.records == records
    for output, decided in outputs.items():
        unsent = content.manifest.unsent[output]
        assert [row.sequence for row in content.rows[output]] == list(range(unsent, len(decided) + 1))
        for row in content.rows[output]:
            # Its voter may have been erased since.
            assert row in (decided[row.sequence - 1], decided[row.sequence - 1].tombstone())
        assert {row.sequence for row in site.sent(output)} >= set(range(1, unsent))


async def test_snapshot_begins_on_connections_of_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    await warm_up()
    site = site_of()
    desk = Desk(site)
    done: list[str] = []
    close, voters = SlowStore.close, SlowStore.voters

    async def closed(store: SlowStore) -> None:
        done.append("closed")
        await close(store)

    async def scanned(store: SlowStore, step: int = 1000) -> AsyncIterator[list[str]]:
        done.append("read")
        async for page in voters(store, step):
            yield page

    monkeypatch.setattr(SlowStore, "close", closed)
    monkeypatch.setattr(SlowStore, "voters", scanned)
    desk.store.free()
    async with opened(site):
        await site.work(*rows(site.shelf, 1))
        await desk.ask()
        await until(lambda: desk.taken)
    # What was polled until then may be a server that a failover has replaced.
    assert done[:2] == ["closed", "read"]


class ThreadsStore(MemoryStore):
    """A store over a server that another thread works on."""

    async def voters(self, step: int = 1000) -> AsyncIterator[list[str]]:
        start = f"{self._prefix}v:"
        found = [key.removeprefix(start) for key in list(self._server.values) if key.startswith(start)]
        for first in range(0, len(found), step):
            await asyncio.sleep(0.0005)
            yield found[first : first + step]


@pytest.mark.parametrize("seed", range(6))
async def test_snapshot_copied_in_a_thread_is_the_state_at_its_offset(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await warm_up()
    random = Random(seed)
    monkeypatch.setattr(captures, "SCAN_KEYS", random.choice([1, 3]))
    monkeypatch.setattr("stream.snapshots.writing.CHUNK_RECORDS", 4)
    site = site_of(voters=lambda: random.choice([5, 1000]))
    log = rows(site.shelf, seed, 1500)
    site.tape.write(*log)
    desk = Desk(site)
    desk.store.free()
    desk.snapshots.catalogue = Catalogue(desk.storage, Place("", 0), in_thread)
    desk.snapshots.aside = OwnLoop(lambda: ThreadsStore(site.server, site.prefix))
    async with opened(site):
        while site.tape.position < random.randrange(50, 400):
            site.partition.feed(site.tape.take(random.randrange(1, 30)))
            await turns(random.randrange(20))
        await desk.ask()
        while not desk.taken:
            if site.tape.position < site.tape.end:
                site.partition.feed(site.tape.take(random.randrange(1, 30)))
            await asyncio.sleep(0.0005 * random.random())
        while site.tape.position < site.tape.end:
            site.partition.feed(site.tape.take(100))
        await until(site.is_done)
    content = await desk.content()
    assert content.manifest.offset < site.header().offset
    await assert_state_at_its_offset(site, log, content)


async def test_partition_given_back_meanwhile_leaves_no_file_of_the_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    await warm_up()
    monkeypatch.setattr("stream.snapshots.writing.CHUNK_RECORDS", 1)
    site = site_of()
    desk = Desk(site)
    async with opened(site):
        await site.work(*rows(site.shelf, 1))
        await desk.ask()
        desk.store.turnstile.release()
        await until(lambda: desk.storage.files and desk.store.waiting)
        await site.partition.suspend(1.0)
        await turns()
        assert desk.storage.files == {}
        assert desk.taken == []
        # The request is still open: the next owner sees to it.
        desk.store.free()
        await site.open()
        await until(lambda: desk.taken)


async def test_refused_commit_meanwhile_leaves_no_snapshot() -> None:
    await warm_up()
    site = site_of(reclaim_seconds=60.0)
    desk = Desk(site)
    async with opened(site):
        await site.work(*rows(site.shelf, 1, 50))
        await desk.ask()
        await until(lambda: desk.store.waiting)
        rival = Site(site.server, site.tape, site.shelf)
        await rival.open()
        site.tape.write(like("ada", "late"))
        site.partition.feed(site.tape.take(1))
        desk.store.free()
        await until(lambda: site.refused or desk.failures)
        await turns()
        assert desk.taken == []
        assert desk.storage.files == {}
        await rival.partition.close()


@pytest.mark.parametrize("trouble", ["full", "away", "store"])
async def test_failure_is_counted_and_told_and_stops_nothing(trouble: str) -> None:
    await warm_up()
    site = site_of()
    desk = Desk(site)
    desk.store.free()
    async with opened(site):
        await site.work(*rows(site.shelf, 1, 50))
        if trouble == "store":
            monkey = StoreUnavailableError("Redis at there cannot be reached")
            site.server.faults.append(Fault("voters", monkey))
        else:
            desk.storage.room_bytes, desk.storage.is_away = 10, trouble == "away"
        await desk.ask()
        await until(lambda: desk.failures)
        await until_answered(desk, "failed")
        assert (await desk.answer()).text != ""
        await site.work(like("ada", "afterwards"))
        desk.storage.room_bytes, desk.storage.is_away = None, False
        assert desk.storage.files == {}
        # A minute later it is tried again by itself.
        desk.seconds += 61
        await until(lambda: desk.taken)
        assert (await desk.content()).manifest.offset == site.tape.end


async def until_answered(desk: Desk, state: str) -> None:
    async with asyncio.timeout(10):
        while (await desk.answer()).state != state:
            await asyncio.sleep(0.001)


async def test_snapshots_come_at_their_time_and_only_so_many_stay() -> None:
    await warm_up()
    site = site_of()
    desk = Desk(site)
    desk.store.free()
    async with opened(site):
        await site.work(*rows(site.shelf, 1, 50))
        await asyncio.sleep(0.01)
        assert desk.taken == []
        for count in range(1, 8):
            desk.seconds += 900
            await until(lambda count=count: len(desk.taken) == count)  # type: ignore[misc]
        await until(lambda: len([name for name in desk.storage.files if name.endswith("manifest.json")]) == 5)
        assert [manifest.created_ms for manifest in desk.taken] == [1_900_000 + 900_000 * n for n in range(7)]
    again = Site(site.server, site.tape, site.shelf)
    later = Desk(again, desk.storage)
    async with opened(again):
        await until(lambda: later.found)
        assert later.found == [desk.taken[-1].created_ms]


@pytest.mark.parametrize(
    ("now", "partition", "due"),
    [
        (0.0, 0, 900.0),
        (899.9, 0, 900.0),
        (900.0, 0, 1800.0),
        (0.0, 2, 450.0),
        (450.0, 2, 1350.0),
        (1e9, 3, 1000000575.0),
    ],
)
def test_each_partition_is_due_at_moments_of_its_own(now: float, partition: int, due: float) -> None:
    found = Schedule(900.0, partition, 4).next_after(now)
    assert found == pytest.approx(due)
    assert found > now


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"no",
        b"[]",
        b"{}",
        b'{"token":"A"}',
        b'{"token":"../x"}',
        b'{"token":"a","state":"x"}',
        b'{"token":1}',
    ],
)
def test_request_that_cannot_be_read_is_none(data: bytes | None) -> None:
    assert Request.from_bytes(data) is None


def test_request_is_read_back_and_open_until_it_is_answered() -> None:
    for state, is_open in (("asked", True), ("begun", True), ("taken", False), ("failed", False)):
        request = Request("0a", state, "why")
        assert Request.from_bytes(request.to_bytes()) == request
        assert request.is_open == is_open
