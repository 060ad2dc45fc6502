"""How Groundswell scales: with workers, voters, partitions, campaigns and models.

``python -m load_tests.scale`` prints tables and writes ``load_tests/results/scale.json`` and ``scale.png``. Everything
runs on this machine, so workers, Kafka and Redis share its cores: the CPU of each is told apart, and the speed-up by a
second worker is held against the CPU that Kafka and Redis left to the two.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from kafka.errors import KafkaError

from load_tests.contenders import await_all
from load_tests.filling import SEED, write
from load_tests.job import WEIGHTS, Campaign, Count, Job, Model
from load_tests.plots import lines
from load_tests.processes import Others
from load_tests.report import RESULTS, Row, compare, judge, show, show_rows, spread
from load_tests.report import write as write_rows
from load_tests.rig import PARTITIONS, BenchmarkError, Rig, Worker
from load_tests.workload import event, events, voter
from stream.embedded.services import free_port
from stream.errors import GroundswellError
from stream.settings.sources import variable_of

VOTERS: Final = 100_000
WORKERS: Final = (1, 2, 4)
OF_VOTERS: Final = (10_000, 100_000, 1_000_000, 10_000_000)
OF_PARTITIONS: Final = (4, 16, 64, 256)
OF_CAMPAIGNS: Final = (1, 3, 6, 12)
OF_MODELS: Final = (1, 2, 4, 8)
LEAST_SPEED_UP: Final = 1.6
VOTER_BYTES: Final = 600
"""What a voter takes in Redis, key and all, rounded up; a worker's memory has a limit of its own."""
SPARE_BYTES: Final = 3_000_000_000
START_SECONDS: Final = 900.0
SETTLING_SECONDS: Final = 3.0
SESSION_SECONDS: Final = 900
"""A worker that is stopped for so long still counts as there."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Some workers over one log."""

    events: int
    wall_seconds: float
    workers_seconds: float
    """CPU of all workers."""
    kafka_seconds: float
    redis_seconds: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.wall_seconds

    @property
    def cpu_us(self) -> float:
        """CPU microseconds of the workers an event."""
        return self.workers_seconds / self.events * 1e6

    @property
    def redis_us(self) -> float:
        """CPU microseconds of Redis an event."""
        return self.redis_seconds / self.events * 1e6

    @property
    def cores(self) -> tuple[float, float, float]:
        """Cores that workers, Kafka and Redis used."""
        wall = self.wall_seconds
        return self.workers_seconds / wall, self.kafka_seconds / wall, self.redis_seconds / wall


class Counters:
    """Time and CPU of some workers and of Kafka and Redis, from a moment on."""

    def __init__(self, rig: Rig, workers: Sequence[Worker]) -> None:
        """Begin now."""
        self._workers = workers
        self._others = Others(rig.kafka, rig.redis_url)
        self._begun = self._read()

    def _read(self) -> tuple[float, ...]:
        own = sum(worker.cpu_seconds() for worker in self._workers)
        return time.perf_counter(), own, *self._others.cpu_seconds()

    def measured(self, events_done: int) -> Measured:
        """Return what was used since then for so many events."""
        wall, own, kafka, redis = (after - before for before, after in zip(self._begun, self._read(), strict=True))
        return Measured(events_done, wall, own, kafka, redis)


def measure(rig: Rig, skipped: int, counted: int) -> Measured:
    """Let a worker do the rig's log, anew; count from when ``skipped`` of its events are done."""
    rig.wipe()
    ends = rig.ends()
    with rig.worker() as worker:
        done = _await(worker, skipped)
        if done > skipped + counted / 2:
            message = f"{done - skipped} of {counted} events were done before they were counted: a longer log is needed"
            raise BenchmarkError(message)
        counters = Counters(rig, [worker])
        await_all(rig, worker, ends)
        return counters.measured(skipped + counted - done)


