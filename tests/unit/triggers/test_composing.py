"""A trigger's bytes: the CloudEvent, its reason and its headers."""

from __future__ import annotations

from typing import Any

import jsonschema
import numpy as np
import orjson
import pytest

from stream.columns import Columns, columns_of
from stream.events import schema
from stream.interfaces import Decoded, Fired, Strongest
from stream.records import KIND, MAX_CAMPAIGNS, OutboxRow
from stream.signals import SIGNAL
from stream.spans import Spans
from stream.triggers import Campaign, Campaigns, compile_campaigns, compose, spell

NOW_MS = 1_795_555_351_123
VOTER_ID = "Zoë 選民"
SHA_A, SHA_B, SHA_C, SHA_D, SHA_E = (letter * 64 for letter in "abcde")


STRONGEST = Strongest(
    np.array([1, 0, 2]), np.array([1, 0, 1]), np.array([0.5, 3.0, -0.0]), np.array([-2.0, 1e22, 1 / 3])
)


def campaigns(direction: str = "up") -> Campaigns:
    rearm = 0.4 if direction == "up" else 0.8
    action = (("channel", "email"), ("template", "ünï"))
    files = [None, Campaign("welcome", "support", direction, 0.6, rearm, 0, action)]
    tags = np.zeros(MAX_CAMPAIGNS, np.uint32)
    tags[1] = 4
    models = [["turnout", SHA_A], None, ["support", SHA_B]]
    return compile_campaigns(files, tags, [None, ["welcome", SHA_C]], models, {0: SHA_D, 2: SHA_E})


def batch(now_ms: int, n: int = 2) -> tuple[Columns, Decoded]:
    columns = columns_of(3, range(41, 41 + n), [now_ms] * n, [b"k"] * n, [b"v"] * n, [()] * n)
    decoded = Decoded(
        kinds=np.full(n, KIND["social.share"]),
        reject=np.zeros(n, np.int64),
        times=np.full(n, 1_795_555_350_005),
        now=np.full(n, now_ms),
        hashes=np.ones(n, np.uint64),
        voters=Spans.of([VOTER_ID.encode()] * n),
        ids=Spans.of([b"id-%d" % row for row in range(n)]),
        sources=Spans.of([b"/tracker"] * n),
        homes=np.full(n, 3),
        activations={},
        again=np.zeros(n, np.bool_),
        signals=np.zeros(n, SIGNAL),
    )
    return columns, decoded


def fired(*rows: int, before: float = 0.43121, after: float = 0.61234, canaries: int = 0) -> Fired:
    n = len(rows)
    ones = np.ones(n, np.int64)
    return Fired(np.array(rows, np.int64), ones, np.full(n, before), np.full(n, after), canaries * ones)


def composed(now_ms: int = NOW_MS, by_slot: Campaigns | None = None, **scores: Any) -> OutboxRow:
    columns, decoded = batch(now_ms)
    by_slot = campaigns() if by_slot is None else by_slot
    (row,) = compose(
        fired(1, **scores), [b'[{"feature":"x%d"}]'], columns, decoded, by_slot, "ns.engagement.events", 3, 17
    )
    return row


def test_trigger_is_these_bytes() -> None:
    expected: dict[str, Any] = {
        "specversion": "1.0",
        "id": "3-42-welcome",
        "source": "/ns.engagement.events/3",
        "type": "campaign.triggered",
        "subject": VOTER_ID,
        "time": "2026-11-24T21:22:31.123Z",
        "datacontenttype": "application/json",
        "sequence": "17",
        "data": {
            "campaign": "welcome",
            "campaign_version": SHA_C,
            "model": "support",
            "models": {"turnout": SHA_A, "support": SHA_B},
            "score_before": 0.43121,
            "score_after": 0.61234,
            "cause": {
                "id": "id-1",
                "source": "/tracker",
                "type": "social.share",
                "time": "2026-11-24T21:22:30.005Z",
                "partition": 3,
                "offset": 42,
            },
            "log_time_ms": NOW_MS,
            "sequence": 17,
            "why": "support rose from 0.4312 to 0.6123 and crossed 0.6 after social.share",
            "contributions": [{"feature": "x%d"}],
            "action": {"channel": "email", "template": "ünï"},
        },
    }
    assert composed() == OutboxRow(
        sequence=17,
        partition=3,
        key=VOTER_ID.encode(),
        value=orjson.dumps(expected),
        headers=(
            ("content-type", b"application/cloudevents+json; charset=UTF-8"),
            ("groundswell-sequence", b"17"),
        ),
    )


