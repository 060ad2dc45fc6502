"""Rows reach their relay past the store only where the store would give the same ones."""

from __future__ import annotations

import pytest

from stream.agents.handover import MOST_BYTES, MOST_ROWS, TAKEN_BYTES, Handover
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


def test_large_rows_are_given_up_some_at_a_time() -> None:
    third = b"x" * (TAKEN_BYTES // 3 - 1)
    large = [OutboxRow(number, 0, b"k", third) for number in range(1, 6)]
    handed = Handover()
    handed.put(large[:4])
    assert handed.take(0) == large[:3]
    handed.put(large[4:])
    assert handed.take(3) == large[3:]


def test_a_row_is_given_up_however_large() -> None:
    handed = Handover()
    handed.put([OutboxRow(number, 0, None, b"x" * (TAKEN_BYTES + 1)) for number in (1, 2)])
    assert [[row.sequence for row in handed.take(after)] for after in (0, 1, 2)] == [[1], [2], []]


@pytest.mark.parametrize("sent", [1, 2])
def test_rows_that_are_gone_make_room_for_as_many_more(sent: int) -> None:
    """Given up, or sent already when the relay asks."""
    half = b"x" * (MOST_BYTES // 2)
    handed = Handover()
    handed.put([OutboxRow(1, 0, None, half), OutboxRow(2, 0, None, half)])
    handed.take(sent - 1)
    handed.put([OutboxRow(3, 0, None, half)])
    assert [row.sequence for row in handed.take(sent)] == [sent + 1]


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
