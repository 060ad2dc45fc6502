"""The second process of a cold start: of use or not there, and never there for longer."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import pytest

from stream.agents import cold_start as room
from stream.agents.cold_start import helped

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
WATCH = "import threading, time; from stream.agents.cold_start import end_with_parent as end; "
WATCH += "threading.Thread(target=end, daemon=True).start(); time.sleep(60)"


@pytest.fixture(autouse=True)
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "has_cache", lambda: False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (room, "has_cache", lambda: True),
        (os, "cpu_count", lambda: 1),
        (room, "_COMMAND", ("/no/such/program",)),
    ],
)
async def test_where_it_is_of_no_use_or_cannot_be_there_is_none(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, value: object
) -> None:
    monkeypatch.setattr(place, name, value)
    async with helped() as helper:
        assert helper is None


async def begin_and_fail(seen: list[subprocess.Popen[bytes]]) -> None:
    async with helped() as helper:
        assert isinstance(helper, partial)
        seen.append(helper.args[0])
        message = "the start is broken off"
        raise RuntimeError(message)


async def test_it_ends_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_COMMAND", SLEEP)
    seen: list[subprocess.Popen[bytes]] = []
    with pytest.raises(RuntimeError, match="broken off"):
        await begin_and_fail(seen)
    assert seen[0].returncode == -9


@pytest.mark.parametrize(
    ("command", "said"),
    [((sys.executable, "-c", "raise SystemExit(3)"), "failed (3)"), (SLEEP, "failed (not after 0.01 s)")],
)
async def test_its_failure_is_said_and_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, command: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr(room, "_COMMAND", command)
    monkeypatch.setattr(room, "_WAIT_SECONDS", 30.0 if command != SLEEP else 0.01)
    async with helped() as helper:
        assert helper is not None
        await helper()
    assert said in caplog.text


def test_it_ends_when_the_worker_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", WATCH], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(50) == 1