@pytest.mark.parametrize("now_ms", [0, NOW_MS])
def test_trigger_fits_its_schema(now_ms: int) -> None:
    value = orjson.loads(composed(now_ms).value or b"")
    value["data"]["contributions"] = orjson.loads(spell(STRONGEST, ("a", 'b"'))[2])
    document = schema("campaign.triggered")
    jsonschema.validators.validator_for(document)(document).validate(value)


def test_time_is_left_out_while_the_log_knows_none() -> None:
    value = orjson.loads(composed(0).value or b"")
    assert "time" not in value
    assert value["data"]["log_time_ms"] == 0


def test_why_says_that_a_score_fell() -> None:
    row = composed(by_slot=campaigns("down"), before=0.7, after=0.5)
    why = orjson.loads(row.value or b"")["data"]["why"]
    assert why == "support fell from 0.7000 to 0.5000 and crossed 0.6 after social.share"


def test_sequences_go_on_from_the_given_one() -> None:
    columns, decoded = batch(NOW_MS)
    rows = compose(fired(0, 0, 1), [b"[]"] * 3, columns, decoded, campaigns(), "engagement.events", 3, 5)
    assert [row.sequence for row in rows] == [5, 6, 7]
    assert [orjson.loads(row.value or b"")["sequence"] for row in rows] == ["5", "6", "7"]


def test_texts_of_any_characters_come_out_as_they_are() -> None:
    columns, decoded = batch(NOW_MS)
    odd = ('"a",\n  "b"', "\\ %d %% \u2028 \x1f", "ünï 🗳")
    decoded.voters, decoded.ids, decoded.sources = (Spans.of_texts([text, f"{text}2"]) for text in odd)
    action = (("50%", "%d off"),)
    files = [None, Campaign("welcome", "support", "up", 0.6, 0.4, 0, action)]
    by_slot = compile_campaigns(files, campaigns().tags, [None, ["welcome", SHA_C]], [["support", SHA_B]])
    first, second = compose(fired(0, 1), [b"[]"] * 2, columns, decoded, by_slot, "events", 3, 5)
    value = orjson.loads(second.value or b"")
    assert first.key == odd[0].encode()
    assert value["subject"] == odd[0] + "2"
    assert (value["data"]["cause"]["id"], value["data"]["cause"]["source"]) == (odd[1] + "2", odd[2] + "2")
    assert value["data"]["action"] == {"50%": "%d off"}
    assert second.value == orjson.dumps(value)


@pytest.mark.parametrize("score", [0.0, -1e-7, 1e22, 5e-324, 1 / 3, float("nan"), float("inf")])
def test_score_is_written_as_json_has_it(score: float) -> None:
    value = composed(before=score, after=-score).value or b""
    assert b'"score_before":%b,"score_after":%b,' % (orjson.dumps(score), orjson.dumps(-score)) in value
    assert f" from {score:.4f} to {-score:.4f} and ".encode() in value


def test_nothing_fired_gives_no_row() -> None:
    columns, decoded = batch(NOW_MS)
    assert compose(fired(), [], columns, decoded, campaigns(), "engagement.events", 3, 5) == []


def test_contributions_are_spelt_by_trigger() -> None:
    first, second, third = spell(STRONGEST, ("a", 'b"'))
    assert orjson.loads(first) == [{"feature": 'b"', "value": 0.5, "contribution": -2.0}]
    assert second == b"[]"
    assert [(item["feature"], item["contribution"]) for item in orjson.loads(third)] == [("a", 1e22), ('b"', 1 / 3)]
    assert third == orjson.dumps(orjson.loads(third))


def test_no_contributions_at_all_are_empty_lists() -> None:
    none = Strongest(np.array([0, 0]), np.empty(0, np.int64), np.empty(0), np.empty(0))
    assert spell(none, ("a",)) == [b"[]", b"[]"]


@pytest.mark.parametrize(("canaries", "turnout", "support"), [(1, SHA_D, SHA_B), (4, SHA_A, SHA_E), (5, SHA_D, SHA_E)])
def test_trigger_names_the_version_that_scored_the_voter(canaries: int, turnout: str, support: str) -> None:
    columns, decoded = batch(NOW_MS)
    for drawn, models in (
        (0, {"turnout": SHA_A, "support": SHA_B}),
        (canaries, {"turnout": turnout, "support": support}),
    ):
        (row,) = compose(
            fired(1, canaries=drawn), [b"[]"], columns, decoded, campaigns(), "ns.engagement.events", 3, 17
        )
        assert orjson.loads(row.value or b"")["data"]["models"] == models
