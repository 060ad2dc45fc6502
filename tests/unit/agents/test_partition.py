"""One partition under its owner: claims, commits in groups, refusals, and what outlives a rebalance."""

from __future__ import annotations

import asyncio

import pytest

from stream.errors import (
    CommitUnknownError,
    StateMismatchError,
    StoreFailedError,
    StoreUnavailableError,
)
from stream.records import TOMBSTONE_HEADER, Header
from stream.stores.memory import Fault, MemoryServer, MemoryStore
from tests.unit.agents.worksite import (
    TOPIC_ID,
    Site,
    Tape,
    activation,
    closed,
    event,
    like,
    opened,
    put_ahead,
    site_of,
    tick,
    turns,
    until,
)

pytestmark = pytest.mark.usefixtures("kernels")

LOST = CommitUnknownError("no answer")


async def triggering(site: Site) -> None:
    """Activate a model that counts likes, and a campaign that fires at the third."""
    await site.work(activation(site.shelf.model(), site.shelf.campaign()))


# --- the plain way ---------------------------------------------------------------------------------------


async def test_what_is_fed_is_committed_with_its_offset() -> None:
    async with opened(site_of()) as site:
        await site.work(like("ada", 1), like("ada", 2), like("bob", 3))
        assert site.likes("ada") == 2
        assert site.likes("bob") == 1
        assert site.header().offset == 3
        assert site.tape.released == 1


async def test_triggers_leave_once_and_in_sequence() -> None:
    async with opened(site_of()) as site:
        site.carries.set()
        await triggering(site)
        await site.work(*(like(voter, f"{voter}{n}") for n in range(3) for voter in ("ada", "bob")))
        await until(lambda: len(site.sent()) == 2)
        assert [row.sequence for row in site.sent()] == [1, 2]


async def test_batches_fed_while_a_commit_is_on_its_way_share_the_next() -> None:
    async with opened(site_of()) as site:
        site.store.gate.clear()
        site.tape.write(*(like("ada", n) for n in range(10)))
        site.deliver(1)
        await until(lambda: len(site.outcomes) == 10)
        site.store.gate.set()
        await until(site.is_done)
        assert len(site.store.commits) == 2
        assert site.likes("ada") == 10


async def test_new_claim_continues_where_the_last_owner_committed() -> None:
    server, tape = MemoryServer(), Tape()
    async with opened(site_of(server, tape)) as first:
        await first.work(like("ada", 1))
    async with opened(site_of(server, tape)) as second:
        assert tape.position == 1
        await second.work(like("ada", 2))
        assert second.likes("ada") == 2


# --- bounds ----------------------------------------------------------------------------------------------


async def test_processing_waits_at_the_bound_of_uncommitted_rows_and_goes_on() -> None:
    async with opened(site_of(uncommitted_events=3)) as site:
        site.store.gate.clear()
        site.tape.write(*(like("ada", n) for n in range(10)))
        site.deliver(1)
        await until(lambda: len(site.outcomes) == 3)
        await turns()
        assert len(site.outcomes) == 3
        site.store.gate.set()
        await until(site.is_done)
        assert site.likes("ada") == 10


async def test_full_outbox_makes_processing_wait_until_it_is_sent() -> None:
    async with opened(site_of(outbox_rows=2)) as site:
        await site.work(b"broken", b"broken")
        site.tape.write(like("ada", 1))
        site.deliver()
        await turns()
        assert len(site.outcomes) == 1
        site.carries.set()
        await until(site.is_done)
        assert site.likes("ada") == 1


async def test_quiet_rows_are_committed_only_after_the_idle_time() -> None:
    async with opened(site_of(idle_commit_seconds=0.05)) as site:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await site.work(*(tick(n) for n in range(5)))
        assert loop.time() - began >= 0.05
        assert len(site.store.commits) == 1
        assert site.header().log_time_ms > 0


