"""What one event does to its voter's record: parts of the kernels, by what the event says.

Where late events are taken in, they go where they would have gone in time: counts are sums, and buckets, latest times
and bits come out the same in any order. What is told of a session, and what the last one of something said, is told as
events came.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel_part
from stream.features.counting_kernels import (
    AMOUNT,
    DELIVERY,
    LAST_VISIT,
    RESPONSE,
    count,
    count_message,
    count_social,
    count_visit,
)
from stream.features.moment_kernels import BEGINS, EARLIER, LATEST, MOST_U1, MOST_U2, add_to, fold_moment, int64
from stream.layout import CHANNELS, MARKS, MOMENTS, TALLIES
from stream.records import KIND
from stream.signals import DEVICES, MAX_ISSUES, ORIGINS, PAGES, SIDES

LAST_MS = 4_294_967_295_000
"""The latest moment that a record's seconds hold, in 2106: what comes later counts as then."""

# A kernel reads module constants at compile time.
_COMMENT = KIND["social.comment"]
_LIKE = KIND["social.like"]
_PAGE = KIND["site.page_view"]
_STARTED = KIND["donation.started"]
_COMPLETED = KIND["donation.completed"]
_SIGNUP = KIND["signup.completed"]
_SHIFT = KIND["volunteer.signed_up"]
_RSVP = KIND["event.rsvp"]
_ATTENDED = KIND.get("event.attended", -2)
_DELIVERED = KIND["message.delivered"]
_UNSUBSCRIBED = KIND["message.unsubscribed"]
_CANVASS = KIND["canvass.contacted"]
_PROFILE = KIND["profile.updated"]
_VIEWED = MOMENTS.index("site.page_view")
_TAKING_PART = MOMENTS.index("taking_part")
_CHANNELS = len(CHANNELS)
_ISSUES = MAX_ISSUES
_SIDES = len(SIDES)
_PAGES = len(PAGES)
_ORIGINS = len(ORIGINS)
_DEVICES = len(DEVICES)
_FIRST_SIDE = TALLIES.index("side.own")
_FAVOUR = TALLIES.index("favour")
_FIRST_ORIGIN = MARKS.index("origin.direct")
_FIRST_DEVICE = MARKS.index("device.phone")
_LANDING = MARKS.index("landing")
_EXIT = MARKS.index("exit")
_NEXT_STEP = MARKS.index("next_step")
_BEGUN = MARKS.index("donation.started")
_SUPPORT = MARKS.index("support")
_UNSUBSCRIBED_FROM = MARKS.index("unsubscribed")
_AGE_BAND = MARKS.index("age_band")
_SIGNUPS = MARKS.index("signup.completed")
_BY_POST = 2
_NO = 2


@kernel_part
def fold_event(records: NDArray[Any], j: int, kind: int, time_ms: int, signals: NDArray[Any], i: int) -> None:
    """Fold the event of row ``i`` into record ``j``, in place."""
    r = records[j]
    time_ms = min(max(int64(time_ms), int64(0)), int64(LAST_MS))
    # What the voter does, at a time of their choosing.
    is_deed = kind != _DELIVERED and kind != _CANVASS and kind != _PROFILE
    place = fold_moment(records, j, time_ms, is_deed)
    if kind <= _COMMENT:
        count_social(records, j, kind, time_ms)
        _fold_account(records, j, kind, signals, i)
    elif kind == _PAGE:
        _fold_page(records, j, time_ms, place, signals, i)
    elif kind <= _COMPLETED:
        _fold_donation(records, j, kind, time_ms, signals, i)
    elif _DELIVERED <= kind <= _UNSUBSCRIBED:
        _fold_message(records, j, kind, time_ms, signals, i)
    elif kind == _PROFILE:
        _fold_profile(records, j, signals, i)
    else:
        _fold_part(records, j, kind, time_ms, signals, i)
    marks = r["marks"]
    if is_deed and kind != _PAGE and place == LATEST and r["depth"] > 0 and marks[_NEXT_STEP] == 0:
        marks[_NEXT_STEP] = kind + 1


@kernel_part
def _fold_issues(records: NDArray[Any], j: int, signals: NDArray[Any], i: int) -> None:
    """Add a row's weights of issues, in place."""
    weights = signals[i]["issues"]
    for place in range(_ISSUES):
        if weights[place] != 0:
            add_to(records[j]["tallies"], place, weights[place], MOST_U2)


@kernel_part
def _fold_account(records: NDArray[Any], j: int, kind: int, signals: NDArray[Any], i: int) -> None:
    """Take in whom a social event is about, and what a comment says, in place."""
    tallies = records[j]["tallies"]
    signal = signals[i]
    if kind <= _LIKE:
        add_to(tallies, _FIRST_SIDE + min(int64(signal["side"]), _SIDES - 1), 1, MOST_U2)
    add_to(tallies, _FAVOUR, signal["favour"], MOST_U2)
    add_to(tallies, _FAVOUR + 1, signal["against"], MOST_U2)
    _fold_issues(records, j, signals, i)


