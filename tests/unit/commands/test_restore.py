"""Where a replay may begin, and a restoration at work on Redis' twin, cut off at every place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from stream.agents.warmup import warm_up
from stream.commands.restore import Replayed, readable_header, replays, restore_partition
from stream.commands.topics import TopicFacts
from stream.errors import CommitRefusedError, GroundswellError, StateMismatchError, StoreUnavailableError
from stream.records import ENGINE_VERSION, Header
from stream.stores.memory import Fault, MemoryServer, MemoryStore
from stream.stores.names import partition_prefix
from tests.unit.agents.worksite import TOPIC, TOPIC_ID, Site, activation, like, opened, put_ahead, site_of, until

FACTS = TopicFacts(TOPIC, TOPIC_ID, 1, (0,), (9,))
PLAN = Replayed(0, 0, 9, "")


def header(**changes: object) -> Header:
    fields: dict[str, object] = {"topic_id": TOPIC_ID, "partition_count": 1, "owner": "", "start": 0, "offset": 5}
    return Header(**{**fields, **changes})  # type: ignore[arg-type]


def quiet(_partition: int, _what: str, _done: int, _total: int | None) -> None:
    """Show nothing."""


# --- where it begins -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "begin", "start"),
    [
        (header(), 0, 0),
        (header(start=4), 3, 4),
        (header(start=9, offset=9), 0, 9),
        (header(start=4, offset=4, restoring=True), 0, 4),
        (header(offset=999), 0, 0),
        (header(topic_id=""), 0, 0),
        (None, 0, 0),
    ],
)
def test_replay_begins_where_the_deployment_did(found: Header | None, begin: int, start: int) -> None:
    (planned,) = replays(replace(FACTS, begins=(begin,)), {0: found}, [0])
    assert (planned.partition, planned.start, planned.end) == (0, start, 9)


@pytest.mark.parametrize(
    ("found", "begin", "says"),
    [
        (header(start=2), 3, "began at offset 2, but the log goes from 3 to 9: it does not reach back any more"),
        (header(start=10), 0, "began at offset 10, but the log goes from 0 to 9"),
        (None, 3, "its header is lost, and its log begins at offset 3, not 0"),
        (header(topic_id="old"), 0, "is of topic id 'old', but 'engagement.events' has id 'topic-1': a topic made"),
        (header(partition_count=2), 0, "was made for 2 partitions, but 'engagement.events' has 1"),
        (header(engine=ENGINE_VERSION + 1), 0, f"by engine {ENGINE_VERSION + 1}, and this build is engine"),
    ],
)
def test_log_that_does_not_lead_to_the_state_that_was_is_refused(found: Header | None, begin: int, says: str) -> None:
    with pytest.raises(StateMismatchError) as caught:
        replays(replace(FACTS, begins=(begin,)), {0: found}, [0])
    assert says in str(caught.value)
    assert "another namespace, with topics of its own (`groundswell topics create`" in str(caught.value)


def test_lost_header_beside_one_that_began_later_is_not_taken_to_have_begun_at_0() -> None:
    two = TopicFacts(TOPIC, TOPIC_ID, 2, (0, 0), (9, 9))
    with pytest.raises(StateMismatchError, match=r"did not begin at 0 \(1: at 7\)"):
        replays(two, {0: None, 1: header(start=7, partition_count=2)}, [0])
    assert len(replays(two, {0: None, 1: header(partition_count=2)}, [0, 1])) == 2


@pytest.mark.parametrize(
    "data", [b"", b"{}", header(start="0").to_bytes(), header(start=True).to_bytes(), header(offset=-1).to_bytes()]
)
async def test_header_that_cannot_be_believed_counts_as_lost(data: bytes) -> None:
    server = MemoryServer({f"{partition_prefix('', 0)}header": data})
    assert await readable_header(MemoryStore(server, partition_prefix("", 0))) is None


# --- at work ---------------------------------------------------------------------------------------------


def activated(site: Site) -> bytes:
    """Return the activation of a campaign that fires for every voter that likes three times."""
    return activation(site.shelf.model(), site.shelf.campaign())


def rows(site: Site) -> list[bytes]:
    likes = [like(voter, f"{voter}-{n}") for n in range(4) for voter in ("ada", "bob", "cleo")]
    return [activated(site), *likes, b"no json", b"[]"]


def damage(site: Site, kind: str) -> None:
    values = site.server.values
    if kind == "header lost":
        del values[f"{site.prefix}header"]
    elif kind == "header torn":
        values[f"{site.prefix}header"] = values[f"{site.prefix}header"][:-7]
    elif kind == "record ahead":
        put_ahead(site, "ada", 10_000)
    elif kind == "flushed":
        values.clear()
        site.server.outboxes.clear()


def decided(server: MemoryServer, prefix: str) -> tuple[dict[str, bytes], Header]:
    """Return what the log decides of a partition's state."""
    voters = {key: value for key, value in server.values.items() if key != f"{prefix}header"}
    return voters, replace(Header.from_bytes(server.values[f"{prefix}header"]), owner="")


