"""A snapshot that the last build of record version 1 took is restored by this one, and work goes on from it."""

from __future__ import annotations

import numpy as np
import orjson

from stream.agents.warmup import warm_up
from stream.commands.restore import Replayed, plan_with, restore_partition
from stream.commands.topics import TopicFacts
from stream.migration import migrated
from stream.records import OUTPUTS, RECORD_VERSION, VOTER
from stream.snapshots import MemorySnapshots
from stream.snapshots.format import MANIFEST
from stream.spans import Spans
from stream.stores.memory import MemoryServer
from stream.stores.table import Table
from tests.migration.fixtures import snapshot_by_version_1
from tests.unit.agents.worksite import TOPIC, TOPIC_ID, Site, Tape, like, opened, site_of
from tests.unit.snapshots import kept

TAKEN = snapshot_by_version_1()
OFFSET = 78
FACTS = TopicFacts(TOPIC, TOPIC_ID, 1, (OFFSET,), (OFFSET,))
TRIGGERS, REJECTS = 9, 3


def quiet(_partition: int, _what: str, _done: int, _total: int | None) -> None:
    """Show nothing."""


async def planned() -> Replayed:
    (found,) = await plan_with(FACTS, {0: None}, {0: kept.catalogue(MemorySnapshots(dict(TAKEN.files)))}, None, quiet)
    return found


async def restored() -> MemoryServer:
    """Return Redis' twin after the snapshot was restored on it."""
    server = MemoryServer()
    done = await restore_partition(kept.store(server), FACTS, await planned(), quiet)
    assert done.records == len(TAKEN.records)
    return server


async def records_of(server: MemoryServer) -> dict[str, bytes]:
    """Return the records as workers load them, by voter."""
    voters = sorted([voter async for page in kept.store(server).voters() for voter in page])
    table = Table(100)
    slots, missing = table.index(Spans.of_texts(voters))
    assert len(missing) == len(voters)
    table.fill(slots, await kept.store(server).load(Spans.of_texts(voters)), OFFSET)
    return dict(zip(voters, (table.records[slot].tobytes() for slot in slots), strict=True))


def site(server: MemoryServer) -> Site:
    """Return a worker's partition over what was restored; the log before the snapshot is gone."""
    tape = Tape(begin=OFFSET)
    tape.write(*[None] * OFFSET)
    made = site_of(server, tape)
    for kind, name, content in TAKEN.contents:
        made.shelf.add(kind, name, content)
    return made


def test_snapshot_is_of_version_1_and_its_records_are_of_many_kinds() -> None:
    (name,) = [name for name in TAKEN.files if name.endswith(MANIFEST)]
    assert orjson.loads(TAKEN.files[name])["manifest"]["record_version"] == 1
    assert {int.from_bytes(record[:2], "little") for record in TAKEN.records.values()} == {1}
    new = np.frombuffer(b"".join(map(migrated, TAKEN.records.values())), VOTER)
    assert set(new["consent"].tolist()) == {0, 2, 3}
    for name in ("ring", "counts", "last_s", "score", "fired_s", "marks", "page_views"):
        assert len({record.tobytes() for record in new[name]}) > 1, name


async def test_snapshot_fits_and_none_of_its_files_is_refused() -> None:
    found = await planned()
    assert found.snapshot is not None
    assert (found.start, found.refused) == (OFFSET, ())


async def test_restored_records_are_those_of_version_1_each_migrated() -> None:
    server = await restored()
    assert {voter: server.values[f"{{0}}:v:{voter}"] for voter in TAKEN.records} == TAKEN.records
    assert await records_of(server) == {voter: migrated(record) for voter, record in TAKEN.records.items()}


async def test_header_and_unsent_outputs_come_back_and_no_taxonomy_is_active() -> None:
    server = await restored()
    header = await kept.store(server).read_header()
    assert header is not None
    assert (header.offset, header.restoring) == (OFFSET, False)
    assert header.slots["taxonomy"] == []
    assert [slot and slot[0] for slot in (*header.slots["model"], *header.slots["campaign"])] == ["likes", "fan"]
    found = {output: len(await kept.store(server).outbox(output, 0, 100)) for output in OUTPUTS}
    assert found == header.sequences == {"triggers": TRIGGERS, "rejects": REJECTS, "forwards": 0}


async def test_work_goes_on_from_it_as_if_nothing_had_been_between() -> None:
    await warm_up()
    server = await restored()
    async with opened(site(server)) as at_work:
        assert at_work.tape.position == OFFSET
        before = at_work.header().totals
        duplicate, third = like("two", "two-1"), like("two", "third")
        refused = [like("voter-7", "withdrew"), like("voter-8", "was erased")]
        await at_work.work(duplicate, third, like("voter-2", "sixth"), *refused, like("new", "first"))
        totals = at_work.header().totals
        assert {name: totals[name] - before[name] for name in totals if totals[name] != before[name]} == {
            **{"rows": 6, "folded": 3},
            **{"duplicates": 1, "suppressed": 2},
        }
        assert [at_work.likes(voter) for voter in ("two", "voter-2", "new")] == [3.0, 6.0, 1.0]
        # The others' scores were beyond the threshold before, and they stay unarmed.
        triggers = await at_work.store.outbox("triggers", TRIGGERS, 100)
        assert [(row.sequence, row.key) for row in triggers] == [(TRIGGERS + 1, b"two")]


async def test_only_records_that_work_touches_are_written_in_this_version() -> None:
    await warm_up()
    server = await restored()
    async with opened(site(server)) as at_work:
        await at_work.work(like("two", "third"))
    now = {voter: server.values[f"{{0}}:v:{voter}"] for voter in TAKEN.records}
    assert {voter for voter in now if now[voter] != TAKEN.records[voter]} == {"two"}
    assert int.from_bytes(now["two"][:2], "little") == RECORD_VERSION
