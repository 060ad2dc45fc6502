"""The benchmarks' jobs: what every contender is given is what Groundswell reads."""

from __future__ import annotations

import numpy as np
import pytest

from load_tests.job import WEIGHTS, Count, Job, activity, demo
from load_tests.peers import straight_campaign
from stream.features.catalogue import FEATURES
from stream.scoring.files import read_model
from stream.triggers.files import read_campaign

HOUR_MS = 3_600_000.0
NOW_MS = 1_795_555_555_000.0


@pytest.mark.parametrize("job", [activity(), demo()])
def test_groundswell_reads_every_model_and_campaign_as_it_is_given_to_others(job: Job) -> None:
    document = job.document()
    for model, given in zip(job.models, document["models"], strict=True):
        read = read_model(model.file(), FEATURES)
        assert (read.name, read.bias, read.kind == "logistic") == (model.name, model.bias, model.is_logistic)
        counts = [job.counts[place].feature for place in given["places"]]
        weights = dict(zip(counts, given["weights"], strict=True))
        assert {FEATURES[index]: weight for index, weight in read.weights} == weights
        assert read.calibration in {None, (given["slope"], given["intercept"])}
    for campaign, given in zip(job.campaigns, document["campaigns"], strict=True):
        read_back = read_campaign(campaign.file())
        assert (read_back.threshold, read_back.rearm) == (given["threshold"], given["rearm"])
        assert (read_back.direction == "up") == given["upward"]
        assert read_back.cooldown_ms == given["cooldown_ms"]
        assert read_back.model == document["models"][given["model"]]["name"]


def test_campaign_job_has_three_models_and_six_campaigns() -> None:
    job = demo()
    assert (len(job.models), len(job.campaigns)) == (3, 6)
    assert all(weight for model in job.models for weight in model.weights.values())


def test_activity_job_is_one_weighted_sum() -> None:
    (model,) = activity().models
    assert [count.feature for count in model.weights] == [f"{name}.decayed_7d" for name in WEIGHTS]


def taken(*types: str) -> list[str]:
    """Return the campaigns that the script lets one voter's events trigger, an hour apart."""
    tables = straight_campaign.Tables(demo())
    n = len(types)
    kinds = np.array([tables.kinds.get(name, 0) for name in types])
    times = np.array([NOW_MS - HOUR_MS * left for left in range(n - 1, -1, -1)], np.float64)
    fired, after = np.zeros((n * len(tables.campaigns), 2), np.int64), np.zeros(n * len(tables.campaigns))
    records = np.zeros(1, straight_campaign.RECORD)
    job = (tables.of_kind, tables.half_life, tables.half_lives, tables.weights, tables.models, tables.campaigns)
    found = straight_campaign.step(np.zeros(n, np.int64), kinds, times, times, records, *job, fired, after)
    return [tables.names[campaign][0] for _, campaign in fired[:found].tolist()]


def test_script_triggers_once_for_a_supporter() -> None:
    follows = ["social.follow", "signup.completed", *["social.share"] * 4]
    assert taken(*follows).count("welcome_supporter") == 1


def test_script_heeds_consent_and_erasure() -> None:
    follows = ["social.follow", "signup.completed", *["social.share"] * 4]
    assert taken("consent.withdrawn", *follows) == []
    assert taken("consent.withdrawn", "consent.granted", *follows) == taken(*follows)
    assert taken("privacy.erased", "consent.granted", *follows) == []


def test_contenders_leave_out_the_count_that_reads_an_answer() -> None:
    assert Count.of("event.rsvp.count") is None
    assert Count.of("signup.completed.count") == Count("signup.completed", "ever")
    assert Count.of("social.like.recency") is None