async def test_quiet_rows_leave_at_once_with_rows_that_change_something() -> None:
    async with opened(site_of(idle_commit_seconds=3600.0)) as site:
        site.tape.write(tick(1), tick(2))
        site.deliver(1)
        await until(lambda: len(site.outcomes) == 2)
        await turns()
        assert site.store.commits == []
        await site.work(like("ada", 1))
        assert len(site.store.commits) == 1


async def test_quiet_rows_up_to_the_bound_do_not_wait_for_the_idle_time() -> None:
    async with opened(site_of(idle_commit_seconds=3600.0, uncommitted_events=4)) as site:
        site.tape.write(*(tick(n) for n in range(9)))
        site.deliver(1)
        await until(lambda: len(site.outcomes) == 9)
        assert site.header().offset == 8


# --- epochs and places -----------------------------------------------------------------------------------


async def test_batches_of_an_older_epoch_are_dropped() -> None:
    async with opened(site_of()) as site:
        site.tape.write(like("ada", 1), like("ada", 2))
        stale = site.tape.take(2)
        site.tape.seek(0)
        site.partition.feed(stale)
        site.deliver(1)
        await until(site.is_done)
        assert site.likes("ada") == 2
        assert [outcome.rows for outcome in site.outcomes] == [1, 1]
        assert site.tape.sought == []


@pytest.mark.parametrize("start", [0, 3])
async def test_batch_that_starts_elsewhere_is_read_again_from_the_right_place(start: int) -> None:
    async with opened(site_of()) as site:
        await site.work(like("ada", 1), like("ada", 2))
        site.tape.write(like("ada", 3), like("ada", 4))
        site.tape.position = start
        site.deliver(1)
        await until(lambda: site.tape.sought)
        assert site.tape.sought == [2]
        site.deliver()
        await until(site.is_done)
        assert site.likes("ada") == 4


# --- answers that are lost -------------------------------------------------------------------------------


@pytest.mark.parametrize("executed", [True, False])
async def test_commit_without_an_answer_is_applied_exactly_once(executed: bool) -> None:
    async with opened(site_of()) as site:
        site.carries.set()
        await triggering(site)
        site.server.faults.append(Fault("commit", LOST, executed=executed))
        await site.work(like("ada", 1), like("ada", 2), like("ada", 3))
        await site.work(like("ada", 4))
        assert site.likes("ada") == 4
        assert site.unknown == 1
        assert site.refused == 0
        await until(site.sent)
        assert [row.sequence for row in site.sent()] == [1]


async def test_store_that_is_away_is_waited_for() -> None:
    async with opened(site_of()) as site:
        site.server.faults += [Fault(name, StoreUnavailableError("away")) for name in ("load", "commit", "load")]
        await site.work(like("ada", 1))
        assert site.likes("ada") == 1
        assert site.refused == 0


@pytest.mark.parametrize("operation", ["load", "commit"])
async def test_error_that_no_retry_mends_ends_the_worker(operation: str) -> None:
    site = site_of()
    await site.open()
    site.server.faults.append(Fault(operation, StoreFailedError("OOM")))
    site.tape.write(like("ada", 1))
    site.deliver()
    await until(lambda: site.failures)
    assert [str(error) for error in site.failures] == ["OOM"]
    await closed(site)


@pytest.mark.parametrize("defect", [ZeroDivisionError("defect"), asyncio.CancelledError()])
async def test_defect_while_processing_ends_the_worker_and_nothing_is_skipped(defect: BaseException) -> None:
    """A cancellation that nobody asked for is one: a library let it out of a task of its own."""
    site = site_of()
    await site.open()
    site.server.faults.append(Fault("load", defect))
    site.tape.write(like("ada", 1), like("ada", 2))
    site.deliver(1)
    await until(lambda: site.failures)
    await turns()
    assert site.outcomes == []
    assert site.partition.committed_offset == 0
    await closed(site)


# --- refusals --------------------------------------------------------------------------------------------


