"""The fields of a voter's record, and by what its arrays are counted."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from stream.signals import DEVICES, MAX_ISSUES, MESSAGE_CHANNELS, ORIGINS, PAGES, SIDES

HALF_LIVES_DAYS: Final = (1, 7, 30, 90)
HALF_LIFE_NAMES: Final = ("1d", "7d", "30d", "90d")
RING_LENGTH: Final = 16
MODELS: Final = 8
CAMPAIGNS: Final = 12
SOCIAL_TYPES: Final = ("social.follow", "social.like", "social.share", "social.comment")
"""What is counted at every half-life, and by hour and day."""
VISITS: Final = ("site.page_view", "donation.started", "donation.completed")
"""What is counted at a half-life of 7 days."""
MOMENTS: Final = (*SOCIAL_TYPES, *VISITS, "taking_part", "message.response", "message.delivered")
"""Of what ``last_s`` holds the latest time: sign-ups, invitations and canvassing take part, readers respond."""
HOURS: Final = 24
DAYS: Final = 28
WEEKS: Final = 4
MESSAGE_ACTIONS: Final = ("message.delivered", "message.opened", "message.clicked", "message.replied")
CHANNELS: Final = MESSAGE_CHANNELS[:-1]
PARTS_OF_DAY: Final = ("night", "morning", "afternoon", "evening", "weekend")
"""From midnight, 6, 12 and 18 o'clock; and Saturdays and Sundays, beside that."""
TAKING_PART: Final = ("signup.completed", "event.rsvp", "event.attended", "volunteer.signed_up", "canvass.contacted")
COUNTS: Final = (*(f"{kind}.{life}" for kind in SOCIAL_TYPES for life in HALF_LIFE_NAMES), *VISITS, "donation.amount")
"""What decays: social counts at each half-life, visits at 7 days, amounts given at 90 days."""
TALLIES: Final = (
    *(f"issue.{place}" for place in range(1, MAX_ISSUES + 1)),
    *(f"side.{side}" for side in SIDES),
    "favour",
    "against",
)
"""Weights of issues and stances in tenths of a word, and follows and likes by side."""
MARKS: Final = (
    *(f"page.{page}" for page in PAGES),
    *(f"origin.{origin}" for origin in ORIGINS),
    *(f"device.{device}" for device in DEVICES),
    "landing",
    "exit",
    "next_step",
    "bounces",
    "donation.started",
    "donation.completed",
    "donation.by_post",
    *TAKING_PART,
    "support",
    "unsubscribed",
    "age_band",
    "language",
    "source",
)
"""Page views by class, origin and device; 1 + class of the latest session's first page, and of the latest page; 1 +
kind of what the voter did first after that, in its session; ended sessions of one page view and nothing else; numbers
of donations and of what was taken part in; the last canvass answer; bit c: unsubscribed from MESSAGE_CHANNELS[c]; codes
of the profile (0: not said)."""

FIELDS: Final = [
    ("version", "<u2"),  # RECORD_VERSION
    ("consent", "u1"),  # CONSENT_*
    ("ring_next", "u1"),  # where the next event hash goes, 0..15
    ("armed", "<u2"),  # bit c: campaign slot c can fire
    ("devices", "<u2"),  # bit b: a device with this hash of 4 bits was seen
    ("last_offset", "<i8"),  # offset of the last event folded in
    ("last_seen_ms", "<i8"),  # event time of the latest event, ms since the epoch
    ("first_seen_s", "<u4"),  # event time of the earliest event, seconds since the epoch; 0: none yet
    ("active_days", "<u4"),  # bit d: acted d days before the day of last_seen, in the voter's zone
    ("session_seconds", "<u4"),  # length of all sessions
    ("amount_last", "<f4"),  # of the latest donation
    ("sessions", "<u2"),  # runs of events with no gap over SESSION_GAP_MS
    ("session_events", "<u2"),  # events in the latest session
    ("session_length_s", "<u2"),  # from the latest session's first event to last_seen
    ("page_views", "<u2"),
    ("parts_of_day", "<u2", (len(PARTS_OF_DAY),)),  # what the voter did, by hour and day in their zone
    ("response_minutes", "<u2"),  # 1 + minutes from the last delivery to the first response to it; 0: none yet
    ("region", "<u2"),  # code; 0: not said
    ("depth", "u1"),  # page views in the latest session
    ("zone", "u1"),  # code; 0: not said
    ("ring", "<u8", (RING_LENGTH,)),  # hashes of the last events' source and id; 0: empty
    ("counts", "<f8", (len(COUNTS),)),  # by COUNTS, each as of its landmark
    ("last_s", "<u4", (len(MOMENTS),)),  # latest event time, by MOMENTS, seconds since the epoch; 0: never
    ("score", "<f4", (MODELS,)),  # by model slot, as of the last folded event
    ("fired_s", "<u4", (CAMPAIGNS,)),  # log time of the campaign's last trigger, rounded up to seconds; 0: never
    ("campaign_tag", "<u2", (CAMPAIGNS,)),  # which campaign the slot's state is of; 0: none
    ("score_tag", "<u2", (MODELS,)),  # which model's score it is; 0: none
    ("hours", "<u2", (HOURS,)),  # by hour % 24: likes 6 bits, comments 4, shares 3, follows 3
    ("messages", "<u2", (len(MESSAGE_ACTIONS), len(CHANNELS))),  # 4 bits for each week, by week % 4
    ("tallies", "<u2", (len(TALLIES),)),  # by TALLIES
    ("days", "u1", (DAYS, 3)),  # by day % 28: likes 8 bits, comments 6, shares 5, follows 5
    ("marks", "u1", (len(MARKS),)),  # by MARKS
]
"""As NumPy's dtype has them: 768 bytes. Whole numbers stop at their type's largest.

A decayed count of half-life ``H`` is kept as of its landmark: the multiple of ``H`` at or before its kind's ``last_s``.
"""
VOTER: Final = np.dtype(FIELDS)


def bytes_of(first: str, last: str) -> tuple[int, int]:
    """Return where in a record the fields from ``first`` to ``last`` begin, and where they end."""
    places: Any = VOTER.fields
    return places[first][1], places[last][1] + places[last][0].itemsize