@pytest.mark.parametrize("kind", ["none", "header lost", "header torn", "record ahead", "flushed"])
async def test_replay_after_a_restoration_brings_the_same_state_and_outputs(kind: str) -> None:
    await warm_up()
    async with opened(site_of()) as site:
        await site.work(*rows(site))
        before = decided(site.server, site.prefix)
        outputs = {output: await site.store.outbox(output, 0, 100) for output in ("triggers", "rejects")}
        assert {output: len(found) for output, found in outputs.items()} == {"triggers": 3, "rejects": 2}
    damage(site, kind)
    await restore_partition(MemoryStore(site.server, site.prefix), FACTS, PLAN, quiet)
    assert set(site.server.values) == {f"{site.prefix}header"}
    again = Site(site.server, site.tape, site.shelf)
    async with opened(again):
        assert again.tape.position == 0
        again.deliver(5)
        await until(again.is_done)
        assert decided(again.server, again.prefix) == before
        assert {output: await again.store.outbox(output, 0, 100) for output in outputs} == outputs


async def test_running_worker_is_refused_and_ends_with_the_hint_having_written_nothing() -> None:
    await warm_up()
    site = site_of()
    await site.open()
    await site.work(*rows(site))
    restorer = MemoryStore(site.server, site.prefix)
    await restorer.begin_restore(replace(header(owner="restorer", offset=0), restoring=True))
    site.tape.write(like("dora", 1))
    before = site.server.snapshot()
    site.deliver()
    await until(lambda: site.failures)
    (error,) = site.failures
    assert isinstance(error, StateMismatchError)
    assert "being restored, or its restoration was cut off" in str(error)
    assert (site.server.values, site.server.outboxes) == (before.values, before.outboxes)
    await site.partition.close()


@pytest.mark.parametrize("operation", ["begin_restore", "clear", "clear-2", "finish_restore"])
async def test_restoration_that_was_cut_off_anywhere_can_be_run_again(operation: str) -> None:
    prefix = partition_prefix("", 0)
    server = MemoryServer({f"{prefix}v:{n}": b"record" for n in range(2500)})
    server.outboxes[f"{prefix}outbox:triggers"] = {1: b"row"}
    server.values[f"{prefix}header"] = header(start=4).to_bytes()
    store = MemoryStore(server, prefix)
    name, _, skipped = operation.partition("-")
    gone = StoreUnavailableError("Redis at there cannot be reached")
    if skipped:
        store = CutOff(server, prefix)
    else:
        server.faults.append(Fault(name, gone))
    with pytest.raises(StoreUnavailableError, match=r"cannot be reached.*run `groundswell restore` again"):
        await restore_partition(store, FACTS, replace(PLAN, start=4), quiet)
    found = await readable_header(MemoryStore(server, prefix))
    (planned,) = replays(FACTS, {0: found}, [0])
    assert planned.start == 4
    told: list[int] = []

    def tell(_partition: int, what: str, done: int, _total: int | None) -> None:
        assert what == "clearing"
        told.append(done)

    done = await restore_partition(MemoryStore(server, prefix), FACTS, planned, tell)
    assert told[-1] == done.deleted > 0 or operation == "finish_restore"
    assert set(server.values) == {f"{prefix}header"}
    left = Header.from_bytes(server.values[f"{prefix}header"])
    assert left == replace(header(start=4, offset=4), owner=left.owner)
    assert left.owner


class CutOff(MemoryStore):
    """Cannot be reached any more after the first page of voters."""

    async def clear(self, owner: str) -> AsyncIterator[int]:
        count = 0
        async for deleted in super().clear(owner):
            yield deleted
            count += 1
            if count == 2:
                message = "Redis at there cannot be reached"
                raise StoreUnavailableError(message)


async def test_restoration_that_another_overtook_says_so() -> None:
    prefix = partition_prefix("", 0)
    server = MemoryServer({f"{prefix}header": header().to_bytes()})

    def usurp(_partition: int, _what: str, _done: int, _total: int | None) -> None:
        server.values[f"{prefix}header"] = header(owner="another", restoring=True).to_bytes()

    with pytest.raises(CommitRefusedError, match="overtaken by another") as caught:
        await restore_partition(MemoryStore(server, prefix), FACTS, PLAN, usurp)
    assert isinstance(caught.value, GroundswellError)
