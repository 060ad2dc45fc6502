"""A batch through its steps: where configurations switch, what is forwarded, and what a failure leaves behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from stream.columns import ORIGIN_HEADER
from stream.errors import CommitRefusedError, StateMismatchError
from stream.partitioning import partition_of
from stream.pipeline import Outcome, PartitionState, process_batch, take_commit
from stream.records import (
    MAX_CAMPAIGNS,
    MAX_MODELS,
    RECORD_VERSION,
    SEQUENCE_HEADER,
    TOMBSTONE_HEADER,
    VOTER,
    Commit,
    Header,
    OutboxRow,
)
from stream.spans import Spans
from stream.stores.table import Table
from tests.unit.agents.worksite import NOW_MS, TOPIC, TOPIC_ID, Shelf, Tape, activation, event, like, tick, turns

Headers = tuple[tuple[str, bytes], ...]


class Desk:
    """A partition's state, its log, and records that a load finds."""

    def __init__(self, count: int = 1, number: int = 0) -> None:
        self.shelf = Shelf()
        self.tape = Tape(number, count)
        self.known: dict[str, bytes] = {}
        self.loads: list[list[str]] = []

    async def opened(self) -> Desk:
        header = Header(TOPIC_ID, self.tape.count, "me", 0, 0)
        self.table = Table(100)
        self.state = await PartitionState.open(self.tape.number, TOPIC, header, self.table, self.shelf)
        return self

    async def load(self, voters: Spans) -> list[bytes | None]:
        self.loads.append(voters.texts())
        return [self.known.get(voter) for voter in voters.texts()]

    async def take(self, *values: bytes | None, headers: Headers = ()) -> Outcome:
        """Write rows and process them as one batch."""
        self.tape.write(*values, headers=headers)
        return await process_batch(self.state, self.tape.take(1000), self.shelf, self.load)

    def commit(self) -> Commit:
        return take_commit(self.state, 0)

    def record(self, voter: str) -> Any:
        slots, _ = self.table.index(Spans.of_texts([voter]))
        return self.table.records[slots[0]]


def causes(rows: list[OutboxRow]) -> list[int]:
    """Return the offset that each trigger was caused at."""
    return [orjson.loads(row.value or b"")["data"]["cause"]["offset"] for row in rows]


def reasons(rows: list[OutboxRow]) -> list[tuple[str, int]]:
    """Return reason and offset of each reject."""
    return [(dict(row.headers)["reason"].decode(), int(dict(row.headers)["offset"])) for row in rows]


def voter_at(partition: int, count: int, nth: int = 0) -> str:
    """Return a voter whose home is ``partition``."""
    return [name for name in (f"v{n}" for n in range(1000)) if partition_of(name.encode(), count) == partition][nth]


# --- configuration ---------------------------------------------------------------------------------------


async def test_activation_in_the_middle_of_a_batch_switches_between_two_rows() -> None:
    desk = await Desk().opened()
    strict = activation(desk.shelf.model(), desk.shelf.campaign(threshold=2.5))
    mild = activation(desk.shelf.model(), desk.shelf.campaign(threshold=1.5))
    likes = [like("ada", n) for n in range(4)]
    outcome = await desk.take(strict, likes[0], likes[1], mild, likes[2], likes[3], like("bob", 1), like("bob", 2))
    # Two likes before the switch pass 1.5 unseen; armed and above the new threshold, the next one fires.
    assert causes(desk.state.outbox["triggers"]) == [4, 7]
    assert outcome.triggers == {"fan": 2}
    assert outcome.folded == 6


async def test_batch_with_an_activation_equals_its_rows_one_by_one() -> None:
    ends = []
    for step in (1, 100):
        desk = await Desk().opened()
        rows = [
            activation(desk.shelf.model(), desk.shelf.campaign()),
            *(like("ada", n) for n in range(3)),
            activation(desk.shelf.model("other"), desk.shelf.campaign("second", "other", 0.5)),
            *(like("bob", n) for n in range(2)),
            event("privacy.erased", "ada", "x", {}),
            activation(),
            like("bob", 9),
        ]
        for first in range(0, len(rows), step):
            await desk.take(*rows[first : first + step])
        commit = desk.commit()
        ends.append((commit.header, sorted(commit.records), commit.outbox["triggers"][-1], commit.erased))
    assert ends[0] == ends[1]


