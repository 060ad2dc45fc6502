"""The electorate: the same from a seed, shaped as people are, flawed in the stated shares."""

from __future__ import annotations

import collections
import itertools
import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from stream.columns import columns_of
from stream.embedded.electorate import Electorate, Flaws
from stream.embedded.occasions import COMMENTS, DATA, ENTRIES, PAGES, QUIET_MIX, TRANSITIONS, VIRAL_MIX
from stream.embedded.spelling import BREAKAGES
from stream.events import decode
from stream.features import taxonomy_of
from stream.partitioning import partition_of
from stream.records import EVENT_TYPES, KIND, REJECT_REASONS
from stream.signals import ORIGINS, UNKNOWN
from stream.signals import PAGES as SITE

START_MS = 1_790_035_200_000
"""Midnight, UTC."""
HOUR_MS = 3_600_000
CONTROL = {"clock.tick", "config.activated", "keys.rotated"}
CLEAN = Flaws(duplicates=0.0, late=0.0, broken=0.0, misrouted=0.0)
Sent = list[tuple[bytes, bytes]]


@cache
def two_days(flaws: Flaws | None = None) -> list[Sent]:
    """Return 48 hours of one electorate, by hour."""
    electorate = Electorate(7, START_MS, flaws=flaws)
    return [electorate.until(START_MS + (hour + 1) * HOUR_MS, 1000) for hour in range(48)]


def all_of(hours: list[Sent]) -> Sent:
    return list(itertools.chain.from_iterable(hours))


def events_of(sent: Sent) -> list[dict[str, Any]]:
    return [json.loads(value) for _, value in sent]


@cache
def clean_days() -> list[list[dict[str, Any]]]:
    """Return the unflawed 48 hours, parsed."""
    return [events_of(sent) for sent in two_days(CLEAN)]


def clean_events() -> Iterator[dict[str, Any]]:
    return itertools.chain.from_iterable(clean_days())


def test_same_seed_gives_the_same_bytes() -> None:
    one, same, other = (Electorate(seed, START_MS, voters=500) for seed in (3, 3, 4))
    first = [one.until(START_MS + HOUR_MS, 2000), one.until(START_MS + 2 * HOUR_MS, 2000)]
    again = [same.until(START_MS + HOUR_MS, 2000), same.until(START_MS + 2 * HOUR_MS, 2000)]
    assert len(first[0]) > 100
    assert first == again
    assert first != [other.until(START_MS + HOUR_MS, 2000), other.until(START_MS + 2 * HOUR_MS, 2000)]


def test_unflawed_events_are_all_accepted() -> None:
    sent = all_of(two_days(CLEAN))
    keys, values = [key for key, _ in sent], [value for _, value in sent]
    n = len(sent)
    decoded = decode(columns_of(0, range(n), [START_MS + 48 * HOUR_MS] * n, keys, values, [()] * n), 1, 0)
    assert n > 40_000
    assert not decoded.reject.any()
    assert list(decoded.voters) == keys
    assert len({(source, name) for source, name in zip(decoded.sources, decoded.ids, strict=True)}) == n


def test_every_kind_of_data_fits_its_published_schema() -> None:
    schemas = resources.files("stream.events") / "schemas"
    for name, texts in zip(EVENT_TYPES, DATA, strict=True):
        if name in CONTROL:
            continue
        schema = json.loads((schemas / f"{name}.json").read_text())
        event = {"specversion": "1.0", "id": "e1", "source": "/x", "type": name, "subject": "v"}
        for text in texts:
            jsonschema.validate({**event, "data": json.loads(text)}, schema)


def test_every_type_that_a_publisher_may_send_appears() -> None:
    assert {event["type"] for event in clean_events()} == set(EVENT_TYPES) - CONTROL


def test_times_are_the_hours_asked_for() -> None:
    for hour, events in enumerate(clean_days()):
        times = [event["time"] for event in events]
        first, stop = (np.datetime64(START_MS + (hour + later) * HOUR_MS, "ms") for later in (0, 1))
        assert times == sorted(times)
        assert f"{first}Z" <= times[0]
        assert times[-1] < f"{stop}Z"


def test_activity_follows_zipf() -> None:
    counts = collections.Counter(key for key, _ in all_of(two_days(CLEAN)))
    ordered = np.array(sorted(counts.values(), reverse=True), float)
    top, middle = ordered[:200].sum() / ordered.sum(), ordered[2000:2200].sum() / ordered.sum()
    # Shares of the ranks 1-200 and 2001-2200 in 1 / (rank + 20) ** 1.05 over 20,000 voters, thinned by the mailings.
    assert 0.25 < top < 0.40
    assert 0.005 < middle < 0.02


def test_evening_is_busier_than_night() -> None:
    # Nothing viral adds to page views.
    counts = [sum(event["type"] == "site.page_view" for event in events) for events in clean_days()]
    night, evening = counts[3:6] + counts[27:30], counts[19:22] + counts[43:46]
    assert sum(evening) > 4 * sum(night)


def test_something_goes_viral() -> None:
    likes = [sum(event["type"] in VIRAL_MIX for event in events_of(sent)) / (1 + len(sent)) for sent in two_days(CLEAN)]
    quiet = sum(QUIET_MIX[name] for name in VIRAL_MIX)
    assert min(likes) < quiet
    assert max(likes) > 0.6
    # Everyone in a burst is there for one issue.
    busiest = clean_days()[int(np.argmax(likes))]
    posts = collections.Counter(event["data"]["post"] for event in busiest if event["type"] == "social.share")
    assert posts.most_common(1)[0][1] > 0.5 * posts.total()


