"""The benchmark's job is what it says: events that decode, and triggers for about one in fifty."""

from __future__ import annotations

from collections import Counter

import orjson

from load_tests.job import HALF_LIFE_MS, THRESHOLD, WEIGHTS
from load_tests.workload import (
    EVENTS_PER_VOTER,
    SPAN_MS,
    START_MS,
    ZIPF_EXPONENT,
    Skewed,
    campaign_events,
    events,
    voter,
    zipf,
)
from stream.columns import columns_of
from stream.embedded.occasions import COMMENTS
from stream.events import decode
from stream.records import EVENT_TYPES, MAX_AHEAD_MS

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


def test_zipf_traffic_is_the_same_from_each_seed_and_few_voters_do_most_of_it() -> None:
    taken = list(events(COUNT, 1000, 4, END_MS, ZIPF_EXPONENT))
    assert taken == list(events(COUNT, 1000, 4, END_MS, ZIPF_EXPONENT))
    busiest = [count for _, count in Counter(key for key, _ in taken).most_common()]
    shares = zipf(1000, ZIPF_EXPONENT)
    assert abs(busiest[0] / COUNT - shares[0]) < 0.02
    assert abs(sum(busiest[:100]) / COUNT - shares[99]) < 0.02


def test_campaign_traffic_has_every_type_in_order_of_time_and_nothing_that_is_refused() -> None:
    taken = list(campaign_events(COUNT, COUNT // EVENTS_PER_VOTER, 4, END_MS))
    assert taken == list(campaign_events(COUNT, COUNT // EVENTS_PER_VOTER, 4, END_MS))
    assert len(taken) == COUNT
    offsets = range(COUNT)
    columns = columns_of(
        0, offsets, [END_MS] * COUNT, [key for key, _ in taken], [value for _, value in taken], [()] * COUNT
    )
    decoded = decode(columns, 1, 0)
    assert not decoded.reject.any()
    assert (decoded.times[1:] >= decoded.times[:-1]).all()
    # Near the end of the time that it is meant to fill; what is further ahead of the log than a day is refused.
    assert abs(decoded.times[-1] - END_MS) < MAX_AHEAD_MS / 2
    read = [orjson.loads(value) for _, value in taken]
    assert {event["type"] for event in read} == set(EVENT_TYPES) - {"clock.tick", "config.activated", "keys.rotated"}
    assert {event["data"]["language"] for event in read if event["type"] == "social.comment"} == set(COMMENTS)
    assert len({event["id"] for event in read}) == COUNT


def test_few_voters_do_most_and_a_known_share_arrives_flawed() -> None:
    sent = Skewed(5, 1000).at(START_MS, 20_000)
    assert sent == Skewed(5, 1000).at(START_MS, 20_000)
    assert len(sent) == 20_000
    voters = Counter(orjson.loads(value)["subject"] for _, value in sent if value.endswith(b"}}"))
    busiest = [count for _, count in voters.most_common()]
    # Of Zipf's law with exponent 1.1 over 1,000 voters: the first does 18 %, the first hundred 77 %.
    assert 0.15 < busiest[0] / len(sent) < 0.21
    assert 0.73 < sum(busiest[:100]) / len(sent) < 0.80
    repeated = len(sent) - len({value for _, value in sent})
    assert 120 < repeated < 280
    assert 5 < sum(not value.endswith(b"}}") for _, value in sent) < 45
    assert 15 < sum(key.startswith(b"device-") for key, _ in sent) < 75


def test_everybody_acts_once() -> None:
    keys = [key for key, _ in Skewed(5, 100).everybody(START_MS)]
    assert keys == [voter(number).encode() for number in range(100)]
