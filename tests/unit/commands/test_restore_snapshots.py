"""State brought back from a snapshot, on Redis' twin: which one, how others are refused, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from stream.agents.warmup import warm_up
from stream.commands.restore import Replayed, plan_with, readable_header, restore_partition
from stream.commands.topics import TopicFacts
from stream.errors import CommitRefusedError, SnapshotRefusedError, StateMismatchError, StoreUnavailableError
from stream.records import ENGINE_VERSION, Header
from stream.snapshots import MemorySnapshots, Place
from stream.snapshots.format import MANIFEST, SnapshotName
from stream.stores.memory import Fault, MemoryServer, MemoryStore
from tests.unit.agents.worksite import TOPIC, TOPIC_ID, Site, activation, like, opened, site_of, tick, until
from tests.unit.snapshots import kept

HOUR = 3_600_000
FACTS = TopicFacts(TOPIC, TOPIC_ID, 1, (0,), (100,))


def quiet(_partition: int, _what: str, _done: int, _total: int | None) -> None:
    """Show nothing."""


async def planned(storage: MemorySnapshots, facts: TopicFacts = FACTS, at_ms: int | None = None) -> Replayed:
    (found,) = await plan_with(facts, {0: None}, {0: kept.catalogue(storage)}, at_ms, quiet)
    return found


async def taken(storage: MemorySnapshots, hours: int, offset: int, **changes: object) -> SnapshotName:
    found = replace(kept.header(offset), **changes)  # type: ignore[arg-type]
    return await kept.snapshot(
        storage, kept.server(found, {"ada": kept.record(offset - 1)}), kept.CREATED_MS + hours * HOUR
    )


# --- which one -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "offset"), [(None, 30), (9, 30), (2, 20), (1, 20), (0, 10)])
async def test_newest_snapshot_of_the_time_or_before_is_chosen(at: int | None, offset: int) -> None:
    storage = MemorySnapshots()
    for hours, taken_at in ((0, 10), (1, 20), (3, 30)):
        await taken(storage, hours, taken_at)
    found = await planned(storage, at_ms=None if at is None else kept.CREATED_MS + at * HOUR)
    assert (found.start, found.end, found.refused) == (offset, 100, ())
    assert found.snapshot is not None
    assert f"the snapshot {found.snapshot.name.text} is loaded, and its log is replayed from offset {offset}" in str(
        found
    )


async def test_without_a_snapshot_the_log_is_replayed_from_where_the_deployment_began() -> None:
    found = await planned(MemorySnapshots())
    assert (found.start, found.snapshot) == (0, None)
    with pytest.raises(StateMismatchError, match=r"its log begins at offset 7, not 0.*there is no snapshot that"):
        await planned(MemorySnapshots(), replace(FACTS, begins=(7,)))


async def test_time_before_every_snapshot_is_refused() -> None:
    storage = MemorySnapshots()
    await taken(storage, 0, 10)
    with pytest.raises(StateMismatchError, match="partition 0 has no snapshot of that time or before that can be used"):
        await planned(storage, at_ms=kept.CREATED_MS - 1)


def cut_manifest(storage: MemorySnapshots, name: SnapshotName) -> None:
    storage.files[f"_/0/{name.text}/{MANIFEST}"] = storage.files[f"_/0/{name.text}/{MANIFEST}"][:50]


def lose_file(storage: MemorySnapshots, name: SnapshotName) -> None:
    del storage.files[f"_/0/{name.text}/voters-00000.zst"]


def alter_file(storage: MemorySnapshots, name: SnapshotName) -> None:
    data = bytearray(storage.files[f"_/0/{name.text}/voters-00000.zst"])
    data[-1] ^= 1
    storage.files[f"_/0/{name.text}/voters-00000.zst"] = bytes(data)


def alter_manifest(storage: MemorySnapshots, name: SnapshotName) -> None:
    place = f"_/0/{name.text}/{MANIFEST}"
    storage.files[place] = storage.files[place].replace(b'"partition":0', b'"partition":1')


@pytest.mark.parametrize(
    ("changes", "damage", "facts", "says"),
    [
        ({}, cut_manifest, {}, "is torn: its manifest of 50 bytes is none"),
        ({}, lose_file, {}, "is torn: voters-00000.zst is missing"),
        ({}, alter_file, {}, "was altered: voters-00000.zst has SHA-256"),
        ({}, alter_manifest, {}, "was altered: its manifest has SHA-256"),
        (
            {"topic_id": "old"},
            None,
            {},
            "is of topic id 'old', but 'engagement.events' has id 'topic-1': a topic",
        ),
        ({"partition_count": 3}, None, {}, "was made for 3 partitions, but 'engagement.events' has 1"),
        (
            {"engine": 2},
            None,
            {},
            f"was decided by engine 2, and this build is engine {ENGINE_VERSION}: use",
        ),
        ({}, None, {"begins": (21,)}, "stands at offset 20, but the log begins at 21: retention passed it, a newer"),
        ({}, None, {"ends": (19,)}, "stands at offset 20, but the log ends at 19: the log was cut, an older snapshot"),
    ],
)
async def test_snapshot_that_cannot_be_used_is_named_with_its_reason_and_an_older_one_taken(
    changes: dict[str, object],
    damage: Callable[[MemorySnapshots, SnapshotName], None] | None,
    facts: dict[str, tuple[int]],
    says: str,
) -> None:
    storage = MemorySnapshots()
    name = await taken(storage, 1, 20, **changes)
    if damage is not None:
        damage(storage, name)
    topic = replace(FACTS, **facts)  # type: ignore[arg-type]
    older = await taken(storage, 0, 10)
    if topic.begins != (0,):
        with pytest.raises(StateMismatchError) as caught:
            await planned(storage, topic)
        assert f"the snapshot _/0/{name.text} under memory {says}" in str(caught.value)
        assert "there is no snapshot that can be used" in str(caught.value)
        return
    found = await planned(storage, topic)
    assert found.snapshot is not None
    assert found.snapshot.name == older
    (refusal,) = found.refused
    assert f"the snapshot _/0/{name.text} under memory {says}" in refusal
    assert str(found).startswith(f"not used: {refusal}\npartition 0: ")


@pytest.mark.parametrize("place", [Place("", 1), Place("other", 0)])
async def test_snapshot_in_the_wrong_place_is_refused_as_foreign(place: Place) -> None:
    storage = MemorySnapshots()
    name = await kept.snapshot(storage, kept.server(kept.header(5)), place=place)
    moved = {file.replace(f"{place.folder}/", "_/0/"): data for file, data in storage.files.items()}
    found = await planned(MemorySnapshots(moved))
    says = f"is of partition {place.partition} of namespace {place.namespace!r}, expected partition 0 of namespace ''"
    assert [f"the snapshot _/0/{name.text} under memory {says}: it was put into the wrong place"] == list(found.refused)
    assert found.snapshot is None


# --- at work ---------------------------------------------------------------------------------------------


def log(site: Site) -> list[bytes]:
    made = [activation(site.shelf.model(), site.shelf.campaign())]
    made += [like(f"voter-{n % 7}", n) for n in range(60)]
    return [*made, b"rubbish", tick(3), b"[]"]


def state(site: Site) -> tuple[dict[str, bytes], dict[str, dict[int, bytes]]]:
    values = {key: data for key, data in site.server.values.items() if not key.endswith((":header", ":snapshot"))}
    header = replace(site.header(), owner="").to_bytes()
    return {**values, "header": header}, {key: rows for key, rows in site.server.outboxes.items() if rows}


async def snapshot_at(site: Site, offset: int) -> MemorySnapshots:
    """Return the storage with a snapshot of the site's log up to an offset, taken when nobody works on it."""
    storage = MemorySnapshots()
    rows = log(site)
    await site.work(*rows[:offset])
    await kept.snapshot(storage, site.server)
    await site.work(*rows[offset:])
    return storage


