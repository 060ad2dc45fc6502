"""The activity job, an event at a time in plain Python: what the slow contenders have in common."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from load_tests.job import HALF_LIFE_MS, REARM, THRESHOLD, WEIGHTS

State = tuple[float, float, bool]
"""Of a voter: the score, the time (ms since the epoch) that it is of, and whether a trigger can leave."""


@dataclass
class Progress:
    """What was done since the first event."""

    events: int = 0
    triggers: int = 0
    wall: float = 0.0
    cpu: float = 0.0

    def count(self) -> None:
        """Count an event; the clocks begin with the first one."""
        if not self.events:
            self.wall, self.cpu = time.perf_counter(), time.process_time()
        self.events += 1

    def take(self, state: State | None, event: Any, now_ms: float) -> tuple[State, dict[str, Any] | None]:
        """Return a voter's state after an event, read at ``now_ms`` of log time, and its trigger, if any."""
        at = datetime.fromisoformat(event["time"]).timestamp() * 1000
        score, last, armed = state or (0.0, at, True)
        score = score * 2.0 ** (-(at - last) / HALF_LIFE_MS) + WEIGHTS[event["type"]]
        current = score * 2.0 ** (-(now_ms - at) / HALF_LIFE_MS)
        trigger = None
        if armed and current >= THRESHOLD:
            armed = False
            trigger = {"voter": event["subject"], "score": current, "cause": event["id"]}
            self.triggers += 1
        elif current <= REARM:
            armed = True
        return (score, at, armed), trigger

    def result(self) -> dict[str, float]:
        """Return what was measured, as contenders print it."""
        return {
            "events": self.events,
            "triggers": self.triggers,
            "wall_seconds": time.perf_counter() - self.wall,
            "cpu_seconds": time.process_time() - self.cpu,
        }
