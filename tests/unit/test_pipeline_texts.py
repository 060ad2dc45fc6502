"""What people write goes nowhere; what it says under the taxonomy of its place in the log does."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import orjson
import pytest

from stream.activation import Active, build
from stream.ahead import read_ahead
from stream.features import NO_TAXONOMY, taxonomy_of
from stream.metrics import Metrics
from stream.pipeline import Outcome, process_batch
from stream.records import CONTENT_KINDS, ContentId
from tests.unit.agents.worksite import Shelf, activation, event, like
from tests.unit.test_pipeline import Desk

SHIPPED = (Path(__file__).parents[2] / "configs" / "taxonomy.toml").read_bytes()
KNOWN = b'accounts = [{side = "ally", names = ["nurses"]}]'
PHRASE = "the heron waits"


def comment(number: int, data: Any, kind: str = "social.comment", voter: str = "ada", **changes: Any) -> bytes:
    fields = {**orjson.loads(event(kind, voter, f"c{number}", {})), **changes, "data": data}
    return orjson.dumps(fields)


def bad_comments() -> list[bytes]:
    """Return comments and replies that are refused, each for another reason."""
    text = {"text": PHRASE}
    good = comment(0, text)
    return [
        comment(1, {"text": [PHRASE]}),
        comment(2, {"text": PHRASE * 1000}),
        comment(3, {"text": PHRASE, "account": 7}),
        comment(4, PHRASE),
        comment(5, text, time="yesterday"),
        comment(6, text, time="1999-12-31T23:59:59Z"),
        comment(7, text, subject=None),
        comment(8, text, type="social.coment"),
        comment(9, text, id=None),
        comment(10, {"text": PHRASE + "x" * 70_000}),
        comment(11, {"channel": None, **text}, "message.replied"),
        good[:-1],
        good.replace(b'"text":"', b'"text":'),
        good.replace(b'"text"', b'"te\\u0078t"')[:-1],
        good.replace(b"social.comment", b"\xff"),
    ]


def image(desk: Desk, outcomes: list[Outcome]) -> bytes:
    """Return all that leaves the pipeline, or stays in its state."""
    commit = desk.commit()
    metrics = Metrics()
    for outcome in outcomes:
        for name, count in outcome.unknown.items():
            metrics.unknown.labels(name).inc(count)
        for reason, count in outcome.rejects.items():
            metrics.rejects.labels(reason).inc(count)
        for (model, role), scores in outcome.scores.items():
            metrics.observe_scores(model, scores, role)
    rows = [row.to_bytes() for rows in commit.outbox.values() for row in rows]
    return b"\n".join([*rows, commit.header.to_bytes(), commit.records.values.tobytes(), metrics.exposition()])


@pytest.mark.parametrize("reference", [False, True])
async def test_what_a_comment_says_is_stored_nowhere(reference: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    desk = await Desk().opened()
    desk.state.reference = reference
    taxonomy = desk.shelf.add("taxonomy", "words", SHIPPED)
    outcomes = [await desk.take(activation(desk.shelf.model(), desk.shelf.campaign(threshold=0.5), taxonomy))]
    good = [comment(100, {"text": f"I love health care, {PHRASE}"}), comment(101, {"text": PHRASE.upper()})]
    good.append(comment(102, {"channel": "email", "text": PHRASE}, "message.replied"))
    outcomes.append(await desk.take(*good, like("ada", 1), like("bob", 1), *bad_comments()))
    assert outcomes[1].folded == 5
    assert outcomes[1].triggers == {"fan": 2}
    assert sum(outcomes[1].rejects.values()) == len(bad_comments())
    left = image(desk, outcomes)
    assert b"bad_time" in left
    assert PHRASE.encode() not in left.lower()
    assert PHRASE not in caplog.text.lower()


async def test_rejected_comment_keeps_all_but_its_text() -> None:
    desk = await Desk().opened()
    sent = comment(1, {"account": "nurses", "text": PHRASE, "post": "p-1"}, time="yesterday")
    await desk.take(sent)
    (row,) = desk.state.outbox["rejects"]
    assert row.value == sent.replace(PHRASE.encode(), b"")


# --- the taxonomy of a place in the log ------------------------------------------------------------------


def followed(number: int, account: str) -> bytes:
    return event("social.follow", "ada", f"f{number}", {"account": account})


async def unknown_by(cut: int, ahead: int | None) -> list[dict[str, int]]:
    """Return what is unknown, row by row or in batches of ``cut``; ``ahead``: read before under one of taxonomies."""
    desk = await Desk().opened()
    known = desk.shelf.add("taxonomy", "words", KNOWN)
    other = desk.shelf.add("taxonomy", "words", KNOWN.replace(b"nurses", b"doctors"))
    rows = [
        followed(0, "nurses"),
        activation(known),
        followed(1, "nurses"),
        followed(2, "doctors"),
        activation(other),
        followed(3, "nurses"),
        followed(4, "doctors"),
        activation(),
        followed(5, "nurses"),
        event("message.opened", "ada", "m1", {"channel": "pigeon"}),
        event("message.opened", "ada", "m2", {"channel": "call"}),
    ]
    desk.tape.write(*rows)
    taxonomies = (NO_TAXONOMY, taxonomy_of(KNOWN), desk.state.active.taxonomy)
    outcomes = []
    while len(columns := desk.tape.take(cut)):
        before = None if ahead is None else read_ahead(columns, 1, taxonomies[ahead])
        outcomes.append(await process_batch(desk.state, columns, desk.shelf, desk.load, before))
    return [outcome.unknown for outcome in outcomes]


@pytest.mark.parametrize("ahead", [None, 0, 1])
async def test_each_row_is_read_under_the_taxonomy_of_its_place(ahead: int | None) -> None:
    one_by_one = await unknown_by(1, ahead)
    side, channel = {"side": 1}, {"channel": 1}
    assert one_by_one == [side, {}, {}, side, {}, side, {}, {}, side, channel, {}]
    for cut in (2, 3, 5, 100):
        found = await unknown_by(cut, ahead)
        assert sum(outcome.get("side", 0) for outcome in found) == 4
        assert sum(outcome.get("channel", 0) for outcome in found) == 1


async def test_signals_read_ahead_are_taken_where_the_taxonomy_is_still_active(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = await Desk().opened()
    known = desk.shelf.add("taxonomy", "words", KNOWN)
    await desk.take(activation(known))
    desk.tape.write(followed(1, "nurses"))
    columns = desk.tape.take(10)
    before = read_ahead(columns, 1, desk.state.active.taxonomy)
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr("stream.features.compiling.read_signals", lambda *given: calls.append(given[10:12]))
    assert (await process_batch(desk.state, columns, desk.shelf, desk.load, before)).unknown == {}
    assert calls == []
    desk.tape.write(followed(2, "nurses"), activation(), followed(3, "nurses"))
    columns = desk.tape.take(10)
    before = read_ahead(columns, 1, desk.state.active.taxonomy)
    calls.clear()
    await process_batch(desk.state, columns, desk.shelf, desk.load, before)
    assert calls == [(1, 3)]


def slots_of(*taxonomies: ContentId) -> dict[str, Any]:
    return {kind: [] for kind in CONTENT_KINDS} | {"taxonomy": [[item.name, item.sha256] for item in taxonomies]}


def test_one_taxonomy_is_compiled_once_whatever_else_is_activated() -> None:
    shelf = Shelf()
    known = shelf.add("taxonomy", "words", KNOWN)
    first: Active = build(slots_of(known), shelf)
    assert first.taxonomy is build(slots_of(known), shelf).taxonomy
    assert build(slots_of(), shelf).taxonomy is NO_TAXONOMY


async def test_unusable_taxonomy_is_rejected_and_changes_nothing() -> None:
    desk = await Desk().opened()
    known = desk.shelf.add("taxonomy", "words", KNOWN)
    broken = desk.shelf.add("taxonomy", "words", b"accounts = 7")
    await desk.take(activation(known))
    outcome = await desk.take(activation(broken), followed(1, "nurses"))
    assert (outcome.rejects, outcome.unknown) == ({"bad_data": 1}, {})
    two = await desk.take(activation(known, desk.shelf.add("taxonomy", "more", KNOWN)))
    assert two.rejects == {"bad_data": 1}
    assert desk.state.header.slots["taxonomy"] == [["words", known.sha256]]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("donation.completed", {"amount": -5, "currency": "USD"}),
        ("donation.completed", {"amount": 0, "currency": "USD"}),
        ("donation.started", {"amount": -0.01}),
        ("donation.started", {"amount": "5 USD"}),
        ("donation.started", {"amount": 1e9 + 1}),
        ("social.comment", {"text": "x" * 10_001}),
        ("message.replied", {"channel": "email", "text": "ü" * 10_001}),
        ("profile.updated", {"support": 0}),
        ("profile.updated", {"turnout": 1}),
        ("event.attended", {"guests": -1}),
    ],
)
async def test_wrong_units_and_lengths_are_rejected(kind: str, data: dict[str, Any]) -> None:
    desk = await Desk().opened()
    assert (await desk.take(event(kind, "ada", "1", data))).rejects == {"bad_data": 1}


async def test_times_before_2000_are_rejected() -> None:
    desk = await Desk().opened()
    outcome = await desk.take(
        comment(1, {}, "event.attended", time="1999-12-31T23:59:59.999Z"),
        comment(2, {}, "event.attended", time="2000-01-01T00:00:00Z"),
    )
    assert (outcome.rejects, outcome.folded) == ({"bad_time": 1}, 1)
