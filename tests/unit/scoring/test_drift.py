"""Drift: what is looked at of a batch, and a day of it against the training data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from stream.scoring import Drift, Model, Sample, Watch, sample, watch
from stream.scoring.drift import LEAST_ROWS
from stream.scoring.histograms import Histogram, Training, histogram_of
from stream.versions import ACTIVE, CANARY, SHADOW

HOUR_MS = 3_600_000
CATALOGUE = ("likes", "shares", "days")
UNIFORM = Histogram(np.array([0.25, 0.5, 0.75]), np.array([25.0, 25.0, 25.0, 25.0, 0.0]))


def model(name: str = "m", score: Histogram | None = UNIFORM, features: Sequence[int] = (0, 2)) -> Model:
    training = Training(score, tuple((index, UNIFORM) for index in features))
    return Model(name, "linear", weights=((0, 1.0), (2, 1.0)), training=training)


def watched(*roles: str, **changes: object) -> Watch:
    """Return the watch over versions of one model: the active one in column 0, those on trial from 6 on."""
    columns = [0 if role == ACTIVE else 6 + number for number, role in enumerate(roles)]
    found = watch(
        [(model(**changes), f"sha-{role}", role, column) for role, column in zip(roles, columns, strict=True)],  # type: ignore[arg-type]
        np.array([0, 2]),
        CATALOGUE,
    )
    assert found is not None
    return found


def samples(
    one: Watch, rows: np.ndarray, scores: np.ndarray, hour: int = 500, canaries: np.ndarray | None = None
) -> list[Sample]:
    """Return a sample of every row, fifteen at a time."""
    wide = np.full((len(rows), 10), np.nan)
    wide[:, : scores.shape[1]] = scores
    bits = np.zeros(len(rows), np.int64) if canaries is None else canaries
    now = np.full(len(rows), hour * HOUR_MS + 17)
    parts = [
        sample(one, np.arange(first, min(first + 15, len(rows))), rows, wide, bits, now)
        for first in range(0, len(rows), 15)
    ]
    return [part for part in parts if part is not None]


def indices(drift: Drift) -> dict[tuple[str, str], float]:
    return {(one.role, one.feature): index for one, index in drift.indices()}


def uniform(n: int, columns: int = 1, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).random((n, columns))


def test_nothing_is_watched_of_models_that_do_not_say_what_they_were_trained_on() -> None:
    assert watch([(Model("m", "linear"), "a", ACTIVE, 0)], np.array([0]), CATALOGUE) is None
    drift = Drift()
    drift.take(None, [])
    assert indices(drift) == {}


def test_index_is_that_of_all_rows_of_all_partitions_together() -> None:
    drift, rows, scores = Drift(), uniform(3000, 2), uniform(3000) ** 2
    for part in np.array_split(np.arange(3000), 3):
        one = watched(ACTIVE)
        drift.take(one, samples(one, rows[part], scores[part]))
    found = indices(drift)
    expected = {
        (ACTIVE, ""): scores[:, 0],
        (ACTIVE, "likes"): rows[:, 0],
        (ACTIVE, "days"): rows[:, 1],
    }
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key] == pytest.approx(UNIFORM.stability_index(UNIFORM.count(values, np.ones(3000))))
    assert found[ACTIVE, "likes"] < 0.02
    assert found[ACTIVE, ""] > 0.1


def test_below_the_least_number_of_rows_there_is_no_index() -> None:
    drift, one = Drift(), watched(ACTIVE)
    drift.take(one, samples(one, uniform(LEAST_ROWS - 1, 2), uniform(LEAST_ROWS - 1)))
    assert indices(drift) == {}
    drift.take(one, samples(one, uniform(1, 2), uniform(1)))
    assert len(indices(drift)) == 3


def test_what_is_older_than_a_day_counts_no_more() -> None:
    drift, one = Drift(), watched(ACTIVE)
    rows = uniform(600, 2)
    drift.take(one, samples(one, rows, np.full((600, 1), 0.9), hour=100))
    assert indices(drift)[ACTIVE, ""] > 1.0
    drift.take(one, samples(one, rows, uniform(600), hour=123))
    assert indices(drift)[ACTIVE, ""] > 0.1
    drift.take(one, samples(one, rows, uniform(600), hour=124))
    assert indices(drift)[ACTIVE, ""] < 0.02
    # A partition that lags by more than the window adds nothing.
    drift.take(one, samples(one, rows, np.full((600, 1), 0.9), hour=100))
    assert indices(drift)[ACTIVE, ""] < 0.02


def test_a_canarys_rows_are_left_out_of_the_active_versions_scores_alone() -> None:
    drift, one = Drift(), watched(ACTIVE, CANARY, SHADOW)
    scores = np.full((2000, 9), np.nan)
    scores[:, 0], scores[:, 7], scores[:, 8] = uniform(2000)[:, 0], 0.9, 0.1
    drawn = np.arange(2000) % 2
    scores[drawn == 1, 0] = 0.9
    drift.take(one, samples(one, uniform(2000, 2), scores, canaries=drawn))
    found = indices(drift)
    assert found[ACTIVE, ""] < 0.02
    assert found[CANARY, ""] > 1.0
    assert found[SHADOW, ""] > 1.0
    assert set(found) == {(ACTIVE, ""), (CANARY, ""), (SHADOW, ""), (ACTIVE, "likes"), (ACTIVE, "days")}


def test_another_version_is_counted_anew_and_one_that_is_gone_is_not_shown() -> None:
    drift, first = Drift(), watched(ACTIVE)
    rows = uniform(600, 2)
    drift.take(first, samples(first, rows, np.full((600, 1), 0.9)))
    assert indices(drift)[ACTIVE, ""] > 1.0
    second = watch([(model(), "another", ACTIVE, 0)], np.array([0, 2]), CATALOGUE)
    assert second is not None
    drift.take(second, [])
    assert indices(drift) == {}
    drift.take(second, samples(second, rows, uniform(600)))
    assert indices(drift)[ACTIVE, ""] < 0.02
    drift.take(first, [])
    assert indices(drift)[ACTIVE, ""] > 1.0
    drift.take(None, [])
    assert indices(drift) == {}


def test_a_constant_that_stays_has_no_index_and_missing_values_have_a_bin() -> None:
    drift = Drift()
    constant = histogram_of(np.zeros(100))
    one = watched(ACTIVE, score=constant)
    rows = uniform(600, 2)
    rows[:150, 1] = np.nan
    drift.take(one, samples(one, rows, np.zeros((600, 1))))
    found = indices(drift)
    assert found[ACTIVE, ""] == pytest.approx(0.0, abs=1e-12)
    assert found[ACTIVE, "days"] > 1.0
    drift.take(one, samples(one, rows, np.full((600, 1), 1e-3)))
    assert indices(drift)[ACTIVE, ""] > 1.0


@pytest.mark.parametrize("n", [1, 15, 16, 100, 2031, 2032, 30_000])
def test_of_a_large_batch_every_kth_row_stands_for_k(n: int) -> None:
    one = watched(ACTIVE)
    rows, scores = uniform(2 * n, 2), uniform(2 * n, 10)
    folded = 2 * np.arange(n) + 1
    found = sample(one, folded, rows, scores, np.arange(2 * n), np.full(2 * n, 7 * HOUR_MS - 1))
    assert found is not None
    assert found.hour == 6
    assert found.every == min(1 + n // 16, 128)
    picked = folded[:: found.every]
    assert n <= 15 or len(picked) >= 8
    assert np.array_equal(found.values, np.c_[rows[picked], scores[picked, 0]])
    assert found.canaries.tolist() == picked.tolist()
    assert found.every * (len(picked) - 1) < n <= found.every * len(picked)


def test_a_batch_that_folded_nothing_gives_no_sample() -> None:
    none, bits = np.zeros(0, np.int64), np.zeros(3, np.int64)
    assert sample(watched(ACTIVE), none, uniform(3, 2), uniform(3, 9), bits, bits) is None


def test_rows_wait_in_bounded_numbers_where_nobody_asks_for_indices() -> None:
    drift, one = Drift(), watched(ACTIVE)
    for hour in range(2000):
        drift.take(one, samples(one, uniform(1, 2), uniform(1), hour=hour))
    assert len(drift._waiting) <= 257
    for _ in range(100):
        drift.take(one, samples(one, uniform(15, 2), uniform(15), hour=2000))
    assert max(map(len, drift._waiting.values())) <= 32
    assert indices(drift)
    assert not drift._waiting
