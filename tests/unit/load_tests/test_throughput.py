"""Throughput: which ratio is held against which goal, and that contenders who disagree give no figures."""

from __future__ import annotations

import pytest

from load_tests import throughput
from load_tests.contenders import FAUST, GROUNDSWELL, QUIX, REFERENCE, SCRIPT, STREAMS, WAX, Measured
from load_tests.rig import BenchmarkError
from load_tests.throughput import QUICK, WORKLOADS, agree, chosen, rows_of


def measured(rate: float) -> list[Measured]:
    return [Measured(1000, 20, 1000 / rate, 0.001)] * 3


def test_each_workload_has_its_goals() -> None:
    assert WORKLOADS["uniform"].goals == {SCRIPT: 3.0, FAUST: 90.0, QUIX: 6.0, STREAMS: 4.5}
    assert WORKLOADS["zipf"].goals == {SCRIPT: 2.5}
    assert WORKLOADS["campaign"].goals == {SCRIPT: 2.5, STREAMS: 4.0}
    assert all(set(of.goals) <= set(of.contenders) for of in WORKLOADS.values())


def test_a_ratio_below_its_goal_does_not_hold_and_one_without_a_goal_is_only_told() -> None:
    rates = {SCRIPT: 100.0, GROUNDSWELL: 299.0, STREAMS: 60.0, WAX: 10.0}
    rows = {row.measure: row for row in rows_of("uniform", {name: measured(rate) for name, rate in rates.items()})}
    assert rows[f"uniform: events/s beside {SCRIPT}"].holds is False
    assert rows[f"uniform: events/s beside {STREAMS}"].holds is True
    assert rows[f"uniform: events/s beside {WAX}"].goal is None
    assert rows[f"uniform: CPU us an event beside {WAX}"].ratio == 1.0


def test_runs_that_decided_differently_give_no_figures() -> None:
    agree("log", [5, 5, 5])
    with pytest.raises(BenchmarkError, match=r"\[5, 6\]"):
        agree("log", [5, 6])


def test_contenders_are_those_that_are_asked_for_and_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "reference_command", lambda: None)
    assert REFERENCE not in chosen("uniform", None, quick=False)
    assert chosen("uniform", ["streams"], quick=False) == [GROUNDSWELL, STREAMS, QUIX]
    monkeypatch.setattr(throughput, "reference_command", lambda: ("worker", "--reference"))
    assert set(chosen("zipf", None, quick=True)) == set(QUICK)
