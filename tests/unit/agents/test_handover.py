"""Rows reach their relay past the store only where the store would give the same ones."""

from __future__ import annotations

from stream.agents.handover import MOST_BYTES, MOST_ROWS, TAKEN_ROWS, Handover
from stream.records import OutboxRow


def rows(first: int, last: int) -> list[OutboxRow]:
    return [OutboxRow(number, 0, b"k", b"%d" % number) for number in range(first, last + 1)]


def test_rows_of_several_commits_are_taken_once_and_together() -> None:
    handed = Handover()
    handed.put(rows(4, 5))
    handed.put([])
    handed.put(rows(6, 6))
    assert handed.take(3) == rows(4, 6)
    assert handed.take(6) == []


def test_rows_that_are_sent_already_are_left_out() -> None:
    handed = Handover()
    handed.put(rows(4, 9))
    assert handed.take(6) == rows(7, 9)


def test_many_rows_are_given_up_some_at_a_time() -> None:
    handed = Handover()
    handed.put(rows(1, TAKEN_ROWS + 2))
    handed.put(rows(TAKEN_ROWS + 3, TAKEN_ROWS + 4))
    assert handed.take(0) == rows(1, TAKEN_ROWS)
    handed.put(rows(TAKEN_ROWS + 5, TAKEN_ROWS + 5))
    assert handed.take(TAKEN_ROWS) == rows(TAKEN_ROWS + 1, TAKEN_ROWS + 5)


def test_rows_that_were_given_up_make_room_for_as_many_more() -> None:
    half = b"x" * (MOST_BYTES // 2)
    handed = Handover()
    for number in range(1, 5):
        handed.put([OutboxRow(number, 0, None, half)])
        assert [row.sequence for row in handed.take(number - 1)] == [number]


def test_rows_behind_a_gap_wait_until_the_store_has_given_what_is_missing() -> None:
    handed = Handover()
    handed.put(rows(4, 5))
    assert handed.take(1) == []
    assert handed.take(3) == rows(4, 5)


def test_rows_that_do_not_follow_take_the_place_of_those_before() -> None:
    """Another state goes on from there, after a store that fell behind."""
    handed = Handover()
    handed.put(rows(4, 5))
    handed.put(rows(5, 6))
    assert handed.take(3) == []
    assert handed.take(4) == rows(5, 6)


def test_what_a_relay_does_not_take_in_time_is_left_to_the_store() -> None:
    handed = Handover()
    handed.put(rows(1, MOST_ROWS))
    handed.put(rows(MOST_ROWS + 1, MOST_ROWS + 1))
    assert handed.take(0) == []
    assert handed.take(MOST_ROWS) == rows(MOST_ROWS + 1, MOST_ROWS + 1)
    handed.put(rows(MOST_ROWS + 2, 2 * MOST_ROWS + 2))
    assert handed.take(MOST_ROWS + 1) == []


def test_cleared_rows_are_read_from_the_store() -> None:
    handed = Handover()
    handed.put(rows(1, 2))
    handed.clear()
    assert handed.take(0) == []


def test_rows_of_more_bytes_than_are_kept_are_left_to_the_store() -> None:
    half = OutboxRow(1, 0, None, b"x" * (MOST_BYTES // 2))
    handed = Handover()
    for number in (1, 2):
        handed.put([OutboxRow(number, 0, None, half.value)])
    handed.put(rows(3, 3))
    assert handed.take(0) == []
    assert handed.take(2) == rows(3, 3)
    handed.put([OutboxRow(4, 0, None, b"x" * (MOST_BYTES + 1))])
    assert handed.take(3) == []
