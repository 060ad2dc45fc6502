"""Labels mean what they say, and a label that cannot be read is quoted with the place."""

from __future__ import annotations

from typing import Any

import pytest

from stream.commands.labels import LABEL_TYPES, Label, duration_ms
from stream.errors import ConfigurationError

DAY_MS = 86_400_000


def test_label_has_a_type_conditions_and_a_horizon() -> None:
    label = Label.parse("donation.completed where method=online and amount>=50 within 14d")
    assert (label.types, label.horizon_ms) == (("donation.completed",), 14 * DAY_MS)
    assert [str(condition) for condition in label.where] == ['method="online"', "amount>=50"]
    assert label.among == ()


@pytest.mark.parametrize("name", LABEL_TYPES)
def test_every_type_that_voters_do_can_be_foretold(name: str) -> None:
    label = Label.parse(f"{name} within 12h")
    assert (label.types, label.reads_data, label.judge({})) == ((name,), False, True)


def test_label_may_be_about_several_types() -> None:
    label = Label.parse("site.page_view or social.* or social.like where url within 7d")
    social = ("social.follow", "social.like", "social.share", "social.comment")
    assert label.types == (*social, "site.page_view")
    assert label.kinds == tuple(LABEL_TYPES.index(name) for name in label.types)
    assert label.judge({"url": "https://example.org"}) is True


def test_condition_is_about_a_field_of_any_of_the_types() -> None:
    label = Label.parse("donation.* where amount>=50 and transaction within 7d")
    assert label.judge({"amount": 50, "transaction": "t"}) is True
    assert label.judge({"amount": 50}) is None


@pytest.mark.parametrize(
    ("conditions", "data", "verdict"),
    [
        ("method=online", {"method": "online"}, True),
        ("method=online", {"method": "post"}, None),
        ("method=online", {"method": None}, None),
        ("method!=online", {"method": "post"}, True),
        ("method!=online", {}, None),
        ("amount>=50", {"amount": 50}, True),
        ("amount >= 50", {"amount": 49.99}, None),
        ("amount>50", {"amount": 50}, None),
        ("amount<=50", {"amount": 50.0}, True),
        ("amount<50", {"amount": 50}, None),
        ("amount!=50", {"amount": 5}, True),
        ("amount=50", {"amount": True}, None),
        ("recurring=true", {"recurring": True}, True),
        ("recurring=false", {"recurring": True}, None),
        ("recurring!=true", {"recurring": False}, True),
        ("recurring", {"recurring": False}, True),
        ("recurring", {"recurring": None}, None),
        ("recurring", {}, None),
        ('form="a form, where x=1"', {"form": "a form, where x=1"}, True),
        ("form=within", {"form": "within"}, True),
        ("method=online and amount>=50 and currency=USD", {"method": "online", "amount": 60, "currency": "USD"}, True),
        ("method=online and amount>=50 and currency=USD", {"method": "online", "amount": 6, "currency": "USD"}, None),
    ],
)
def test_event_decides_by_its_data(conditions: str, data: dict[str, Any], verdict: bool | None) -> None:
    assert Label.parse(f"donation.completed where {conditions} within 1d").judge(data) is verdict


@pytest.mark.parametrize("data", [None, [], 5, {}])
def test_event_without_data_fits_no_condition(data: object) -> None:
    assert Label.parse("donation.completed where method=online within 1d").judge(data) is None


@pytest.mark.parametrize(
    ("data", "verdict"),
    [({"support": 4}, True), ({"support": 3}, False), ({"support": "4"}, False), ({"region": "North"}, None)],
)
def test_answer_decides_either_way(data: dict[str, Any], verdict: bool | None) -> None:
    label = Label.parse("profile.updated where support>=4 among support within 60d")
    assert label.judge(data) is verdict


@pytest.mark.parametrize(
    ("value", "found", "verdict"),
    [
        ("true", True, True),
        ("true", 1, None),
        ("4", 4.0, True),
        ("4", "4", None),
        ('"4"', "4", True),
        ("yes", "yes", True),
        ("-1.5", -1.5, True),
    ],
)
def test_value_of_a_field_that_is_not_known_is_what_its_spelling_says(
    value: str, found: object, verdict: bool | None
) -> None:
    assert Label.parse(f"profile.updated where voted={value} within 60d").judge({"voted": found}) is verdict


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", 1, "its end, expected a type of event: social.follow"),
        ("donation.complete within 1d", 1, "'donation.complete', expected a type of event"),
        ("privacy.erased within 1d", 1, "'privacy.erased', expected a type"),
        ("consent.withdrawn within 1d", 1, "'consent.withdrawn', expected a type"),
        ("clock.tick within 1d", 1, "'clock.tick', expected a type"),
        ("social.* or pigeon.* within 1d", 13, "'pigeon.*', expected a type of event"),
        ("* within 1d", 1, "'*', expected a type of event"),
        ("privacy.* within 1d", 1, "'privacy.*', expected a type of event"),
        ('"social.like" within 1d', 1, "'social.like', expected a type of event"),
        ("donation.completed", 19, "its end, expected 'or', 'where', 'among' or 'within'"),
        ("donation.completed when x", 20, "'when', expected 'or', 'where', 'among' or 'within'"),
        ("donation.completed where within 1d", 26, "'within', expected a field of donation.completed: amount"),
        ("donation.completed where methd=online within 1d", 26, "'methd', expected a field of donation.completed"),
        ("donation.completed where form= within", 38, "its end, expected 'and', 'among' or 'within'"),
        ("donation.completed where method>online within 1d", 32, "'>', expected = or !=, since 'online' is no number"),
        ("donation.completed where amount>=much within 1d", 34, "'much', expected a number"),
        ('donation.completed where amount>="5" within 1d', 34, "'5', expected a number"),
        ("donation.completed where recurring=yes within 1d", 36, "'yes', expected true or false"),
        ("event.rsvp where answer=pigeon within 1d", 25, "'pigeon', expected one of yes, no, maybe"),
        (
            "donation.completed where method=online or amount>5 within 1d",
            40,
            "'or', expected 'and', 'among' or 'within'",
        ),
        ("donation.completed where amount==5 within 1d", 33, "'=', expected a value"),
        ("donation.completed within", 26, "its end, expected a duration such as 14d"),
        ("donation.completed within 0d", 27, "'0d', expected a duration"),
        ("donation.completed within 14 d", 27, "'14', expected a duration"),
        ("donation.completed within 14d or so", 31, "'or', expected the end of the label"),
        ('donation.completed where form="x within 1d', 31, "expected words, and quotes in pairs"),
        ("consent.granted where x=1 within 1d", 23, "expected a field of consent.granted: channel"),
        ("donation.completed \N{THUMBS UP SIGN} within 1d", 20, "expected 'or', 'where', 'among' or 'within'"),
    ],
)
def test_unreadable_label_is_quoted_with_the_place(text: str, place: int, words: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Label.parse(text)
    assert f"label {text!r}: at character {place} there is " in str(raised.value)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("text", "ms"),
    [("45s", 45_000), ("30m", 1_800_000), ("12h", 43_200_000), ("14d", 14 * DAY_MS), ("2w", 14 * DAY_MS)],
)
def test_duration_has_a_unit(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize(
    "text", ["", "14", "d", "0d", "1.5d", "-1d", "1y", "1234567d", "1d ", "\N{ARABIC-INDIC DIGIT ONE}d"]
)
def test_other_texts_are_no_duration(text: str) -> None:
    assert duration_ms(text) is None
