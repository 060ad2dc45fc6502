"""Metrics: their names, their labels, and what a partition leaves behind."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from stream.features import FEATURES
from stream.metrics import SCORE_BOUNDS, Metrics
from stream.records import REJECT_REASONS
from stream.scoring import Model, drift, histograms

LABELS = {
    *("partition", "output", "reason", "field", "role", "model", "campaign", "version", "engine", "python", "feature"),
    "le",
}
UNITS = (
    "seconds",
    "bytes",
    "events",
    "records",
    "info",
    "score",
    "psi",
    "memory",
    "backlog",
    "total",
    "bucket",
    "count",
    "sum",
    "created",
)


def samples(metrics: Metrics) -> dict[str, float]:
    """Return every sample by its name and labels as they are exposed."""
    text = metrics.exposition().decode()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


def observe_drift(metrics: Metrics) -> None:
    """Have a score and a feature seen in a thousand rows, half of what was expected and half of what was not."""
    histogram = histograms.Histogram(np.array([0.5]), np.array([10.0, 0.0, 0.0]))
    model = Model("likes", "linear", weights=((0, 1.0),), training=histograms.Training(histogram, ((0, histogram),)))
    one = drift.watch([(model, "abc", "active", 0)], np.array([0]), FEATURES)
    assert one is not None
    half, bits = np.arange(1000) % 2.0, np.zeros(1000, np.int64)
    rows: Any = half.reshape(-1, 1)
    found = [drift.sample(one, np.arange(at, at + 10), rows, rows, bits, bits) for at in range(0, 1000, 10)]
    metrics.observe_drift(one, [part for part in found if part is not None])


def test_every_reason_is_exposed_before_the_first_reject() -> None:
    found = samples(Metrics())
    for reason in REJECT_REASONS[1:]:
        assert found[f'groundswell_rejects_total{{reason="{reason}"}}'] == 0.0


def test_names_follow_prometheus_and_labels_are_bounded() -> None:
    metrics = Metrics()
    metrics.lag.labels("0").set(1)
    metrics.voters.labels("0").set(1)
    metrics.relay_backlog.labels("triggers", "0").set(1)
    metrics.relay_sent.labels("triggers").inc()
    metrics.triggers.labels("fan").inc()
    metrics.score.labels("likes", "active").observe(0.5)
    observe_drift(metrics)
    families = list(text_string_to_metric_families(metrics.exposition().decode()))
    assert len(families) > 15
    for family in families:
        assert family.name.startswith("groundswell_")
        assert family.documentation
        for sample in family.samples:
            assert sample.labels.keys() <= LABELS
            assert sample.name.endswith(UNITS)
            assert re.fullmatch(r"[a-z_]+", sample.name)


def test_partition_that_is_given_up_leaves_no_series() -> None:
    metrics = Metrics()
    for partition in ("1", "11"):
        metrics.lag.labels(partition).set(5)
        metrics.standstill_seconds.labels(partition).set(5)
        metrics.voters.labels(partition).set(5)
        for gauge in (metrics.snapshot_time, metrics.snapshot_bytes, metrics.snapshot_hold_seconds):
            gauge.labels(partition).set(5)
        for output in ("triggers", "rejects", "forwards"):
            metrics.relay_backlog.labels(output, partition).set(5)
    metrics.forget_partition(1)
    left = [name for name in samples(metrics) if "partition=" in name]
    assert len(left) == 9
    assert all('partition="11"' in name for name in left)


def test_partition_that_was_never_seen_can_be_forgotten() -> None:
    metrics = Metrics()
    before = samples(metrics).keys()
    metrics.forget_partition(3)
    assert samples(metrics).keys() == before


def test_scores_added_in_bulk_equal_scores_observed_one_by_one() -> None:
    scores = [-1.0, 0.05, 0.050001, 0.5, 0.95, 0.96, 7.0]
    registry = CollectorRegistry()
    single = Histogram("groundswell_score", "Scores", ["model", "role"], buckets=SCORE_BOUNDS, registry=registry)
    for score in scores:
        single.labels("likes", "active").observe(score)
    metrics = Metrics()
    metrics.observe_scores("likes", np.array(scores[:3]))
    metrics.observe_scores("likes", np.array(scores[3:]))
    expected = {
        line for line in generate_latest(registry).decode().splitlines() if line.startswith("groundswell_score_")
    }
    found = set(metrics.exposition().decode().splitlines())
    assert {line for line in expected if "_created" not in line} <= found


def test_scores_are_counted_once_however_many_come_before_they_are_asked_for() -> None:
    metrics = Metrics()
    for _ in range(5):
        metrics.observe_scores("likes", np.full(30_000, 0.5))
        metrics.observe_scores("shares", np.full(10, 0.25))
    for _ in range(2):
        found = samples(metrics)
        assert found['groundswell_score_count{model="likes",role="active"}'] == 150_000
        assert found['groundswell_score_sum{model="shares",role="active"}'] == 12.5


def test_drift_is_shown_as_long_as_it_is_watched() -> None:
    metrics = Metrics()
    assert not any("_psi{" in name for name in samples(metrics))
    observe_drift(metrics)
    index = 0.5 * np.log(0.5) * -1 + (0.5 - 1e-4) * np.log(0.5 / 1e-4)
    for _ in range(2):
        found = {name: value for name, value in samples(metrics).items() if "_psi{" in name}
        assert found.keys() == {
            'groundswell_model_score_psi{model="likes",role="active"}',
            f'groundswell_model_feature_psi{{feature="{FEATURES[0]}",model="likes"}}',
        }
        assert np.allclose(list(found.values()), index)
    metrics.observe_drift(None, [])
    assert not any("_psi{" in name for name in samples(metrics))


def test_build_names_version_engine_and_python() -> None:
    (name,) = [name for name in samples(Metrics()) if name.startswith("groundswell_build_info")]
    assert re.search(r'engine="\d+"', name)
    assert re.search(r'python="3\.\d+\.\d+', name)
    assert re.search(r'version="\d+\.\d+', name)
