"""Records of older versions made into this one's, as far as they tell.

What version 1 did not keep is filled so: the count at 90 days is that at 30 (it was no less); counts without decay are
what still weighs at 30 days, rounded; the latest event of a kind lies so many whole days back as its count at one day
has halved, the latest that it can have been; who unsubscribed did so from another channel than those that are known.
Everything else that version 1 did not keep is empty. A record that was replayed from the log (`groundswell restore`)
has the exact values.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from stream.arithmetic import power
from stream.layout import COUNTS, HALF_LIVES_DAYS, MARKS, MOMENTS, SOCIAL_TYPES, TAKING_PART, VISITS
from stream.records import ENGAGEMENT_TYPES, RECORD_VERSION, VOTER, folded_tag
from stream.signals import MESSAGE_CHANNELS

_DAY_S: Final = 86_400
_MODELS_1: Final = 6
_VOTER_1: Final = np.dtype(
    [
        ("version", "<u2"),
        ("consent", "u1"),
        ("ring_next", "u1"),
        ("armed", "<u2"),
        ("reserved", "<u2"),
        ("last_offset", "<i8"),
        ("first_seen_ms", "<i8"),
        ("last_seen_ms", "<i8"),
        ("sessions", "<u4"),
        ("session_events", "<u4"),
        ("ring", "<u8", (16,)),
        ("decayed", "<f8", (16, 3)),
        ("score", "<f8", (_MODELS_1,)),
        ("score_tag", "<u4", (_MODELS_1,)),
        ("fired_ms", "<i8", (12,)),
        ("campaign_tag", "<u4", (12,)),
    ]
)
_KINDS_1: Final = {name: place for place, name in enumerate(ENGAGEMENT_TYPES[:16])}
_SOURCES: Final = {
    "taking_part": tuple(kind for kind in TAKING_PART if kind in _KINDS_1),
    "message.response": ("message.opened", "message.clicked", "message.replied"),
}
_SAME: Final = ("consent", "ring_next", "armed", "last_offset", "last_seen_ms", "ring")


def migrated(value: bytes) -> bytes:
    """Return a record's bytes in this build's version; as they are where they are of no version that it knows."""
    if len(value) != VOTER.itemsize or int.from_bytes(value[:2], "little") != 1:
        return value
    old, new = np.frombuffer(value, _VOTER_1)[0], np.zeros(1, VOTER)[0]
    new["version"] = RECORD_VERSION
    for name in _SAME:
        new[name] = old[name]
    _fill_decisions(old, new)
    new["first_seen_s"] = _seconds(int(old["first_seen_ms"]))
    new["sessions"], new["session_events"] = min(int(old["sessions"]), 65_535), min(int(old["session_events"]), 65_535)
    if old["first_seen_ms"] != 0:
        new["active_days"] = 1
        _fill_counts(old, new)
    return bytes(new.tobytes())


def _fill_decisions(old: Any, new: Any) -> None:
    """Take over what deciding keeps."""
    new["score"][:_MODELS_1] = np.clip(old["score"], -float(np.finfo("f4").max), float(np.finfo("f4").max))
    new["score_tag"][:_MODELS_1] = [folded_tag(int(tag)) if tag else 0 for tag in old["score_tag"]]
    new["campaign_tag"] = [folded_tag(int(tag)) if tag else 0 for tag in old["campaign_tag"]]
    new["fired_s"] = [_seconds(int(fired) + 999) if fired else 0 for fired in old["fired_ms"]]


def _fill_counts(old: Any, new: Any) -> None:
    """Take over what was counted, and fill what was not."""
    counts = {kind: old["decayed"][place].tolist() for kind, place in _KINDS_1.items()}
    last_s = _seconds(int(old["last_seen_ms"]))
    for place, moment in enumerate(MOMENTS):
        ages = [_age_days(counts[kind][0]) for kind in _SOURCES.get(moment, (moment,))]
        known = [age for age in ages if age is not None]
        new["last_s"][place] = max(last_s - min(known) * _DAY_S, 1) if known else 0
    for place, kind in enumerate(SOCIAL_TYPES):
        for h, count in enumerate((*counts[kind], counts[kind][2])):
            at = _at_landmark(count, HALF_LIVES_DAYS[h], old, new["last_s"][place])
            new["counts"][place * len(HALF_LIVES_DAYS) + h] = at
    for kind in VISITS:
        moment_s = new["last_s"][MOMENTS.index(kind)]
        new["counts"][COUNTS.index(kind)] = _at_landmark(counts[kind][1], 7, old, moment_s)
    new["page_views"] = _whole(counts["site.page_view"][2], 65_535)
    for kind in (*VISITS[1:], *TAKING_PART):
        new["marks"][MARKS.index(kind)] = _whole(counts[kind][2], 255) if kind in counts else 0
    if counts["message.unsubscribed"][2] > 0:
        new["marks"][MARKS.index("unsubscribed")] = 1 << MESSAGE_CHANNELS.index("other")


def _seconds(time_ms: int) -> int:
    return min(max(time_ms // 1000, 0), 4_294_967_295)


def _whole(count: float, most: int) -> int:
    return int(min(count + 0.5, most)) if count > 0 else 0


def _age_days(count: float) -> int | None:
    """Return how many whole days ago the latest of some events was at least; None where there was none."""
    if not count > 0 or math.isinf(count):
        return None
    # 2**(exponent - 1) <= count < 2**exponent
    return max(-math.frexp(count)[1], 0)


def _at_landmark(count: float, days: int, old: Any, last_s: Any) -> float:
    """Return a count as of ``last_seen_ms`` as of its landmark: the multiple of its half-life before ``last_s``."""
    life_ms = days * _DAY_S * 1000
    since_ms = int(old["last_seen_ms"]) - int(last_s) // _DAY_S // days * life_ms
    halvings, rest_ms = divmod(since_ms, life_ms)
    # As far as a sound record reaches: what a damaged one says must not raise.
    return float(count * power(rest_ms / life_ms) * 2.0 ** min(halvings, 1000))