async def test_unusable_activation_is_rejected_and_changes_nothing() -> None:
    desk = await Desk().opened()
    await desk.take(activation(desk.shelf.model(), desk.shelf.campaign()))
    slots, active = {**desk.state.header.slots}, desk.state.active
    broken = activation(desk.shelf.add("model", "broken", b"{}"))
    outcome = await desk.take(like("ada", 1), broken, like("ada", 2), like("ada", 3))
    assert reasons(desk.state.outbox["rejects"]) == [("bad_data", 2)]
    assert outcome.rejects == {"bad_data": 1}
    assert desk.state.header.slots == slots
    assert desk.state.active is active
    assert causes(desk.state.outbox["triggers"]) == [4]
    assert desk.state.header.totals["rejected"] == 1


async def test_activation_of_another_engine_stops_and_names_it() -> None:
    desk = await Desk().opened()
    await desk.take(activation(desk.shelf.model(), desk.shelf.campaign()))
    before = desk.state.header.to_bytes()
    with pytest.raises(StateMismatchError, match=r"activates engine 2 at offset 2.*this build is engine 1"):
        await desk.take(like("ada", 1), activation(engine=2), like("ada", 3))
    assert desk.state.header.to_bytes() == before
    assert not desk.state.outbox["rejects"]


async def test_batch_waits_at_an_activation_until_the_content_is_in_hand() -> None:
    desk = await Desk().opened()
    elsewhere = Shelf()
    row = activation(elsewhere.model(), elsewhere.campaign(threshold=0.5))
    taking = asyncio.create_task(desk.take(row, like("ada", 1)))
    await turns()
    assert not taking.done()
    assert desk.state.header.offset == 0
    desk.shelf.model()
    desk.shelf.campaign(threshold=0.5)
    outcome = await taking
    assert outcome.triggers == {"fan": 1}


async def test_name_keeps_its_slot_and_a_freed_one_begins_anew() -> None:
    desk = await Desk().opened()
    shelf = desk.shelf
    first, second, third = (shelf.model(name) for name in ("first", "second", "third"))
    fan = shelf.campaign("fan", "first", 2.5, cooldown="7d")
    await desk.take(activation(first, second, fan), *(like("ada", n) for n in range(3)))
    record = desk.record("ada")
    assert record["score_tag"][:2].tolist() == [first.tag(), second.tag()]
    assert record["campaign_tag"][0] == fan.tag()
    assert record["fired_s"][0] > 0
    # "other" takes fan's slot, "third" takes first's; second stays where it is.
    other = shelf.campaign("other", "third", 3.5, cooldown="7d")
    outcome = await desk.take(activation(second, third, other), like("ada", 3))
    record = desk.record("ada")
    assert record["score_tag"][:2].tolist() == [third.tag(), second.tag()]
    assert record["campaign_tag"][0] == other.tag()
    # Neither fan's cooldown nor its disarmed state is other's: it fires at once, from the empty score.
    assert outcome.triggers == {"other": 1}
    trigger = orjson.loads(desk.state.outbox["triggers"][-1].value or b"")
    assert trigger["data"]["score_before"] == 0.0
    assert record["score_tag"][2:].tolist() == [0] * (MAX_MODELS - 2)
    assert record["campaign_tag"][1:].tolist() == [0] * (MAX_CAMPAIGNS - 1)


# --- forwards --------------------------------------------------------------------------------------------


async def test_row_of_another_partition_is_forwarded_and_touches_no_record() -> None:
    desk = await Desk(count=2).opened()
    stranger, own = voter_at(1, 2), voter_at(0, 2)
    value = like(stranger, 1)
    outcome = await desk.take(like(own, 1), value)
    (row,) = desk.state.outbox["forwards"]
    assert (row.partition, row.key, row.value, row.sequence) == (1, stranger.encode(), value, 1)
    assert row.headers == ((ORIGIN_HEADER, b"0:1"), (SEQUENCE_HEADER, b"1"))
    assert (outcome.forwards, outcome.folded, outcome.rejects) == (1, 1, {})
    assert desk.loads == [[own]]
    assert desk.commit().records.voters.texts() == [own]


async def test_forwarded_row_is_taken_once() -> None:
    desk = await Desk(count=2, number=1).opened()
    voter = voter_at(1, 2)

    def origin(offset: int) -> Headers:
        return ((ORIGIN_HEADER, b"0:%d" % offset),)

    assert (await desk.take(like(voter, 1), headers=origin(7))).folded == 1
    repeated = await desk.take(like(voter, 1), headers=origin(7))
    assert (repeated.duplicates, repeated.folded, repeated.forwards) == (1, 0, 0)
    earlier = await desk.take(like(voter, 2), headers=origin(3))
    assert (earlier.duplicates, earlier.folded) == (1, 0)
    later = await desk.take(like(voter, 3), headers=origin(8))
    assert (later.duplicates, later.folded) == (0, 1)
    assert desk.state.header.origins == {"0": 8}


