"""The features that a model may name, in the order that fixes their indices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from stream.layout import (
    CHANNELS,
    HALF_LIFE_NAMES,
    MESSAGE_ACTIONS,
    MOMENTS,
    PARTS_OF_DAY,
    SOCIAL_TYPES,
    TAKING_PART,
    VISITS,
)
from stream.signals import DEVICES, MAX_ISSUES, ORIGINS, PAGES, SIDES

OBSERVED: Final = "observed"
DECLARED: Final = "declared"
DERIVED: Final = "derived"

_RESPONSES: Final = MESSAGE_ACTIONS[1:]
_ANYTHING: Final = ("any event",)
_DEEDS: Final = ("what the voter does",)
"""Every event but deliveries, canvassing and changes of the profile."""
_CLASSES: Final = f"0: none, then {', '.join(f'{1 + place} {name}' for place, name in enumerate(PAGES))}"
_AT_MOST_WORDS: Final = "at most 6,553.5, and 25.5 by one event"


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a feature row."""

    name: str
    unit: str
    meaning: str
    sources: tuple[str, ...]
    """The types of events that it comes from."""
    horizon: str
    """How far back it reaches."""
    provenance: str
    """OBSERVED in what the voter does, DECLARED about them, or DERIVED from others."""
    opinion: bool
    """Whether it can reveal what the voter thinks of a party, a candidate or an issue."""


# --- what decays and what is counted by hour and day ---------------------------------------------------------


def _decayed() -> Iterator[Feature]:
    for kind in SOCIAL_TYPES:
        for life in HALF_LIFE_NAMES:
            yield _decayed_count(kind, life, opinion=True)


def _visits() -> Iterator[Feature]:
    for kind in VISITS:
        yield _decayed_count(kind, "7d", opinion=kind != "site.page_view")


def _decayed_count(kind: str, life: str, *, opinion: bool) -> Feature:
    meaning = f"Number of {kind} events up to and with this one, each weighing half as much after every {life}."
    return Feature(f"{kind}.decayed_{life}", "events", meaning, (kind,), f"half-life {life}", OBSERVED, opinion)


def _amount() -> Iterator[Feature]:
    meaning = "Amounts given, each weighing half as much after every 90d; all currencies alike."
    yield Feature("donation.amount.decayed_90d", "currency units", meaning, VISITS[2:], "half-life 90d", OBSERVED, True)


def _pace() -> Iterator[Feature]:
    yield Feature(
        "sessions",
        "sessions",
        "Runs of events with no gap of more than 30 minutes, since the first event; one that comes too late for the "
        "latest run begins none.",
        _ANYTHING,
        "ever",
        OBSERVED,
        False,
    )
    yield Feature(
        "session_events",
        "events",
        "Events in the latest session, with this one.",
        _ANYTHING,
        "session",
        OBSERVED,
        False,
    )
    yield Feature(
        "days_since_first_seen",
        "days",
        "From the earliest event's time, to the second, to the log's time.",
        _ANYTHING,
        "ever",
        OBSERVED,
        False,
    )
    yield Feature(
        "hours_since_last_seen",
        "hours",
        "From the latest event before this one to the log's time; 0 at the first.",
        _ANYTHING,
        "last event",
        OBSERVED,
        False,
    )


def _sliding() -> Iterator[Feature]:
    for name, horizon, meaning, most in (
        ("count_24h", "24 hours", "in this hour of UTC and the 23 before it", (7, 63, 7, 15)),
        ("count_28d", "28 days", "on this day of UTC and the 27 before it", (31, 255, 31, 63)),
    ):
        unit = "hour" if name == "count_24h" else "day"
        for kind, limit in zip(SOCIAL_TYPES, most, strict=True):
            text = f"Number of {kind} events {meaning}; at most {limit} are counted in one {unit}."
            yield Feature(f"{kind}.{name}", "events", text, (kind,), horizon, OBSERVED, True)


_MOMENT_SOURCES: Final = {
    "taking_part": TAKING_PART,
    "message.response": _RESPONSES,
}


def _recency() -> Iterator[Feature]:
    for moment in MOMENTS:
        sources = _MOMENT_SOURCES.get(moment, (moment,))
        opinion = not moment.startswith(("site.", "message."))
        meaning = f"1 / (1 + days since the latest {' or '.join(sources)}): 1 at once, 1/2 a day after; 0: never."
        yield Feature(f"{moment}.recency", "1 / (1 + days)", meaning, sources, "last event", OBSERVED, opinion)


def _burst() -> Iterator[Feature]:
    for kind in (*SOCIAL_TYPES, "social"):
        sources = SOCIAL_TYPES if kind == "social" else (kind,)
        counts = "the four counts together" if kind == "social" else "the count"
        meaning = (
            f"Short over long: {counts} at 1d by that at 30d, times 30: above 1 where it is more than usual; 0: none."
        )
        yield Feature(f"{kind}.burst", "ratio", meaning, sources, "half-lives 1d and 30d", DERIVED, True)


# --- sides, issues and words ------------------------------------------------------------------------------


