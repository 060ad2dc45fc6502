"""The benchmark of tree models end to end: what is active, and which speed is held against the goal."""

from __future__ import annotations

import pytest

from load_tests.contenders import Measured
from load_tests.job import activity
from load_tests.tree_models import READ, report, tree_job
from stream.features import FEATURES
from stream.scoring.files import read_model
from stream.triggers.files import read_campaign


def test_models_are_read_and_the_campaign_watches_one_at_the_activity_jobs_scores() -> None:
    job = tree_job(models=2, trees=30, leaves=15)
    models = [read_model(model.file(), FEATURES) for model in job.models]
    assert [model.name for model in models] == [model.name for model in job.models] == ["trees-0", "trees-1"]
    for model in models:
        assert model.forest is not None
        assert (len(model.forest.leaves), int(model.forest.leaves.max())) == (30, 15)
    assert job.models[0].file() != job.models[1].file()
    (campaign,) = (read_campaign(one.file()) for one in job.campaigns)
    (of_activity,) = (read_campaign(one.file()) for one in activity().campaigns)
    assert campaign.model == "trees-0"
    assert (campaign.threshold, campaign.rearm) == (of_activity.threshold, of_activity.rearm)


@pytest.mark.parametrize(("rate", "holds"), [(700.0, True), (699.0, False)])
def test_speed_is_held_against_seven_tenths_of_that_with_one_linear_model(rate: float, holds: bool) -> None:
    measured = {
        "linear": [Measured(1000, 5, 1.0, 0.5)] * 3,
        "trees": [Measured(1000, 5, 1000 / rate, 1.0)] * 3,
        "trees over all": [Measured(1000, 5, 4.0, 1.5)] * 3,
    }
    speed, cpu, of_all, cpu_of_all = report(measured)
    assert (speed.goal, speed.holds) == (0.7, holds)
    assert (cpu.ratio, cpu.goal) == (2.0, None)
    assert (of_all.ratio, of_all.goal, of_all.holds) == (0.25, None, None)
    assert (cpu_of_all.ratio, cpu_of_all.goal) == (3.0, None)


def test_models_read_a_third_of_the_catalogue_or_all_of_it() -> None:
    for features in (READ, FEATURES):
        (model,) = (read_model(one.file(), FEATURES) for one in tree_job(1, 60, 31, features).models)
        assert {FEATURES[index] for index in model.asked} <= set(features)
        assert len(model.asked) > 40
    assert len(FEATURES) // 3 <= len(READ) <= len(FEATURES) // 3 + 7
