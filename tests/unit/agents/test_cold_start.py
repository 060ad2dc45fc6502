"""The second process of a cold start: of use or not there, and never there for longer."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from stream.agents import cold_start as room
from stream.agents.cold_start import ALL, EXPLAINING, NEEDED, SecondProcess, second_process

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
FAIL = (sys.executable, "-c", "raise SystemExit(3)")
TELL = (sys.executable, "-c", "import os; [os.write(1, b'.') for _ in range(3)]")
ASKED = (sys.executable, "-c", "import os, sys; [os.write(1, b'.') for _ in iter(lambda: sys.stdin.read(1), '')]")
HALFWAY = (sys.executable, "-c", "import os; os.write(1, b'.'); raise SystemExit(3)")
WATCH = "import threading, time; from stream.agents.cold_start import end_with_parent as end; "
WATCH += "threading.Thread(target=end, daemon=True).start(); time.sleep(60)"
LIGHT = "import sys; from stream.agents import cold_start; "
LIGHT += "print(sorted(sys.modules.keys() & {'numba', 'numpy', 'faust', 'pydantic'}))"


@pytest.fixture(autouse=True)
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "has_all", lambda: False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def process_of(second: SecondProcess) -> subprocess.Popen[bytes]:
    return second._process


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (room, "has_all", lambda: True),
        (os, "cpu_count", lambda: 1),
        (room, "_COMMAND", ("/no/such/program",)),
    ],
)
def test_where_it_is_of_no_use_or_cannot_be_there_is_none(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, value: object
) -> None:
    monkeypatch.setattr(place, name, value)
    with second_process() as second:
        assert second is None


def test_nothing_that_takes_time_is_imported_before_it_begins() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def begin_and_fail(seen: list[SecondProcess]) -> None:
    with second_process() as second:
        assert second is not None
        seen.append(second)
        message = "the start is broken off"
        raise RuntimeError(message)


def test_it_ends_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_COMMAND", SLEEP)
    seen: list[SecondProcess] = []
    with pytest.raises(RuntimeError, match="broken off"):
        begin_and_fail(seen)
    assert process_of(seen[0]).returncode == -9


async def test_whoever_waits_goes_on_when_it_is_ended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "_COMMAND", SLEEP)
    with second_process() as second:
        assert second is not None
        waiting = [asyncio.create_task(second.until(stage)) for stage in (NEEDED, ALL)]
        await asyncio.sleep(0)
        second.end()
        await asyncio.gather(*waiting)
        await second.until(ALL)
        second.end()
        assert process_of(second).returncode == -9
    assert caplog.text == ""


async def test_each_stage_is_waited_for_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_COMMAND", ASKED)
    with second_process() as second:
        assert second is not None
        pipe = process_of(second).stdin
        assert pipe is not None
        waiting = [asyncio.create_task(second.until(stage)) for stage in (NEEDED, EXPLAINING, ALL)]
        for one in waiting:
            assert not one.done()
            pipe.write(b"!")
            pipe.flush()
            await one


async def test_one_that_is_through_is_told_by_no_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "_COMMAND", TELL)
    with second_process() as second:
        assert second is not None
        await second.until(ALL)
        process_of(second).wait(50)
        await second.until(ALL)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("command", "said"),
    [(FAIL, "failed (3)"), (HALFWAY, "failed (3)"), (SLEEP, "failed (not after 0.01 s)")],
)
async def test_its_failure_is_said_and_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, command: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr(room, "_COMMAND", command)
    monkeypatch.setattr(room, "_WAIT_SECONDS", 30.0 if command != SLEEP else 0.01)
    with second_process() as second:
        assert second is not None
        await second.until(EXPLAINING)
        await second.until(ALL)
        assert process_of(second).returncode is not None
    assert caplog.text.count("has failed") == 1
    assert said in caplog.text


def test_it_ends_when_the_worker_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", WATCH], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(50) == 1
