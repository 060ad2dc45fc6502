"""How long a worker takes from its start to its first scored event, with Numba's cache (and Python's) cold and warm.

``python -m load_tests.start`` prints a table and writes ``load_tests/results/start.json``. The time that the group
takes to let the worker in is the broker's, and is stated apart.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from kafka.errors import KafkaError

from load_tests.filling import fill
from load_tests.report import Row, judge, show, show_rows, spread, write
from load_tests.rig import BenchmarkError, Rig, Worker
from stream.errors import GroundswellError

EVENTS: Final = 1000
START_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.02
WARM_SECONDS: Final = 2.0
COLD_SECONDS: Final = 15.0
JOINING: Final = "joining the group"
CLAIMED: Final = " claimed at offset "


@dataclass(frozen=True, slots=True)
class Start:
    """One start, in seconds."""

    scored: float
    """From the process's beginning to the first scored event."""
    join: float
    """Of these, from asking the group for partitions to the first one claimed."""
    cpu: float
    """CPU time of the worker until then."""

    @property
    def beyond_join(self) -> float:
        """What the worker itself took."""
        return self.scored - self.join


def start(rig: Rig, cache: str) -> Start:
    """Start a worker on a log that waits for it, with Numba's cache and Python's own in the directory ``cache``."""
    rig.wipe()
    caches = {"NUMBA_CACHE_DIR": cache, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
    with rig.worker(caches) as worker:
        asked = _await_line(worker, JOINING)
        claimed = _await_line(worker, CLAIMED)
        while worker.metric("groundswell_folded_total") == 0:
            _check(worker)
        return Start(time.perf_counter() - worker.started, claimed - asked, worker.cpu_seconds())


def _await_line(worker: Worker, text: str) -> float:
    """Return when a line with ``text`` was first seen in the worker's log."""
    while text not in worker.log.read_text(errors="replace"):
        _check(worker)
    return time.perf_counter()


def _check(worker: Worker) -> None:
    worker.check()
    if time.perf_counter() - worker.started > START_SECONDS:
        message = f"the worker has scored nothing after {START_SECONDS} s"
        raise BenchmarkError(message)
    time.sleep(POLL_SECONDS)


def run(rounds: int) -> dict[str, list[Start]]:
    """Start a worker with a cold cache, and again with the cache that it left, ``rounds`` times."""
    starts: dict[str, list[Start]] = {"cold": [], "warm": []}
    with Rig(f"start-{uuid.uuid4().hex[:6]}") as rig:
        fill(rig.kafka, rig.settings.topic("events"), EVENTS)
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="groundswell-numba-") as cache:
                for state, found in starts.items():
                    found.append(start(rig, cache))
                    print(f"{state}: {found[-1]}", flush=True)
    return starts


def report(starts: dict[str, list[Start]]) -> Sequence[Row]:
    """Print how long the starts took, and return the result rows."""
    show(
        f"seconds, median of {len(starts['cold'])} (range)",
        ("Numba's cache", "start to first scored event", "joining the group", "beyond the join", "CPU"),
        [
            (
                state,
                spread([one.scored for one in found], 2),
                spread([one.join for one in found], 2),
                spread([one.beyond_join for one in found], 2),
                spread([one.cpu for one in found], 2),
            )
            for state, found in starts.items()
        ],
    )
    goals = {"cold": COLD_SECONDS, "warm": WARM_SECONDS}
    return [
        judge(
            f"seconds from start to first scored event beyond the group's join, {state} Numba cache",
            median(one.beyond_join for one in starts[state]),
            None,
            goals[state],
            "less",
        )
        for state in ("warm", "cold")
    ]


def main() -> int:
    """Run, print, write the results; return 1 if a goal was missed, 2 if there is nothing to compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    try:
        rows = report(run(arguments.rounds))
    except (BenchmarkError, GroundswellError, KafkaError) as error:
        print(f"no figures: {error}", file=sys.stderr)
        return 2
    show_rows(rows)
    print(write("start", rows))
    return 0 if all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