async def test_forwarded_row_repeated_within_a_batch_is_taken_once() -> None:
    desk = await Desk(count=2, number=1).opened()
    voter = voter_at(1, 2)
    outcome = await desk.take(like(voter, 1), like(voter, 1), headers=((ORIGIN_HEADER, b"0:7"),))
    assert (outcome.folded, outcome.duplicates) == (1, 1)


async def test_forwarded_row_that_is_wrong_here_too_is_rejected_once_and_never_sent_on() -> None:
    desk = await Desk(count=2, number=1).opened()
    headers = ((ORIGIN_HEADER, b"0:7"),)
    outcome = await desk.take(like(voter_at(0, 2), 1), headers=headers)
    assert outcome.rejects == {"wrong_partition": 1}
    again = await desk.take(like(voter_at(0, 2), 1), headers=headers)
    assert (again.rejects, again.duplicates) == ({}, 1)
    assert desk.state.outbox["forwards"] == []


# --- what a failure leaves behind ------------------------------------------------------------------------


@pytest.mark.parametrize("error", [CommitRefusedError("ahead"), asyncio.CancelledError(), ValueError("defect")])
async def test_failed_load_leaves_the_state_as_it_was(error: BaseException) -> None:
    desk = await Desk(count=2).opened()
    own, stranger = voter_at(0, 2), voter_at(1, 2)
    await desk.take(like(own, 1))
    before = desk.state.header.to_bytes(), desk.record(own).tobytes(), len(desk.table)

    async def fails(voters: Spans) -> list[bytes | None]:
        raise error

    desk.tape.write(like(own, 2), like(stranger, 1), b"broken", like(voter_at(0, 2, 1), 1))
    columns = desk.tape.take(10)
    with pytest.raises(type(error)):
        await process_batch(desk.state, columns, desk.shelf, fails)
    assert (desk.state.header.to_bytes(), desk.record(own).tobytes(), len(desk.table)) == before
    assert desk.state.outbox == {"triggers": [], "rejects": [], "forwards": []}
    outcome = await process_batch(desk.state, columns, desk.shelf, desk.load)
    assert (outcome.folded, outcome.forwards, outcome.rejects) == (2, 1, {"not_json": 1})


@pytest.mark.parametrize(("offset", "fits"), [(0, True), (1, False), (2, False)])
async def test_record_that_has_folded_in_the_next_offset_is_refused(offset: int, fits: bool) -> None:
    desk = await Desk().opened()
    await desk.take(tick(1))
    record = replace_record(last_offset=offset)
    desk.known["ada"] = record
    if fits:
        assert (await desk.take(like("ada", 1))).folded == 1
        return
    with pytest.raises(CommitRefusedError, match=f"has folded in offset {offset}, but the next offset here is 1"):
        await desk.take(like("ada", 1))


async def test_damaged_record_stops() -> None:
    desk = await Desk().opened()
    desk.known["ada"] = b"short"
    with pytest.raises(StateMismatchError, match="5 bytes"):
        await desk.take(like("ada", 1))
    assert len(desk.table) == 0


def replace_record(**fields: int) -> bytes:
    record = Table(1).records[:1].copy()
    record["version"] = RECORD_VERSION
    for name, value in fields.items():
        record[name] = value
    assert record.dtype == VOTER
    return bytes(record.tobytes())


# --- the commit ------------------------------------------------------------------------------------------


async def test_commit_takes_what_changed_since_the_last_and_no_more() -> None:
    desk = await Desk().opened()
    await desk.take(like("ada", 1), b"broken", like("bob", 1))
    first = desk.commit()
    assert sorted(first.records.voters.texts()) == ["ada", "bob"]
    assert [output for output, rows in first.outbox.items() if rows] == ["rejects"]
    await desk.take(like("ada", 2), like("bob", 1))
    desk.table.committed()
    second = take_commit(desk.state, first.header.offset)
    assert (second.expected_offset, second.header.offset) == (3, 5)
    assert second.records.voters.texts() == ["ada"]
    assert second.outbox == {}


