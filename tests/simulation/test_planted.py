"""Each planted bug replaces code that runs, and the quickest are found here; ``make simulate PLANTED=1`` finds all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from redis.asyncio import Connection

import stream.agents.partition as partition_module
from stream.agents.fence import Fence
from stream.agents.relay import OutboxRelay, Relay
from stream.agents.warmup import warm_up
from stream.agents.writing import Writer
from stream.stores import redis as store_module
from stream.stores.redis import RedisStore
from stream.stores.wire import Wire
from stream.transport.places import Places
from tests.simulation import loop, search
from tests.simulation.plan import Fault, Scenario, scenario_of
from tests.simulation.planted import BUGS, planted
from tests.simulation.world import Result, World, simulate

REPLACED: dict[str, tuple[tuple[Any, str], ...]] = {
    "offset checked without the token": ((store_module, "refuse_foreign"),),
    "records packed after WATCH": ((partition_module, "take_commit"), (RedisStore, "_commands")),
    "header written apart from records": ((RedisStore, "commit"),),
    "trim by count": ((RedisStore, "trim"), (RedisStore, "outbox")),
    "a retried unknown commit": ((store_module, "_execute"),),
    "a record marked clean before the answer": ((partition_module, "take_commit"),),
    "relay without the fence's marker": ((Fence, "renew"),),
    "relay that reads the tail before the marker stands": ((Relay, "_session"),),
    "relay that trusts its memory": ((Relay, "_session"), (Relay, "_send_page")),
    "relay that skips a gap": ((OutboxRelay, "_check_next"),),
    "ack of a failed batch": ((Writer, "send"),),
    "seek without a new epoch": ((Places, "open"),),
    "reset to earliest": ((World, "fetch"),),
    "a reused cancelled connection": ((Wire, "session"), (Connection, "read_response")),
    "a batch's largest time used for its first row": ((partition_module, "process_batch"),),
}
"""By bug, what its patch puts something else in the place of."""


QUICK = (
    "records packed after WATCH",
    "header written apart from records",
    "a batch's largest time used for its first row",
)
HANDFUL = range(12)


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    loop.run(warm_up())


@pytest.fixture(scope="module")
def called() -> set[tuple[Any, str]]:
    """Return which of the replaced pieces of code a simulated run calls where no bug is planted."""
    calls: set[tuple[Any, str]] = set()

    def counting(place: tuple[Any, str]) -> Callable[..., Any]:
        original = getattr(*place)

        def call(*arguments: Any, **options: Any) -> Any:
            calls.add(place)
            return original(*arguments, **options)

        return call

    with ExitStack() as stack:
        for place in {place for places in REPLACED.values() for place in places}:
            stack.enter_context(patch.object(*place, counting(place)))
        result = simulate(a_calm_run())
    assert result.problem == ""
    assert result.counts["sent"] > 0
    return calls


def a_calm_run() -> Scenario:
    return replace(scenario_of(0), faults=(), rows=60)


def test_every_bug_says_what_it_replaces() -> None:
    assert REPLACED.keys() == BUGS.keys()
    assert len(BUGS) >= 15


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_replaces_code_that_runs_and_puts_it_back(bug: str, called: set[tuple[Any, str]]) -> None:
    before = [getattr(*place) for place in REPLACED[bug]]
    with planted(bug):
        assert all(getattr(*place) is not code for place, code in zip(REPLACED[bug], before, strict=True))
    assert [getattr(*place) for place in REPLACED[bug]] == before
    assert {*REPLACED[bug]} <= called


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_shown_by_faults_that_are_drawn(bug: str) -> None:
    drawn = {name for seed in range(300) for fault in scenario_of(seed).faults for name in (fault.kind, fault.word)}
    assert {*BUGS[bug].shown_by} <= drawn


@pytest.mark.parametrize("bug", QUICK)
def test_a_quick_bug_is_found_within_a_handful_of_seeds(bug: str) -> None:
    found = search.find(bug, HANDFUL)
    assert found.seed is not None
    assert found.problem


def test_a_seed_that_fails_without_the_bug_too_is_no_find(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []

    def always_fails(scenario: Scenario) -> Result:
        runs.append(scenario.seed)
        return Result(scenario, "whatever is done")

    monkeypatch.setattr(search, "simulate", always_fails)
    assert search.find(QUICK[0], HANDFUL).seed is None
    plans = [seed for seed in HANDFUL if BUGS[QUICK[0]].can_show(scenario_of(seed))]
    assert runs == [seed for seed in plans for _ in range(2)]


def test_a_plan_that_loses_rows_shows_only_what_such_a_loss_can_show() -> None:
    bug, gap = BUGS["reset to earliest"], BUGS["relay that skips a gap"]
    fault = Fault(1.0, "out_of_range", 0, 0.5)
    loss = replace(fault, kind="trimmed_row_lost")
    assert bug.can_show(Scenario(0, (fault,), 20))
    assert not bug.can_show(Scenario(0, (fault, loss), 20))
    assert gap.can_show(Scenario(0, (fault, loss), 20))
    assert not gap.can_show(Scenario(0, (fault,), 20))


class _NoPool:
    """Does in this process what a pool would do in others."""

    def __init__(self, *settings: object) -> None:
        del settings
        self.map = map

    def __enter__(self) -> _NoPool:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(("missing", "status"), [("", 0), ("trim by count", 1)])
def test_the_search_fails_where_one_bug_is_not_found(
    missing: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(bug: str, seeds: range) -> search.Find:
        return search.Find(bug, None if bug == missing else seeds[7], "an invariant", 3)

    lines: list[str] = []
    monkeypatch.setattr(search, "ProcessPoolExecutor", _NoPool)
    monkeypatch.setattr(search, "find", found)
    assert search.find_planted(range(1000), 2, lambda: None, lines.append) == status
    assert len(lines) == len(BUGS) + 1
    assert [line for line in lines if line.startswith("NOT FOUND")] == ["NOT FOUND  trim by count (3 runs)"] * status
    assert "seed    7  reset to earliest (3 runs): an invariant" in lines
