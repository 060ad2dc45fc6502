"""What the people of the electorate do: the pages they walk through, what they say, how often, at what hour."""

from __future__ import annotations

from itertools import product
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from stream.embedded.register import profiles
from stream.records import EVENT_TYPES, KIND

ISSUES: Final = ("economy", "health", "climate", "education", "housing")
ACCOUNTS: Final = ("ada-for-senate", "greenalliance", "theothercampaign", "a-neighbour")
"""By post, whose it is."""
PAGES: Final = ("", *(f"issues/{issue}" for issue in ISSUES), "about", "events", "volunteer", "join", "donate")
DEVICES: Final = ("phone", "computer", "tablet")
NETWORKS: Final = ("mastodon.example", "photos.example", "videos.example")
POSTS_BY_ISSUE: Final = 4
CHANNELS: Final = ("email", "text", "push")
AMOUNTS: Final = (5, 10, 15, 20, 27, 50, 100, 250)
METHODS: Final = ("online", "post")
HOME: Final = "https://ada.example/"
ARRIVALS: Final = (
    ("", "", 0.25),
    ("", "https://www.google.com/", 0.3),
    ("", "https://t.co/4fK2", 0.25),
    ("?utm_source=newsletter&utm_medium=email", "", 0.05),
    ("?gclid=Cj0KCQ", "https://www.google.com/", 0.1),
    ("", "https://www.mobilize.us/", 0.05),
    ("", HOME, 0.0),
)
"""How a page is come to: what stands behind its address, the referrer, and the chance of a visit beginning so."""
BY_MAIL: Final = 3
WITHIN: Final = len(ARRIVALS) - 1
"""From another page of the site."""

COMMENTS: Final = {
    "en": ("Finally someone talks about {}!", "I disagree with this on {}."),
    "es": ("¡Por fin alguien habla de {}!", "No estoy de acuerdo sobre {}."),
    "zh": ("終於有人談到{}了!", "关于{},我还没有被说服。"),
    "vi": ("Cuối cùng cũng có người nói về {}!", "Tôi chưa thấy thuyết phục về {}."),
    "tl": ("Sa wakas may nagsalita tungkol sa {}!", "Hindi pa ako kumbinsido sa {}."),
    "ko": ("드디어 {} 이야기를 하는 사람이 나왔네요!", "{}에 대해서는 아직 잘 모르겠어요."),
    "fr": ("Enfin quelqu'un qui parle de {} !", "Pas encore convaincu sur {}."),
    "ar": ("أخيرًا هناك من يتحدث عن {}!", "لست مقتنعًا بعد بشأن {}."),
    "de": ("Endlich redet jemand über {}!", "Bei {} bin ich dagegen."),
}

# Weight of each hour of the day (UTC) against the day's mean: a quiet night, a noon bump, a long evening.
_HOURS: Final = (0.9, 0.6, 0.4, 0.3, 0.2, 0.2, 0.3, 0.5, 0.8, 0.9, 1.0, 1.1)
_LATER_HOURS: Final = (1.4, 1.2, 1.0, 1.0, 1.1, 1.3, 1.6, 1.9, 2.1, 1.9, 1.3, 1.0)
RHYTHM: Final = np.array(_HOURS + _LATER_HOURS)
DAY_MS: Final = 86_400_000

# --- pages as a Markov chain -------------------------------------------------------------------------

_ISSUE_PAGES: Final = range(1, 1 + len(ISSUES))
_ABOUT, _EVENTS, _VOLUNTEER, _JOIN, _DONATE = range(1 + len(ISSUES), len(PAGES))


def _transitions() -> NDArray[np.float64]:
    """Return the chance of going from page i to page j; what a row lacks to 1 is the chance of leaving."""
    chance = np.zeros((len(PAGES), len(PAGES)))
    chance[0, _ISSUE_PAGES] = 0.09
    chance[0, [_ABOUT, _EVENTS, _VOLUNTEER, _JOIN, _DONATE]] = (0.06, 0.06, 0.03, 0.05, 0.04)
    for page in _ISSUE_PAGES:
        chance[page, _ISSUE_PAGES] = 0.06
        chance[page, page] = 0.0
        chance[page, [0, _EVENTS, _JOIN, _DONATE]] = (0.10, 0.05, 0.07, 0.06)
    chance[_ABOUT, [0, _EVENTS, _DONATE]] = (0.20, 0.10, 0.05)
    chance[_EVENTS, [0, _VOLUNTEER, _JOIN]] = (0.10, 0.15, 0.10)
    chance[_VOLUNTEER, [_EVENTS, _JOIN]] = (0.10, 0.15)
    chance[_JOIN, [0, _VOLUNTEER, _DONATE]] = (0.10, 0.10, 0.15)
    chance[_DONATE, [0, _VOLUNTEER]] = (0.08, 0.05)
    return chance


TRANSITIONS: Final = _transitions()
ENTRIES: Final = np.array([0.45, *[0.08] * len(ISSUES), 0.03, 0.05, 0.01, 0.03, 0.03])
"""The chance of a visit beginning at each page."""