async def test_commit_is_not_changed_by_later_batches() -> None:
    desk = await Desk().opened()
    await desk.take(activation(desk.shelf.model()), like("ada", 1), b"broken")
    commit = desk.commit()
    header, records, outbox = commit.header.to_bytes(), list(commit.records), dict(commit.outbox)
    await desk.take(activation(desk.shelf.model("second")), like("ada", 2), b"broken")
    assert (commit.header.to_bytes(), list(commit.records), commit.outbox) == (header, records, outbox)
    assert len(commit.outbox["rejects"]) == 1


async def test_trigger_of_a_voter_erased_before_the_commit_leaves_as_a_tombstone() -> None:
    desk = await Desk().opened()
    await desk.take(activation(desk.shelf.model(), desk.shelf.campaign()))
    likes = [like(voter, f"{voter}{n}") for voter in ("ada", "bob") for n in range(3)]
    await desk.take(*likes)
    await desk.take(event("privacy.erased", "ada", "x", {}), like("ada", "later"))
    commit = desk.commit()
    gone, kept = commit.outbox["triggers"]
    assert gone == OutboxRow(1, 0, None, None, ((SEQUENCE_HEADER, b"1"), (TOMBSTONE_HEADER, b"1")))
    assert (kept.sequence, kept.key) == (2, b"bob")
    assert commit.erased == frozenset({"ada"})
    assert desk.state.erased == set()
    desk.table.committed()
    await desk.take(*(like("ada", f"again{n}") for n in range(5)))
    assert take_commit(desk.state, 0).outbox == {}


# --- header and outcome ----------------------------------------------------------------------------------


async def test_header_moves_past_rows_and_gaps() -> None:
    desk = await Desk().opened()
    desk.tape.write(like("ada", 1), tick(5), b"broken")
    columns = desk.tape.take(3)
    outcome = await process_batch(desk.state, replace(columns, next=9), desk.shelf, desk.load)
    header = desk.state.header
    assert header.offset == 9
    assert header.log_time_ms == NOW_MS + 2
    assert header.totals == {"rows": 3, "folded": 1, "duplicates": 0, "suppressed": 0, "rejected": 1}
    assert outcome.rows == 3
    empty = replace(desk.tape.take(1), start=9, next=12)
    assert (await process_batch(desk.state, empty, desk.shelf, desk.load)).rows == 0
    assert (header.offset, header.log_time_ms, header.totals["rows"]) == (12, NOW_MS + 2, 3)


async def test_reject_keeps_its_bytes_and_says_where_it_was_read() -> None:
    desk = await Desk().opened()
    desk.tape.rows = [(b"key", b"-{", ()), (None, None, ())]
    await process_batch(desk.state, desk.tape.take(2), desk.shelf, desk.load)
    first, second = desk.state.outbox["rejects"]
    assert (first.key, first.value, first.partition) == (b"key", b"-{", 0)
    assert first.headers == (
        ("reason", b"not_json"),
        ("topic", TOPIC.encode()),
        ("partition", b"0"),
        ("offset", b"0"),
        ("time", b"%d" % NOW_MS),
        (SEQUENCE_HEADER, b"1"),
    )
    assert (second.key, second.sequence) == (None, 2)


@pytest.mark.parametrize(
    ("key", "value", "cut"),
    [
        (64 * 1024, 512 * 1024, False),
        (1, 512 * 1024 + 1, True),
        (64 * 1024 + 1, 70_000, True),
        (5_000_000, 5_000_000, True),
    ],
)
async def test_reject_that_no_topic_would_take_is_cut_and_says_its_length(key: int, value: int, cut: bool) -> None:
    desk = await Desk().opened()
    desk.tape.rows = [(b"k" * key, b"x" * value, ())]
    await process_batch(desk.state, desk.tape.take(1), desk.shelf, desk.load)
    (row,) = desk.state.outbox["rejects"]
    assert row.key == b"k" * min(key, 64 * 1024)
    assert row.value == b"x" * min(value, 512 * 1024)
    assert dict(row.headers).get("length") == (b"%d" % value if cut else None)


async def test_outcome_counts_scores_duplicates_and_suppressed() -> None:
    desk = await Desk().opened()
    await desk.take(activation(desk.shelf.model()))
    withdrawn = event("consent.withdrawn", "bob", "w", {"channel": "email"})
    outcome = await desk.take(like("ada", 1), like("ada", 1), withdrawn, like("bob", 1), like("ada", 2))
    assert (outcome.folded, outcome.duplicates, outcome.suppressed) == (2, 1, 1)
    assert [round(score, 6) for score in outcome.scores["likes", "active"].tolist()] == [1.0, 2.0]
