"""The demo as a person runs it, without a terminal: it proves itself, twice, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# What is left behind is looked up in Linux' list of processes.
pytestmark = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="no /proc here")

ROOT = Path(__file__).parents[2]
START_SECONDS = 120
ALL_SECONDS = 800
"""The demo itself waits for up to 600 s until its worker has compiled, and for another 100 until all is done."""


@contextmanager
def started(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    # Another deployment's settings in the environment must not lead a demo to it.
    foreign = {"GROUNDSWELL_NAMESPACE": "real", "GROUNDSWELL_REDIS__URL": "redis://127.0.0.1:1/0"}
    with subprocess.Popen(
        [sys.executable, "-m", "stream", "demo", *arguments],
        cwd=ROOT,
        env={**os.environ, **foreign, "TMPDIR": str(directory)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        try:
            yield demo
        finally:
            # Its servers and worker end with it.
            demo.kill()


def processes_in(directory: Path) -> list[str]:
    """Return the command lines of processes that work in or under a directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink().is_relative_to(directory):
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return found


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_demo_proves_every_trigger_and_leaves_nothing(tmp_path: Path) -> None:
    with started(tmp_path, "--seconds", "4", "--rate", "3000") as demo:
        output, errors = demo.communicate(timeout=ALL_SECONDS)
    assert demo.returncode == 0, output + errors
    found = re.search(r"([\d,]+)\s+triggers received by a subscriber", output)
    assert found is not None
    assert int(found[1].replace(",", "")) > 50
    assert "all are the same, byte for byte" in " ".join(output.split())
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []


def test_broken_off_demo_was_there_for_other_commands_and_leaves_nothing(tmp_path: Path) -> None:
    with started(tmp_path) as demo:
        deadline = time.monotonic() + START_SECONDS
        while not any("worker" in command for command in processes_in(tmp_path)):
            assert demo.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        [directory] = tmp_path.iterdir()
        assert (mode(directory), mode(directory / "keyring")) == (0o700, 0o600)
        done = subprocess.run(
            [sys.executable, "-m", "stream", "config", "show"],
            cwd=ROOT,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("GROUNDSWELL_")},
                "GROUNDSWELL_CONFIG": str(directory / "groundswell.toml"),
            },
            check=False,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        assert "gives_online" in done.stdout
        demo.send_signal(signal.SIGTERM)
        output, _ = demo.communicate(timeout=START_SECONDS)
    assert demo.returncode == 130
    assert f"\nexport GROUNDSWELL_CONFIG={directory}/groundswell.toml\n" in output
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []
