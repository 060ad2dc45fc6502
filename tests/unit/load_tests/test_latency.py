"""Latency: percentiles from intended times, and what is held against whom."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest

from load_tests.job import THRESHOLD
from load_tests.latency import ECHO, GROUNDSWELL, STREAMS_MS, WARM_SECONDS, Measured, judged, rows_of
from load_tests.pacing import MARK, MARK_WEIGHT, MARKED_EVERY, Plan, Spelling, marked_weights
from stream.columns import columns_of
from stream.events import decode

PLAN = Plan("", "events", 1000.0, WARM_SECONDS + 10)
STREAMS = next(iter(STREAMS_MS))


class Sent:
    """A publisher that has published, on time."""

    plan = PLAN

    def intended_ns(self, number: int) -> int:
        return number * 1_000_000

    def late_seconds(self) -> list[float]:
        return [0.001] * 99 + [0.5]


def measured(waits_ms: dict[int, float]) -> Measured:
    publisher: Any = Sent()
    return judged(publisher, {number: int(number * 1e6 + ms * 1e6) for number, ms in waits_ms.items()}, PLAN.rate)


def marks() -> list[int]:
    return list(range(int(WARM_SECONDS * PLAN.rate), PLAN.count, MARKED_EVERY))


def test_time_counts_from_the_intended_moment_and_the_warming_is_left_out() -> None:
    found = measured({**dict.fromkeys(range(0, 5000, MARKED_EVERY), 900.0), **dict.fromkeys(marks(), 7.0)})
    assert found.triggers == 200
    assert found.percentiles == {"p50": 7.0, "p99": 7.0, "p99.9": 7.0}
    assert found.late_ms == 1.0


def test_a_trigger_that_never_came_took_for_ever() -> None:
    found = measured(dict.fromkeys(marks()[:-1], 7.0))
    assert found.missing == 1
    assert found.percentiles["p99"] == 7.0
    assert math.isinf(found.percentiles["p99.9"])


def rows(ours: float, echo: float, theirs: float, rate: float = 50_000.0) -> dict[str, bool | None]:
    def one(ms: float) -> list[Measured]:
        return [Measured({"p50": ms, "p99": ms, "p99.9": ms}, 100, 0, 1.0, rate)]

    found = rows_of({rate: {ECHO: one(echo), GROUNDSWELL: one(ours), STREAMS: one(theirs)}})
    return {row.measure.rpartition("beside ")[2]: row.holds for row in found if "beside" in row.measure}


def test_twice_the_echo_is_the_most_at_the_fixed_rates_and_kafka_streams_is_always_above() -> None:
    assert rows(10.0, 5.0, 100.0) == {ECHO: True, STREAMS: True}
    assert rows(11.0, 5.0, 10.0) == {ECHO: False, STREAMS: False}
    assert rows(11.0, 5.0, 100.0, 77_000.0) == {ECHO: None, STREAMS: True}


def test_whoever_fell_behind_is_beaten_by_who_did_not() -> None:
    assert rows(10.0, 5.0, math.inf)[STREAMS] is True
    assert rows(math.inf, 5.0, 100.0) == {ECHO: False, STREAMS: False}


def test_marks_alone_trigger_and_each_is_of_another_voter() -> None:
    messages = Spelling(PLAN).slice(0, PLAN.count, 1_795_555_555_000)
    read = [orjson.loads(message["value"]) for message in messages]
    values, keys = [message["value"] for message in messages], [message["key"] for message in messages]
    offsets = range(PLAN.count)
    columns = columns_of(0, offsets, [1_795_555_555_000] * PLAN.count, keys, values, [()] * PLAN.count)
    assert not decode(columns, 1, 0).reject.any()
    marked = [number for number, event in enumerate(read) if event["type"] == MARK]
    assert marked == list(range(0, PLAN.count, MARKED_EVERY))
    assert len({read[number]["subject"] for number in marked}) == len(marked)
    assert [event["id"] for event in read] == [f"e-{number:09d}" for number in range(PLAN.count)]
    weights = marked_weights()
    assert weights[MARK] == MARK_WEIGHT > THRESHOLD
    # Even the busiest voter of a plan of ten million events has not so many.
    assert sum(weight for name, weight in weights.items() if name != MARK) * 1000 < THRESHOLD


@pytest.mark.parametrize(("rate", "seconds"), [(50_000.0, 30.0), (400_000.0, 30.0)])
def test_a_plan_has_a_voter_for_each_mark(rate: float, seconds: float) -> None:
    plan = Plan("", "", rate, seconds)
    assert plan.voters >= plan.marks
