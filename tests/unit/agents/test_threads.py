"""Work that is done in two threads: both halves end before what went wrong is told."""

from __future__ import annotations

import threading

import pytest

from stream.agents.threads import SecondThread


def test_both_halves_are_under_way_at_once() -> None:
    met, threads = threading.Barrier(2), set[str]()

    def half() -> None:
        met.wait(60)
        threads.add(threading.current_thread().name)

    SecondThread()(half, half)
    assert len(threads) == 2


def test_error_of_either_half_is_raised_when_both_have_ended() -> None:
    second, failed, ended = SecondThread(), threading.Event(), list[str]()

    def fails() -> None:
        failed.set()
        message = "no"
        raise ValueError(message)

    def goes_on() -> None:
        failed.wait(60)
        ended.append("went on")

    with pytest.raises(ValueError, match="no"):
        second(fails, goes_on)
    with pytest.raises(ValueError, match="no"):
        second(goes_on, fails)
    assert ended == ["went on"] * 2


def test_time_of_the_other_half_is_told() -> None:
    told: list[float] = []
    second = SecondThread(told.append)

    def works() -> None:
        sum(range(10_000))

    second(works, works)
    second(works, works)
    assert len(told) == 2
    assert all(seconds > 0.0 for seconds in told)
