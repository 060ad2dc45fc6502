"""A voter's record and the features read off it, told a second time in plain Python, for the oracle.

It shares no code with the package: Python numbers, one event after another, ``struct`` for the bytes. Of
``stream.zones`` it takes the names, as data.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from stream.zones import ZONES

DAY_S, DAY_MS = 86400, 86400000
SOCIAL = ("follow", "like", "share", "comment")
LIVES = (1, 7, 30, 90)
VISITS = ("site.page_view", "donation.started", "donation.completed")
PARTS = ("signup.completed", "event.rsvp", "event.attended", "volunteer.signed_up", "canvass.contacted")
MESSAGES = ("delivered", "opened", "clicked", "replied")
CHANNELS = ("mail", "text", "push", "social", "phone", "door")
MOMENTS = (
    *(f"social.{kind}" for kind in SOCIAL),
    *VISITS,
    *("taking_part", "message.response", "message.delivered"),
)
SIDES = ("own", "ally", "opponent", "press", "other")
PAGES = ("home", "issue", "donate", "volunteer", "event", "news", "about", "other")
ORIGINS = ("direct", "internal", "search", "social", "mail", "ad", "partner", "other")
DEVICES = ("phone", "tablet", "desktop", "tv", "other")
TYPES = (
    *(f"social.{kind}" for kind in SOCIAL),
    *VISITS,
    *("signup.completed", "volunteer.signed_up", "event.rsvp"),
    *(f"message.{action}" for action in MESSAGES),
    *("message.unsubscribed", "canvass.contacted"),
)
# Followed by: how many bits of an hour's and a day's bucket the count has, and where they begin.
BUCKETS = {"follow": (3, 13, 5, 19), "like": (6, 0, 8, 0), "share": (3, 10, 5, 14), "comment": (4, 6, 6, 8)}
LAYOUT = struct.Struct("<HBBHHqqIIIfHHHH5HHHBB16Q20d10I8f12I12H8H24H24H19H84B38B")
COUNTS = slice(40, 60)
"""Where in LAYOUT the decayed counts stand."""

FEATURES = (
    *(f"social.{kind}.decayed_{days}d" for kind in SOCIAL for days in LIVES),
    *(f"{kind}.decayed_7d" for kind in VISITS),
    *("donation.amount.decayed_90d", "sessions", "session_events", "days_since_first_seen", "hours_since_last_seen"),
    *(f"social.{kind}.count_{horizon}" for horizon in ("24h", "28d") for kind in SOCIAL),
    *(f"{moment}.recency" for moment in MOMENTS),
    *(f"social.{kind}.burst" for kind in SOCIAL),
    "social.burst",
    *(f"social.side.{side}" for side in SIDES),
    *(f"issue.{place}" for place in range(1, 13)),
    *("words.favour", "words.against", "words.stance", "site.page_views", "session.pages", "session.seconds"),
    *("session.landing_page", "session.exit_page", "session.next_step"),
    *("sessions.pages_mean", "sessions.seconds_mean", "sessions.bounce_share"),
    *(f"page.{page}" for page in PAGES),
    *(f"origin.{origin}" for origin in ORIGINS),
    *(f"device.{device}" for device in DEVICES),
    "device.distinct",
    *(f"donation.{what}.count" for what in ("started", "completed", "online", "by_post", "abandoned")),
    "donation.amount.last",
    *(f"{kind}.count" for kind in PARTS),
    "canvass.support",
    *(
        f"message.{action}{channel}.{what}_4w"
        for action in MESSAGES
        for channel in ("", *(f".{channel}" for channel in CHANNELS))
        for what in ("count", "decayed")
    ),
    *(f"message.unsubscribed.{channel}" for channel in ("channels", *CHANNELS)),
    "message.response.speed",
    *("rhythm.active_days_7d", "rhythm.active_days_28d", "rhythm.streak_days"),
    *(f"rhythm.{part}_share" for part in ("night", "morning", "afternoon", "evening", "weekend")),
    *(f"profile.{what}" for what in ("region", "age_band", "language", "zone", "source")),
)


@dataclass
class Signal:
    """What an event says, in codes; nothing by default."""

    amount: float = 0.0
    issues: list[int] = field(default_factory=lambda: [0] * 12)
    favour: int = 0
    against: int = 0
    side: int = 0
    page: int = 0
    origin: int = 0
    device: int = 0
    device_bit: int = 0
    channel: int = 0
    method: int = 0
    support: int = 0
    answer: int = 0
    region: int = 0
    age_band: int = 0
    language: int = 0
    zone: int = 0
    source: int = 0


# --- arithmetic ---------------------------------------------------------------------------------------

SERIES = [1.0]
for _k in range(1, 14):
    SERIES.append(SERIES[-1] * 0.6931471805599453 / _k)


def power(f: float) -> float:
    """Return 2**f, f from -1 to 1, by the documented steps: a fraction within 1/2, Taylor to degree 13 by Horner."""
    scale = 1.0
    if f > 0.5:
        f, scale = f - 1.0, 2.0
    elif f < -0.5:
        f, scale = f + 1.0, 0.5
    total = SERIES[13]
    for term in SERIES[12::-1]:
        total = total * f + term
    return total * scale


def halve(x: float, times: int) -> float:
    return math.ldexp(x, -times) if 0 < times < 1075 else 0.0 if times > 0 else x


def decayed(count: float, last_s: int, at_ms: int, days: int) -> float:
    """Return a count kept as of the landmark at or before ``last_s``, as it is at a time."""
    life = days * DAY_MS
    fraction = (at_ms - at_ms // life * life) / life
    return halve(count, at_ms // life - last_s * 1000 // life) / power(fraction)


def ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


# --- the record -----------------------------------------------------------------------------------------


@dataclass
class Voter:
    """A voter's record, every field by its name."""

    version: int = 0
    consent: int = 0
    ring_next: int = 0
    armed: int = 0
    last_offset: int = 0
    ring: list[int] = field(default_factory=lambda: [0] * 16)
    score: list[float] = field(default_factory=lambda: [0.0] * 8)
    score_tag: list[int] = field(default_factory=lambda: [0] * 8)
    fired_s: list[int] = field(default_factory=lambda: [0] * 12)
    campaign_tag: list[int] = field(default_factory=lambda: [0] * 12)
    first_s: int = 0
    last_ms: int = 0
    active: set[int] = field(default_factory=set)
    """Days before the day of the latest event."""
    parts: list[int] = field(default_factory=lambda: [0] * 5)
    sessions: int = 0
    events: int = 0
    length: int = 0
    seconds: int = 0
    depth: int = 0
    landing: int = 0
    exit: int = 0
    next_step: int = 0
    bounces: int = 0
    counts: dict[str, list[float]] = field(default_factory=lambda: {kind: [0.0] * 4 for kind in SOCIAL})
    visits: list[float] = field(default_factory=lambda: [0.0] * 3)
    amount: float = 0.0
    amount_last: float = 0.0
    last: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MOMENTS, 0))
    hours: dict[int, dict[str, int]] = field(default_factory=dict)
    """By hour since the epoch, the social counts."""
    days: dict[int, dict[str, int]] = field(default_factory=dict)
    weeks: dict[int, dict[tuple[str, str], int]] = field(default_factory=dict)
    issues: list[int] = field(default_factory=lambda: [0] * 12)
    sides: list[int] = field(default_factory=lambda: [0] * 5)
    stance: list[int] = field(default_factory=lambda: [0, 0])
    page_views: int = 0
    pages: list[int] = field(default_factory=lambda: [0] * 8)
    origins: list[int] = field(default_factory=lambda: [0] * 8)
    devices: list[int] = field(default_factory=lambda: [0] * 5)
    device_bits: set[int] = field(default_factory=set)
    giving: list[int] = field(default_factory=lambda: [0, 0, 0])
    part: list[int] = field(default_factory=lambda: [0] * 5)
    support: int = 0
    unsubscribed: set[int] = field(default_factory=set)
    response: int = 0
    profile: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("region", "age_band", "language", "zone", "source"), 0)
    )

    def pack(self) -> bytes:
        """Return the 768 bytes."""
        newest = self.newest_social()
        hours = [0] * 24
        for hour, found in self.hours.items():
            if hour > newest // 3600 - 24:
                hours[hour % 24] = sum(found[kind] << BUCKETS[kind][1] for kind in SOCIAL)
        days = [0] * 28
        for day, found in self.days.items():
            if day > newest // DAY_S - 28:
                days[day % 28] = sum(found[kind] << BUCKETS[kind][3] for kind in SOCIAL)
        weeks = dict.fromkeys(((action, channel) for action in MESSAGES for channel in CHANNELS), 0)
        for week, sent in self.weeks.items():
            if week > self.newest_message() // (7 * DAY_S) - 4:
                for where, count in sent.items():
                    weeks[where] |= count << 4 * (week % 4)
        marks = (*self.pages, *self.origins, *self.devices, self.landing, self.exit, self.next_step, self.bounces)
        profile = [self.profile[name] for name in ("age_band", "language", "source")]
        return LAYOUT.pack(
            *(self.version, self.consent, self.ring_next, self.armed, sum(1 << bit for bit in self.device_bits)),
            *(self.last_offset, self.last_ms, self.first_s, sum(1 << day for day in self.active)),
            *(self.seconds, self.amount_last, self.sessions, self.events, self.length, self.page_views),
            *(*self.parts, self.response, self.profile["region"], self.depth, self.profile["zone"], *self.ring),
            *(count for kind in SOCIAL for count in self.counts[kind]),
            *(*self.visits, self.amount, *self.last.values(), *self.score, *self.fired_s),
            *(*self.campaign_tag, *self.score_tag, *hours, *weeks.values()),
            *(*self.issues, *self.sides, *self.stance),
            *(byte for bits in days for byte in bits.to_bytes(3, "little")),
            *(*marks, *self.giving, *self.part, self.support),
            *(sum(1 << channel for channel in self.unsubscribed), *profile),
        )

    def newest_social(self) -> int:
        return max(self.last[f"social.{kind}"] for kind in SOCIAL)

    def newest_message(self) -> int:
        return max(self.last["message.response"], self.last["message.delivered"])

    def local(self, time_ms: int) -> tuple[int, int, int]:
        """Return day (from 1970-01-01), hour and weekday (Monday is 0) of a moment in the voter's zone."""
        place = self.profile["zone"] - 1
        if not 0 <= place < len(ZONES):
            return time_ms // DAY_MS, time_ms // 3600000 % 24, (time_ms // DAY_MS + 3) % 7
        local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)).astimezone(ZoneInfo(ZONES[place]))
        return local.toordinal() - 719163, local.hour, local.weekday()