@pytest.mark.parametrize("offset", [1, 20, 40, 64])
@pytest.mark.parametrize("flushed", [True, False])
async def test_replay_from_a_snapshot_brings_the_same_state_though_the_log_before_it_is_gone(
    offset: int, flushed: bool
) -> None:
    await warm_up()
    async with opened(site_of()) as site:
        storage = await snapshot_at(site, offset)
        before = state(site)
        end = site.tape.end
    if flushed:
        site.server.values.clear()
        site.server.outboxes.clear()
    site.tape.begin = offset
    facts = replace(FACTS, begins=(offset,), ends=(end,))
    header = await readable_header(MemoryStore(site.server, site.prefix))
    (found,) = await plan_with(facts, {0: header}, {0: kept.catalogue(storage)}, None, quiet)
    told: list[str] = []

    def tell(_partition: int, what: str, done: int, total: int | None) -> None:
        told.append(what)
        assert total is None or done <= total

    done = await restore_partition(MemoryStore(site.server, site.prefix), facts, found, tell)
    assert list(dict.fromkeys(told)) == (["clearing", "loading"] if offset > 1 else ["clearing"])
    assert done.records == len([key for key in site.server.values if ":v:" in key])
    again = Site(site.server, site.tape, site.shelf)
    async with opened(again):
        assert again.tape.position == offset
        again.deliver(7)
        await until(again.is_done)
        assert state(again) == before


