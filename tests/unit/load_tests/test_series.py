"""The arithmetic of a soak: percentiles, the slope with its error, and files that give back what they were given."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from load_tests.series import GOAL_MB_AN_HOUR, Recorder, Sample, draw, judged, percentile, read, trend


def soaked(slope_mb_an_hour: float, minutes: int = 60, noise_mb: float = 0.0, seed: int = 1) -> list[Sample]:
    """A run with a sample each ten seconds, whose first ten minutes climb steeply."""
    chance = np.random.default_rng(seed)
    samples = []
    for number in range(1, minutes * 6 + 1):
        seconds = number * 10.0
        rss = 300.0 + min(seconds, 600.0) / 10 + slope_mb_an_hour * seconds / 3600 + chance.normal() * noise_mb
        samples.append(Sample(seconds, rss, rss - 100, 50.0, 9, number, 3, 5.0, 9.5, 11.0, number % 7, 0, 0.5))
    return samples


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0)])
def test_percentile_is_the_least_that_so_many_do_not_exceed(share: float, expected: float) -> None:
    values = np.random.default_rng(3).permutation(np.arange(1.0, 101.0)).tolist()
    assert percentile(values, share) == expected


def test_percentile_of_nothing_is_not_a_number() -> None:
    assert math.isnan(percentile([], 0.99))


@pytest.mark.parametrize("slope", [-12.5, 0.0, 0.4, 36.0])
def test_slope_of_a_straight_line_is_found_exactly(slope: float) -> None:
    seconds = [10.0 * number for number in range(360)]
    found = trend(seconds, [200.0 + slope * at / 3600 for at in seconds])
    assert found.slope == pytest.approx(slope, abs=1e-9)
    assert found.error == pytest.approx(0.0, abs=1e-9)
    assert found.blocks == 12


def test_interval_holds_the_true_slope_as_often_as_it_says_though_neighbours_are_alike() -> None:
    """Each sample keeps 0.9 of the deviation before it: taken as independent, hardly half of the intervals would."""
    hits = 0
    for seed in range(200):
        chance = np.random.default_rng(seed)
        deviation, values = 0.0, []
        for number in range(360):
            deviation = 0.9 * deviation + chance.normal()
            values.append(300.0 + 5.0 * number / 360 + deviation)
        found = trend([10.0 * number for number in range(360)], values)
        hits += abs(found.slope - 5.0) <= found.error
    assert 178 <= hits <= 198


def test_a_block_that_hardly_began_does_not_tilt_the_line() -> None:
    seconds = [10.0 * number for number in range(180)]
    level = [300.0] * 180
    tail = [1800.0 + 10.0 * number for number in range(5)]
    assert trend([*seconds, *tail], [*level, *[340.0] * 5]) == trend(seconds, level)


def test_too_short_a_run_is_refused_with_what_it_had() -> None:
    with pytest.raises(ValueError, match="2 blocks of 300 s, expected at least 4"):
        trend([0.0, 130.0, 310.0], [1.0, 1.0, 1.0])


@pytest.mark.parametrize(("slope", "holds"), [(0.0, True), (0.9, True), (-0.9, True), (1.1, False), (35.0, False)])
def test_memory_is_judged_by_its_slope_after_the_first_ten_minutes(slope: float, holds: bool) -> None:
    first, *others, backlog = judged(soaked(slope))
    assert first.ours == pytest.approx(slope, abs=1e-6)
    assert (first.goal, first.holds) == (GOAL_MB_AN_HOUR, holds)
    assert all(row.holds is None for row in others)
    assert backlog.holds


@pytest.mark.parametrize(("behind", "holds"), [(0.0, True), (0.0002, True), (0.0005, False), (0.1, False)])
def test_a_worker_that_falls_behind_does_not_pass(behind: float, holds: bool) -> None:
    """``behind`` is the share of what is published that is never caught up with."""
    chance = np.random.default_rng(4)
    samples = [
        replace(
            sample,
            sent=int(sample.seconds * 5000),
            backlog_events=int(sample.seconds * 5000 * behind + chance.exponential(300.0)),
        )
        for sample in soaked(0.0)
    ]
    found = judged(samples)[-1]
    assert found.ours == pytest.approx(3600 * behind, abs=0.1)
    assert found.holds is holds


def test_samples_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    samples = soaked(3.0, minutes=2, noise_mb=0.3)
    recorder = Recorder(tmp_path / "soak.csv")
    for sample in samples:
        recorder.add(sample)
    recorder.close()
    found = read(tmp_path / "soak.csv")
    assert [sample.rss_mb for sample in found] == pytest.approx([sample.rss_mb for sample in samples])
    assert [(sample.voters, sample.sent) for sample in found] == [(sample.voters, sample.sent) for sample in samples]


@pytest.mark.parametrize("minutes", [2, 12, 31])
def test_picture_is_drawn_of_any_length(tmp_path: Path, minutes: int) -> None:
    draw(soaked(0.0, minutes), tmp_path / "soak.png", "a soak")
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")