CONVERSIONS: Final = {
    _EVENTS: (KIND["event.rsvp"], 0.30),
    _VOLUNTEER: (KIND["volunteer.signed_up"], 0.25),
    _JOIN: (KIND["signup.completed"], 0.35),
    _DONATE: (KIND["donation.started"], 0.40),
}
"""By page, what may follow from seeing it, and its chance."""
ATTENDED: Final = 0.6
"""The chance that whoever accepts an invitation comes."""
COMPLETED: Final = 0.55
"""The chance that a donation that was started is completed."""
OPENED: Final = 0.45
CLICKED: Final = 0.25
REPLIED: Final = 0.04
UNSUBSCRIBED: Final = 0.01
"""Chances after a message was delivered (opened), or after it was opened (the others)."""

# --- occasions ---------------------------------------------------------------------------------------

VISIT: Final = KIND["site.page_view"]
QUIET_MIX: Final = {
    "site.page_view": 0.34,
    "social.like": 0.23,
    "message.delivered": 0.18,
    "social.share": 0.08,
    "social.comment": 0.06,
    "social.follow": 0.04,
    "canvass.contacted": 0.03,
    "profile.updated": 0.02,
    "donation.completed": 0.01,
    "consent.granted": 0.006,
    "consent.withdrawn": 0.0035,
    "privacy.erased": 0.0005,
}
"""How often each kind of occasion comes on a quiet day; a visit or a message goes on by chance, a donation on its own
comes by post."""
VIRAL_MIX: Final = {"social.like": 0.45, "social.share": 0.35, "social.comment": 0.15, "social.follow": 0.05}


def events_by_occasion() -> float:
    """Return how many events an occasion of a quiet day gives in the mean."""
    # Expected views of each page in a visit: entries times the fundamental matrix of the absorbing chain.
    views = np.linalg.solve(np.eye(len(PAGES)) - TRANSITIONS.T, ENTRIES)
    visit = float(views.sum()) + sum(float(views[page]) * chance for page, (_, chance) in CONVERSIONS.items())
    visit += float(views[_EVENTS]) * CONVERSIONS[_EVENTS][1] * ATTENDED
    visit += float(views[_DONATE]) * CONVERSIONS[_DONATE][1] * COMPLETED
    message = 1 + OPENED * (1 + CLICKED * (1 + visit) + REPLIED + UNSUBSCRIBED)
    shares = QUIET_MIX
    others = 1 - shares["site.page_view"] - shares["message.delivered"]
    return shares["site.page_view"] * visit + shares["message.delivered"] * message + others


# --- what an event carries ---------------------------------------------------------------------------

MESSAGES: Final = len(CHANNELS) * len(ISSUES)
"""The variants of a message's data by channel, then issue; the one behind them is the letter."""


def _social() -> list[dict[str, Any]]:
    posts = range(POSTS_BY_ISSUE)
    return [
        {"platform": network, "account": ACCOUNTS[post % len(ACCOUNTS)], "post": f"{issue}-{post}"}
        for issue, post, network in product(ISSUES, posts, NETWORKS)
    ]


def _data_of(name: str) -> list[dict[str, Any]]:
    """Return the variants of a type's data."""
    if name == "social.comment":
        said = [(text, language) for language, texts in COMMENTS.items() for text in texts]
        return [
            {
                **{"platform": NETWORKS[0], "account": ACCOUNTS[0], "post": f"{issue}-0"},
                **{"text": text.format(issue), "language": language},
            }
            for issue, (text, language) in product(ISSUES, said)
        ]
    if name.startswith("social."):
        return _social()
    if name.startswith("message."):
        sent = [{"channel": channel, "message": f"issue-{issue}"} for channel, issue in product(CHANNELS, ISSUES)]
        return [*sent, {"channel": "mail", "message": "letter", "campaign": "letter"}]
    if name == "site.page_view":
        return [
            {"url": f"{HOME}{page}{tag}", **({"referrer": referrer} if referrer else {}), "device": device}
            for page, device, (tag, referrer, _) in product(PAGES, DEVICES, ARRIVALS)
        ]
    if name == "donation.started":
        return [{"amount": amount, "currency": "USD", "form": "main", "method": METHODS[0]} for amount in AMOUNTS]
    if name == "donation.completed":
        return [
            {"amount": amount, "currency": "USD", "recurring": amount < 20, "method": method}
            for method, amount in product(METHODS, AMOUNTS)
        ]
    if name == "canvass.contacted":
        return [{"support": support, "issue": issue} for support, issue in product(range(1, 6), ISSUES)]
    if name == "profile.updated":
        return profiles()
    rest: dict[str, list[dict[str, Any]]] = {
        "signup.completed": [{"form": "join", "list": "newsletter"}],
        "volunteer.signed_up": [{"role": role} for role in ("calls", "doors", "rides")],
        "event.rsvp": [
            {"event": f"town-hall-{n}", "answer": answer, "guests": n % 3}
            for n, answer in product(range(6), ("yes", "yes", "maybe", "no"))
        ],
        "event.attended": [{"event": f"town-hall-{n}"} for n in range(6)],
        "consent.granted": [{"purpose": "profiling", "text_version": "2026-05"}],
        "consent.withdrawn": [{"purpose": "profiling", "text_version": "2026-05"}],
        "privacy.erased": [{"request": "form"}],
    }
    return rest.get(name, [{}])


DATA: Final = tuple(tuple(orjson.dumps(data).decode() for data in _data_of(name)) for name in EVENT_TYPES)
"""By kind code, the JSON texts that an event's data may be."""


def source_of(name: str) -> str:
    """Return the CloudEvents source of a type."""
    stem = name.partition(".")[0]
    if stem in ("social", "site", "message"):
        return f"/electorate/{stem}"
    return "/electorate/office"
