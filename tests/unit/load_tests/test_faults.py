"""The rotation's own judgements: what counts as progress, as a round, as a run that held."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from load_tests.checker import Findings
from load_tests.faults.bare import make_places, read_places
from load_tests.faults.kinds import KINDS, Strike
from load_tests.faults.progress import Gaps
from load_tests.faults.rounds import Result, Round, order
from load_tests.faults.world import Moment, coordinated_by

IDLE = Strike("", Moment(0, 0))
DONE = Round(1, "kill Redis", IDLE, refused=1, replayed=0, ours_seconds=4.0, bare_seconds=1.0)


def test_the_longest_time_without_a_new_offset_is_that_of_the_slowest_partition() -> None:
    gaps = Gaps()
    gaps.note([10, 20], 0.0)
    gaps.note([11, 20], 1.0)
    gaps.note([12, 20], 2.0)
    gaps.note([12, 21], 2.5)
    gaps.note([13, 22], 3.5)
    assert gaps.longest_seconds == 2.5


def test_what_is_done_again_is_no_progress_and_is_counted() -> None:
    gaps = Gaps()
    gaps.note([100], 0.0)
    gaps.note([40], 1.0)
    gaps.note([100], 2.0)
    assert gaps.longest_seconds == 2.0
    gaps.note([101], 3.0)
    gaps.note([102], 3.1)
    assert gaps.longest_seconds == 3.0
    assert gaps.rows_back == 60


def test_a_store_that_cannot_be_asked_stands_still() -> None:
    gaps = Gaps()
    gaps.note(None, 0.0)
    gaps.note([5], 1.0)
    gaps.note(None, 4.0)
    assert gaps.longest_seconds == 3.0
    gaps.begin(5.0)
    assert gaps.longest_seconds == 0.0
    gaps.note([5], 6.0)
    assert gaps.longest_seconds == 1.0


def test_places_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "places"
    make_places(path, 3)
    assert read_places(path) == [0, 0, 0]
    path.write_bytes(b"".join(number.to_bytes(8, "little") for number in (7, 2**40, 1)))
    assert read_places(path) == [7, 2**40, 1]


@pytest.mark.parametrize(("group", "code"), [("hello", 99162322), ("groundswell", 529780070), ("", 0)])
def test_a_groups_coordinator_follows_javas_hash(group: str, code: int) -> None:
    assert coordinated_by(group, 1 << 31) == code


def test_every_kind_occurs_in_every_run_in_an_order_of_its_seed() -> None:
    for count in (len(KINDS), 24, 200):
        kinds = order(count, random.Random(count))
        assert len(kinds) == count
        assert set(kinds) == set(KINDS)
    assert order(200, random.Random(1)) == order(200, random.Random(1)) != order(200, random.Random(2))


def test_a_round_counts_only_if_it_struck_work() -> None:
    assert not replace(DONE, refused=0).struck
    assert DONE.struck
    assert replace(DONE, refused=0, replayed=1).struck
    assert replace(DONE, refused=0, strike=Strike("", Moment(0, 1))).struck


def test_a_partition_may_stand_still_for_a_session_longer_than_the_bare_consumers() -> None:
    assert DONE.bound_seconds == pytest.approx(1.2 + 3.0)
    assert not DONE.is_late
    assert replace(DONE, ours_seconds=4.3).is_late


def test_a_run_holds_only_without_finding_and_defect() -> None:
    assert Result(1, rounds=[DONE]).holds
    assert not Result(1, rounds=[DONE], defects=["worker-a ended by itself"]).holds
    findings = Findings()
    findings.note("triggers_doubled", "here")
    result = Result(1, rounds=[DONE], findings=findings)
    assert not result.holds
    assert "FAILED" in str(result)
    assert all(kind in str(result) for kind in KINDS)