def packed(record: bytes) -> bytes:
    """Return a record as Redis keeps it: a mark, one bit for each word of 8 bytes, and the words that are not 0."""
    words = [record[at : at + 8] for at in range(0, len(record), 8)]
    kept = [place for place, word in enumerate(words) if any(word)]
    bitmap = sum(1 << place for place in kept).to_bytes(len(words) // 8, "little")
    return struct.pack("<HH", 0, len(words)) + bitmap + b"".join(words[place] for place in kept)


def unpacked(value: bytes) -> bytes:
    """Return the record that ``packed`` packed; what is of another form as it is."""
    mark, count = struct.unpack("<HH", value[:4].ljust(4, b"\xff"))
    bitmap, words = int.from_bytes(value[4:16], "little"), value[16:]
    if (mark, count) != (0, 96) or len(words) != 8 * bitmap.bit_count():
        return value
    rest = iter([words[at : at + 8] for at in range(0, len(words), 8)])
    return b"".join(next(rest) if bitmap >> place & 1 else bytes(8) for place in range(count))


def more(number: int, added: int, most: int) -> int:
    return min(number + added, most)


# --- folding ---------------------------------------------------------------------------------------------


def fold(voter: Voter, kind: str, time_ms: int, signal: Signal) -> None:
    """Fold one event into its voter's record."""
    time_ms = min(time_ms, 4294967295000)
    deed = kind not in {"message.delivered", "canvass.contacted", "profile.updated"}
    place = fold_moment(voter, time_ms, deed)
    s = time_ms // 1000
    name = kind.partition(".")[2]
    if kind.startswith("social."):
        fold_social(voter, name, time_ms, signal)
    elif kind == "site.page_view":
        fold_page(voter, s, place, signal)
    elif kind.startswith("donation."):
        fold_donation(voter, name, time_ms, signal)
    elif kind.startswith("message."):
        fold_message(voter, name, s, signal)
    elif kind == "profile.updated":
        for field_name in voter.profile:
            voter.profile[field_name] = getattr(signal, field_name) or voter.profile[field_name]
    elif kind in PARTS:
        voter.last["taking_part"] = max(voter.last["taking_part"], s)
        if kind != "event.rsvp" or signal.answer != 2:
            voter.part[PARTS.index(kind)] = more(voter.part[PARTS.index(kind)], 1, 255)
        if kind == "canvass.contacted":
            voter.support = signal.support or voter.support
            fold_issues(voter, signal)
    if kind in VISITS:
        v = VISITS.index(kind)
        voter.visits[v] = add(voter.visits[v], voter.last[kind], time_ms, 7, 1.0)
        voter.last[kind] = max(voter.last[kind], s)
    if deed and kind != "site.page_view" and place == "latest" and voter.depth and not voter.next_step:
        voter.next_step = 1 + TYPES.index(kind) if kind in TYPES else 1 + 23


def add(count: float, last_s: int, time_ms: int, days: int, amount: float) -> float:
    """Return a count with one event more, as of the landmark of the later of both."""
    life = days * DAY_MS
    period, last = time_ms // life, last_s * 1000 // life
    weight = amount * power((time_ms - period * life) / life)
    return halve(count, period - last) + halve(weight, last - period)


def fold_moment(voter: Voter, time_ms: int, deed: bool) -> str:
    s, before_ms = time_ms // 1000, voter.last_ms
    fresh = voter.first_s == 0
    if fresh:
        voter.active, voter.sessions, before_ms = set(), 0, time_ms
    fold_rhythm(voter, time_ms, before_ms, deed)
    voter.last_ms = max(before_ms, time_ms)
    gap = time_ms - before_ms
    begun = before_ms // 1000 - voter.length
    if fresh or gap > 1800000:
        if not fresh and voter.depth == voter.events == 1:
            voter.bounces = more(voter.bounces, 1, 255)
        voter.sessions = more(voter.sessions, 1, 65535)
        voter.events, voter.length, voter.depth, voter.landing, voter.next_step = 1, 0, 0, 0, 0
        voter.first_s = voter.first_s or s
        return "begins"
    voter.first_s = min(voter.first_s, s)
    longer = s - before_ms // 1000 if gap >= 0 else max(begun - s, 0)
    if gap < 0 and longer * 1000 > 1800000:
        return "earlier"
    voter.events = more(voter.events, 1, 65535)
    voter.length = more(voter.length, longer, 65535)
    voter.seconds = more(voter.seconds, longer, 4294967295)
    return "latest" if gap >= 0 else "begins" if longer else "within"


def fold_rhythm(voter: Voter, time_ms: int, before_ms: int, deed: bool) -> None:
    day, hour, weekday = voter.local(time_ms)
    before = voter.local(before_ms)[0]
    newest = max(day, before)
    voter.active = {ago + newest - before for ago in voter.active if ago + newest - before < 28}
    if deed:
        if newest - day < 28:
            voter.active.add(newest - day)
        voter.parts[hour // 6] = more(voter.parts[hour // 6], 1, 65535)
        if weekday >= 5:
            voter.parts[4] = more(voter.parts[4], 1, 65535)


def fold_issues(voter: Voter, signal: Signal) -> None:
    voter.issues = [more(number, weight, 65535) for number, weight in zip(voter.issues, signal.issues, strict=True)]


def fold_social(voter: Voter, kind: str, time_ms: int, signal: Signal) -> None:
    moment, s = f"social.{kind}", time_ms // 1000
    for h, days in enumerate(LIVES):
        voter.counts[kind][h] = add(voter.counts[kind][h], voter.last[moment], time_ms, days, 1.0)
    newest = max(voter.newest_social(), s)
    hour_bits, _, day_bits, _ = BUCKETS[kind]
    for buckets, unit, room, bits in ((voter.hours, 3600, 24, hour_bits), (voter.days, DAY_S, 28, day_bits)):
        if s // unit > newest // unit - room:
            bucket = buckets.setdefault(s // unit, dict.fromkeys(SOCIAL, 0))
            bucket[kind] = more(bucket[kind], 1, 2**bits - 1)
    voter.last[moment] = max(voter.last[moment], s)
    if kind in {"follow", "like"}:
        voter.sides[signal.side] = more(voter.sides[signal.side], 1, 65535)
    voter.stance = [more(voter.stance[0], signal.favour, 65535), more(voter.stance[1], signal.against, 65535)]
    fold_issues(voter, signal)


def fold_page(voter: Voter, s: int, place: str, signal: Signal) -> None:
    if place != "earlier":
        if voter.depth == 0 or place == "begins":
            voter.landing = signal.page + 1
        voter.depth = more(voter.depth, 1, 255)
    if s >= voter.last["site.page_view"]:
        voter.exit, voter.next_step = signal.page + 1, 0
    voter.page_views = more(voter.page_views, 1, 65535)
    voter.pages[signal.page] = more(voter.pages[signal.page], 1, 255)
    voter.origins[signal.origin] = more(voter.origins[signal.origin], 1, 255)
    if signal.device_bit:
        voter.devices[signal.device] = more(voter.devices[signal.device], 1, 255)
        voter.device_bits.add(signal.device_bit - 1)
    fold_issues(voter, signal)


def fold_donation(voter: Voter, name: str, time_ms: int, signal: Signal) -> None:
    completed, last, s = name == "completed", voter.last["donation.completed"], time_ms // 1000
    voter.giving[completed] = more(voter.giving[completed], 1, 255)
    if completed:
        voter.giving[2] = more(voter.giving[2], int(signal.method == 2), 255)
        if s >= last:
            amount = struct.unpack("<f", struct.pack("<f", signal.amount))[0]
            voter.amount_last = amount if s > last else max(voter.amount_last, amount)
        voter.amount = add(voter.amount, last, time_ms, 90, signal.amount)


def fold_message(voter: Voter, name: str, s: int, signal: Signal) -> None:
    if name == "unsubscribed":
        voter.unsubscribed.add(signal.channel)
        return
    week = s // (7 * DAY_S)
    if signal.channel < 6 and week > max(voter.newest_message(), s) // (7 * DAY_S) - 4:
        sent, where = voter.weeks.setdefault(week, {}), (name, CHANNELS[signal.channel])
        sent[where] = more(sent.get(where, 0), 1, 15)
    moment = "message.delivered" if name == "delivered" else "message.response"
    delivered = voter.last["message.delivered"]
    if name != "delivered" and voter.last["message.response"] < delivered <= s:
        voter.response = min(1 + (s - delivered) // 60, 65535)
    voter.last[moment] = max(voter.last[moment], s)


# --- reading ---------------------------------------------------------------------------------------------


class Row(Sequence[float]):
    """The features of a voter at a time, in the order of FEATURES, each group told when it is asked for."""

    def __init__(self, voter: Voter, at_ms: int, previous_ms: int) -> None:
        """``previous_ms`` is the time of the event before."""
        self.voter, self.at_ms, self.previous_ms = voter, at_ms, previous_ms
        self.found: dict[str, float] = {}

    def __len__(self) -> int:
        return len(FEATURES)

    def __getitem__(self, place: Any) -> Any:
        name = FEATURES[place]
        if name not in self.found:
            if name.startswith("message.") and not name.endswith(".recency"):
                self.found |= read_messages(self.voter, self.at_ms)
            elif name.startswith("rhythm."):
                self.found |= read_rhythm(self.voter, self.at_ms)
            elif name.endswith((".recency", ".burst")) or ".decayed_" in name or ".count_2" in name:
                self.found |= read_lately(self.voter, self.at_ms)
            else:
                self.found |= read_sums(self.voter, self.at_ms, self.previous_ms)
        return float(self.found[name])


def read_lately(voter: Voter, at_ms: int) -> dict[str, float]:
    found: dict[str, float] = {}
    short, long = 0.0, 0.0
    for kind in SOCIAL:
        counts = [decayed(voter.counts[kind][h], voter.last[f"social.{kind}"], at_ms, LIVES[h]) for h in range(4)]
        found |= {f"social.{kind}.decayed_{days}d": count for days, count in zip(LIVES, counts, strict=True)}
        found[f"social.{kind}.burst"] = ratio(30.0 * counts[0], counts[2])
        short, long = short + counts[0], long + counts[2]
        for name, buckets, unit, room in (("24h", voter.hours, 3600, 24), ("28d", voter.days, DAY_S, 28)):
            begin = max(at_ms // 1000, voter.newest_social()) // unit - room
            found[f"social.{kind}.count_{name}"] = sum(
                bucket[kind] for moment, bucket in buckets.items() if moment > begin
            )
    found["social.burst"] = ratio(30.0 * short, long)
    for v, kind in enumerate(VISITS):
        found[f"{kind}.decayed_7d"] = decayed(voter.visits[v], voter.last[kind], at_ms, 7)
    found["donation.amount.decayed_90d"] = decayed(voter.amount, voter.last["donation.completed"], at_ms, 90)
    for moment, last_s in voter.last.items():
        found[f"{moment}.recency"] = 1.0 / (1.0 + max(at_ms - last_s * 1000, 0) / DAY_MS) if last_s else 0.0
    return found


def read_sums(voter: Voter, at_ms: int, previous_ms: int) -> dict[str, float]:
    found: dict[str, float] = {f"issue.{n}": weight / 10 for n, weight in enumerate(voter.issues, 1)}
    found |= {"sessions": voter.sessions, "session_events": voter.events}
    found["days_since_first_seen"] = (at_ms - voter.first_s * 1000) / DAY_MS
    found["hours_since_last_seen"] = (at_ms - previous_ms) / 3600000
    found |= {f"profile.{name}": code for name, code in voter.profile.items()}
    for prefix, names, numbers in (
        ("social.side.", SIDES, voter.sides),
        ("page.", PAGES, voter.pages),
        ("origin.", ORIGINS, voter.origins),
        ("device.", DEVICES, voter.devices),
    ):
        found |= {prefix + name: number for name, number in zip(names, numbers, strict=True)}
    found |= {f"{kind}.count": number for kind, number in zip(PARTS, voter.part, strict=True)}
    favour, against = voter.stance
    found |= {"words.favour": favour / 10, "words.against": against / 10}
    found["words.stance"] = ratio(favour - against, favour + against)
    found |= {"site.page_views": voter.page_views, "session.pages": voter.depth, "session.seconds": voter.length}
    found |= {"session.landing_page": voter.landing, "session.exit_page": voter.exit}
    found |= {"session.next_step": voter.next_step, "sessions.pages_mean": ratio(voter.page_views, voter.sessions)}
    found["sessions.seconds_mean"] = ratio(voter.seconds, voter.sessions)
    found["sessions.bounce_share"] = ratio(voter.bounces, voter.sessions - 1)
    bits = len(voter.device_bits)
    found["device.distinct"] = round(16 * math.log(16 / (16 - min(bits, 15.5))), 6)
    started, completed, by_post = voter.giving
    online = max(completed - by_post, 0)
    found |= {"donation.started.count": started, "donation.completed.count": completed}
    found |= {"donation.online.count": online, "donation.by_post.count": by_post}
    found |= {"donation.abandoned.count": max(started - online, 0), "donation.amount.last": voter.amount_last}
    return found | {"canvass.support": voter.support}


def read_messages(voter: Voter, at_ms: int) -> dict[str, float]:
    current = max(at_ms // 1000, voter.newest_message()) // (7 * DAY_S)
    found: dict[str, float] = {}
    for action in MESSAGES:
        for channel in ("", *CHANNELS):
            count = fading = 0.0
            for week in range(current - 3, current + 1):
                sent = voter.weeks.get(week, {})
                number = sum(n for (a, c), n in sent.items() if a == action and (not channel or c == channel))
                count, fading = count + number, fading + number / 2 ** (current - week)
            name = f"message.{action}.{channel}" if channel else f"message.{action}"
            found |= {f"{name}.count_4w": count, f"{name}.decayed_4w": fading}
    found["message.unsubscribed.channels"] = len(voter.unsubscribed)
    found |= {f"message.unsubscribed.{name}": c in voter.unsubscribed for c, name in enumerate(CHANNELS)}
    found["message.response.speed"] = 1.0 / (1.0 + (voter.response - 1) / 60) if voter.response else 0.0
    return found


def read_rhythm(voter: Voter, at_ms: int) -> dict[str, float]:
    passed = voter.local(at_ms)[0] - voter.local(voter.last_ms)[0]
    active = {ago + max(passed, 0) for ago in voter.active}
    ago, streak = 0 if 0 in active else 1, 0
    while ago + streak in active and ago + streak < 28:
        streak += 1
    found: dict[str, float] = {"rhythm.streak_days": streak}
    found |= {f"rhythm.active_days_{days}d": sum(ago < days for ago in active) for days in (7, 28)}
    total = sum(voter.parts[:4])
    for part, number in zip(("night", "morning", "afternoon", "evening", "weekend"), voter.parts, strict=True):
        found[f"rhythm.{part}_share"] = ratio(number, total)
    return found