def _sides() -> Iterator[Feature]:
    for side in SIDES:
        meaning = f"Follows and likes of accounts that the taxonomy calls {side}."
        if side == "other":
            meaning = "Follows and likes of accounts that the taxonomy does not name."
        yield Feature(f"social.side.{side}", "events", meaning, SOCIAL_TYPES[:2], "ever", OBSERVED, True)


def _issues() -> Iterator[Feature]:
    sources = (*SOCIAL_TYPES, VISITS[0], TAKING_PART[4])
    for place in range(1, MAX_ISSUES + 1):
        meaning = (
            f"Weight of the taxonomy's issue {place}, by words of comments, by accounts and pages about it, and by "
            f"what canvassers heard; {_AT_MOST_WORDS}."
        )
        yield Feature(f"issue.{place}", "words", meaning, sources, "ever", OBSERVED, True)


def _stance() -> Iterator[Feature]:
    sources = SOCIAL_TYPES[3:]
    for name, what in (("favour", "in our favour"), ("against", "against us")):
        meaning = f"Words of comments {what}; {_AT_MOST_WORDS}."
        yield Feature(f"words.{name}", "words", meaning, sources, "ever", OBSERVED, True)
    meaning = "Words in favour less those against, by all of both: from -1 to 1; 0: none."
    yield Feature("words.stance", "ratio", meaning, sources, "ever", DERIVED, True)


# --- navigation -------------------------------------------------------------------------------------------


def _session() -> Iterator[Feature]:
    page, session = VISITS[:1], "session"
    yield Feature("site.page_views", "pages", "Page views.", page, "ever", OBSERVED, False)
    yield Feature(
        "session.pages", "pages", "Page views in the latest session: its depth.", page, session, OBSERVED, False
    )
    meaning = "From the latest session's first event to its last, at most 65,535."
    yield Feature("session.seconds", "seconds", meaning, _ANYTHING, session, OBSERVED, False)
    meaning = f"Class of the latest session's first page: {_CLASSES}."
    yield Feature("session.landing_page", "class", meaning, page, session, OBSERVED, True)
    meaning = f"Class of the latest page: {_CLASSES}."
    yield Feature("session.exit_page", "class", meaning, page, "last event", OBSERVED, True)
    meaning = (
        "What the voter did first after the latest page, in the same session: 1 + the type's place among all types; "
        "0: nothing yet."
    )
    yield Feature("session.next_step", "class", meaning, _DEEDS, session, OBSERVED, True)
    meaning = "Page views by sessions."
    yield Feature("sessions.pages_mean", "pages", meaning, page, "ever", DERIVED, False)
    meaning = "Length of all sessions by their number."
    yield Feature("sessions.seconds_mean", "seconds", meaning, _ANYTHING, "ever", DERIVED, False)
    meaning = "Share of ended sessions that were one page view and nothing else, of which at most 255 count."
    yield Feature("sessions.bounce_share", "share", meaning, _ANYTHING, "ever", DERIVED, False)


def _by_class(prefix: str, classes: Sequence[str], what: str, *, opinion: bool) -> Iterator[Feature]:
    for name in classes:
        meaning = f"Page views {what} {name}, at most 255."
        yield Feature(f"{prefix}.{name}", "pages", meaning, VISITS[:1], "ever", OBSERVED, opinion)


def _devices() -> Iterator[Feature]:
    yield from _by_class("device", DEVICES, "on a device of the class", opinion=False)
    meaning = "Distinct devices: linear counting of 16 hashes (Whang, Vander-Zanden, Taylor, 1990)."
    yield Feature("device.distinct", "devices", meaning, VISITS[:1], "ever", OBSERVED, False)


# --- giving and taking part ---------------------------------------------------------------------------------


def _giving() -> Iterator[Feature]:
    started, completed = VISITS[1:2], VISITS[2:]
    for name, unit, meaning, sources, provenance in (
        ("donation.started.count", "donations", "Donations begun, at most 255.", started, OBSERVED),
        ("donation.completed.count", "donations", "Donations made, at most 255.", completed, OBSERVED),
        ("donation.online.count", "donations", "Donations made, less those by post, as counted.", completed, DERIVED),
        ("donation.by_post.count", "donations", "Donations made by post, at most 255.", completed, OBSERVED),
        (
            "donation.abandoned.count",
            "donations",
            "Donations begun, less those made online, as counted; 0 where there were more of these.",
            (*started, *completed),
            DERIVED,
        ),
        (
            "donation.amount.last",
            "currency units",
            "The latest donation's amount; of those in the same second the largest.",
            completed,
            OBSERVED,
        ),
    ):
        yield Feature(name, unit, meaning, sources, "ever", provenance, True)


def _part() -> Iterator[Feature]:
    for kind in TAKING_PART:
        what = f"{kind} events, less those answered no" if kind == "event.rsvp" else f"{kind} events"
        yield Feature(f"{kind}.count", "events", f"Number of {what}; at most 255.", (kind,), "ever", OBSERVED, True)
    meaning = "The last answer at the door or by phone, in the log's order: 1 against us to 5 for us; 0: none."
    yield Feature("canvass.support", "1 to 5", meaning, TAKING_PART[4:], "last event", DECLARED, True)


