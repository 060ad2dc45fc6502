"""What is freed goes back to the operating system, also where something in use lies behind it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stream.memory import CAN_GIVE_BACK

HOLES = """
from pathlib import Path
from stream.memory import give_back

COUNT, BYTES = 200, 240 * 1024

def anonymous_mb():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024 / 1e6

# Once it has seen a larger block go, glibc takes such blocks from the heap, and no longer each by itself.
larger = [bytes(1 << 23)]
larger.clear()
before = anonymous_mb()
passing, kept = [], []
for _ in range(COUNT):
    passing.append(b"x" * BYTES)
    kept.append(b"x" * 6000)
passing.clear()
freed = anonymous_mb() - before
gave = give_back()
print(freed, anonymous_mb() - before, gave)
"""
"""In a process of its own: what others left in the heap of this one would be given back as well."""


@pytest.mark.skipif(not CAN_GIVE_BACK, reason="this C library has no malloc_trim")
def test_holes_in_the_heap_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, timeout=60, check=True)
    freed, left, gave = done.stdout.split()
    assert float(freed) > 40.0, "freeing alone gave it back: nothing is shown here"
    assert float(left) < 5.0
    assert gave == "True"
