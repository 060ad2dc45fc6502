from __future__ import annotations

import asyncio

import pytest

from stream.interfaces import NoProfile, Profiler
from stream.profiling import Profile


class Hands:
    """Clocks that move when they are told to."""

    def __init__(self) -> None:
        self.thread = self.process = 100.0

    def work(self, seconds: float) -> None:
        self.thread += seconds
        self.process += seconds


def profile_of(hands: Hands) -> Profile:
    profile = Profile(lambda: hands.thread, lambda: hands.process)
    profile.begin()
    return profile


def test_each_step_has_its_time_and_the_rest_is_what_is_left() -> None:
    hands = Hands()
    profile = profile_of(hands)
    for _ in range(2):
        with profile.step("decode"):
            hands.work(2.0)
    hands.work(1.0)
    hands.process += 3.0
    profile.events = 1_000_000
    costs = profile.by_step()
    assert (costs["decode"], costs["rest"], costs["fetch"]) == (4.0, 1.0, 3.0)
    assert sum(costs.values()) == 8.0


def test_what_a_second_thread_scores_is_scoring() -> None:
    hands = Hands()
    profile = profile_of(hands)
    with profile.step("score"):
        hands.work(2.0)
    hands.process += 5.0
    profile.scored_beside(2.0)
    hands.work(1.0)
    profile.events = 1_000_000
    costs = profile.by_step()
    assert (costs["score"], costs["fetch"], costs["rest"]) == (4.0, 3.0, 1.0)
    assert sum(costs.values()) == 8.0


async def test_awaited_work_is_counted_without_what_runs_while_it_waits() -> None:
    hands = Hands()
    profile = profile_of(hands)
    gate = asyncio.Event()

    async def work() -> str:
        hands.work(1.0)
        await gate.wait()
        hands.work(2.0)
        return "done"

    task = asyncio.create_task(profile.timed("commit", work()))
    await asyncio.sleep(0)
    hands.work(50.0)
    gate.set()
    assert await task == "done"
    assert profile.seconds == {"commit": 3.0}


async def test_awaited_work_is_cancelled_and_fails_as_it_would_by_itself() -> None:
    profile = profile_of(Hands())
    told = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    async def fails() -> None:
        await asyncio.sleep(0)
        message = "as it would"
        raise ValueError(message)

    task = asyncio.create_task(profile.timed("relay", waits()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["cancelled"]
    with pytest.raises(ValueError, match="as it would"):
        await profile.timed("relay", fails())


async def test_no_profile_counts_nothing_and_changes_nothing() -> None:
    profiler: Profiler = NoProfile()
    with profiler.step("decode"):
        pass

    async def work() -> int:
        return 7

    assert await profiler.timed("load", work()) == 7


def test_bars_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    hands = Hands()
    profile = profile_of(hands)
    with profile.step("score"):
        hands.work(0.25)
    profile.events = 100_000
    profile.show()
    printed = capsys.readouterr().out
    assert "over 100,000 events: 2.50 us" in printed
    assert "█" in printed
