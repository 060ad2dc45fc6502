"""The electorate's truth: shows in what people do, and ranks them best of all."""

from __future__ import annotations

import collections
import json
from functools import cache
from typing import Any

import numpy as np
import pytest

from stream.commands.training.judging import auc
from stream.embedded.electorate import Calendar, Electorate, Flaws
from stream.embedded.occasions import COMMENTS
from stream.embedded.register import AGE_BANDS, LANGUAGES, WARDS
from stream.embedded.truth import HELD_OUT, LETTER, draw_truth
from stream.holdouts import held_out

START_MS = 1_790_035_200_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
VOTERS = 1500
CALENDAR = Calendar(START_MS, START_MS + 3 * DAY_MS, START_MS + 5 * DAY_MS, START_MS + 8 * DAY_MS)


@cache
def lived() -> tuple[Electorate, list[dict[str, Any]]]:
    """Return an electorate and ten lively days of it."""
    electorate = Electorate(9, START_MS, voters=VOTERS, flaws=Flaws(0.0, 0.0, 0.0, 0.0), calendar=CALENDAR)
    spans = [electorate.until(START_MS + hour * HOUR_MS, VOTERS / 4) for hour in range(1, 241)]
    return electorate, [json.loads(value) for sent in spans for _, value in sent]


def events(kind: str, **data: Any) -> list[dict[str, Any]]:
    return [
        event
        for event in lived()[1]
        if event["type"] == kind and all(event["data"].get(key) == value for key, value in data.items())
    ]


def voters_of(found: list[dict[str, Any]]) -> Any:
    return np.array([int(event["subject"].removeprefix("voter-")) for event in found], np.int64)


def did(found: list[dict[str, Any]]) -> Any:
    """Return float64[voters]: 1 for those who did one of these."""
    return (np.bincount(voters_of(found), minlength=VOTERS) > 0).astype(np.float64)


def ranked(recipe: str, labels: Any, which: Any = slice(None)) -> float:
    everybody = np.arange(VOTERS)
    scores = lived()[0].leanings.scores(np.full(VOTERS, START_MS), everybody)[recipe]
    return auc(scores[which], labels[which], np.ones(VOTERS)[which])


def test_same_seed_draws_the_same_people() -> None:
    one, same, other = draw_truth(1, 50), draw_truth(1, 50), draw_truth(2, 50)
    assert one.support.tolist() == same.support.tolist()
    assert one.support.tolist() != other.support.tolist()


def test_register_says_what_everybody_is() -> None:
    truth = lived()[0].truth
    first: dict[str, dict[str, Any]] = {}
    for event in events("profile.updated", source="voter_file"):
        if "region" in event["data"]:
            first.setdefault(event["subject"], event["data"])
    assert len(first) == VOTERS
    for number, data in enumerate(first[name] for name in lived()[0].names):
        assert data["region"] == f"ward-{truth.wards[number]}"
        assert data["age_band"] == AGE_BANDS[truth.bands[number]]
        assert data["language"] == LANGUAGES[truth.languages[number]]
    assert {data["region"] for data in first.values()} == {f"ward-{ward}" for ward in range(WARDS)}
    assert tuple(COMMENTS) == LANGUAGES


@pytest.mark.parametrize(
    ("recipe", "kind", "data", "least"),
    [
        ("gives_online", "donation.completed", {"method": "online"}, 0.75),
        ("gives_by_post", "donation.completed", {"method": "post"}, 0.7),
        ("volunteers", "volunteer.signed_up", {}, 0.7),
        ("opens_email", "message.opened", {"channel": "email"}, 0.6),
        ("opens_text", "message.opened", {"channel": "text"}, 0.6),
        ("opens_push", "message.opened", {"channel": "push"}, 0.6),
        ("woken", "site.page_view", {}, 0.7),
        ("turnout", "profile.updated", {"turnout": True}, 0.7),
    ],
)
def test_truth_ranks_those_who_do_it_over_others(recipe: str, kind: str, data: dict[str, Any], least: float) -> None:
    labels = did(events(kind, **data))
    assert labels.sum() > 50
    assert ranked(recipe, labels) > least


def test_supporters_say_so_when_they_are_asked_and_at_the_door() -> None:
    for kind in ("profile.updated", "canvass.contacted"):
        asked = [event for event in events(kind) if "support" in event["data"]]
        before = [event for event in asked if event["time"] < f"{np.datetime64(CALENDAR.letter_ms, 'ms')}Z"]
        backing = [event for event in before if event["data"]["support"] >= 4]
        which = np.unique(voters_of(before))
        assert ranked("support", did(backing), which) > 0.85


def test_letter_reaches_all_but_the_holdout_and_moves_those_whom_it_can() -> None:
    electorate = lived()[0]
    got = did(events("message.delivered", campaign=LETTER))
    assert got.tolist() == [float(not held_out(LETTER, HELD_OUT, name)) for name in electorate.names]
    survey = [event for event in events("profile.updated") if "support" in event["data"]]
    after = [event for event in survey if event["time"] > f"{np.datetime64(CALENDAR.survey_ms, 'ms')}Z"]
    backing = np.array([event["data"]["support"] >= 4 for event in after])
    voters = voters_of(after)
    can, has = electorate.truth.persuadable[voters], got[voters] == 1
    rates = {(a, b): backing[(can == a) & (has == b)].mean() for a in (True, False) for b in (True, False)}
    assert len(after) > 0.6 * VOTERS
    assert rates[True, True] - rates[True, False] > 0.3
    assert abs(rates[False, True] - rates[False, False]) < 0.1


def test_all_votes_are_said_once() -> None:
    counts = collections.Counter(event["data"]["turnout"] for event in lived()[1] if "turnout" in event["data"])
    assert counts == {True: int(lived()[0].truth.votes.sum()), False: int((~lived()[0].truth.votes).sum())}


def test_nothing_is_dated_without_a_calendar() -> None:
    electorate = Electorate(9, START_MS, voters=200, flaws=Flaws(0.0, 0.0, 0.0, 0.0))
    sent = [json.loads(value) for _, value in electorate.until(START_MS + DAY_MS, 2000)]
    assert not any(event["data"].get("campaign") == LETTER or "turnout" in event["data"] for event in sent)