def test_pages_follow_the_markov_chain() -> None:
    walks: dict[str, list[str]] = collections.defaultdict(list)
    for event in clean_events():
        if event["type"] == "site.page_view":
            walks[event["subject"]].append(event["data"]["url"].removeprefix("https://ada.example/").partition("?")[0])
    steps = collections.Counter(itertools.chain.from_iterable(itertools.pairwise(walk) for walk in walks.values()))
    volunteer, join, donate = "volunteer", "join", "donate"
    assert TRANSITIONS.sum(axis=1).max() < 1
    assert abs(ENTRIES.sum() - 1) < 1e-9
    # 0.15 of those at `volunteer` go on to `join`; none go from there to `donate` but in another visit.
    onward = steps[volunteer, join] / sum(n for (page, _), n in steps.items() if page == volunteer)
    assert onward > 2 * steps[volunteer, donate] / sum(n for (page, _), n in steps.items() if page == volunteer)
    assert set(itertools.chain.from_iterable(walks.values())) == set(PAGES)


def test_comments_come_in_several_languages() -> None:
    said = [event["data"] for event in clean_events() if event["type"] == "social.comment"]
    assert {data["language"] for data in said} == set(COMMENTS)
    assert any("終於有人談到" in data["text"] for data in said)


def test_what_people_do_means_something_under_the_taxonomy_that_is_shipped() -> None:
    taxonomy = taxonomy_of((Path(__file__).parents[3] / "configs" / "taxonomy.toml").read_bytes())
    values = [value for _, value in all_of(two_days(CLEAN))]
    n = len(values)
    decoded = decode(columns_of(0, range(n), [START_MS + 48 * HOUR_MS] * n, [None] * n, values, [()] * n), 1, 0)
    taxonomy.read(decoded.details, decoded.kinds, 0, n, decoded.signals, decoded.unknown)
    signals, kinds = decoded.signals, decoded.kinds
    unknown = {name for place, name in enumerate(UNKNOWN) if (decoded.unknown >> place & 1).any()}
    assert unknown == {"side"}
    social, views = np.isin(kinds, [KIND[name] for name in VIRAL_MIX]), kinds == KIND["site.page_view"]
    assert set(signals["side"][social].tolist()) == {0, 1, 2, 4}
    assert set(signals["page"][views].tolist()) == set(range(len(SITE))) - {SITE.index("news"), SITE.index("other")}
    assert set(signals["origin"][views].tolist()) == set(range(len(ORIGINS) - 1))
    assert set(signals["device"][views].tolist()) == {0, 1, 2}
    said = kinds == KIND["social.comment"]
    assert (signals["issues"][said].sum(axis=1) > 0).mean() > 0.5
    assert (signals["favour"][said] > 0).mean() > 0.1
    assert (signals["against"][said] > 0).mean() > 0.1
    for name, values_of in (("region", 12), ("age_band", 6), ("language", len(COMMENTS)), ("zone", 3), ("source", 2)):
        # What surveys bring in says nothing else of a profile.
        found = set(signals[name][kinds == KIND["profile.updated"]].tolist()) - {0}
        # The rarest of nine languages may not come up in two days.
        assert values_of - (name == "language") <= len(found) <= values_of, name
    assert set(signals["method"][kinds == KIND["donation.completed"]].tolist()) == {1, 2}
    assert set(signals["answer"][kinds == KIND["event.rsvp"]].tolist()) == {1, 2, 3}


def test_flaws_come_in_the_stated_shares() -> None:
    sent = all_of(two_days())
    n = len(sent)
    counts = collections.Counter(value for _, value in sent if value)
    assert 0.015 < sum(count - 1 for count in counts.values()) / n < 0.025
    good: list[tuple[bytes, dict[str, Any]]] = []
    broken = 0
    decoded = decode(
        columns_of(0, range(n), [START_MS + 48 * HOUR_MS] * n, [None] * n, [value for _, value in sent], [()] * n), 1, 0
    )
    for row, (key, value) in enumerate(sent):
        if decoded.reject[row]:
            broken += 1
        else:
            good.append((key, json.loads(value)))
    assert 0.003 < broken / n < 0.007
    latest, late = "", 0
    for _, event in good:
        # What is late by the least, a minute, is later than any duplicate's delay in an hour of a thousand events.
        late += event["time"] < latest
        latest = max(latest, event["time"])
    assert 0.03 < late / n < 0.06
    stray = sum(key.decode() != event["subject"] for key, event in good)
    assert 0.0005 < stray / n < 0.0015
    assert any(partition_of(key, 4) != partition_of(event["subject"].encode(), 4) for key, event in good)


@pytest.mark.parametrize("cause", BREAKAGES)
def test_each_breakage_is_rejected_for_its_reason(cause: str) -> None:
    _, value = two_days(CLEAN)[20][0]
    broken = BREAKAGES[cause](value)
    decoded = decode(columns_of(0, [0], [START_MS + 48 * HOUR_MS], [b"k"], [broken], [()]), 1, 0)
    assert REJECT_REASONS[decoded.reject[0]] == cause.partition(":")[0]


def test_breakages_are_of_every_reason_that_does_not_hang_on_a_place_or_a_key() -> None:
    reasons = {cause.partition(":")[0] for cause in BREAKAGES}
    assert reasons == set(REJECT_REASONS[1:]) - {"wrong_partition", "not_authorised"}


def test_late_events_of_a_batch_still_in_the_future_wait_for_theirs() -> None:
    electorate = Electorate(5, START_MS, voters=100, flaws=CLEAN)
    spans = [electorate.until(START_MS + step * 60_000, 200) for step in range(1, 30)]
    ids = [event["id"] for event in events_of(all_of(spans))]
    assert len(set(ids)) == len(ids)
    opened = [event for event in events_of(all_of(spans)) if event["type"] == "message.opened"]
    assert opened