OPERATIONS = ("begin_restore", "clear", "fill_restore", "fill_restore-2", "finish_restore")


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_restoration_from_a_snapshot_that_was_cut_off_anywhere_can_be_run_again(
    operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.commands.restore._FILL_ITEMS", 2)
    await warm_up()
    async with opened(site_of()) as site:
        storage = await snapshot_at(site, 40)
        before = state(site)
    facts = replace(FACTS, begins=(30,), ends=(site.tape.end,))
    site.tape.begin = 30
    name, _, skipped = operation.partition("-")
    gone = StoreUnavailableError("Redis at there cannot be reached")
    faults = [Fault(name, gone)]
    store = Skipping(site.server, site.prefix, int(skipped or 1))
    site.server.values.clear()
    (found,) = await plan_with(facts, {0: None}, {0: kept.catalogue(storage)}, None, quiet)
    store.armed = faults
    with pytest.raises(StoreUnavailableError, match=r"cannot be reached.*run `groundswell restore` again"):
        await restore_partition(store, facts, found, quiet)
    left = await readable_header(MemoryStore(site.server, site.prefix))
    assert left is None or left.restoring
    (again,) = await plan_with(facts, {0: left}, {0: kept.catalogue(storage)}, None, quiet)
    assert again.start == 40
    await restore_partition(MemoryStore(site.server, site.prefix), facts, again, quiet)
    heir = Site(site.server, site.tape, site.shelf)
    async with opened(heir):
        heir.deliver()
        await until(heir.is_done)
        assert state(heir) == before


class Skipping(MemoryStore):
    """Cannot be reached any more at the n-th time of an operation."""

    def __init__(self, server: MemoryServer, prefix: str, turn: int) -> None:
        super().__init__(server, prefix)
        self.armed: list[Fault] = []
        self._turn = turn

    async def fill_restore(self, *arguments: object) -> None:
        self._arm("fill_restore")
        await super().fill_restore(*arguments)  # type: ignore[arg-type]

    async def begin_restore(self, header: Header) -> None:
        self._arm("begin_restore")
        await super().begin_restore(header)

    def _refuse_usurped(self, owner: str) -> None:
        self._arm("clear")
        super()._refuse_usurped(owner)

    async def finish_restore(self, header: Header) -> None:
        self._arm("finish_restore")
        await super().finish_restore(header)

    def _arm(self, operation: str) -> None:
        for fault in self.armed:
            if fault.operation == operation:
                self._turn -= 1
                if self._turn == 0:
                    raise fault.error


async def test_file_altered_between_the_check_and_the_loading_leaves_the_partition_marked() -> None:
    storage = MemorySnapshots()
    name = await taken(storage, 0, 10)
    found = await planned(storage)
    alter_file(storage, name)
    server = MemoryServer()
    with pytest.raises(SnapshotRefusedError, match=r"was altered.*Partition 0 is not restored to its end: run"):
        await restore_partition(kept.store(server), FACTS, found, quiet)
    left = await kept.store(server).read_header()
    assert left is not None
    assert left.restoring


async def test_loading_that_another_restoration_overtook_says_so() -> None:
    storage = MemorySnapshots()
    await taken(storage, 0, 10)
    found = await planned(storage)
    server = MemoryServer()

    def usurp(_partition: int, what: str, _done: int, _total: int | None) -> None:
        if what == "clearing":
            server.values["{0}:header"] = replace(kept.header(0), owner="another", restoring=True).to_bytes()

    with pytest.raises(CommitRefusedError, match="overtaken by another"):
        await restore_partition(kept.store(server), FACTS, found, usurp)


async def test_unsent_rows_come_back_and_the_relay_sends_on_from_them() -> None:
    await warm_up()
    async with opened(site_of()) as site:
        storage = await snapshot_at(site, 40)
        outbox = [row.sequence for row in await site.store.outbox("triggers", 0, 100)]
    content = await kept.content(storage, (await kept.catalogue(storage).complete())[0])
    unsent = content.rows["triggers"]
    assert 0 < len(unsent) <= len(outbox)
    site.server.values.clear()
    site.server.outboxes.clear()
    facts = replace(FACTS, ends=(site.tape.end,))
    await restore_partition(MemoryStore(site.server, site.prefix), facts, await planned(storage, facts), quiet)
    heir = Site(site.server, site.tape, site.shelf)
    heir.carries.set()
    async with opened(heir):
        heir.deliver()
        await until(heir.is_done)
        await until(lambda: [row.sequence for row in heir.sent()] == outbox)
        assert heir.sent()[: len(unsent)] == unsent