def _await(worker: Worker, events_done: int) -> int:
    """Wait until so many events are done; return how many were."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        folded = worker.metric("groundswell_folded_total")
        if folded >= events_done:
            return int(folded)
        worker.check()
        time.sleep(0.02)
    message = f"the worker has done {folded:.0f} of {events_done} events after {START_SECONDS:g} s"
    raise BenchmarkError(message)


# --- workers ------------------------------------------------------------------------------------------------------


def work(count: int, workers: int) -> Measured:
    """Let workers do a log, each from its first event on.

    They join on an empty log and are stopped where they stand while it is written; else the first would have done much
    of it before the last has its part.
    """
    with Rig(f"scale-{uuid.uuid4().hex[:6]}", PARTITIONS) as rig, ExitStack() as stack:
        started: list[Worker] = []
        for number in range(workers):
            port = free_port()
            own = {"web.port": str(port), "kafka.session_timeout_seconds": str(SESSION_SECONDS)}
            environment = {**rig.surroundings(), **{variable_of(name): value for name, value in own.items()}}
            started.append(Worker(environment, port, rig.directory / f"worker-{number}.log"))
            stack.callback(started[-1].kill)
        _await_parts(started)
        for worker in started:
            os.kill(worker.pid, signal.SIGSTOP)
        write(rig.kafka, rig.settings.topic("events"), events(count, VOTERS, SEED, time.time_ns() // 1_000_000))
        ends = rig.ends()
        counters = Counters(rig, started)
        for worker in started:
            os.kill(worker.pid, signal.SIGCONT)
        await_all(rig, started, ends)
        measured = counters.measured(count)
        for worker in started:
            worker.stop()
    return measured


def _await_parts(workers: Sequence[Worker]) -> None:
    """Wait until every worker works on some partition: ticks come in each, time and again."""
    end = time.monotonic() + START_SECONDS
    before = [0.0] * len(workers)
    while time.monotonic() < end:
        time.sleep(SETTLING_SECONDS)
        rows = [worker.metric("groundswell_events_total") for worker in workers]
        if all(now > then > 0 for now, then in zip(rows, before, strict=True)):
            return
        before = rows
        for worker in workers:
            worker.check()
    message = f"not every one of {len(workers)} workers has a partition after {START_SECONDS:g} s"
    raise BenchmarkError(message)


def of_workers(count: int, rounds: int) -> tuple[dict[float, list[Measured]], list[Row]]:
    """Let 1, 2 and 4 workers do a log, in turn; return what was measured, and result rows."""
    found: dict[float, list[Measured]] = {float(workers): [] for workers in WORKERS}
    for _ in range(rounds):
        for workers, measured in found.items():
            measured.append(work(count, int(workers)))
            print(f"{workers:.0f} workers: {measured[-1]}", flush=True)
    show(
        f"workers, median of {rounds} (range)",
        ("", "events/s", "workers, cores", "Kafka, cores", "Redis, cores", "CPU us an event"),
        [
            (
                f"{workers:.0f}",
                spread([one.rate for one in measured]),
                *(spread([one.cores[place] for one in measured], 2) for place in range(3)),
                spread([one.cpu_us for one in measured], 2),
            )
            for workers, measured in found.items()
        ],
    )
    return found, [speed_up(found[1.0], found[float(more)], more) for more in WORKERS[1:]]


def speed_up(one: Sequence[Measured], more: Sequence[Measured], workers: int, machine: int | None = None) -> Row:
    """Return the row of the speed-up by more workers, as if each had had as much CPU as the one had alone.

    The CPU left is what the machine has less what Kafka and Redis used beside them, at most ``workers`` times what one
    worker used; a speed-up by less CPU than that counts as so much more. It has a goal for two workers.
    """
    cores = machine or os.cpu_count() or 1
    gain = median(found.rate for found in more) / median(found.rate for found in one)
    alone = median(found.cores[0] for found in one)
    left = cores - median(sum(found.cores[1:]) for found in more)
    share = min(left / alone, workers) / workers
    measure_name = (
        f"speed-up by {workers} workers (x{gain:.2f}) of what CPU is left ({left:.2f} cores, x{alone:.2f} alone)"
    )
    if workers == 2:
        return judge(measure_name, gain / share, None, LEAST_SPEED_UP)
    return Row(measure_name, gain / share)


# --- voters, partitions, campaigns, models ------------------------------------------------------------------------


def everybody_and(voters: int, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield one event of each voter, in an order by chance, and then ``count`` uniform ones."""
    end_ms = time.time_ns() // 1_000_000
    early = str(np.datetime64(end_ms - 29 * 86_400_000, "ms"))
    for number in np.random.default_rng(SEED).permutation(voters).tolist():
        key = voter(number).encode()
        # Numbers beyond those of the others: none is a duplicate.
        yield key, event(900_000_000 + number, "social.like", key, early)
    yield from events(count, voters, SEED, end_ms)


def cost(voters: int, count: int, rounds: int, partitions: int = PARTITIONS, job: Job | None = None) -> list[Measured]:
    """Return what ``count`` events of so many voters, each of whom has a record, cost one worker."""
    found = []
    with Rig(f"scale-{uuid.uuid4().hex[:6]}", partitions, job) as rig:
        write(rig.kafka, rig.settings.topic("events"), everybody_and(voters, count))
        for _ in range(rounds):
            found.append(measure(rig, voters, count))
            print(f"{voters:,} voters, {partitions} partitions, {_size(rig.job)}: {found[-1]}", flush=True)
    return found


def _size(job: Job) -> str:
    return f"{len(job.models)} models, {len(job.campaigns)} campaigns"


def job_of(models: int, campaigns: int) -> Job:
    """Return a job of so many models of the same counts, and campaigns that watch them in turn and differ."""
    weights = [{Count(name, "7d"): weight + 0.1 * m for name, weight in WEIGHTS.items()} for m in range(models)]
    made = tuple(Model(f"activity-{m}", False, 0.0, of) for m, of in enumerate(weights))
    watched = (
        Campaign(f"active-{k}", f"activity-{k % models}", True, 8.0 + 4.0 * k, 7.0 + 4.0 * k) for k in range(campaigns)
    )
    return Job(made, tuple(watched))