async def test_zombie_is_refused_and_its_memory_dropped() -> None:
    server = MemoryServer()
    zombie, owner = site_of(server), site_of(server)
    async with opened(zombie):
        await zombie.work(like("ada", 1))
        owner.tape.write(like("ada", 1))
        async with opened(owner):
            zombie.tape.is_assigned = False
            zombie.tape.write(like("ada", 2), like("ada", 3))
            zombie.deliver()
            await until(lambda: zombie.partition.state is None)
            await owner.work(like("ada", 2))
            assert zombie.refused == 1
            assert owner.likes("ada") == 2
            assert owner.header().owner == owner.partition.owner


async def test_same_offset_by_another_owner_is_refused() -> None:
    server = MemoryServer()
    first, second = site_of(server), site_of(server)
    async with opened(first), opened(second):
        first.tape.is_assigned = False
        first.tape.write(like("ada", 1))
        first.deliver()
        await until(lambda: first.refused)
        assert first.header().offset == 0
        await second.work(like("ada", 1))
        assert second.likes("ada") == 1
        # Before the second one is closed, and all tasks of its partition must be gone, the first one has given up.
        await until(lambda: first.partition._reclaim is None)


async def test_refused_owner_that_is_still_assigned_claims_again() -> None:
    server = MemoryServer()
    site = site_of(server)
    async with opened(site):
        await site.work(like("ada", 1))
        before = site.partition.owner
        other = MemoryStore(server, site.prefix)
        await other.claim("other", Header(TOPIC_ID, 1, "", 0, 0))
        site.tape.write(like("ada", 2))
        site.deliver()
        await until(lambda: site.tape.sought)
        assert site.tape.sought == [1]
        assert site.partition.owner not in {before, "other"}
        await until(lambda: site.partition.committed_offset == 1)
        site.deliver()
        await until(site.is_done)
        assert site.likes("ada") == 2
        assert site.refused == 1
        assert [courier.is_running for couriers in site.couriers for courier in couriers.values()] == [False] * 3 + [
            True
        ] * 3


async def test_store_that_fell_behind_is_brought_up_again_with_the_same_triggers() -> None:
    site = site_of()
    async with opened(site):
        await triggering(site)
        await site.work(like("ada", 1))
        replica = site.server.snapshot()
        await site.work(like("ada", 2), like("ada", 3))
        before = dict(site.server.values)
        first = await site.store.outbox("triggers", 0, 10)
        site.server.fail_over(replica)
        site.tape.write(tick(9), like("bob", 1))
        site.deliver()
        await until(lambda: site.tape.sought)
        assert site.tape.sought == [2]
        site.deliver()
        await until(site.is_done)
        assert len(first) == 1
        assert await site.store.outbox("triggers", 0, 10) == first
        assert site.server.values[f"{site.prefix}v:ada"] == before[f"{site.prefix}v:ada"]


async def test_owner_that_is_refused_again_and_again_waits_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    site = site_of(reclaim_seconds=7.0)
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        if seconds >= 7.0:
            waits.append(seconds)
        await sleep(min(seconds, 0.001))

    monkeypatch.setattr(asyncio, "sleep", noted)
    async with opened(site):
        other = MemoryStore(site.server, site.prefix)
        site.tape.write(like("ada", 1))
        for claims in range(1, 7):
            await other.claim("other", Header(TOPIC_ID, 1, "", 0, 0))
            site.deliver()
            await until(lambda count=claims: len(site.tape.sought) == count)  # type: ignore[misc]
        site.deliver()
        await until(site.is_done)
        assert waits == [7.0, 14.0, 28.0, 56.0, 70.0, 70.0]
        await other.claim("other", Header(TOPIC_ID, 1, "", 0, 0))
        site.tape.write(like("ada", 2))
        site.deliver()
        await until(lambda: len(site.tape.sought) == 7)
        assert waits[-1] == 7.0


async def test_record_ahead_is_claimed_over_once() -> None:
    async with opened(site_of()) as site:
        put_ahead(site, "ada", 5)
        site.tape.write(like("ada", 1))
        site.deliver()
        await until(lambda: site.tape.sought)
        assert site.refused == 1
        del site.server.values[f"{site.prefix}v:ada"]
        site.deliver()
        await until(site.is_done)
        put_ahead(site, "bob", 5)
        site.tape.write(like("bob", 1))
        site.deliver()
        await until(lambda: len(site.tape.sought) == 2)
        assert site.refused == 2


