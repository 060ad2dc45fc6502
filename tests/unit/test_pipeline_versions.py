"""Versions on trial: a shadow is measured and causes nothing, a canary decides for the voters that it draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
import xxhash

from stream.records import USE_FOLD, ContentId
from stream.scoring import canary, take_canaries
from stream.spans import Spans
from stream.versions import ModelVersion
from tests.unit.agents.worksite import activation, event, like
from tests.unit.test_pipeline import Desk

VOTERS = [f"voter-{number}" for number in range(40)]
TWICE: dict[str, Any] = {"weights": {"social.like.decayed_1d": 2.0}}


def version(content: ContentId, role: str, share: float = 0.0) -> ModelVersion:
    return ModelVersion(content.name, content.sha256, role, share)


def is_drawn(content: ContentId, voter: str, share: float) -> bool:
    name = f"{content.name}\0{content.sha256}\0{voter}".encode()
    return (xxhash.xxh3_64_intdigest(name) >> 11) / 2**53 < share


def triggers(desk: Desk) -> list[Any]:
    return [orjson.loads(row.value or b"") for row in desk.state.outbox["triggers"]]


async def test_shadow_is_scored_and_causes_no_trigger() -> None:
    desk = await Desk().opened()
    shadow = version(desk.shelf.model(bias=100.0), "shadow")
    await desk.take(activation(desk.shelf.model(), desk.shelf.campaign(), versions=[shadow]))
    outcome = await desk.take(like("ada", 1), like("ada", 2), like("bob", 1))
    assert outcome.scores["likes", "active"].round(5).tolist() == [1.0, 2.0, 1.0]
    assert outcome.scores["likes", "shadow"].round(5).tolist() == [101.0, 102.0, 101.0]
    assert outcome.triggers == {}
    assert desk.record("ada")["score"][0].round(5) == 2.0
    await desk.take(like("ada", 3))
    (trigger,) = triggers(desk)
    assert trigger["data"]["models"] == {"likes": desk.shelf.model().sha256}


async def test_shadow_of_a_name_that_is_not_active_sleeps_no_campaign_awake() -> None:
    desk = await Desk().opened()
    shadow = version(desk.shelf.model(bias=100.0), "shadow")
    await desk.take(activation(desk.shelf.campaign(), versions=[shadow]))
    outcome = await desk.take(like("ada", 1))
    assert list(outcome.scores) == [("likes", "shadow")]
    assert triggers(desk) == []


async def test_features_that_only_a_trial_reads_are_there() -> None:
    desk = await Desk().opened()
    shares = desk.shelf.model(weights={"social.share.decayed_7d": 1.0})
    await desk.take(activation(desk.shelf.model(), versions=[version(shares, "shadow")]))
    outcome = await desk.take(like("ada", 1), event("social.share", "ada", "s", {}))
    assert outcome.scores["likes", "shadow"].round(3).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("share", [0.25, 0.5])
async def test_canary_decides_for_the_voters_that_it_draws_and_no_others(share: float) -> None:
    desk = await Desk().opened()
    model, other = desk.shelf.model(), desk.shelf.model(**TWICE)
    await desk.take(activation(model, desk.shelf.campaign(), versions=[version(other, "canary", share)]))
    outcome = await desk.take(*(like(voter, f"{voter}{n}") for n in range(2) for voter in VOTERS))
    drawn = [voter for voter in VOTERS if is_drawn(other, voter, share)]
    assert 0.1 * len(VOTERS) < len(drawn) < 0.9 * len(VOTERS)
    assert [trigger["subject"] for trigger in triggers(desk)] == drawn
    for trigger in triggers(desk):
        assert trigger["data"]["models"] == {"likes": other.sha256}
        assert round(trigger["data"]["score_before"], 4) == 2.0
        assert round(trigger["data"]["score_after"], 4) == 4.0
    assert len(outcome.scores["likes", "canary"]) == 2 * len(drawn)
    assert len(outcome.scores["likes", "active"]) == 2 * (len(VOTERS) - len(drawn))


async def test_rows_before_a_canary_in_the_same_batch_are_the_active_versions() -> None:
    desk = await Desk().opened()
    model, other = desk.shelf.model(), desk.shelf.model(bias=50.0)
    campaign = desk.shelf.campaign()
    begin, end = (
        activation(model, campaign),
        event("config.activated", None, "end", orjson.loads(activation(model))["data"]),
    )
    canary_begins = activation(model, campaign, versions=[version(other, "canary", 0.999)])
    voter = next(voter for voter in VOTERS if is_drawn(other, voter, 0.999))
    await desk.take(begin, like(voter, 1), canary_begins, like(voter, 2), end, like(voter, 3))
    (trigger,) = triggers(desk)
    assert (trigger["data"]["cause"]["offset"], trigger["data"]["models"]) == (3, {"likes": other.sha256})
    assert round(trigger["data"]["score_before"], 4) == 1.0
    assert desk.record(voter)["score"][0].round(4) == 3.0


async def test_two_canaries_draw_independently_of_each_other() -> None:
    desk = await Desk().opened()
    names = ("likes", "shares")
    models = [desk.shelf.model(name) for name in names]
    others = [desk.shelf.model(name, **TWICE) for name in names]
    campaigns = [desk.shelf.campaign(f"fan-{name}", name, 3.5) for name in names]
    trials = [version(other, "canary", 0.5) for other in others]
    await desk.take(activation(*models, *campaigns, versions=trials))
    await desk.take(*(like(voter, f"{voter}{n}") for n in range(4) for voter in VOTERS))
    seen = set()
    for trigger in triggers(desk):
        drawn = tuple(is_drawn(other, trigger["subject"], 0.5) for other in others)
        chosen = [other if one else model for model, other, one in zip(models, others, drawn, strict=True)]
        assert trigger["data"]["models"] == {model.name: model.sha256 for model in chosen}
        seen.add(drawn)
    assert len(triggers(desk)) == 2 * len(VOTERS)
    assert len(seen) == 4


def test_shares_are_met_and_differ_by_experiment_not_by_batch() -> None:
    n = 20_000
    ids = [f"voter-{number}".encode() for number in range(n)]

    def draw(sha256: str, share: float, order: list[int]) -> list[bool]:
        out, scores = np.zeros(n, np.int64), np.zeros((n, 2))
        voters = Spans.of([ids[number] for number in order])
        take_canaries([canary("support", sha256, share, 1, 0)], voters, np.full(n, USE_FOLD), 0, n, scores, out)
        found = dict(zip(order, out.tolist(), strict=True))
        return [found[number] == 1 for number in range(n)]

    straight, back = list(range(n)), list(range(n))[::-1]
    tenth, fifth = draw("a", 0.1, straight), draw("a", 0.2, back)
    assert abs(sum(tenth) / n - 0.1) < 0.01
    assert abs(sum(fifth) / n - 0.2) < 0.01
    assert all(more for less, more in zip(tenth, fifth, strict=True) if less)
    both = sum(one and other for one, other in zip(tenth, draw("b", 0.1, straight), strict=True))
    assert abs(both / n - 0.01) < 0.005
