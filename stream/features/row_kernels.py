"""A feature row read off a voter's record: parts of the kernels, by how a feature is kept."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.arithmetic import halved, power
from stream.compiled import kernel_part
from stream.features.catalogue import BEGINS, FEATURES
from stream.features.counting_kernels import (
    DAY_MOST,
    DAY_S,
    DAY_SHIFTS,
    FIRST_VISIT,
    HALF_LIVES,
    HOUR_MOST,
    HOUR_S,
    HOUR_SHIFTS,
    LAST_VISIT,
    SOCIAL_COUNTS,
    WEEK_S,
    bits_of,
    fraction_of,
    latest_message_s,
    latest_social_s,
    period_of,
)
from stream.features.moment_kernels import ALL_DAYS, DAY_MS, int64
from stream.layout import CHANNELS, COUNTS, DAYS, HOURS, MARKS, SOCIAL_TYPES, TALLIES, WEEKS
from stream.zones import offset_ms

# A kernel reads module constants at compile time.
_SOCIAL = len(SOCIAL_TYPES)
_DAYS = DAYS
_HOURS = HOURS
_WEEKS = WEEKS
_CHANNELS = len(CHANNELS)
_COUNTS = len(COUNTS)
_FAVOUR = TALLIES.index("favour")
_BOUNCES = MARKS.index("bounces")
_BEGUN = MARKS.index("donation.started")
_UNSUBSCRIBED_FROM = MARKS.index("unsubscribed")

_PACE = BEGINS["pace"]
_SLIDING = BEGINS["sliding"]
_RECENCY = BEGINS["recency"]
_BURST = BEGINS["burst"]
_SIDES = BEGINS["sides"]
_MESSAGES = BEGINS["messages"]
_UNSUBSCRIBED = BEGINS["unsubscribed"]
_RESPONSE = BEGINS["response"]
_RHYTHM = BEGINS["rhythm"]

# How a feature is kept.
_MARK, _TALLY, _TENTH, _OTHER = range(4)
_STANCE, _PAGE_VIEWS, _DEPTH, _LENGTH, _PAGES_MEAN, _SECONDS_MEAN, _BOUNCE_SHARE = range(7)
_DISTINCT, _ONLINE, _ABANDONED, _AMOUNT_LAST, _REGION, _ZONE = range(7, 13)


def _ways() -> NDArray[np.int64]:
    """Return int64[features, 2]: how a feature is kept, and where, of those that are kept in one place."""
    ways = np.full((len(FEATURES), 2), _OTHER, np.int64)
    others = {
        "words.stance": _STANCE,
        "site.page_views": _PAGE_VIEWS,
        "session.pages": _DEPTH,
        "session.seconds": _LENGTH,
        "sessions.pages_mean": _PAGES_MEAN,
        "sessions.seconds_mean": _SECONDS_MEAN,
        "sessions.bounce_share": _BOUNCE_SHARE,
        "device.distinct": _DISTINCT,
        "donation.online.count": _ONLINE,
        "donation.abandoned.count": _ABANDONED,
        "donation.amount.last": _AMOUNT_LAST,
        "profile.region": _REGION,
        "profile.zone": _ZONE,
    }
    titles = {"session.landing_page": "landing", "session.exit_page": "exit", "session.next_step": "next_step"}
    titles["canvass.support"] = "support"
    for feature, name in enumerate(FEATURES):
        title = titles.get(name, name.removeprefix("profile.").removesuffix(".count"))
        if name in others:
            ways[feature] = _OTHER, others[name]
        elif title in MARKS:
            ways[feature] = _MARK, MARKS.index(title)
        elif name.startswith("issue."):
            ways[feature] = _TENTH, TALLIES.index(name)
        elif name.startswith("words."):
            ways[feature] = _TENTH, TALLIES.index(name.removeprefix("words."))
        elif name.startswith("social.side."):
            ways[feature] = _TALLY, TALLIES.index(name.removeprefix("social."))
    return ways


_WAYS: NDArray[np.int64] = _ways()

_DEVICES_BY_BITS: NDArray[np.float64] = np.array(
    [
        *(0.0, 1.032616, 2.136502, 3.32223, 4.602913, 5.995095, 7.520058, 9.205826, 11.090355, 13.226857),
        *(15.693268, 18.610413, 22.18071, 26.783623, 33.271065, 44.36142, 55.451774),
    ]
)
"""``-16 ln(1 - n / 16)`` by the number n of bits set, to six decimals; the last as if half a bit were free."""


@kernel_part
def note_half_lives(columns: NDArray[np.int64], wanted: NDArray[np.uint8]) -> None:
    """Note in ``wanted`` (uint8[half-lives]) which half-lives the features at ``columns`` are of."""
    for c in range(len(columns)):
        feature = columns[c]
        if feature < _COUNTS:
            wanted[_half_life_of(feature)] = 1
        elif _BURST <= feature < _SIDES:
            wanted[0] = 1
            wanted[2] = 1


@kernel_part
def _half_life_of(place: int) -> int:
    if place < SOCIAL_COUNTS:
        return place % HALF_LIVES
    return 1 if place < _COUNTS - 1 else 3


@kernel_part
def find_factors(at_ms: int, wanted: NDArray[np.uint8], factors: NDArray[np.float64]) -> None:
    """Write for each half-life that is wanted by what a count has fallen at ``at_ms`` since the last landmark."""
    day = at_ms // DAY_MS
    for h in range(HALF_LIVES):
        if wanted[h] == 1:
            factors[h] = power(fraction_of(day, at_ms - day * DAY_MS, h))


@kernel_part
def read_row(
    records: NDArray[Any],
    j: int,
    at_ms: int,
    previous_ms: int,
    factors: NDArray[np.float64],
    columns: NDArray[np.int64],
    rows: NDArray[np.float64],
    i: int,
) -> None:
    """Write record ``j``'s features at ``at_ms`` into row ``i``, in place; ``previous_ms``: the event's before."""
    r = records[j]
    day = at_ms // DAY_MS
    has_messages = _any(r["messages"])
    for c in range(len(columns)):
        feature = columns[c]
        if feature < _COUNTS:
            rows[i, c] = _faded(records, j, feature, day, factors)
        elif feature < _SIDES:
            rows[i, c] = _lately(records, j, feature, at_ms, previous_ms, factors)
        elif _WAYS[feature, 0] == _MARK:
            rows[i, c] = np.float64(r["marks"][_WAYS[feature, 1]])
        elif _WAYS[feature, 0] == _TALLY:
            rows[i, c] = np.float64(r["tallies"][_WAYS[feature, 1]])
        elif _WAYS[feature, 0] == _TENTH:
            rows[i, c] = np.float64(r["tallies"][_WAYS[feature, 1]]) / 10.0
        elif _MESSAGES <= feature < _UNSUBSCRIBED and not has_messages:
            rows[i, c] = 0.0
        elif _MESSAGES <= feature < _RHYTHM:
            rows[i, c] = _messages(records, j, feature, at_ms)
        elif _RHYTHM <= feature < _RHYTHM + 8:
            rows[i, c] = _rhythm(records, j, feature - _RHYTHM, at_ms)
        else:
            rows[i, c] = _derived(records, j, _WAYS[feature, 1])


@kernel_part
def _faded(records: NDArray[Any], j: int, place: int, day: int, factors: NDArray[np.float64]) -> Any:
    """Return a count that decays, as it is on ``day``; ``factors`` are what it falls by since the last landmark.

    Divided and not multiplied, so that one event counts exactly 1 when it comes.
    """
    r = records[j]
    h = _half_life_of(place)
    moment = place // HALF_LIVES
    if place >= SOCIAL_COUNTS:
        moment = min(FIRST_VISIT + place - SOCIAL_COUNTS, LAST_VISIT)
    last_s = int64(r["last_s"][moment])
    return halved(r["counts"][place], period_of(day, h) - period_of(last_s // DAY_S, h)) / factors[h]


@kernel_part
def _lately(
    records: NDArray[Any], j: int, feature: int, at_ms: int, previous_ms: int, factors: NDArray[np.float64]
) -> float:
    """Return a feature of pace, a sliding count, a recency or a burst."""
    r = records[j]
    if feature < _SLIDING:
        if feature == _PACE:
            return np.float64(r["sessions"])
        if feature == _PACE + 1:
            return np.float64(r["session_events"])
        if feature == _PACE + 2:
            return np.float64(at_ms - int64(r["first_seen_s"]) * 1000) / 86_400_000.0
        return np.float64(at_ms - previous_ms) / 3_600_000.0
    if feature < _RECENCY:
        return _sliding(records, j, feature - _SLIDING, at_ms // 1000)
    if feature < _BURST:
        last_s = int64(r["last_s"][feature - _RECENCY])
        if last_s == 0:
            return 0.0
        return 1.0 / (1.0 + np.float64(max(at_ms - last_s * 1000, int64(0))) / 86_400_000.0)
    kind = feature - _BURST
    short = 0.0
    long = 0.0
    for k in range(_SOCIAL):
        if kind == k or kind == _SOCIAL:
            short += _faded(records, j, k * HALF_LIVES, at_ms // DAY_MS, factors)
            long += _faded(records, j, k * HALF_LIVES + 2, at_ms // DAY_MS, factors)
    return 30.0 * short / long if long > 0.0 else 0.0


@kernel_part
def _sliding(records: NDArray[Any], j: int, place: int, at_s: int) -> float:
    """Return how many events of a social kind lie in the last 24 hours or 28 days that have begun."""
    kind = place % _SOCIAL
    last_s = int64(records[j]["last_s"][kind])
    end_s = latest_social_s(records, j)
    unit, slots = (HOUR_S, _HOURS) if place < _SOCIAL else (DAY_S, _DAYS)
    last = end_s // unit
    kept = slots - max(at_s // unit - last, int64(0))
    if last - last_s // unit >= kept:
        return 0.0
    total = int64(0)
    newest = last % slots
    if place < _SOCIAL:
        hours = records[j]["hours"]
        for slot in range(_HOURS):
            age = newest - slot + (_HOURS if slot > newest else 0)
            total += (int64(hours[slot]) >> HOUR_SHIFTS[kind] & HOUR_MOST[kind]) if age < kept else int64(0)
    else:
        days = records[j]["days"]
        for slot in range(_DAYS):
            age = newest - slot + (_DAYS if slot > newest else 0)
            total += (bits_of(days, slot) >> DAY_SHIFTS[kind] & DAY_MOST[kind]) if age < kept else int64(0)
    return np.float64(total)


@kernel_part
def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0.0 else 0.0


@kernel_part
def _bits(word: int, most: int) -> Any:
    """Return how many of the lowest ``most`` bits are set."""
    found = int64(0)
    for bit in range(most):
        found += word >> bit & 1
    return found


@kernel_part
def _derived(records: NDArray[Any], j: int, way: int) -> Any:
    """Return a feature that is kept in a field of its own, or made of several."""
    r = records[j]
    if way == _STANCE:
        favour = np.float64(r["tallies"][_FAVOUR])
        against = np.float64(r["tallies"][_FAVOUR + 1])
        return _ratio(favour - against, favour + against)
    if way == _PAGE_VIEWS:
        return np.float64(r["page_views"])
    if way == _DEPTH:
        return np.float64(r["depth"])
    if way == _LENGTH:
        return np.float64(r["session_length_s"])
    if way == _PAGES_MEAN:
        return _ratio(np.float64(r["page_views"]), np.float64(r["sessions"]))
    if way == _SECONDS_MEAN:
        return _ratio(np.float64(r["session_seconds"]), np.float64(r["sessions"]))
    if way == _BOUNCE_SHARE:
        return _ratio(np.float64(r["marks"][_BOUNCES]), np.float64(r["sessions"]) - 1.0)
    if way == _DISTINCT:
        return _DEVICES_BY_BITS[_bits(int64(r["devices"]), 16)]
    if way == _AMOUNT_LAST:
        return np.float64(r["amount_last"])
    if way == _REGION:
        return np.float64(r["region"])
    if way == _ZONE:
        return np.float64(r["zone"])
    online = max(np.float64(r["marks"][_BEGUN + 1]) - np.float64(r["marks"][_BEGUN + 2]), 0.0)
    return online if way == _ONLINE else max(np.float64(r["marks"][_BEGUN]) - online, 0.0)


@kernel_part
def _any(counts: NDArray[Any]) -> bool:
    """Return whether any of the counts, int[a, b], is not 0."""
    some = int64(0)
    for a in range(counts.shape[0]):
        for b in range(counts.shape[1]):
            some |= int64(counts[a, b])
    found: bool = some != 0
    return found


@kernel_part
def _messages(records: NDArray[Any], j: int, feature: int, at_ms: int) -> float:
    """Return what is known of messages."""
    r = records[j]
    if feature < _UNSUBSCRIBED:
        place = feature - _MESSAGES
        channel = place // 2 % (_CHANNELS + 1) - 1
        return _in_weeks(records, j, place // 2 // (_CHANNELS + 1), channel, at_ms // 1000, place % 2)
    if feature < _RESPONSE:
        place = feature - _UNSUBSCRIBED
        bits = int64(r["marks"][_UNSUBSCRIBED_FROM])
        return np.float64(_bits(bits, 8)) if place == 0 else np.float64(bits >> place - 1 & 1)
    minutes = int64(r["response_minutes"])
    return 0.0 if minutes == 0 else 1.0 / (1.0 + np.float64(minutes - 1) / 60.0)


@kernel_part
def _in_weeks(records: NDArray[Any], j: int, action: int, channel: int, at_s: int, decays: int) -> float:
    """Return how many messages the last 4 weeks that have begun saw; ``channel`` -1: on all."""
    counts = records[j]["messages"]
    first, stop = (channel, channel + 1) if channel >= 0 else (0, _CHANNELS)
    some = int64(0)
    for each in range(first, stop):
        some |= int64(counts[action, each])
    if some == 0:
        return 0.0
    last = latest_message_s(records, j) // WEEK_S
    current = max(at_s // WEEK_S, last)
    total = 0.0
    for week in range(current - _WEEKS + 1, last + 1):
        found = int64(0)
        for each in range(first, stop):
            found += int64(counts[action, each]) >> 4 * (week % _WEEKS) & 15
        total += halved(np.float64(found), (current - week) * decays)
    return total


@kernel_part
def _rhythm(records: NDArray[Any], j: int, place: int, at_ms: int) -> float:
    """Return active days, a streak, or a share of what the voter did."""
    r = records[j]
    if place < 3:
        zone = int64(r["zone"])
        last_ms = int64(r["last_seen_ms"])
        passed = (at_ms + offset_ms(zone, at_ms)) // DAY_MS - (last_ms + offset_ms(zone, last_ms)) // DAY_MS
        bits = int64(r["active_days"])
        bits = (bits << max(passed, int64(0))) & ALL_DAYS if passed < _DAYS else int64(0)
        if place < 2:
            return np.float64(_bits(bits, 7 if place == 0 else _DAYS))
        if bits & 1 == 0:
            bits >>= 1
        streak = 0.0
        while bits & 1 == 1:
            bits >>= 1
            streak += 1.0
        return streak
    parts = r["parts_of_day"]
    total = np.float64(parts[0]) + np.float64(parts[1]) + np.float64(parts[2]) + np.float64(parts[3])
    return _ratio(np.float64(parts[place - 3]), total)