async def test_record_ahead_that_another_owner_wrote_is_a_refusal_however_often() -> None:
    async with opened(site_of()) as site:
        other = MemoryStore(site.server, site.prefix)
        site.tape.write(like("ada", 1))
        for time in range(1, 4):
            await other.claim("other", Header(TOPIC_ID, 1, "", 0, 0))
            put_ahead(site, "ada", 5)
            site.deliver()
            await until(lambda times=time: len(site.tape.sought) == times)  # type: ignore[misc]
            assert site.refused == time
        assert not site.failures
        del site.server.values[f"{site.prefix}v:ada"]
        site.deliver()
        await until(site.is_done)
        assert site.likes("ada") == 1


async def test_record_ahead_twice_in_a_row_is_damage() -> None:
    site = site_of()
    await site.open()
    put_ahead(site, "ada", 5)
    site.tape.write(*(like("bob", n) for n in range(3)), like("ada", 1))
    site.deliver()
    await until(lambda: site.tape.sought)
    # Other batches that go well before the place is reached again do not make it whole.
    site.deliver(1)
    await until(lambda: site.failures)
    (error,) = site.failures
    assert isinstance(error, StateMismatchError)
    assert "twice in a row" in str(error)
    assert "groundswell restore" in str(error)
    assert "ada" not in str(error)
    await closed(site)


async def test_commit_refused_while_the_partition_is_given_back_is_counted_and_not_claimed_again() -> None:
    async with opened(site_of()) as site:
        site.store.gate.clear()
        site.tape.write(like("ada", 1))
        site.deliver()
        await until(lambda: site.outcomes)
        suspending = asyncio.create_task(site.partition.suspend(5.0))
        await turns()
        await MemoryStore(site.server, site.prefix).claim("other", Header(TOPIC_ID, 1, "", 0, 0))
        site.store.gate.set()
        await suspending
        assert site.refused == 1
        assert site.partition.state is None
        assert site.header().owner == "other"


# --- rebalances ------------------------------------------------------------------------------------------


async def test_suspend_commits_what_is_pending_and_memory_goes_on() -> None:
    async with opened(site_of(idle_commit_seconds=3600.0)) as site:
        await site.work(like("ada", 1))
        site.tape.write(tick(1))
        site.deliver()
        await until(lambda: len(site.outcomes) == 2)
        await site.partition.suspend(5.0)
        assert site.header().offset == 2
        state, owner = site.partition.state, site.partition.owner
        assert state is not None
        assert await site.open() == 2
        assert site.partition.state is state
        assert site.partition.owner == owner
        await site.work(like("ada", 2))
        assert site.likes("ada") == 2
        assert len(site.couriers) == 2


@pytest.mark.parametrize("change", ["owner", "offset", "missing"])
async def test_memory_does_not_outlive_a_rebalance_if_the_header_changed(change: str) -> None:
    async with opened(site_of()) as site:
        replica = site.server.snapshot()
        await site.work(like("ada", 1))
        await site.partition.suspend(5.0)
        state = site.partition.state
        if change == "owner":
            await MemoryStore(site.server, site.prefix).claim("other", Header(TOPIC_ID, 1, "", 0, 0))
        elif change == "offset":
            site.server.fail_over(replica)
        else:
            site.server.fail_over(MemoryServer())
        expected = 1 if change == "owner" else 0
        assert await site.open() == expected
        assert site.partition.state is not state
        site.deliver()
        await until(site.is_done)
        await site.work(like("ada", 2))
        assert site.likes("ada") == 2


