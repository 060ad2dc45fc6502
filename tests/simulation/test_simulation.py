"""A few seeds of the simulation; ``make simulate`` runs thousands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream.agents.warmup import warm_up
from tests.simulation import loop
from tests.simulation.plan import Fault, Scenario, scenario_of
from tests.simulation.shrink import shrink
from tests.simulation.world import simulate

SEEDS = range(8)


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    loop.run(warm_up())


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_breaks_each_decision_is_made_and_sent_once(seed: int) -> None:
    result = simulate(scenario_of(seed))
    assert result.problem == ""
    assert result.counts["commits"] > 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how_lost", [0.1, 0.9])
def test_lost_state_comes_back_from_a_snapshot_where_the_logs_head_is_gone(seed: int, how_lost: float) -> None:
    heads = [Fault(4.0, "head_deleted", partition, 0.5) for partition in range(3)]
    lost = Fault(4.5, "redis_lost", 0, how_lost)
    result = simulate(Scenario(seed, (Fault(2.0, "snapshot_torn", 0, 0.4), *heads, lost), 60))
    assert result.problem == ""
    assert result.counts["restorations"] > 0
    assert any("begins at" in line for line in result.trace)
    assert any("the snapshot" in line and "is loaded" in line for line in result.trace)


def test_disk_that_is_full_stops_snapshots_and_nothing_else() -> None:
    result = simulate(Scenario(1, (Fault(1.0, "disk_full", 0, 0.9),), 60))
    assert result.problem == ""
    assert result.counts["snapshots failed"] > 0
    assert result.counts["snapshots"] > 0


def test_a_seed_run_again_is_the_same_run() -> None:
    for seed in (2, 3):
        assert simulate(scenario_of(seed)).trace == simulate(scenario_of(seed)).trace


def test_a_failing_scenario_shrinks_to_the_fault_that_matters() -> None:
    scenario = replace(scenario_of(4), rows=60)
    guilty = scenario.faults[5]

    def fails(candidate: Scenario) -> bool:
        return guilty in candidate.faults

    assert len(scenario.faults) > 8
    assert shrink(scenario, fails) == Scenario(4, (guilty,), 4)


def test_a_fault_tells_all_that_it_is() -> None:
    assert str(Fault(1.5, "kafka_cuts", 3, 0.25, "produce")) == "  1.500 s kafka_cuts(3, 0.250, produce)"
