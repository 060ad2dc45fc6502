"""Generated histories, in order, late and reordered, against the oracle, against sums over all events, and pandas."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from stream.features import FEATURES
from stream.records import VOTER
from tests import oracle_record
from tests.oracle_record import CHANNELS, MESSAGES, SOCIAL, Signal, Voter
from tests.unit.features.histories import BEGIN_MS, DAY_MS, Event, features_at, folded, history, shuffled

LIVES = (1, 7, 30, 90)
ORDERLY = (
    "social.",
    "site.page_view.",
    "donation.",
    "issue.",
    "words.",
    "page.",
    "origin.",
    "device.",
    "site.page_views",
    "taking_part.",
    "message.delivered",
    "message.opened",
    "message.clicked",
    "message.replied",
    "message.unsubscribed",
    "message.response.recency",
    "signup.",
    "event.",
    "volunteer.",
    "canvass.contacted",
    "rhythm.",
    "days_since_first_seen",
)
"""Features that come out the same in whatever order events come, up to 28 days late."""
each_seed = pytest.mark.parametrize("seed", range(12))


def by_oracle(events: list[Event]) -> tuple[Voter, list[list[float]]]:
    voter, rows, now = Voter(), [], 0
    for event in events:
        previous, fresh = voter.last_ms, voter.first_s == 0
        oracle_record.fold(voter, event.kind, event.time_ms, event.signal)
        now = max(now, event.time_ms)
        rows.append(oracle_record.read_row(voter, now, now if fresh else previous))
    return voter, rows


@each_seed
def test_records_and_rows_are_the_oracles_to_the_bit(seed: int) -> None:
    for events in (history(seed), shuffled(history(seed), seed)):
        record, rows = folded(events)
        voter, expected = by_oracle(events)
        assert record.tobytes() == voter.pack()
        for row, wanted in zip(rows.tolist(), expected, strict=True):
            assert dict(zip(FEATURES, row, strict=True)) == dict(zip(FEATURES, wanted, strict=True))


@each_seed
def test_late_and_reordered_events_give_the_same(seed: int) -> None:
    events = history(seed)
    last_ms = max(event.time_ms for event in events)
    for at_ms in (last_ms, last_ms + 3 * DAY_MS + 7):
        expected = features_at(events, at_ms)
        for order in range(3):
            found = features_at(shuffled(events, 100 * seed + order), at_ms)
            for name in FEATURES:
                if name.startswith(ORDERLY):
                    # Counts in buckets, bits, sums and latest times exactly; what decays within rounding.
                    close = ".decayed_" in name or name.endswith("burst")
                    assert found[name] == pytest.approx(expected[name], rel=1e-9 if close else 0, abs=0), name


@each_seed
def test_features_are_what_all_events_come_to(seed: int) -> None:
    events = history(seed, days=20.0)
    at_ms = max(event.time_ms for event in events) + 5 * 3_600_000
    found = features_at(shuffled(events, seed), at_ms)
    for kind in SOCIAL:
        times = [event.time_ms for event in events if event.kind == f"social.{kind}"]
        for days in LIVES:
            total = math.fsum(2.0 ** (-(at_ms - time) / (days * DAY_MS)) for time in times)
            assert found[f"social.{kind}.decayed_{days}d"] == pytest.approx(total, rel=1e-12)
        for name, unit_ms, room in (("24h", 3_600_000, 24), ("28d", DAY_MS, 28)):
            most = 2 ** dict(zip(("24h", "28d"), oracle_record.BUCKETS[kind][::2], strict=True))[name] - 1
            buckets = [time // unit_ms for time in times if time // unit_ms > at_ms // unit_ms - room]
            counted = sum(min(buckets.count(bucket), most) for bucket in set(buckets))
            assert found[f"social.{kind}.count_{name}"] == counted
    given = [event for event in events if event.kind == "donation.completed"]
    amounts = math.fsum(event.signal.amount * 2.0 ** (-(at_ms - event.time_ms) / (90 * DAY_MS)) for event in given)
    assert found["donation.amount.decayed_90d"] == pytest.approx(amounts, rel=1e-12)
    assert found["donation.by_post.count"] == sum(event.signal.method == 2 for event in given)
    if given:
        latest = max(event.time_ms // 1000 for event in given)
        largest = max(event.signal.amount for event in given if event.time_ms // 1000 == latest)
        assert found["donation.amount.last"] == np.float32(largest)
        assert found["donation.completed.recency"] == pytest.approx(1 / (1 + (at_ms - latest * 1000) / DAY_MS))


@each_seed
def test_counts_are_those_of_pandas(seed: int) -> None:
    events = history(seed, length=300, days=50.0)
    at_ms = max(event.time_ms for event in events) + DAY_MS
    frame = pd.DataFrame(
        {
            "kind": [event.kind for event in events],
            "time": pd.to_datetime([event.time_ms for event in events], unit="ms", utc=True),
            "side": [event.signal.side for event in events],
            "page": [event.signal.page for event in events],
            "channel": [event.signal.channel for event in events],
            "issue": [event.signal.issues[4] for event in events],
        }
    )
    found = features_at(shuffled(events, seed), at_ms)
    now = pd.Timestamp(at_ms, unit="ms", tz="UTC")
    recent = frame[frame["time"] >= (now.floor("D") - pd.Timedelta(days=27))]
    for kind, daily in recent.groupby("kind")["time"]:
        if str(kind).startswith("social."):
            most = 2 ** oracle_record.BUCKETS[str(kind).removeprefix("social.")][2] - 1
            assert found[f"{kind}.count_28d"] == daily.groupby(daily.dt.floor("D")).count().clip(upper=most).sum()
    sides = frame[frame["kind"].isin(["social.follow", "social.like"])].groupby("side")["kind"].count()
    assert [found[f"social.side.{side}"] for side in oracle_record.SIDES] == sides.reindex(range(5)).fillna(0).tolist()
    pages = frame[frame["kind"] == "site.page_view"].groupby("page")["kind"].count()
    assert [found[f"page.{page}"] for page in oracle_record.PAGES] == pages.reindex(range(8)).fillna(0).tolist()
    assert found["issue.5"] == frame["issue"].sum() / 10
    frame["week"] = [event.time_ms // (7 * DAY_MS) for event in events]
    lately = frame[frame["week"] > at_ms // (7 * DAY_MS) - 4]
    for action in MESSAGES:
        for place, channel in enumerate(CHANNELS):
            sent = lately[(lately["kind"] == f"message.{action}") & (lately["channel"] == place)]
            counts = sent.groupby("week")["kind"].count().clip(upper=15)
            assert found[f"message.{action}.{channel}.count_4w"] == counts.sum()
    deeds = frame[~frame["kind"].isin(["message.delivered", "canvass.contacted", "profile.updated"])]
    days = deeds[deeds["time"] >= now.floor("D") - pd.Timedelta(days=27)]["time"].dt.floor("D").nunique()
    assert found["rhythm.active_days_28d"] == days
    weekend = (deeds["time"].dt.day_of_week >= 5).mean()
    assert found["rhythm.weekend_share"] == pytest.approx(weekend)


def test_numbers_stop_at_their_largest_and_never_wrap() -> None:
    kinds = ["social.like"] * 400 + ["site.page_view"] * 400
    events = [Event(kind, BEGIN_MS, Signal()) for kind in kinds]
    record, rows = folded(events)
    row = dict(zip(FEATURES, rows[-1].tolist(), strict=True))
    assert (row["social.like.count_24h"], row["social.like.count_28d"]) == (63, 255)
    assert (row["session.pages"], row["site.page_views"]) == (255, 400)
    assert row["social.like.decayed_7d"] == pytest.approx(400.0)
    assert record.dtype == VOTER


def test_moments_beyond_the_records_seconds_count_as_its_last() -> None:
    far_ms = 253_402_300_799_000
    record, rows = folded([Event("social.like", BEGIN_MS, Signal()), Event("social.like", far_ms, Signal())])
    assert record["last_s"][0, 1] == 4_294_967_295
    assert np.isfinite(rows).all()
