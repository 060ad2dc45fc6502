"""The search for planted bugs: each is planted, and seeds are run until one fails that does not fail without it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from tests.simulation.plan import scenario_of
from tests.simulation.planted import BUGS, planted
from tests.simulation.world import simulate

_PROBLEM_LETTERS = 140


@dataclass(frozen=True)
class Find:
    """What the search for one bug came to."""

    bug: str
    seed: int | None
    """The first that shows it; None: no seed does."""
    problem: str = ""
    """The invariant that did not hold."""
    runs: int = 0
    """How many seeds were run for it; the others' plans cannot show it, or blame it for another's loss."""

    def __str__(self) -> str:
        """Return it as it is printed."""
        if self.seed is None:
            return f"NOT FOUND  {self.bug} ({self.runs} runs)"
        return f"seed {self.seed:4}  {self.bug} ({self.runs} runs): {self.problem[:_PROBLEM_LETTERS]}"


def find(bug: str, seeds: range) -> Find:
    """Return the first seed that fails with a bug and not without it."""
    runs = 0
    for seed in seeds:
        scenario = scenario_of(seed)
        if not BUGS[bug].can_show(scenario):
            continue
        runs += 1
        with planted(bug):
            problem = simulate(scenario).problem
        if problem and not simulate(scenario).problem:
            return Find(bug, seed, problem, runs)
    return Find(bug, None, runs=runs)


def find_planted(seeds: range, jobs: int, prepare: Callable[[], None], tell: Callable[[str], None]) -> int:
    """Search for each planted bug, and print a line for it; return an exit status: 1 where one was not found.

    ``prepare`` is run once in each process.
    """
    started = time.monotonic()
    missed = 0
    with ProcessPoolExecutor(jobs, get_context("spawn"), prepare) as pool:
        for found in pool.map(partial(find, seeds=seeds), BUGS):
            missed += found.seed is None
            tell(str(found))
    tell(f"{len(BUGS) - missed} of {len(BUGS)} planted bugs found, in {time.monotonic() - started:.0f} s")
    return 1 if missed else 0
