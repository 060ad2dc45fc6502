"""Metrics follow Prometheus' naming, and no label can grow with the electorate."""

from __future__ import annotations

from prometheus_client import Metric

from stream.metrics import Metrics

LABELS = {
    *("reason", "field", "partition", "output", "outcome", "le"),
    *("model", "role", "feature", "campaign"),
    *("version", "engine", "python"),
}
OTHER_UNITS = ("_ms", "_milliseconds", "_micros", "_minutes", "_hours", "_kb", "_mb", "_percent")


def collected() -> list[Metric]:
    return list(Metrics().registry.collect())


def test_every_metric_carries_the_prefix() -> None:
    assert collected()
    assert [metric.name for metric in collected() if not metric.name.startswith("groundswell_")] == []


def test_counters_end_in_total() -> None:
    exposition = Metrics().exposition().decode().splitlines()
    counters = [line.split()[2] for line in exposition if line.startswith("# TYPE") and line.endswith(" counter")]
    assert counters
    assert [name for name in counters if not name.endswith("_total")] == []


def test_units_are_base_units() -> None:
    assert [metric.name for metric in collected() if metric.name.removesuffix("_total").endswith(OTHER_UNITS)] == []


def test_labels_are_bounded() -> None:
    metrics = Metrics()
    labels = {name for collector in vars(metrics).values() for name in getattr(collector, "_labelnames", ())}
    assert labels
    assert labels <= LABELS


def test_every_metric_says_what_it_is() -> None:
    assert [metric.name for metric in collected() if not metric.documentation] == []
