"""The benchmark's job is what it says: events that decode, and triggers for about one in fifty."""

from __future__ import annotations

import orjson

from load_tests.workload import EVENTS_PER_VOTER, HALF_LIFE_MS, SPAN_MS, THRESHOLD, WEIGHTS, events
from stream.columns import columns_of
from stream.events import decode

END_MS = 1_795_555_555_000
COUNT = 20_000


def test_every_event_is_accepted() -> None:
    taken = list(events(COUNT, COUNT // EVENTS_PER_VOTER, 4, END_MS))
    offsets = range(COUNT)
    columns = columns_of(
        0, offsets, [END_MS] * COUNT, [key for key, _ in taken], [value for _, value in taken], [()] * COUNT
    )
    decoded = decode(columns, 1, 0)
    assert not decoded.reject.any()
    assert decoded.times[0] == END_MS - SPAN_MS
    assert (decoded.times[1:] >= decoded.times[:-1]).all()
    assert decoded.times[-1] < END_MS


def test_about_one_event_in_fifty_is_a_trigger() -> None:
    scores: dict[str, float] = {}
    voters = COUNT // EVENTS_PER_VOTER
    step_ms = SPAN_MS / COUNT
    for number, (_, value) in enumerate(events(COUNT, voters, 4, END_MS)):
        event = orjson.loads(value)
        weight = WEIGHTS[event["type"]] * 2.0 ** (-(COUNT - number) * step_ms / HALF_LIFE_MS)
        scores[event["subject"]] = scores.get(event["subject"], 0.0) + weight
    # As of one log time a score only rises, so a voter triggers once.
    triggers = sum(score >= THRESHOLD for score in scores.values())
    assert 0.015 < triggers / COUNT < 0.025