def bearable(voters: Sequence[int]) -> list[int]:
    """Return the numbers of voters for which there is memory now; print which are left out."""
    free = _available_bytes()
    kept = [number for number in voters if number * VOTER_BYTES + SPARE_BYTES <= free]
    for number in set(voters) - set(kept):
        print(f"{number:,} voters are left out: {free / 1e9:.1f} GB are free", flush=True)
    return kept


def _available_bytes() -> int:
    lines_of = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines_of if line.startswith("MemAvailable"))


def growth(measured: Mapping[float, Sequence[Measured]]) -> Row:
    """Return the row of the dearest number of voters: its cost beside the fewest's, which may grow as the logarithm."""
    cpu = {number: median(one.cpu_us for one in of) for number, of in measured.items()}
    fewest = min(cpu)
    # The one that is furthest over what the logarithm allows, or nearest to it.
    worst = max((number for number in cpu if number > fewest), key=lambda number: cpu[number] / math.log(number))
    allowed = math.log(worst) / math.log(fewest)
    return judge(
        f"CPU us an event with {worst:,.0f} voters beside {fewest:,.0f}", cpu[worst], cpu[fewest], allowed, "less"
    )


def run(arguments: argparse.Namespace) -> tuple[list[Row], dict[str, dict[float, list[Measured]]]]:
    """Measure all that is asked for; return result rows, and by dimension what was measured."""
    count, rounds, few = arguments.events, arguments.rounds, min(VOTERS, arguments.events)
    rows: list[Row] = []
    found: dict[str, dict[float, list[Measured]]] = {}
    parts = arguments.parts.split(",")
    if "workers" in parts:
        found["workers"], rows = of_workers(arguments.worker_events, rounds)
    if "voters" in parts:
        found["voters"] = {float(n): cost(n, count, rounds) for n in bearable(arguments.voters or OF_VOTERS)}
        rows.append(growth(found["voters"]))
    if "partitions" in parts:
        found["partitions"] = {float(n): cost(few, count, rounds, n) for n in arguments.partitions or OF_PARTITIONS}
    if "campaigns" in parts:
        found["campaigns"] = {float(n): cost(few, count, rounds, job=job_of(1, n)) for n in OF_CAMPAIGNS}
    if "models" in parts:
        found["models"] = {float(n): cost(few, count, rounds, job=job_of(n, 6)) for n in OF_MODELS}
    for dimension in ("partitions", "campaigns", "models"):
        if of := found.get(dimension):
            cpu = {number: median(one.cpu_us for one in measured) for number, measured in of.items()}
            fewest, most = min(cpu), max(cpu)
            name = f"CPU us an event with {most:.0f} {dimension} beside {fewest:.0f}"
            rows.append(compare(name, cpu[most], cpu[fewest]))
    return rows, found


def report(found: Mapping[str, Mapping[float, Sequence[Measured]]]) -> None:
    """Print and draw what events cost by dimension."""
    for dimension, of in found.items():
        if dimension != "workers":
            show(
                f"cost by {dimension}, median (range)",
                (dimension, "events/s", "worker, CPU us an event", "Redis, CPU us an event"),
                [
                    (
                        f"{number:,.0f}",
                        spread([one.rate for one in measured]),
                        spread([one.cpu_us for one in measured], 2),
                        spread([one.redis_us for one in measured], 2),
                    )
                    for number, measured in of.items()
                ],
            )
    rooms = {
        (dimension, "CPU us an event"): {
            "worker": [(number, median(one.cpu_us for one in measured)) for number, measured in of.items()],
            "Redis": [(number, median(one.redis_us for one in measured)) for number, measured in of.items()],
        }
        for dimension, of in found.items()
    }
    lines(RESULTS / "scale.png", "what an event costs", rooms, log_x=True, log_y=False)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> int:
    """Run, print, write the results; return 1 if a goal was missed, 2 if there is nothing to compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=2_000_000, help="that are counted, by one worker")
    parser.add_argument("--worker-events", type=int, default=5_000_000, help="by 1, 2 and 4 workers")
    parser.add_argument("--parts", default="workers,voters,partitions,campaigns,models")
    parser.add_argument("--voters", type=_numbers, help="instead of 10,000 to 10,000,000")
    parser.add_argument("--partitions", type=_numbers, help="instead of 4 to 256")
    arguments = parser.parse_args()
    try:
        rows, found = run(arguments)
    except (BenchmarkError, GroundswellError, KafkaError) as error:
        print(f"no figures: {error}", file=sys.stderr)
        return 2
    report(found)
    show_rows(rows)
    print(write_rows("scale", rows))
    return 0 if all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
