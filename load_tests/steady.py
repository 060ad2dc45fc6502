"""What a worker costs at a steady 50,000 events a second: cores that it uses, and that Kafka and Redis use beside it.

``python -m load_tests.steady`` prints a table and writes ``load_tests/results/steady.json``. Events come by an open
loop (``load_tests.pacing``), one in fifty of them a trigger; what is counted begins after some seconds of them.
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from kafka.errors import KafkaError

from load_tests.job import activity
from load_tests.pacing import Plan, Publisher, marked_weights
from load_tests.processes import Others
from load_tests.report import Row, judge, show, show_rows, spread, write
from load_tests.rig import PARTITIONS, BenchmarkError, Rig
from load_tests.series import percentile
from stream.errors import GroundswellError

RATE: Final = 50_000.0
SETTLING_SECONDS: Final = 10.0
"""After the first event, until which caches and tables fill."""
MOST_CORES: Final = 0.4
MOST_BEHIND_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One run."""

    cores: float
    """That the worker used."""
    kafka: float
    redis: float
    rate: float
    """Events a second that it processed."""
    late_ms: float
    """By how much the publisher sent too late, 99 % of the time at most."""


def measure(rate: float, seconds: float) -> Measured:
    """Run a worker under an even load; raise BenchmarkError where it does not keep up."""
    with Rig(f"steady-{uuid.uuid4().hex[:6]}", PARTITIONS, activity(marked_weights())) as rig, rig.worker() as worker:
        others = Others(rig.kafka, rig.redis_url)
        plan = Plan(rig.kafka, rig.settings.topic("events"), rate, SETTLING_SECONDS + seconds + 2)
        publisher = Publisher(plan)
        # The activation in each partition is the first that it processes.
        while worker.metric("groundswell_events_total") < PARTITIONS:
            worker.check()
            time.sleep(0.1)
        try:
            publisher.start()
            time.sleep(SETTLING_SECONDS)
            begun, cpu, beside = time.perf_counter(), worker.cpu_seconds(), others.cpu_seconds()
            folded = worker.metric("groundswell_folded_total")
            time.sleep(seconds)
            wall, cpu = time.perf_counter() - begun, worker.cpu_seconds() - cpu
            beside = tuple(after - before for before, after in zip(beside, others.cpu_seconds(), strict=True))
            done = worker.metric("groundswell_folded_total") - folded
            worker.check()
            publisher.finish()
        finally:
            publisher.kill()
    if done < (wall - MOST_BEHIND_SECONDS) * rate:
        message = f"{done / wall:,.0f} events/s were processed of {rate:,.0f}: the machine does not bear them"
        raise BenchmarkError(message)
    late = percentile([0.0, *publisher.late_seconds()], 0.99) * 1000
    return Measured(cpu / wall, beside[0] / wall, beside[1] / wall, done / wall, late)


def report(found: Sequence[Measured], rate: float) -> list[Row]:
    """Print what was found, and return the result rows."""
    show(
        f"{rate:,.0f} events/s, median of {len(found)} (range)",
        ("worker, cores", "Kafka, cores", "Redis, cores", "events/s", "sent late, ms (p99)"),
        [
            (
                spread([one.cores for one in found], 2),
                spread([one.kafka for one in found], 2),
                spread([one.redis for one in found], 2),
                spread([one.rate for one in found]),
                spread([one.late_ms for one in found], 1),
            )
        ],
    )
    cores = median(one.cores for one in found)
    return [
        judge(f"cores that a worker uses at a steady {rate:,.0f} events/s", cores, None, MOST_CORES, "less"),
        Row("CPU us an event at that rate", median(one.cores / one.rate for one in found) * 1e6),
        Row("cores that Kafka uses at that rate", median(one.kafka for one in found)),
        Row("cores that Redis uses at that rate", median(one.redis for one in found)),
    ]


def main() -> int:
    """Run, print, write the results; return 1 if the goal was missed, 2 if there is nothing to compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--seconds", type=float, default=20.0, help="that are counted")
    arguments = parser.parse_args()
    try:
        found = [measure(arguments.rate, arguments.seconds) for _ in range(arguments.rounds)]
    except (BenchmarkError, GroundswellError, KafkaError, OSError) as error:
        print(f"no figures: {error}", file=sys.stderr)
        return 2
    rows = report(found, arguments.rate)
    show_rows(rows)
    print(write("steady", rows))
    return 0 if all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
