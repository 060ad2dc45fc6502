"""A failing scenario made short: fewer faults, fewer rows, and still failing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.simulation.plan import Fault, Scenario

FEWEST_ROWS = 4


def shrink(scenario: Scenario, fails: Callable[[Scenario], bool], most_runs: int = 120) -> Scenario:
    """Return a shorter scenario that still fails, found in at most so many runs.

    Faults go by halves, then by smaller parts (Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing
    Input, IEEE TSE 2002); rows by halves.
    """
    runs = 0

    def still_fails(candidate: Scenario) -> bool:
        nonlocal runs
        runs += 1
        return runs <= most_runs and fails(candidate)

    parts = 2
    while scenario.faults and runs < most_runs:
        shorter = _without_a_part(scenario, parts, still_fails)
        if shorter is not None:
            scenario, parts = shorter, max(parts - 1, 2)
        elif parts >= len(scenario.faults):
            break
        else:
            parts = min(parts * 2, len(scenario.faults))
    while scenario.rows > FEWEST_ROWS and runs < most_runs:
        candidate = replace(scenario, rows=max(scenario.rows // 2, FEWEST_ROWS))
        if not still_fails(candidate):
            break
        scenario = candidate
    return scenario


def _without_a_part(scenario: Scenario, parts: int, fails: Callable[[Scenario], bool]) -> Scenario | None:
    faults: Sequence[Fault] = scenario.faults
    size = -(-len(faults) // parts)
    for start in range(0, len(faults), size):
        candidate = replace(scenario, faults=(*faults[:start], *faults[start + size :]))
        if fails(candidate):
            return candidate
    return None
