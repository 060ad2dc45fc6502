"""What every store of a partition's state promises, over the memory twin, Valkey and Redis."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from stream.errors import CommitRefusedError, StateMismatchError, StateMissingError
from stream.interfaces import PartitionStore
from stream.records import VOTER, Commit, Header, OutboxRow, Records
from stream.spans import Spans
from tests.contracts.conftest import Store, Stores


def _fresh() -> Header:
    return Header("topic", 8, "", start=100, offset=100)


def _record(last_offset: int) -> bytes:
    record = np.zeros(1, VOTER)
    record["version"] = 1
    record["last_offset"] = last_offset
    return record.tobytes()


def _row(sequence: int, voter: str = "ada") -> OutboxRow:
    headers = (("groundswell-sequence", b"%d" % sequence),)
    return OutboxRow(sequence, 3, voter.encode(), b"value\r\n%d" % sequence, headers)


def _step(
    header: Header,
    offset: int,
    voters: tuple[str, ...] = (),
    triggers: tuple[OutboxRow, ...] = (),
    erased: frozenset[str] = frozenset(),
) -> Commit:
    records = Records.of([(voter.encode(), _record(offset - 1)) for voter in voters])
    return Commit(header.offset, replace(header, offset=offset), records, {"triggers": list(triggers)}, erased)


async def _advance(store: Store, header: Header, offset: int, *voters: str) -> Header:
    step = _step(header, offset, voters)
    await store.commit(step)
    return step.header


async def test_every_store_is_a_partition_store(stores: Stores) -> None:
    store: PartitionStore = stores()
    assert await store.read_header() is None


async def test_first_claim_writes_the_fresh_header_with_the_owner(stores: Stores) -> None:
    header = await stores().claim("one", _fresh())
    assert header == replace(_fresh(), owner="one")
    assert await stores().read_header() == header


async def test_claim_that_may_not_begin_finds_a_header_or_leaves_nothing(stores: Stores) -> None:
    with pytest.raises(StateMissingError):
        await stores().claim("one", None)
    assert await stores().read_header() is None
    header = await stores().claim("one", _fresh())
    assert await stores().claim("two", None) == replace(header, owner="two")


async def test_later_claim_changes_the_owner_alone(stores: Stores) -> None:
    store = stores()
    first = await _advance(store, await store.claim("one", _fresh()), 120, "ada")
    second = await stores().claim("two", replace(_fresh(), offset=7, topic_id="another"))
    assert second == replace(first, owner="two")
    assert await store.read_header() == second


async def test_zombie_is_refused_after_another_claim_though_the_offset_is_its_own(stores: Stores) -> None:
    zombie = stores()
    header = await zombie.claim("zombie", _fresh())
    await stores().claim("heir", _fresh())
    with pytest.raises(CommitRefusedError, match="claimed by 'heir'"):
        await zombie.commit(_step(header, 110, ("ada",), (_row(1),)))
    assert await zombie.load(Spans.of_texts(["ada"])) == [None]
    assert await zombie.outbox("triggers", 0, 10) == []


async def test_zombie_is_refused_after_the_heir_committed_the_same_offsets(stores: Stores) -> None:
    zombie, heir = stores(), stores()
    header = await zombie.claim("zombie", _fresh())
    taken = await _advance(heir, await heir.claim("heir", _fresh()), 110, "ada")
    with pytest.raises(CommitRefusedError):
        await zombie.commit(_step(header, 110, ("ada",)))
    assert await heir.read_header() == taken


async def test_offset_that_is_not_the_headers_is_refused(stores: Stores) -> None:
    store = stores()
    header = await store.claim("one", _fresh())
    later = await _advance(store, header, 120)
    with pytest.raises(CommitRefusedError, match="stands at offset 120; expected 100"):
        await store.commit(_step(header, 130, ("ada",)))
    assert await store.read_header() == later
    assert await store.load(Spans.of_texts(["ada"])) == [None]


async def test_refused_commit_leaves_the_store_usable(stores: Stores) -> None:
    store = stores()
    header = await store.claim("one", _fresh())
    with pytest.raises(CommitRefusedError):
        await store.commit(replace(_step(header, 130), expected_offset=99))
    assert (await _advance(store, header, 130, "ada")) == await store.read_header()


async def test_commit_without_a_header_is_refused(stores: Stores) -> None:
    with pytest.raises(CommitRefusedError, match="no header"):
        await stores().commit(_step(_fresh(), 110))


async def test_commit_writes_header_records_and_all_outputs(stores: Stores) -> None:
    store = stores()
    header = await store.claim("one", _fresh())
    commit = _step(header, 110, ("ada", "bob"), (_row(1), _row(2)))
    commit.outbox["rejects"] = [OutboxRow(1, 3, None, None, (("reason", b"not_json"),))]
    commit.outbox["forwards"] = []
    await store.commit(commit)
    assert await store.read_header() == commit.header
    assert await store.load(Spans.of_texts(["bob", "ada"])) == [_record(109), _record(109)]
    assert await store.outbox("triggers", 0, 10) == [_row(1), _row(2)]
    assert await store.outbox("rejects", 0, 10) == commit.outbox["rejects"]
    assert await store.outbox("forwards", 0, 10) == []
    assert await store.backlog() == {"triggers": 2, "rejects": 1, "forwards": 0}


async def test_commit_without_records_moves_the_offset(stores: Stores) -> None:
    store = stores()
    header = await store.claim("one", _fresh())
    await _advance(store, header, 101)
    found = await store.read_header()
    assert found is not None
    assert found.offset == 101


async def test_load_keeps_the_order_of_known_and_unknown_voters(stores: Stores) -> None:
    store = stores()
    await _advance(store, await store.claim("one", _fresh()), 110, "ada", "zoë", "new\u2028line")
    values = await store.load(Spans.of_texts(["nobody", "zoë", "nobody", "ada", "new\u2028line"]))
    assert values == [None, _record(109), None, _record(109), _record(109)]
    assert await store.load(Spans.of_texts([])) == []


async def test_header_and_records_can_be_read_as_of_one_moment(stores: Stores) -> None:
    store = stores()
    assert await store.read_together(["ada"]) == (None, [None])
    header = await _advance(store, await store.claim("one", _fresh()), 110, "ada")
    assert await store.read_together(["ada", "bob"]) == (header, [_record(109), None])
    assert await store.read_together([]) == (header, [])


async def test_partitions_do_not_see_each_other(stores: Stores) -> None:
    one, ten = stores(1), stores(10)
    await _advance(one, await one.claim("one", _fresh()), 110, "ada")
    assert await ten.read_header() is None
    assert await ten.load(Spans.of_texts(["ada"])) == [None]
    assert (await ten.claim("two", _fresh())).offset == 100


async def test_outbox_comes_in_sequence_beyond_ten_and_in_pages(stores: Stores) -> None:
    store = stores()
    header = await store.claim("one", _fresh())
    await store.commit(_step(header, 110, (), tuple(_row(sequence) for sequence in range(1, 121))))
    assert [row.sequence for row in await store.outbox("triggers", 0, 1000)] == list(range(1, 121))
    assert [row.sequence for row in await store.outbox("triggers", 98, 4)] == [99, 100, 101, 102]
    assert await store.outbox("triggers", 120, 4) == []


async def test_trim_removes_through_the_sequence_and_twice_is_harmless(stores: Stores) -> None:
    store = stores()
    header = await store.claim("one", _fresh())
    await store.commit(_step(header, 110, (), tuple(_row(sequence) for sequence in range(1, 13))))
    await store.trim("triggers", 9)
    await store.trim("triggers", 9)
    assert [row.sequence for row in await store.outbox("triggers", 0, 100)] == [10, 11, 12]
    await store.trim("rejects", 5)


async def test_unsent_triggers_of_an_erased_voter_become_tombstones_in_place(stores: Stores) -> None:
    store = stores()
    header = await store.claim("one", _fresh())
    rows = tuple(_row(sequence, "ada" if sequence % 2 else "bob") for sequence in range(1, 6))
    first = _step(header, 110, ("ada", "bob"), rows)
    await store.commit(first)
    await store.trim("triggers", 1)
    own = _row(6, "ada").tombstone()
    await store.commit(_step(first.header, 120, ("ada",), (own, _row(7, "bob")), frozenset({"ada"})))
    left = await store.outbox("triggers", 0, 100)
    assert left == [rows[1], rows[2].tombstone(), rows[3], rows[4].tombstone(), own, _row(7, "bob")]


async def test_erasure_beyond_a_page_of_unsent_triggers_withdraws_them_all(stores: Stores) -> None:
    store = stores()
    header = await store.claim("one", _fresh())
    places = [1, 1000, 1001, 2300]
    first = _step(header, 110, (), tuple(_row(n, "ada" if n in places else "bob") for n in range(1, 2301)))
    await store.commit(first)
    await store.commit(_step(first.header, 120, (), (), frozenset({"ada"})))
    left = await store.outbox("triggers", 0, 10_000)
    assert [row.sequence for row in left if row.key is None] == places
    assert len(left) == 2300


async def test_refused_erasure_withdraws_nothing(stores: Stores) -> None:
    store = stores()
    first = _step(await store.claim("one", _fresh()), 110, (), (_row(1),))
    await store.commit(first)
    await stores().claim("two", _fresh())
    with pytest.raises(CommitRefusedError):
        await store.commit(_step(first.header, 120, (), (), frozenset({"ada"})))
    assert await store.outbox("triggers", 0, 10) == [_row(1)]


async def test_claim_of_a_partition_that_is_being_restored_is_refused(stores: Stores) -> None:
    store = stores()
    header = await store.claim("one", _fresh())
    await store.commit(Commit(100, replace(header, restoring=True), Records.of([]), {}))
    with pytest.raises(StateMismatchError, match="groundswell restore"):
        await store.claim("two", _fresh())


# --- restoring -----------------------------------------------------------------------------------------


async def _emptied(store: Store, owner: str) -> int:
    return sum([count async for count in store.clear(owner)])


async def test_restoration_leaves_the_fresh_header_alone(stores: Stores) -> None:
    store, other = stores(), stores(10)
    rows = tuple(_row(sequence) for sequence in range(1, 4))
    voters = tuple(f"voter-{n}" for n in range(2500))
    await store.commit(_step(await store.claim("one", _fresh()), 110, voters, rows))
    kept = await _advance(other, await other.claim("one", _fresh()), 110, "ada")
    fresh = replace(_fresh(), owner="restorer")
    await store.begin_restore(replace(fresh, restoring=True))
    assert await _emptied(store, "restorer") == 2501
    assert await store.read_header() == replace(fresh, restoring=True)
    await store.finish_restore(fresh)
    assert await store.read_header() == fresh
    assert await store.load(Spans.of_texts(voters)) == [None] * 2500
    assert await store.backlog() == {"triggers": 0, "rejects": 0, "forwards": 0}
    assert (await other.read_header(), await other.load(Spans.of_texts(["ada"]))) == (kept, [_record(109)])
    assert await store.claim("two", _fresh()) == replace(fresh, owner="two")


async def test_worker_writes_nothing_once_a_restoration_has_begun(stores: Stores) -> None:
    worker, restorer = stores(), stores()
    first = _step(await worker.claim("worker", _fresh()), 110, ("ada",), (_row(1),))
    await worker.commit(first)
    fresh = replace(_fresh(), owner="restorer")
    for begin in (True, False):
        if begin:
            await restorer.begin_restore(replace(fresh, restoring=True))
        else:
            await restorer.finish_restore(fresh)
        with pytest.raises(CommitRefusedError, match="claimed by 'restorer'"):
            await worker.commit(_step(first.header, 120, ("bob",), (_row(2),), frozenset({"ada"})))
        assert await worker.load(Spans.of_texts(["ada", "bob"])) == ([_record(109), None] if begin else [None, None])
        if begin:
            with pytest.raises(StateMismatchError, match=r"being restored.*cut off.*`groundswell restore`"):
                await worker.claim("worker-again", _fresh())
            await _emptied(restorer, "restorer")


async def test_restoration_that_was_cut_off_is_run_again_by_another(stores: Stores) -> None:
    store, again = stores(), stores()
    await _advance(store, await store.claim("one", _fresh()), 110, *(f"voter-{n}" for n in range(1500)))
    await store.begin_restore(replace(_fresh(), owner="first", restoring=True))
    steps = store.clear("first")
    await anext(steps)
    await again.begin_restore(replace(_fresh(), owner="second", restoring=True))
    with pytest.raises(CommitRefusedError, match="overtaken"):
        await anext(steps)
    with pytest.raises(CommitRefusedError, match="overtaken"):
        await store.finish_restore(replace(_fresh(), owner="first"))
    assert await _emptied(again, "second") == 1500
    await again.finish_restore(replace(_fresh(), owner="second"))
    assert (await store.claim("two", _fresh())).owner == "two"


async def test_nothing_is_deleted_under_a_worker_that_claimed_after_the_restoration(stores: Stores) -> None:
    late, other = stores(), stores()
    fresh = replace(_fresh(), owner="late")
    await late.begin_restore(replace(fresh, restoring=True))
    steps = late.clear("late")
    await anext(steps)
    await other.finish_restore(fresh)
    header = await _advance(other, await other.claim("worker", _fresh()), 110, "ada")
    with pytest.raises(CommitRefusedError, match="belongs to 'worker' now"):
        await anext(steps)
    assert (await other.read_header(), await other.load(Spans.of_texts(["ada"]))) == (header, [_record(109)])


# --- snapshots -----------------------------------------------------------------------------------------


async def test_voters_come_in_pages_of_about_the_step_asked_for(stores: Stores) -> None:
    store, other = stores(), stores(10)
    voters = {f"voter-{n}" for n in range(300)}
    await _advance(store, await store.claim("one", _fresh()), 110, *voters)
    await _advance(other, await other.claim("one", _fresh()), 110, "elsewhere")
    pages = [page async for page in store.voters(20)]
    assert {voter for page in pages for voter in page} == voters
    assert max(map(len, pages)) < 100


async def test_snapshot_is_filled_in_piece_by_piece_and_the_same_piece_twice_is_harmless(stores: Stores) -> None:
    store = stores()
    fresh = replace(_fresh(), owner="restorer")
    await store.begin_restore(replace(fresh, restoring=True))
    for _ in range(2):
        await store.fill_restore("restorer", [("ada", _record(1)), ("bob", _record(2))], {})
        await store.fill_restore("restorer", [], {"triggers": [_row(4), _row(5)], "forwards": []})
    await store.fill_restore("restorer", [], {"triggers": [_row(6)], "rejects": [_row(1)]})
    await store.fill_restore("restorer", [], {})
    await store.finish_restore(fresh)
    assert await store.load(Spans.of_texts(["ada", "bob", "cleo"])) == [_record(1), _record(2), None]
    assert await store.outbox("triggers", 0, 10) == [_row(4), _row(5), _row(6)]
    assert await store.backlog() == {"triggers": 3, "rejects": 1, "forwards": 0}
    assert (await store.claim("two", _fresh())).owner == "two"


async def test_nothing_is_filled_in_once_another_restoration_has_begun_or_ended(stores: Stores) -> None:
    store, other = stores(), stores()
    fresh = replace(_fresh(), owner="first")
    await store.begin_restore(replace(fresh, restoring=True))
    await other.begin_restore(replace(fresh, owner="second", restoring=True))
    with pytest.raises(CommitRefusedError, match="overtaken"):
        await store.fill_restore("first", [("ada", _record(1))], {})
    await other.finish_restore(replace(fresh, owner="second"))
    for owner in ("first", "second"):
        with pytest.raises(CommitRefusedError, match="overtaken"):
            await store.fill_restore(owner, [], {"triggers": [_row(1)]})
    assert await store.load(Spans.of_texts(["ada"])) == [None]
    assert await store.outbox("triggers", 0, 10) == []


async def test_request_for_a_snapshot_is_read_as_it_was_left_and_is_no_state(stores: Stores) -> None:
    store, other = stores(), stores(10)
    assert await store.read_request() is None
    for data in (b"first", b"second"):
        await store.write_request(data)
        assert await store.read_request() == data
    assert await other.read_request() is None
    # A partition that holds nothing else is a fresh one.
    assert (await store.claim("one", _fresh())).offset == 100


async def test_restoration_begins_over_a_header_that_cannot_be_read(stores: Stores) -> None:
    store = stores()
    await _advance(store, await store.claim("one", _fresh()), 110, "ada")
    await stores.put("header", b"no header")
    with pytest.raises(StateMismatchError, match="groundswell restore"):
        await store.read_header()
    fresh = replace(_fresh(), owner="restorer")
    await store.begin_restore(replace(fresh, restoring=True))
    assert await _emptied(store, "restorer") == 1
    await store.finish_restore(fresh)
    assert await store.read_header() == fresh


async def test_claim_without_a_header_beside_a_voter_is_damage(stores: Stores) -> None:
    store = stores()
    await _advance(store, await store.claim("one", _fresh()), 110, "ada")
    await stores.lose("header")
    with pytest.raises(StateMismatchError, match="groundswell restore"):
        await store.claim("two", _fresh())
    assert await store.read_header() is None
    await stores.lose("v:ada")
    assert (await store.claim("two", _fresh())).owner == "two"


async def test_claim_without_a_header_beside_an_outbox_is_damage(stores: Stores) -> None:
    store = stores()
    header = await store.claim("one", _fresh())
    await store.commit(_step(header, 110, (), (_row(1),)))
    await stores.lose("header")
    with pytest.raises(StateMismatchError, match="groundswell restore"):
        await store.claim("two", _fresh())


async def test_of_many_claims_at_once_exactly_one_owner_can_commit(stores: Stores) -> None:
    claimers = [stores() for _ in range(8)]
    headers = await asyncio.gather(*(store.claim(f"owner-{n}", _fresh()) for n, store in enumerate(claimers)))
    commits = [_step(header, 110, ("ada",)) for header in headers]
    results = await asyncio.gather(
        *(store.commit(commit) for store, commit in zip(claimers, commits, strict=True)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["CommitRefusedError"] * 7 + ["NoneType"]


async def test_reads_and_commits_at_once_do_not_mix_their_answers(stores: Stores) -> None:
    store = stores()
    header = await _advance(store, await store.claim("one", _fresh()), 110, "ada")

    async def commits() -> None:
        current = header
        for offset in range(111, 140):
            current = await _advance(store, current, offset, "bob")

    async def reads() -> None:
        for _ in range(30):
            assert await store.load(Spans.of_texts(["ada", "nobody"])) == [_record(109), None]
            assert await store.outbox("triggers", 0, 5) == []

    await asyncio.gather(commits(), reads(), reads())


async def test_large_commit_comes_back_whole(stores: Stores) -> None:
    store = stores()
    voters = tuple(f"voter-{n}" for n in range(5000))
    await _advance(store, await store.claim("one", _fresh()), 110, *voters)
    assert await store.load(Spans.of_texts(voters)) == [_record(109)] * 5000


async def test_closed_store_can_be_used_again(stores: Stores) -> None:
    store = stores()
    header = await store.claim("one", _fresh())
    await store.close()
    await store.close()
    assert await store.read_header() == header