@kernel_part
def _fold_page(records: NDArray[Any], j: int, time_ms: int, place: int, signals: NDArray[Any], i: int) -> None:
    """Take in a page view, in place; ``place`` is where it stands among the sessions."""
    r = records[j]
    marks = r["marks"]
    signal = signals[i]
    page = min(int64(signal["page"]), _PAGES - 1)
    if place != EARLIER:
        if r["depth"] == 0 or place == BEGINS:
            marks[_LANDING] = page + 1
        r["depth"] = min(int64(r["depth"]) + 1, int64(MOST_U1))
    if time_ms // 1000 >= int64(r["last_s"][_VIEWED]):
        marks[_EXIT] = page + 1
        marks[_NEXT_STEP] = 0
    count_visit(records, j, 0, time_ms)
    r["page_views"] = min(int64(r["page_views"]) + 1, int64(MOST_U2))
    add_to(marks, page, 1, MOST_U1)
    add_to(marks, _FIRST_ORIGIN + min(int64(signal["origin"]), _ORIGINS - 1), 1, MOST_U1)
    if signal["device_bit"] != 0:
        add_to(marks, _FIRST_DEVICE + min(int64(signal["device"]), _DEVICES - 1), 1, MOST_U1)
        r["devices"] = int64(r["devices"]) | int64(1) << ((int64(signal["device_bit"]) - 1) & 15)
    _fold_issues(records, j, signals, i)


@kernel_part
def _fold_donation(records: NDArray[Any], j: int, kind: int, time_ms: int, signals: NDArray[Any], i: int) -> None:
    """Take in a donation begun or made, in place."""
    r = records[j]
    marks = r["marks"]
    add_to(marks, _BEGUN + kind - _STARTED, 1, MOST_U1)
    if kind == _COMPLETED:
        if signals[i]["method"] == _BY_POST:
            add_to(marks, _BEGUN + 2, 1, MOST_U1)
        amount = signals[i]["amount"]
        last_s = int64(r["last_s"][LAST_VISIT])
        if time_ms // 1000 > last_s:
            r["amount_last"] = amount
        elif time_ms // 1000 == last_s:
            r["amount_last"] = max(np.float64(r["amount_last"]), amount)
        count(r["counts"], AMOUNT, 3, last_s, time_ms, amount)
    count_visit(records, j, 1 + kind - _STARTED, time_ms)


@kernel_part
def _fold_part(records: NDArray[Any], j: int, kind: int, time_ms: int, signals: NDArray[Any], i: int) -> None:
    """Take in a sign-up, an answer to an invitation, a visit, a shift or a canvasser's contact, in place."""
    place = -1
    if kind == _SIGNUP:
        place = 0
    elif kind == _RSVP:
        place = 1
    elif kind == _ATTENDED:
        place = 2
    elif kind == _SHIFT:
        place = 3
    elif kind == _CANVASS:
        place = 4
    if place >= 0:
        r = records[j]
        latest = r["last_s"]
        latest[_TAKING_PART] = max(int64(latest[_TAKING_PART]), time_ms // 1000)
        if place != 1 or signals[i]["answer"] != _NO:
            add_to(r["marks"], _SIGNUPS + place, 1, MOST_U1)
        if place == 4:
            _fold_issues(records, j, signals, i)
            if signals[i]["support"] != 0:
                r["marks"][_SUPPORT] = signals[i]["support"]


@kernel_part
def _fold_message(records: NDArray[Any], j: int, kind: int, time_ms: int, signals: NDArray[Any], i: int) -> None:
    """Take in a message's delivery, a response to one, or that the voter wants no more, in place."""
    r = records[j]
    channel = min(int64(signals[i]["channel"]), int64(_CHANNELS))
    if kind == _UNSUBSCRIBED:
        marks = r["marks"]
        marks[_UNSUBSCRIBED_FROM] = int64(marks[_UNSUBSCRIBED_FROM]) | int64(1) << channel
        return
    time_s = time_ms // 1000
    count_message(records, j, kind - _DELIVERED, channel, time_s)
    latest = r["last_s"]
    delivered_s = int64(latest[DELIVERY])
    responded_s = int64(latest[RESPONSE])
    if kind == _DELIVERED:
        latest[DELIVERY] = max(delivered_s, time_s)
        return
    if responded_s < delivered_s <= time_s:
        r["response_minutes"] = min(1 + (time_s - delivered_s) // 60, int64(MOST_U2))
    latest[RESPONSE] = max(responded_s, time_s)


@kernel_part
def _fold_profile(records: NDArray[Any], j: int, signals: NDArray[Any], i: int) -> None:
    """Take over what a profile says, in place; what it does not say stays."""
    r = records[j]
    marks = r["marks"]
    signal = signals[i]
    if signal["region"] != 0:
        r["region"] = signal["region"]
    if signal["zone"] != 0:
        r["zone"] = signal["zone"]
    if signal["age_band"] != 0:
        marks[_AGE_BAND] = signal["age_band"]
    if signal["language"] != 0:
        marks[_AGE_BAND + 1] = signal["language"]
    if signal["source"] != 0:
        marks[_AGE_BAND + 2] = signal["source"]


@kernel_part
def clear(records: NDArray[Any], j: int) -> None:
    """Set every field that folding writes in record ``j`` to zero, in place."""
    r = records[j]
    r["devices"] = 0
    r["last_seen_ms"] = 0
    r["first_seen_s"] = 0
    r["active_days"] = 0
    r["session_seconds"] = 0
    r["amount_last"] = 0.0
    r["sessions"] = 0
    r["session_events"] = 0
    r["session_length_s"] = 0
    r["page_views"] = 0
    r["parts_of_day"][:] = 0
    r["response_minutes"] = 0
    r["region"] = 0
    r["depth"] = 0
    r["zone"] = 0
    r["counts"][:] = 0.0
    r["last_s"][:] = 0
    r["hours"][:] = 0
    r["messages"][:, :] = 0
    r["tallies"][:] = 0
    r["days"][:, :] = 0
    r["marks"][:] = 0
