"""The checker that goes along finds what is wrong in what it is given, and is silent where nothing is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from load_tests.checker import Found, Held
from load_tests.follower import OUTPUTS, Followed
from tests.logs import Generator
from tests.oracle import Partition


class Place:
    """In a deployment's place: what a partition has in Redis."""

    def __init__(self, header: Mapping[str, Any], records: Mapping[str, bytes]) -> None:
        self._held = Held(header, records)

    def held(self, _: int) -> Held:
        return self._held


def wrong(
    change: Callable[[list[Found]], object] = lambda rows: None, *, shift: int = 0, output: str = "triggers"
) -> dict[str, int]:
    """What is found of a log whose output topic was changed, and whose header counts ``shift`` rows too many."""
    log = Generator(7, (0, 2)).run(600)
    rows = [row for row in log.rows if b"privacy.erased" not in (row.value or b"")]
    oracle = Partition(0, 2, log.contents, "engagement.events", log.start)
    for row in rows:
        oracle.feed(row)
    totals = {name: count + shift * (name == "folded") for name, count in oracle.totals.items()}
    place: Any = Place({"offset": oracle.offset, "totals": totals}, oracle.records())
    followed = Followed(Partition(0, 2, log.contents, "engagement.events", log.start))
    topics = {
        name: [Found(row.sequence, row.key, row.value, row.headers) for row in oracle.outputs[name]] for name in OUTPUTS
    }
    change(topics[output])
    # What was sent may be read before the log is, and behind it.
    for name, found in topics.items():
        for record in found[: len(found) // 2]:
            followed.take(name, record)
    for number, row in enumerate(rows):
        followed.feed(row)
        if number % 100 == 0:
            followed.compare()
    for name, found in topics.items():
        for record in found[len(found) // 2 :]:
            followed.take(name, record)
    findings = followed.finish(place)
    assert findings.compared["rows"] == len(rows)
    return {name: count for name, count in findings.wrong.items() if count}


@pytest.mark.parametrize("output", OUTPUTS)
def test_what_is_right_is_found_right(output: str) -> None:
    assert wrong(output=output) == {}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("place", [0, 5, -1])
def test_a_dropped_row_is_missing(output: str, place: int) -> None:
    assert wrong(lambda rows: rows.pop(place), output=output) == {f"{output}_missing": 1}


def test_a_row_that_came_twice_is_doubled() -> None:
    assert wrong(lambda rows: rows.insert(9, rows[3])) == {"triggers_doubled": 1}


def test_a_row_that_says_something_else_is_altered() -> None:
    def change(rows: list[Found]) -> None:
        rows[4] = Found(rows[4].offset, rows[4].key, (rows[4].value or b"") + b" ", rows[4].headers)

    assert wrong(change) == {"triggers_altered": 1}


def test_a_row_beyond_the_last_is_unexpected() -> None:
    def change(rows: list[Found]) -> None:
        rows.append(Found(99_999, rows[-1].key, rows[-1].value, (("groundswell-sequence", b"99999"),)))

    assert wrong(change) == {"triggers_unexpected": 1}


@pytest.mark.parametrize(("shift", "kind"), [(2, "events_applied_twice"), (-2, "events_lost")])
def test_events_that_the_header_counts_otherwise_are_found(shift: int, kind: str) -> None:
    assert wrong(shift=shift) == {kind: 2}
