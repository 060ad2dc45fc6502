"""How long a call takes, for whoever is compared."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def seconds(call: Callable[[], Any], least: float = 0.05) -> float:
    """Return the shortest of the times of a call, repeated for at least so long."""
    best, end = float("inf"), time.perf_counter() + least
    while time.perf_counter() < end:
        begun = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begun)
    return best
