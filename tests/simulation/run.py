"""Simulated runs from the command line: many seeds at once, or one again with all that happened in it."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import get_context

from stream.agents.warmup import warm_up
from tests.simulation.plan import Scenario, scenario_of
from tests.simulation.planted import BUGS, planted
from tests.simulation.search import find_planted
from tests.simulation.shrink import shrink
from tests.simulation.world import Result, simulate

CHUNK = 10
"""Seeds that a process runs before it reports."""
POOL_CHUNKS = 50
"""How many of them it runs before another takes its place."""


def prepare() -> None:
    """Compile all kernels, once for all seeds of a process."""
    asyncio.run(warm_up())
    gc.collect()
    gc.freeze()


def with_bug(bug: str) -> AbstractContextManager[None]:
    """Return the context in which the code has a planted bug; the code as it is where ``bug`` is empty."""
    return planted(bug) if bug else nullcontext()


def run_chunk(seeds: Sequence[int], bug: str = "") -> list[Result]:
    """Run some seeds; traces are dropped."""
    results = []
    for seed in seeds:
        with with_bug(bug):
            result = simulate(scenario_of(seed))
        result.trace.clear()
        results.append(result)
    return results


def run_all(seeds: Iterable[int], jobs: int, bug: str = "") -> Iterator[Result]:
    """Give the results of all seeds, in order."""
    seeds = list(seeds)
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    if jobs == 1:
        prepare()
        for chunk in chunks:
            yield from run_chunk(chunk, bug)
        return
    # Processes are made anew now and then, since they grow; by new pools, as one that replaces them may stand still for
    # ever (https://github.com/python/cpython/issues/115634).
    for start in range(0, len(chunks), POOL_CHUNKS * jobs):
        some = chunks[start : start + POOL_CHUNKS * jobs]
        with ProcessPoolExecutor(jobs, get_context("spawn"), prepare) as pool:
            for results in pool.map(run_chunk, some, [bug] * len(some)):
                yield from results


def describe(result: Result) -> str:
    """Return a failing scenario as it is printed."""
    faults = "".join(f"\n    {fault}" for fault in result.scenario.faults) or " none"
    return f"  {result.problem}\n  rows: {result.scenario.rows} to each partition\n  faults:{faults}"


def kind_of(problem: str) -> str:
    """Return a problem without its times, numbers and names: a scenario made short must fail as it did before."""
    return re.sub(r"'[^']*'|\b\w*\d[\w.-]*", "", problem)[:60]


def shortened(scenario: Scenario, bug: str = "") -> Result:
    """Return what a failing scenario comes to when it is made as short as it goes."""

    def outcome(candidate: Scenario) -> Result:
        with with_bug(bug):
            return simulate(candidate)

    kind = kind_of(outcome(scenario).problem)
    return outcome(shrink(scenario, lambda candidate: kind_of(outcome(candidate).problem) == kind))


def replay(seed: int, *, whole: bool, bug: str, tell: Callable[[str], None]) -> int:
    """Run one seed again with its trace, and as short as it fails unless ``whole``; return an exit status."""
    prepare()
    with with_bug(bug):
        result = simulate(scenario_of(seed))
    if result.problem and not whole:
        result = shortened(scenario_of(seed), bug)
    with with_bug(bug):
        result = simulate(result.scenario, tell)
    tell(f"seed {seed}: {'FAILED' if result.problem else 'all invariants held'}, trace {result.digest[:16]}")
    tell(describe(result))
    return 1 if result.problem else 0


def campaign(seeds: range, jobs: int, bug: str, tell: Callable[[str], None]) -> int:
    """Run seeds, and print what they came to; return an exit status."""
    started = time.monotonic()
    counts: Counter[str] = Counter()
    failing: list[Result] = []
    settled: list[float] = []
    for done, result in enumerate(run_all(seeds, jobs, bug), 1):
        counts.update(result.counts)
        settled.append(result.settled_seconds)
        if result.problem:
            failing.append(result)
            tell(f"seed {result.scenario.seed} FAILED; replay with `make simulate SEED={result.scenario.seed}`")
            tell(describe(result))
        if done % 500 == 0:
            tell(f"{done} of {len(seeds)} seeds, {len(failing)} failed, {time.monotonic() - started:.0f} s")
    if failing:
        seed = failing[0].scenario.seed
        if jobs > 1:
            prepare()
        tell(f"seed {seed} made short:\n{describe(shortened(scenario_of(seed), bug))}")
    what = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    tell(f"{len(seeds)} seeds from {seeds.start}: {len(failing)} failed, in {time.monotonic() - started:.0f} s")
    tell(f"{what}; longest time from the last fault to all work done {max(settled):.1f} s (virtual)")
    return 1 if failing else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many processes")
    parser.add_argument("--seed", type=int, help="run this one again, with its trace")
    parser.add_argument("--whole", action="store_true", help="with --seed: do not make it short")
    parser.add_argument("--planted", action="store_true", help="see that each planted bug is found")
    parser.add_argument("--bug", default="", choices=sorted(BUGS), help="plant this bug first")
    options = parser.parse_args(arguments)

    def tell(line: str) -> None:
        print(line, flush=True)

    if options.seed is not None:
        return replay(options.seed, whole=options.whole, bug=options.bug, tell=tell)
    seeds = range(options.first, options.first + options.seeds)
    if options.planted:
        return find_planted(seeds, options.jobs, prepare, tell)
    return campaign(seeds, options.jobs, options.bug, tell)


if __name__ == "__main__":
    # The order of a set of strings must be that of every other run.
    if os.environ.get("PYTHONHASHSEED") != "0":
        again = [sys.executable, "-m", "tests.simulation.run", *sys.argv[1:]]
        sys.exit(subprocess.run(again, env={**os.environ, "PYTHONHASHSEED": "0"}, check=False).returncode)
    sys.exit(main())
