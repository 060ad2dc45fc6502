"""Scaling: what a speed-up is held against, and what growth with voters is allowed."""

from __future__ import annotations

import pytest

from load_tests.job import Job
from load_tests.scale import Measured, growth, job_of, speed_up
from stream.features.catalogue import FEATURES
from stream.scoring.files import read_model
from stream.triggers.files import read_campaign


def measured(rate: float, workers: float = 1.0, others: float = 0.0) -> list[Measured]:
    return [Measured(int(rate), 1.0, workers, others, 0.0)]


def test_a_speed_up_counts_by_the_cpu_that_is_left() -> None:
    # With two workers 1.5 of two cores are left: by 1.2 times as much they did all that could be asked.
    whole = speed_up(measured(100), measured(150, 1.5, 0.5), 2, machine=2)
    assert whole.ours == pytest.approx(2.0)
    assert whole.holds
    half = speed_up(measured(100), measured(115, 1.5, 0.5), 2, machine=2)
    assert half.ours == pytest.approx(1.533, abs=0.001)
    assert half.holds is False


def test_a_machine_with_cores_to_spare_gives_no_discount() -> None:
    assert speed_up(measured(100), measured(160, 2.0, 0.5), 2, machine=64).ours == pytest.approx(1.6)


def test_four_workers_are_told_without_a_goal() -> None:
    assert speed_up(measured(100), measured(150, 1.5, 0.5), 4, machine=2).goal is None


def test_cost_may_grow_as_the_logarithm_of_the_voters() -> None:
    def costing(cpu: float) -> list[Measured]:
        return [Measured(1_000_000, 1.0, cpu, 0.0, 0.0)]

    allowed = growth({1e4: costing(2.0), 1e5: costing(2.4), 1e6: costing(2.9)})
    assert allowed.holds
    assert allowed.goal == pytest.approx(1.5)
    assert growth({1e4: costing(2.0), 1e5: costing(2.6), 1e6: costing(2.9)}).holds is False


@pytest.mark.parametrize(("models", "campaigns"), [(1, 12), (6, 6)])
def test_jobs_of_any_size_are_read_by_groundswell(models: int, campaigns: int) -> None:
    job: Job = job_of(models, campaigns)
    assert (len(job.models), len(job.campaigns)) == (models, campaigns)
    names = {read_model(model.file(), FEATURES).name for model in job.models}
    assert all(read_campaign(campaign.file()).model in names for campaign in job.campaigns)