# --- messages ------------------------------------------------------------------------------------------------


def _messages() -> Iterator[Feature]:
    for action in MESSAGE_ACTIONS:
        for channel in ("", *CHANNELS):
            name = f"{action}.{channel}" if channel else action
            where = f"by {channel}" if channel else f"by {', '.join(CHANNELS)}"
            what = f"{action} events {where}, at most 15 for each channel and week"
            meaning = f"{what}: in this week of UTC (from Thursday) and the three before it."
            yield Feature(f"{name}.count_4w", "events", meaning, (action,), "4 weeks", OBSERVED, False)
            meaning = f"{what}: those of this week count 1, of the last one 1/2, then 1/4 and 1/8."
            yield Feature(f"{name}.decayed_4w", "events", meaning, (action,), "4 weeks", OBSERVED, False)


def _unsubscribed() -> Iterator[Feature]:
    sources = ("message.unsubscribed",)
    meaning = "From how many channels the voter unsubscribed, other ones being one."
    yield Feature("message.unsubscribed.channels", "channels", meaning, sources, "ever", OBSERVED, False)
    for channel in CHANNELS:
        meaning = f"Whether the voter unsubscribed from {channel}."
        yield Feature(f"message.unsubscribed.{channel}", "0 or 1", meaning, sources, "ever", OBSERVED, False)


def _response() -> Iterator[Feature]:
    meaning = (
        "1 / (1 + hours) from the latest delivery that was responded to, to the first response after it, in the log's "
        "order; 0: none yet."
    )
    yield Feature("message.response.speed", "1 / (1 + hours)", meaning, MESSAGE_ACTIONS, "last event", OBSERVED, False)


# --- rhythm and profile ---------------------------------------------------------------------------------------


def _rhythm() -> Iterator[Feature]:
    for days in (7, 28):
        meaning = f"Days of the last {days}, in the voter's zone and with this one, on which the voter did something."
        yield Feature(f"rhythm.active_days_{days}d", "days", meaning, _DEEDS, f"{days} days", OBSERVED, False)
    meaning = "Active days in a row that end today or yesterday, in the voter's zone; at most 28."
    yield Feature("rhythm.streak_days", "days", meaning, _DEEDS, "28 days", OBSERVED, False)
    for part in PARTS_OF_DAY[:-1]:
        meaning = f"Share of what the voter did in the {part}: six hours of the day in their zone as it was then."
        yield Feature(f"rhythm.{part}_share", "share", meaning, _DEEDS, "ever", DERIVED, False)
    meaning = "Share of what the voter did on Saturdays and Sundays in their zone as it was then."
    yield Feature("rhythm.weekend_share", "share", meaning, _DEEDS, "ever", DERIVED, False)


def _profile() -> Iterator[Feature]:
    for name, what in (
        ("region", "Region: 1 + its place in the taxonomy, 65535 for one that is not there"),
        ("age_band", "Age band: 1 + its place in the taxonomy, 255 for one that is not there"),
        ("language", "Language: 1 + its place in the taxonomy, 255 for one that is not there"),
        ("zone", "Time zone: 1 + its place in stream.zones.ZONES, 255 for one that is not there"),
        ("source", "Where the record comes from: 1 + its place in the taxonomy, 255 for one that is not there"),
    ):
        meaning = f"{what}; 0: not said."
        yield Feature(f"profile.{name}", "code", meaning, ("profile.updated",), "last event", DECLARED, False)


_BLOCKS: Final[tuple[tuple[str, tuple[Feature, ...]], ...]] = tuple(
    (name, tuple(block))
    for name, block in (
        ("decayed", _decayed()),
        ("visits", _visits()),
        ("amount", _amount()),
        ("pace", _pace()),
        ("sliding", _sliding()),
        ("recency", _recency()),
        ("burst", _burst()),
        ("sides", _sides()),
        ("issues", _issues()),
        ("stance", _stance()),
        ("session", _session()),
        ("pages", _by_class("page", PAGES, "of the class", opinion=True)),
        ("origins", _by_class("origin", ORIGINS, "that came from:", opinion=False)),
        ("devices", _devices()),
        ("giving", _giving()),
        ("part", _part()),
        ("messages", _messages()),
        ("unsubscribed", _unsubscribed()),
        ("response", _response()),
        ("rhythm", _rhythm()),
        ("profile", _profile()),
    )
)
"""Features that are read in one way each; the first ones are those that most models name."""


def _begins() -> dict[str, int]:
    found, place = {}, 0
    for name, block in _BLOCKS:
        found[name] = place
        place += len(block)
    return found


BEGINS: Final = _begins()
"""By block, the index of its first feature."""

_CATALOGUE: Final = tuple(feature for _, block in _BLOCKS for feature in block)

FEATURES: Final[tuple[str, ...]] = tuple(feature.name for feature in _CATALOGUE)
"""Every feature's name; its place is its index in the catalogue."""


def catalogue() -> tuple[Feature, ...]:
    """Return every feature with all that is said of it, in the order of FEATURES."""
    return _CATALOGUE
