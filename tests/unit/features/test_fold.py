"""Events folded into records, and feature rows read off, against figures that can be done by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.features import FEATURES, fold
from stream.records import KIND, SESSION_GAP_MS, USE_ERASE, USE_FOLD, USE_SUPPRESSED, VOTER
from stream.signals import SIGNAL
from tests.voters import features_of

DAY_MS = 86_400_000
BEGIN_MS = 1_790_000_000_000
LIKE, SHARE, PROFILE = KIND["social.like"], KIND["social.share"], KIND["profile.updated"]
Events = list[tuple[int, int]]
"""Kind and event time."""


def fold_all(
    records: NDArray[Any],
    events: Events,
    now: list[int] | None = None,
    use: list[int] | None = None,
    signals: NDArray[Any] | None = None,
) -> list[dict[str, float]]:
    """Fold into the first record; return each feature row by name."""
    n = len(events)
    times = np.array([time for _, time in events], np.int64)
    said = np.zeros(n, SIGNAL) if signals is None else signals
    rows = np.full((n, len(FEATURES)), -1.0)
    fold(
        records,
        np.zeros(n, np.int64),
        np.array([kind for kind, _ in events], np.int64),
        times,
        times if now is None else np.array(now, np.int64),
        said,
        np.array([USE_FOLD] * n if use is None else use, np.int64),
        0,
        n,
        np.arange(len(FEATURES)),
        rows,
    )
    return [dict(zip(FEATURES, row, strict=True)) for row in rows.tolist()]


@pytest.fixture
def records() -> NDArray[Any]:
    return np.zeros(1, VOTER)


def test_first_event_counts_one_at_every_half_life(records: NDArray[Any]) -> None:
    (row,) = fold_all(records, [(SHARE, BEGIN_MS)])
    names = ["decayed_1d", "decayed_7d", "decayed_30d", "decayed_90d", "count_24h", "count_28d", "recency"]
    assert {name: value for name, value in row.items() if value} == {
        **{f"social.share.{name}": pytest.approx(1.0, rel=1e-15) for name in names},
        **dict.fromkeys(("social.share.burst", "social.burst"), pytest.approx(30.0, rel=1e-15)),
        **dict.fromkeys(("sessions", "session_events"), 1.0),
        **{f"rhythm.{name}": 1.0 for name in ("active_days_7d", "active_days_28d", "streak_days", "afternoon_share")},
    }
    assert int(records[0]["first_seen_s"]) * 1000 == records[0]["last_seen_ms"] == BEGIN_MS


def test_count_halves_with_its_half_life(records: NDArray[Any]) -> None:
    rows = fold_all(records, [(LIKE, BEGIN_MS), (SHARE, BEGIN_MS + 7 * DAY_MS)])
    assert rows[1]["social.like.decayed_1d"] == pytest.approx(2**-7, rel=1e-14)
    assert rows[1]["social.like.decayed_7d"] == pytest.approx(0.5, rel=1e-14)
    assert rows[1]["social.like.decayed_30d"] == pytest.approx(2 ** (-7 / 30), rel=1e-14)
    assert rows[1]["days_since_first_seen"] == 7.0
    assert rows[1]["hours_since_last_seen"] == 168.0


def test_late_event_weighs_what_it_would_have_in_time(records: NDArray[Any]) -> None:
    other = np.zeros(1, VOTER)
    fold_all(records, [(LIKE, BEGIN_MS), (LIKE, BEGIN_MS + DAY_MS), (SHARE, BEGIN_MS + 2 * DAY_MS)])
    fold_all(other, [(LIKE, BEGIN_MS + DAY_MS), (SHARE, BEGIN_MS + 2 * DAY_MS), (LIKE, BEGIN_MS)])
    assert np.allclose(records["counts"], other["counts"], rtol=1e-13)
    assert other[0]["first_seen_s"] == BEGIN_MS // 1000
    assert other[0]["last_seen_ms"] == BEGIN_MS + 2 * DAY_MS
    assert other[0]["sessions"] == 2


def test_session_ends_only_after_a_longer_gap(records: NDArray[Any]) -> None:
    gap = BEGIN_MS + SESSION_GAP_MS
    rows = fold_all(records, [(LIKE, BEGIN_MS), (LIKE, gap), (LIKE, gap + SESSION_GAP_MS + 1)])
    assert [(row["sessions"], row["session_events"]) for row in rows] == [(1, 1), (1, 2), (2, 1)]


def test_profile_change_is_seen_but_counted_in_no_kind(records: NDArray[Any]) -> None:
    fold_all(records, [(PROFILE, BEGIN_MS)])
    assert not records["counts"].any()
    assert records[0]["sessions"] == 1


def test_features_are_as_of_the_logs_time(records: NDArray[Any]) -> None:
    rows = fold_all(records, [(LIKE, BEGIN_MS), (LIKE, BEGIN_MS)], [BEGIN_MS + DAY_MS, BEGIN_MS + DAY_MS])
    assert rows[0]["social.like.decayed_1d"] == pytest.approx(0.5, rel=1e-14)
    assert rows[0]["hours_since_last_seen"] == 0.0
    assert rows[1]["hours_since_last_seen"] == 24.0
    assert features_of(records)[0]["social.like.decayed_1d"] == pytest.approx(2.0, rel=1e-15)


def test_event_ahead_of_the_log_is_seen_at_its_own_time(records: NDArray[Any]) -> None:
    (row,) = fold_all(records, [(LIKE, BEGIN_MS + DAY_MS)], [BEGIN_MS])
    assert row["social.like.decayed_1d"] == pytest.approx(1.0, rel=1e-15)
    assert row["days_since_first_seen"] == 0.0


def test_only_wanted_columns_are_written_and_they_are_the_same(records: NDArray[Any]) -> None:
    whole = fold_all(records, [(LIKE, BEGIN_MS), (SHARE, BEGIN_MS + DAY_MS)])[-1]
    wanted = np.array([2, 4, 20, 23, 30, 44, 52, 70, 170, 178, 186])
    rows = np.zeros((2, len(wanted)))
    kinds, times = np.array([LIKE, SHARE]), np.array([BEGIN_MS, BEGIN_MS + DAY_MS])
    zeros, use = np.zeros(2, np.int64), np.full(2, USE_FOLD, np.int64)
    fold(np.zeros(1, VOTER), zeros, kinds, times, times, np.zeros(2, SIGNAL), use, 0, 2, wanted, rows)
    assert rows[1].tolist() == [whole[FEATURES[index]] for index in wanted]


def test_what_may_not_be_used_changes_nothing(records: NDArray[Any]) -> None:
    (row,) = fold_all(records, [(LIKE, BEGIN_MS)], use=[USE_SUPPRESSED])
    assert records.tobytes() == np.zeros(1, VOTER).tobytes()
    assert set(row.values()) == {-1.0}


def test_erasure_in_the_same_batch_clears_what_was_folded_before_it(records: NDArray[Any]) -> None:
    events = [(LIKE, BEGIN_MS), (LIKE, BEGIN_MS + 1), (KIND["privacy.erased"], BEGIN_MS + 2)]
    rows = fold_all(records, events, use=[USE_FOLD, USE_FOLD, USE_ERASE])
    assert rows[1]["social.like.decayed_1d"] > 1.9
    assert records.tobytes() == np.zeros(1, VOTER).tobytes()
