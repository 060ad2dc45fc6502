"""What the voter table promises, with either index: slots, loads, dirty records, eviction."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.errors import CommitRefusedError, StateMismatchError
from stream.interfaces import VoterTable
from stream.migration import migrated
from stream.records import RECORD_VERSION, VOTER
from stream.spans import Spans
from stream.stores.table import Table
from tests.migration.fixtures import written_by_version_1


class Named:
    """A table that is spoken to in names."""

    def __init__(self, limit: int, *, reference: bool) -> None:
        self.table = Table(limit, reference=reference)
        self.voter = self.table.voter
        self.mark = self.table.mark
        self.committed = self.table.committed
        self.evict = self.table.evict
        self._slots: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.table)

    @property
    def records(self) -> NDArray[Any]:
        return self.table.records

    @property
    def dirty(self) -> NDArray[np.bool_]:
        return self.table.dirty

    def index(self, voters: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
        slots, missing = self.table.index(Spans.of_texts(voters))
        self._slots.update(zip(voters, slots.tolist(), strict=True))
        return slots, [voter.decode() for voter in self.table.voters(missing)]

    def fill(self, voters: Sequence[str], values: Sequence[bytes | None], next_offset: int) -> None:
        self.table.fill(self._places(voters), values, next_offset)

    def forget(self, voters: Sequence[str]) -> None:
        self.table.forget(self._places(voters))

    def take_dirty(self) -> list[tuple[str, bytes]]:
        return [(voter.decode(), value) for voter, value in self.table.take_dirty()]

    def _places(self, voters: Sequence[str]) -> NDArray[np.int64]:
        return np.array([self._slots[voter] for voter in voters], np.int64)


Make = Callable[[int], Named]


@pytest.fixture(params=[False, True], ids=["hash", "dict"])
def make(request: pytest.FixtureRequest) -> Make:
    reference: bool = request.param
    return lambda limit: Named(limit, reference=reference)


def _value(last_offset: int = 0, version: int = RECORD_VERSION, sessions: int = 0, ring_next: int = 0) -> bytes:
    record = np.zeros(1, VOTER)
    record["ring_next"] = ring_next
    record["version"], record["last_offset"], record["sessions"] = version, last_offset, sessions
    return record.tobytes()


def _filled(table: Named, *voters: str) -> list[int]:
    slots, missing = table.index(voters)
    table.fill(missing, [None] * len(missing), 0)
    return [int(slot) for slot in slots]


def test_table_is_a_voter_table() -> None:
    table: VoterTable = Table(10)
    assert len(table) == 0


def test_index_gives_each_voter_one_slot_and_names_the_unknown_once(make: Make) -> None:
    table = make(10)
    slots, missing = table.index(["ada", "", "bob", "ada", ""])
    assert missing == ["ada", "bob"]
    assert slots.dtype == np.int64
    assert slots[0] == slots[3] != slots[2]
    assert slots[1] == slots[4] == -1
    assert [table.voter(int(slot)) for slot in slots[[0, 2]]] == ["ada", "bob"]
    assert len(table) == 2


def test_index_of_filled_voters_names_none(make: Make) -> None:
    table = make(10)
    first = _filled(table, "ada", "bob")
    slots, missing = table.index(["bob", "ada"])
    assert missing == []
    assert slots.tolist() == first[::-1]


def test_index_of_nothing_is_empty(make: Make) -> None:
    slots, missing = make(10).index([])
    assert slots.shape == (0,)
    assert missing == []


def test_voter_not_yet_filled_is_named_again_but_only_where_it_is_asked_for(make: Make) -> None:
    table = make(10)
    table.index(["ada", "bob"])
    assert table.index(["bob", "cyd", "bob"])[1] == ["bob", "cyd"]
    assert table.index(["ada"])[1] == ["ada"]


def test_unknown_voter_starts_with_zeros_of_the_current_version(make: Make) -> None:
    table = make(10)
    (slot,) = _filled(table, "ada")
    assert table.records[slot].tobytes() == _value()


def test_loaded_and_unknown_voters_are_each_put_in_place(make: Make) -> None:
    table = make(10)
    slots, missing = table.index(["ada", "bob", "cyd", "dan"])
    table.fill(missing, [_value(5, sessions=7), None, _value(6, sessions=8), None], 9)
    assert table.records["sessions"][slots].tolist() == [7, 0, 8, 0]
    assert table.take_dirty() == []


def test_slot_used_again_shows_nothing_of_the_voter_before(make: Make) -> None:
    table = make(1)
    (slot,) = _filled(table, "ada")
    table.records[slot]["sessions"] = 9
    (other,) = _filled(table, "bob")
    assert table.evict() == 1
    assert table.index(["bob"])[1] == []
    (again,) = _filled(table, "cyd")
    assert again == slot != other
    assert table.records[again].tobytes() == _value()


def test_record_at_or_past_the_next_offset_is_refused_and_nothing_is_filled(make: Make) -> None:
    table = make(10)
    _, missing = table.index(["ada", "bob"])
    with pytest.raises(CommitRefusedError, match="folded in offset 9, but the next offset here is 9") as caught:
        table.fill(missing, [None, _value(9)], 9)
    assert "bob" not in str(caught.value)
    assert table.index(["ada"])[1] == ["ada"]
    table.fill(missing, [None, _value(8)], 9)


@pytest.mark.parametrize("value", [b"", b"\x01", _value()[:-1], _value() + b"\0", _value(version=3), _value(version=0)])
def test_damaged_or_future_record_stops_and_does_not_name_the_voter(make: Make, value: bytes) -> None:
    table = make(10)
    _, missing = table.index(["ada", "bob"])
    with pytest.raises(StateMismatchError, match=f"expected version {RECORD_VERSION} with 768") as caught:
        table.fill(missing, [_value(), value], 9)
    assert "bob" not in str(caught.value)
    assert "voter #" in str(caught.value)


def test_record_whose_ring_ends_elsewhere_stops_and_nothing_is_filled(make: Make) -> None:
    table = make(10)
    _, missing = table.index(["ada", "bob"])
    with pytest.raises(StateMismatchError, match="ring_next is 16, expected at most 15") as caught:
        table.fill(missing, [None, _value(ring_next=16)], 9)
    assert "bob" not in str(caught.value)
    assert table.index(["ada"])[1] == ["ada"]


def test_older_record_is_migrated_as_it_is_loaded(make: Make) -> None:
    old = written_by_version_1()[-1].records[0]
    table = make(10)
    slots, missing = table.index(["ada", "bob", "cyd"])
    table.fill(missing, [_value(sessions=4), None, old], 2**62)
    assert table.records["version"][slots].tolist() == [RECORD_VERSION] * 3
    assert table.records[slots[2]].tobytes() == migrated(old) != old


def test_forgotten_voters_are_loaded_anew_and_filled_ones_stay(make: Make) -> None:
    table = make(10)
    _filled(table, "ada")
    table.index(["ada", "bob"])
    table.forget(["ada", "bob"])
    assert len(table) == 1
    assert table.index(["ada", "bob"])[1] == ["bob"]


def test_marked_records_are_taken_once_as_they_are(make: Make) -> None:
    table = make(10)
    slots = _filled(table, "ada", "bob", "cyd")
    table.mark(np.array([slots[2], -1, slots[0], slots[2]]))
    table.records["sessions"][slots[2]] = 3
    assert dict(table.take_dirty()) == {"ada": _value(), "cyd": _value(sessions=3)}
    table.committed()
    assert table.take_dirty() == []


def test_taken_bytes_do_not_follow_later_changes(make: Make) -> None:
    table = make(10)
    (slot,) = _filled(table, "ada")
    table.mark(np.array([slot]))
    taken = table.take_dirty()
    table.records["sessions"][slot] = 3
    assert taken == [("ada", _value())]


def test_record_changed_while_on_its_way_is_taken_again(make: Make) -> None:
    table = make(10)
    (slot,) = _filled(table, "ada")
    table.mark(np.array([slot]))
    table.take_dirty()
    table.records["sessions"][slot] = 3
    table.mark(np.array([slot]))
    table.committed()
    assert table.take_dirty() == [("ada", _value(sessions=3))]


def test_what_was_taken_and_not_committed_is_taken_again(make: Make) -> None:
    table = make(10)
    slots = _filled(table, "ada", "bob")
    table.mark(np.array(slots[:1]))
    table.take_dirty()
    table.mark(np.array(slots[1:]))
    assert [voter for voter, _ in table.take_dirty()] == ["ada", "bob"]
    table.committed()
    assert table.take_dirty() == []


def test_eviction_takes_the_least_recently_indexed_clean_records(make: Make) -> None:
    table = make(3)
    for voter in "abcdef":
        _filled(table, voter)
    table.index(["a"])
    assert table.evict() == 3
    assert table.index(["a", "e", "f"])[1] == []
    assert table.evict() == 0
    assert table.index(["b", "c", "d"])[1] == ["b", "c", "d"]


def test_dirty_in_flight_and_loading_records_are_not_evicted(make: Make) -> None:
    table = make(1)
    (flying,) = _filled(table, "flying")
    table.mark(np.array([flying]))
    table.take_dirty()
    (dirty,) = _filled(table, "dirty")
    table.mark(np.array([dirty]))
    table.index(["loading"])
    assert table.evict() == 0
    assert len(table) == 3
    table.committed()
    assert table.evict() == 1
    assert table.index(["flying"])[1] == ["flying"]


def test_growth_beyond_the_reserved_room_keeps_every_record(make: Make) -> None:
    table = make(1)
    kept = [f"voter-{n}" for n in range(5000)]
    slots = _filled(table, *kept)
    table.records["sessions"][slots] = range(5000)
    table.mark(np.array(slots))
    more = _filled(table, *(f"more-{n}" for n in range(20_000)))
    assert table.records["sessions"][slots].tolist() == list(range(5000))
    assert len(set(slots) | set(more)) == 25_000
    table.mark(np.array([-1]))
    assert int(table.dirty.sum()) == 5000
    assert len(table.take_dirty()) == 5000


def test_limit_below_one_is_quoted(make: Make) -> None:
    with pytest.raises(ValueError, match="limit is 0"):
        make(0)


@pytest.mark.parametrize("seed", range(20))
def test_any_course_of_batches_keeps_what_a_plain_dictionary_keeps(make: Make, seed: int) -> None:
    chance = random.Random(seed)
    table = make(20)
    stored: dict[str, bytes] = {}
    truth: dict[str, int] = {}
    for offset in range(200):
        voters = [chance.choice(["", *map(str, range(60))]) for _ in range(chance.randrange(12))]
        slots, missing = table.index(voters)
        if missing and chance.random() < 0.1:
            table.forget(missing)
            continue
        table.fill(missing, [stored.get(voter) for voter in missing], offset)
        for slot, voter in zip(slots.tolist(), voters, strict=True):
            if voter:
                assert table.voter(slot) == voter
                assert table.records["sessions"][slot] == truth.get(voter, 0)
                table.records["sessions"][slot] += 1
                truth[voter] = truth.get(voter, 0) + 1
        table.mark(slots)
        if chance.random() < 0.4:
            stored.update(table.take_dirty())
            if chance.random() < 0.8:
                table.committed()
        table.evict()
        if chance.random() < 0.2:
            stored.update(table.take_dirty())
            table.committed()
            table.evict()
            assert len(table) <= 20
    stored.update(table.take_dirty())
    assert {voter: int(np.frombuffer(value, VOTER)["sessions"][0]) for voter, value in stored.items()} == truth