async def test_suspend_that_times_out_drops_the_memory() -> None:
    async with opened(site_of()) as site:
        site.store.gate.clear()
        site.tape.write(like("ada", 1))
        site.deliver()
        await until(lambda: site.outcomes)
        await site.partition.suspend(0.02)
        assert site.partition.state is None
        assert site.header().offset == 0
        site.store.gate.set()
        assert await site.open() == 0
        site.deliver()
        await until(site.is_done)
        assert site.likes("ada") == 1


async def test_suspend_cancelled_half_way_is_done_again_by_the_next() -> None:
    async with opened(site_of()) as site:
        site.store.gate.clear()
        site.tape.write(like("ada", 1))
        site.deliver()
        await until(lambda: site.outcomes)
        suspending = asyncio.create_task(site.partition.suspend(5.0))
        await turns()
        suspending.cancel()
        await asyncio.wait([suspending])
        site.store.gate.set()
        assert await site.open() == 1
        assert site.likes("ada") == 1
        await site.work(like("ada", 2))
        assert site.likes("ada") == 2


async def test_rebalance_while_records_are_loaded_leaves_no_half_batch() -> None:
    async with opened(site_of()) as site:
        await site.work(like("ada", 1))
        site.server.faults += [Fault("load", StoreUnavailableError("away")) for _ in range(1000)]
        site.tape.write(like("ada", 2), like("bob", 1))
        site.deliver()
        await until(lambda: len(site.server.faults) < 1000)
        await site.partition.suspend(5.0)
        site.server.faults.clear()
        assert await site.open() == 1
        site.deliver()
        await until(site.is_done)
        assert site.likes("ada") == 2
        assert site.likes("bob") == 1


async def test_refusal_and_rebalance_in_the_same_moment_leave_the_partition_claimable() -> None:
    async with opened(site_of(reclaim_seconds=3600.0)) as site:
        other = MemoryStore(site.server, site.prefix)
        for number in range(3):
            await other.claim("other", Header(TOPIC_ID, 1, "", 0, 0))
            site.tape.write(like("ada", number))
            site.deliver()
            # Cancelled at any moment around the refusal, the claim must not stay "under way" for ever.
            async with asyncio.timeout(10):
                while site.refused == number:
                    await asyncio.sleep(0)
            await site.partition.suspend(5.0)
            assert await site.open() == number
            site.deliver()
            await until(site.is_done)
        assert site.likes("ada") == 3


async def test_partition_closed_during_its_claim_stays_closed() -> None:
    site = site_of()
    site.server.faults += [Fault("claim", StoreUnavailableError("away")) for _ in range(2)]
    opening = asyncio.create_task(site.partition.open())
    await turns()
    await site.partition.close()
    await opening
    await closed(site)
    assert site.couriers == []


async def test_table_follows_the_room_that_partitions_share() -> None:
    room = [100]
    async with opened(site_of(voters=lambda: room[0])) as site:
        await site.work(like("ada", 1))
        state = site.partition.state
        assert state is not None
        assert state.table.limit == 100
        room[0] = 7
        await site.partition.suspend(5.0)
        await site.open()
        assert site.partition.state is state
        assert state.table.limit == 7


# --- erasure ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [True, False])
async def test_unsent_trigger_of_an_erased_voter_leaves_as_a_tombstone(together: bool) -> None:
    async with opened(site_of()) as site:
        await triggering(site)
        likes = [like(voter, f"{voter}{n}") for voter in ("ada", "bob") for n in range(3)]
        erasure = event("privacy.erased", "ada", "erasure", {})
        if together:
            await site.work(*likes, erasure)
        else:
            await site.work(*likes)
            assert [row.key for row in await site.store.outbox("triggers", 0, 10)] == [b"ada", b"bob"]
            await site.work(erasure)
        site.carries.set()
        await until(lambda: len(site.sent()) == 2)
        gone, kept = site.sent()
        assert (gone.sequence, gone.key, gone.value) == (1, None, None)
        assert (TOMBSTONE_HEADER, b"1") in gone.headers
        assert (kept.sequence, kept.key) == (2, b"bob")
        assert b"ada" not in b"".join(box for rows in site.server.outboxes.values() for box in rows.values())
