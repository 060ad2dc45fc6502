"""The demo as a person runs it, without a terminal: it proves itself, twice, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# What is left behind is looked up in Linux' list of processes.
pytestmark = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="no /proc here")

ROOT = Path(__file__).parents[2]


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    # Another deployment's settings in the environment must not lead a demo to it.
    foreign = {"GROUNDSWELL_NAMESPACE": "real", "GROUNDSWELL_REDIS__URL": "redis://127.0.0.1:1/0"}
    return subprocess.Popen(
        [sys.executable, "-m", "stream", "demo", *arguments],
        cwd=ROOT,
        env={**os.environ, **foreign, "TMPDIR": str(directory)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


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


def test_demo_proves_every_trigger_and_leaves_nothing(tmp_path: Path) -> None:
    demo = start(tmp_path, "--seconds", "4", "--rate", "3000")
    output, errors = demo.communicate(timeout=150)
    assert demo.returncode == 0, output + errors
    found = re.search(r"([\d,]+)\s+triggers received by a subscriber", output)
    assert found is not None
    assert int(found[1].replace(",", "")) > 50
    assert "all are the same, byte for byte" in " ".join(output.split())
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []


def test_broken_off_demo_leaves_nothing(tmp_path: Path) -> None:
    demo = start(tmp_path)
    deadline = time.monotonic() + 60
    while not any("worker" in command for command in processes_in(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    demo.send_signal(signal.SIGTERM)
    output, _ = demo.communicate(timeout=30)
    assert demo.returncode == 130
    assert f"export GROUNDSWELL_CONFIG={tmp_path}" in output
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []
