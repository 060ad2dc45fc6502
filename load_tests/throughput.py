"""The same job by Groundswell, by a straight-line script and by a plain Faust agent: events a second, CPU, in one run.

``python -m load_tests.throughput`` prints tables and writes ``load_tests/results/bench.json``. Kafka and Redis are
those of GROUNDSWELL_TEST_KAFKA and GROUNDSWELL_TEST_REDIS; ``make bench`` starts both where they are not set.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import confluent_kafka
import orjson
from kafka.errors import KafkaError

from load_tests.report import Row, compare, judge, show, show_rows, spread, write
from load_tests.rig import PARTITIONS, BenchmarkError, Rig, Worker
from load_tests.workload import EVENTS_PER_VOTER, events
from stream.commands.topics import wanted
from stream.errors import GroundswellError

SEED: Final = 4
RUN_SECONDS: Final = 600.0
POLL_SECONDS: Final = 0.01
GROUNDSWELL: Final = "Groundswell, everything on"
SCRIPT: Final = "straight-line script"
QUIET_SCRIPT: Final = "script, garbage collected as seldom"
FAUST: Final = "plain Faust agent with a Table"


@dataclass(frozen=True, slots=True)
class Measured:
    """One contender in one round."""

    events: int
    triggers: int
    wall_seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.wall_seconds

    @property
    def cpu_us(self) -> float:
        """CPU microseconds an event."""
        return self.cpu_seconds / self.events * 1e6


def fill(bootstrap: str, topic: str, count: int, voters: int | None = None, seed: int = SEED) -> None:
    """Write ``count`` events of the workload, that end now, into a topic: of ``voters``, or as many as it has."""
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 50,
            "batch.size": 256 * 1024,
            "queue.buffering.max.messages": 1_000_000,
            "enable.idempotence": True,
        }
    )
    failed: list[str] = []

    def delivered(error: confluent_kafka.KafkaError | None, _: object) -> None:
        if error is not None:
            failed.append(str(error))

    end_ms = time.time_ns() // 1_000_000
    for number, (key, value) in enumerate(events(count, voters or count // EVENTS_PER_VOTER, seed, end_ms)):
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1000 == 0:
            producer.poll(0)
    producer.flush()
    if failed:
        message = f"{len(failed)} of {count} events were not written to {topic}, first: {failed[0]}"
        raise BenchmarkError(message)


class Bench:
    """One rig with its log, and each contender on it."""

    def __init__(self, rig: Rig, count: int, faust_count: int) -> None:
        """Take a rig whose topics exist."""
        self.rig = rig
        self.count = count
        self.faust_count = faust_count
        self.topic = rig.settings.topic("events")
        self.short_topic = f"{rig.namespace}.short"

    def prepare(self) -> None:
        """Write both logs: the long one, and the short one of the same density for those who are slow."""
        self.rig.create_topic(self.short_topic, wanted(self.rig.settings)["events"])
        fill(self.rig.kafka, self.topic, self.count)
        fill(self.rig.kafka, self.short_topic, self.faust_count)

    # --- contenders ------------------------------------------------------------------------------------

    def contend(self, name: str) -> Measured:
        """Let a contender do its job once."""
        if name in {SCRIPT, QUIET_SCRIPT}:
            return self.script(self.topic, self.count, quiet=name == QUIET_SCRIPT)
        return self.groundswell() if name == GROUNDSWELL else self.faust()

    def script(self, topic: str, count: int, *, quiet: bool = False) -> Measured:
        """Run the straight-line script over a topic."""
        rig = self.rig
        triggers = rig.settings.topic("triggers")
        words = (rig.kafka, rig.redis_url, f"{{{rig.namespace}:script}}:", topic, triggers)
        objects = [str(rig.settings.worker.garbage_objects)] if quiet else []
        return self._peer("straight_line", *words, str(count), *objects)

    def faust(self) -> Measured:
        """Run the plain Faust agent over the short log."""
        name = f"{self.rig.namespace}-faust-{uuid.uuid4().hex[:6]}"
        changelog = f"{name}-voters-changelog"
        self.rig.create_topic(changelog, {"cleanup.policy": "compact"})
        triggers = self.rig.settings.topic("triggers")
        words = (self.rig.kafka, name, self.short_topic, triggers, str(self.faust_count), str(PARTITIONS))
        return self._peer("faust_table", *words)

    def _peer(self, name: str, *arguments: str) -> Measured:
        command = [sys.executable, "-m", f"load_tests.peers.{name}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
        if done.returncode != 0:
            message = f"{name} ended with exit status {done.returncode}:\n{done.stderr[-2000:]}"
            raise BenchmarkError(message)
        measured = Measured(**orjson.loads(done.stdout.splitlines()[-1]))
        written = self.rig.count(self.rig.settings.topic("triggers"))
        if written != measured.triggers:
            message = f"{name} decided {measured.triggers} triggers, and {written} stand in the topic"
            raise BenchmarkError(message)
        return measured

    def groundswell(self) -> Measured:
        """Run a worker over the log, from its first batch until all is committed and every trigger stands in Kafka."""
        rig = self.rig
        ends = rig.ends()
        with rig.worker() as worker:
            wall, cpu = self._await_first(worker)
            self._await_all(worker, ends)
            wall, cpu = time.perf_counter() - wall, worker.cpu_seconds() - cpu
        headers = [header for header in rig.headers() if header is not None]
        folded = sum(header.totals["folded"] for header in headers)
        if folded != self.count:
            message = f"the worker folded {folded} events of {self.count}"
            raise BenchmarkError(message)
        triggers = sum(header.sequences["triggers"] for header in headers)
        written = rig.count(rig.settings.topic("triggers"))
        if written != triggers:
            message = f"the worker decided {triggers} triggers, and {written} stand in the topic"
            raise BenchmarkError(message)
        return Measured(self.count, triggers, wall, cpu)

    def _await_first(self, worker: Worker) -> tuple[float, float]:
        """Return wall and CPU time at the last moment when no event had been processed."""
        end = time.monotonic() + RUN_SECONDS
        before = time.perf_counter(), worker.cpu_seconds()
        while time.monotonic() < end:
            place = time.perf_counter(), worker.cpu_seconds()
            if worker.metric("groundswell_folded_total") > 0:
                return before
            before = place
            worker.check()
            time.sleep(POLL_SECONDS)
        message = f"the worker has processed nothing after {RUN_SECONDS} s"
        raise BenchmarkError(message)

    def _await_all(self, worker: Worker, ends: Sequence[int]) -> None:
        end = time.monotonic() + RUN_SECONDS
        while time.monotonic() < end:
            headers = self.rig.headers()
            reached = all(header and header.offset >= stop for header, stop in zip(headers, ends, strict=True))
            if reached and self.rig.unsent() == 0:
                return
            worker.check()
            time.sleep(POLL_SECONDS)
        message = f"the worker has not come to the end of the log after {RUN_SECONDS} s"
        raise BenchmarkError(message)


def run(count: int, faust_count: int, rounds: int) -> dict[str, list[Measured]]:
    """Run every contender ``rounds`` times, in turn; return what was measured by contender."""
    measured: dict[str, list[Measured]] = {SCRIPT: [], GROUNDSWELL: [], QUIET_SCRIPT: [], FAUST: []}
    with Rig(f"bench-{uuid.uuid4().hex[:6]}") as rig:
        bench = Bench(rig, count, faust_count)
        print(f"writing {count:,} events and, for the Faust agent, {faust_count:,}", flush=True)
        bench.prepare()
        expected = bench.script(bench.short_topic, faust_count).triggers
        for number in range(1, rounds + 1):
            for name, rounds_of in measured.items():
                rig.wipe()
                found = bench.contend(name)
                rounds_of.append(found)
                print(
                    f"round {number}: {name}: {found.rate:,.0f} events/s, {found.cpu_us:.2f} us of CPU an event, "
                    f"{found.triggers:,} triggers of {found.events:,} events",
                    flush=True,
                )
        agree("the long log", [found.triggers for name in measured if name != FAUST for found in measured[name]])
        agree("the short log", [expected, *(found.triggers for found in measured[FAUST])])
    return measured


def agree(log: str, triggers: Sequence[int]) -> None:
    """Raise BenchmarkError unless every run over the same log decided the same number of triggers."""
    if len(set(triggers)) != 1:
        message = f"the runs over {log} decided different numbers of triggers: {list(triggers)}"
        raise BenchmarkError(message)


def report(measured: dict[str, list[Measured]]) -> list[Row]:
    """Print what each contender did, and return the result rows."""
    show(
        f"median of {len(measured[SCRIPT])} rounds (range)",
        ("", "events", "events/s", "wall seconds", "CPU seconds", "CPU us an event", "triggers"),
        [
            (
                name,
                f"{found[0].events:,}",
                spread([one.rate for one in found]),
                spread([one.wall_seconds for one in found], 2),
                spread([one.cpu_seconds for one in found], 2),
                spread([one.cpu_us for one in found], 2),
                f"{found[0].triggers:,}",
            )
            for name, found in measured.items()
        ],
    )
    rate = {name: median(one.rate for one in found) for name, found in measured.items()}
    cpu = {name: median(one.cpu_us for one in found) for name, found in measured.items()}
    return [
        judge("events/s beside a straight-line script", rate[GROUNDSWELL], rate[SCRIPT], 0.7),
        judge("events/s beside a plain Faust agent with a Table", rate[GROUNDSWELL], rate[FAUST], 20.0),
        compare(f"events/s beside {QUIET_SCRIPT}", rate[GROUNDSWELL], rate[QUIET_SCRIPT]),
        compare("CPU us an event beside a straight-line script", cpu[GROUNDSWELL], cpu[SCRIPT]),
        compare("CPU us an event beside a plain Faust agent with a Table", cpu[GROUNDSWELL], cpu[FAUST]),
    ]


def main() -> int:
    """Run, print, write the results; return 1 if a goal was missed, 2 if there is nothing to compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=1_000_000, help="in the log of the worker and of the script")
    parser.add_argument("--faust-events", type=int, default=50_000, help="in the log of the plain Faust agent")
    arguments = parser.parse_args()
    try:
        rows = report(run(arguments.events, arguments.faust_events, arguments.rounds))
    except (BenchmarkError, GroundswellError, KafkaError) as error:
        print(f"no figures: {error}", file=sys.stderr)
        return 2
    show_rows(rows)
    print(write("bench", rows))
    return 0 if all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
