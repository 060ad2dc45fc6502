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
# What killed processes leave behind finds no loop when it is collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    loop.run(warm_up())


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_breaks_each_decision_is_made_and_sent_once(seed: int) -> None:
    result = simulate(scenario_of(seed))
    assert result.problem == ""
    assert result.counts["commits"] > 0


def test_a_seed_run_again_is_the_same_run() -> None:
    assert simulate(scenario_of(2)).trace == simulate(scenario_of(2)).trace


def test_a_failing_scenario_shrinks_to_the_fault_that_matters() -> None:
    scenario = replace(scenario_of(4), rows=60)
    guilty = scenario.faults[5]

    def fails(candidate: Scenario) -> bool:
        return guilty in candidate.faults

    assert len(scenario.faults) > 8
    assert shrink(scenario, fails) == Scenario(4, (guilty,), 4)


def test_a_fault_tells_all_that_it_is() -> None:
    assert str(Fault(1.5, "kafka_cuts", 3, 0.25, "produce")) == "  1.500 s kafka_cuts(3, 0.250, produce)"
