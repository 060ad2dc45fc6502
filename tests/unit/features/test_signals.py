"""What rows of each kind say, field by field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream.details import (
    ACCOUNT,
    AGE_BAND,
    CHANNEL,
    COMMENT,
    ISSUE,
    LANGUAGE,
    METHOD,
    ORIGIN,
    REGION,
    ZONE,
)
from stream.features import NO_TAXONOMY, count_unknown, taxonomy_of
from stream.records import EVENT_TYPES, USE_FOLD
from stream.signals import DEVICES, MESSAGE_CHANNELS, METHODS, ORIGINS, OTHER_BAND, OTHER_REGION, PAGES, SIDES, SIGNAL
from stream.zones import ZONES
from tests.signalled import signals_of

TAXONOMY = taxonomy_of(
    """
accounts = [{side = "ally", issue = "climate", names = ["Green"]}]
channels = {mail = ["email", "Snail Mail"], door = ["visit"]}
methods = {post = ["cheque"], other = ["cash"]}
[[issues]]
name = "economy"
words.en = ["jobs"]
[[issues]]
name = "climate"
words.en = ["climate"]
[profile]
regions = ["North", ["South", "Süd"]]
age_bands = ["18-24", "25-34"]
languages = ["en", ["de", "deutsch"], "de-ch"]
sources = ["voter file"]
""".encode()
)


def said(kind: str, texts: dict[int, str] | None = None, **numbers: Any) -> tuple[dict[str, Any], set[str]]:
    """Return what is not 0 of one row's signals, and what is unknown in it."""
    given = {place: text.encode() for place, text in (texts or {}).items()}
    signals, unknown = signals_of(TAXONOMY, kind, [given], **numbers)
    found = {name: signals[0][name].tolist() for name in SIGNAL.names or ()}
    return {name: value for name, value in found.items() if np.any(value)}, unknown[0]


@pytest.mark.parametrize("text", ["Green", "@green", "GREEN"])
def test_account_gives_side_and_issue(text: str) -> None:
    expected = {"side": SIDES.index("ally"), "issues": [0, 10, *[0] * 10]}
    assert said("social.like", {ACCOUNT: text}) == (expected, set())


def test_unknown_account_is_another_sides_and_counted_and_none_is_not() -> None:
    other = {"side": SIDES.index("other")}
    assert said("social.share", {ACCOUNT: "grey"}) == (other, {"side"})
    assert said("social.share") == (other, set())
    assert said("social.share", {ACCOUNT: "@"}) == (other, set())


def test_comments_words_come_on_top_of_the_accounts_issue() -> None:
    found, _ = said("social.comment", {ACCOUNT: "green", COMMENT: "Climate jobs!"})
    assert found["issues"][:2] == [10, 20]


@pytest.mark.parametrize(
    ("text", "name", "unknown"),
    [
        ("email", "mail", False),
        ("EMAIL", "mail", False),
        ("snail mail", "mail", False),
        ("visit", "door", False),
        ("pigeon", "other", True),
        ("text", "other", True),
        ("email ", "other", True),
    ],
)
def test_channel_is_what_the_taxonomy_says(text: str, name: str, unknown: bool) -> None:
    code = MESSAGE_CHANNELS.index(name)
    expected = {"channel": code} if code else {}
    assert said("message.opened", {CHANNEL: text}) == (expected, {"channel"} if unknown else set())


@pytest.mark.parametrize("channel", ["email", "mail", "text", "push", "social", "call", "door", "ad"])
def test_channels_are_known_without_a_taxonomy(channel: str) -> None:
    signals, unknown = signals_of(NO_TAXONOMY, "message.opened", [{CHANNEL: channel.encode()}])
    expected = {"email": "mail", "call": "phone", "ad": "other"}.get(channel, channel)
    assert (MESSAGE_CHANNELS[signals[0]["channel"]], unknown) == (expected, [set()])


def test_donation_gives_amount_and_method() -> None:
    assert said("donation.completed", {METHOD: "Cheque"}, amount=27.35) == (
        {"amount": 27.35, "method": METHODS.index("post")},
        set(),
    )
    assert said("donation.started", amount=0.5) == ({"amount": 0.5}, set())
    assert said("donation.started", {METHOD: "barter"}) == ({"method": METHODS.index("other")}, {"method"})
    assert said("donation.started", {METHOD: "cash"}) == ({"method": METHODS.index("other")}, set())


def test_answers_and_support_are_codes() -> None:
    assert [said("event.rsvp", code=code)[0].get("answer", 0) for code in range(4)] == [0, 1, 2, 3]
    assert said("canvass.contacted", {ISSUE: "Climate"}, code=5) == (
        {"support": 5, "issues": [0, 10, *[0] * 10]},
        set(),
    )
    assert said("canvass.contacted", {ISSUE: "chess"}) == ({}, {"issue"})


def test_profile_gives_places_in_lists() -> None:
    texts = {REGION: "süd", AGE_BAND: "25-34", LANGUAGE: "Deutsch", ZONE: "europe/vienna", ORIGIN: "Voter File"}
    assert said("profile.updated", texts) == (
        {"region": 2, "age_band": 2, "language": 2, "zone": 1 + ZONES.index("Europe/Vienna"), "source": 1},
        set(),
    )
    others = dict.fromkeys(texts, "?")
    expected = {"region": OTHER_REGION} | dict.fromkeys(("age_band", "language", "zone", "source"), OTHER_BAND)
    assert said("profile.updated", others) == (expected, {"region", "age_band", "language", "time_zone", "source"})
    assert said("profile.updated") == ({}, set())


@pytest.mark.parametrize(
    ("tag", "code"), [("en-GB", 1), ("de", 2), ("de_AT", 2), ("de-CH", 3), ("de-CH-1996", 2), ("-de", 255), ("e", 255)]
)
def test_language_of_a_tag_counts_where_the_tag_is_not_listed(tag: str, code: int) -> None:
    assert said("profile.updated", {LANGUAGE: tag})[0] == {"language": code}


def test_without_a_taxonomy_everything_is_another() -> None:
    signals, unknown = signals_of(
        NO_TAXONOMY, "site.page_view", [{0: b"/donate", 1: b"https://google.com", 2: b"phone"}, {}]
    )
    for signal in signals:
        assert (PAGES[signal["page"]], DEVICES[signal["device"]]) == ("other", "other")
    assert [ORIGINS[code] for code in signals["origin"].tolist()] == ["other", "direct"]
    assert unknown == [{"page", "referrer", "device"}, set()]


def test_kinds_that_carry_nothing_say_nothing() -> None:
    carrying = ("social.", "site.", "donation.", "message.", "profile.")
    for kind in EVENT_TYPES:
        if not kind.startswith((*carrying, "event.rsvp", "canvass.")):
            texts = dict.fromkeys(range(5), "green")
            assert said(kind, texts, code=3, amount=1.0) == ({}, set())


def test_unknown_texts_are_counted_of_folded_rows_alone() -> None:
    unknown, use = np.array([1, 3, 0, 1], np.uint16), np.array([USE_FOLD, USE_FOLD, USE_FOLD, 2])
    assert count_unknown(unknown, use) == {"side": 2, "issue": 1}
    assert count_unknown(unknown[:0], use[:0]) == {}
