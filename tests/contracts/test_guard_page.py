"""No kernel that reads events reads outside of them: they lie between pages that cannot be read."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pages are protected by mprotect")
ROOT = Path(__file__).parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.contracts.guard_page", *words]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


def test_no_kernel_reads_outside_of_an_event() -> None:
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "taken" in done.stdout


def test_reading_one_byte_too_many_would_not_survive() -> None:
    assert run("--planted").returncode in (-signal.SIGSEGV, -signal.SIGBUS)
