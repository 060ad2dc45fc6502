"""Places: what is in flight, of which epoch, and who may be fetched."""

from __future__ import annotations

from faust.types import TP

from stream.transport.places import Places

ONE, TWO = TP("events", 1), TP("events", 2)
LIMIT = 2


class Woken:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def opened(*tps: TP) -> tuple[Places, object, Woken]:
    woken = Woken()
    places, assignment = Places(LIMIT, woken), object()
    for tp in tps:
        places.open(tp, assignment, 10)
    return places, assignment, woken


def test_partition_never_sought_is_not_ready() -> None:
    places, assignment, _ = opened(ONE)
    assert places.ready(assignment) == [ONE]
    assert places.epoch(TWO) == 0


def test_partition_sought_in_an_earlier_assignment_is_not_ready() -> None:
    places, _, _ = opened(ONE)
    assert places.ready(object()) == []


def test_full_partition_is_not_ready_until_a_release_and_stops_no_other() -> None:
    places, assignment, woken = opened(ONE, TWO)
    for stop in (20, 30):
        epoch, _ = places.take(ONE, stop)
    assert places.ready(assignment) == [TWO]
    places.release(ONE, epoch)
    assert places.ready(assignment) == [ONE, TWO]
    assert woken.count == 1


def test_release_of_a_partition_with_room_wakes_no_one() -> None:
    places, _, woken = opened(ONE)
    epoch, _ = places.take(ONE, 20)
    places.release(ONE, epoch)
    assert woken.count == 0


def test_batches_follow_each_other_without_a_gap() -> None:
    places, _, _ = opened(ONE)
    assert [places.take(ONE, stop) for stop in (20, 35)] == [(1, 10), (1, 20)]
    assert places.next(ONE) == 35


def test_seek_raises_the_epoch_and_forgets_what_was_in_flight() -> None:
    places, assignment, woken = opened(ONE)
    old, _ = places.take(ONE, 20)
    places.take(ONE, 30)
    assert places.open(ONE, assignment, 5) == old + 1
    assert places.in_flight(ONE) == 0
    places.take(ONE, 15)
    places.release(ONE, old)
    assert places.in_flight(ONE) == 1
    assert woken.count == 0


def test_revocation_makes_everything_fetched_old_and_nothing_ready() -> None:
    places, assignment, _ = opened(ONE, TWO)
    before = places.epoch(ONE)
    places.close()
    assert places.epoch(ONE) == before + 1
    assert places.ready(assignment) == []
    assert places.open(ONE, assignment, 0) == before + 2


def test_more_releases_than_batches_make_no_room() -> None:
    places, assignment, _ = opened(ONE)
    epoch, _ = places.take(ONE, 20)
    for _ in range(3):
        places.release(ONE, epoch)
    for stop in (30, 40):
        places.take(ONE, stop)
    assert places.ready(assignment) == []
