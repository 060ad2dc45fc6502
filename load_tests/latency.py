"""From event to trigger in an open loop, as a subscriber at confluent-kafka's default settings sees it, beside others.

``python -m load_tests.latency`` prints tables and writes ``load_tests/results/latency.json`` and ``latency.png``.
Rates are shares of the highest one that ``make bench`` found, and some fixed ones. Time counts from when an event was
meant to be sent (see ``load_tests.pacing``). Beside Groundswell stand a bare consume-produce (``peers.echo``) and Kafka
Streams exactly_once_v2 with commit intervals of 100 and 10 ms. The subscriber's default isolation is read_committed,
without which Kafka Streams promises nothing.
"""

from __future__ import annotations

import argparse
import math
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Final

import confluent_kafka
import orjson
from kafka.errors import KafkaError

from load_tests.contenders import write_job
from load_tests.filling import write as write_events
from load_tests.job import activity, activity_document
from load_tests.pacing import MARK, MARKED_EVERY, Plan, Publisher, marked_weights
from load_tests.peers.environment import streams, streams_arguments
from load_tests.plots import lines
from load_tests.report import RESULTS, Row, judge, show, show_rows, write
from load_tests.rig import PARTITIONS, BenchmarkError, Rig
from load_tests.series import percentile
from load_tests.workload import event
from stream.errors import GroundswellError

GROUNDSWELL: Final = "Groundswell"
ECHO: Final = "bare consume-produce"
STREAMS_MS: Final = {"Kafka Streams, commits 100 ms apart": 100, "Kafka Streams, commits 10 ms apart": 10}
CONTENDERS: Final = (ECHO, GROUNDSWELL, *STREAMS_MS)
SHARES: Final = (0.2, 0.5, 0.8)
FIXED: Final = (50_000.0, 150_000.0)
MOST_OF_ECHO: Final = 2.0
WARM_SECONDS: Final = 5.0
"""At the beginning of each run, not counted."""
START_SECONDS: Final = 120.0
PATIENCE_SECONDS: Final = 15.0
"""After the last event, for its trigger; what has not come by then is counted as never."""
LATE_MS: Final = 5.0
_SHOWN: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
_NUMBER: Final = re.compile(rb'"e-(\d{9,})"')
_FIRST_WARMING: Final = 10**11


@dataclass(frozen=True, slots=True)
class Measured:
    """One contender at one rate, in ms."""

    percentiles: Mapping[str, float]
    """By the names of _SHOWN; infinite where so many triggers never came."""
    triggers: int
    missing: int
    """Triggers that did not come."""
    late_ms: float
    """By how much the publisher sent too late, 99 % of the time at most."""
    rate: float
    """Events a second that were sent."""


class Subscriber:
    """A subscriber to the triggers that sets its group, and nothing else."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        """Subscribe."""
        settings = {"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
        self._consumer = confluent_kafka.Consumer(settings)
        self._consumer.subscribe([topic])
        self.seen: dict[int, int] = {}
        """By number of the causing event, when its trigger was first in hand (monotonic, ns)."""

    def serve(self, seconds: float) -> None:
        """Take what comes for a time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            message = self._consumer.poll(left)
            if message is None or message.error() is not None:
                continue
            now = time.monotonic_ns()
            if found := _NUMBER.search(message.value() or b""):
                self.seen.setdefault(int(found[1]), now)

    def close(self) -> None:
        """Leave."""
        self._consumer.close()


@contextmanager
def running(name: str, rig: Rig) -> Iterator[None]:
    """Run a contender for the block."""
    topic, triggers = rig.settings.topic("events"), rig.settings.topic("triggers")
    if name == GROUNDSWELL:
        with rig.worker():
            yield
        return
    group = f"{rig.namespace}-peer"
    if name == ECHO:
        command = [sys.executable, "-m", "load_tests.peers.echo", rig.kafka, group, topic, triggers]
    else:
        write_job(rig, rig.directory, activity_document(marked_weights()))
        words = streams_arguments(rig.kafka, group, topic, triggers, 0, rig.directory, STREAMS_MS[name])
        command = [*streams(), *words]
    with (rig.directory / "peer.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield
            if process.poll() is not None:
                message = f"{name} ended by itself with status {process.returncode}"
                raise BenchmarkError(message)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
    rig.drop_topics(group)


def await_life(rig: Rig, subscriber: Subscriber) -> None:
    """Send marks of voters of their own until a trigger comes of one from each partition's worth of them."""
    topic = rig.settings.topic("events")
    end = time.monotonic() + START_SECONDS
    number = _FIRST_WARMING
    while len(subscriber.seen) < 4 * PARTITIONS:
        if time.monotonic() > end:
            message = f"no trigger came within {START_SECONDS:g} s"
            raise BenchmarkError(message)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        keys = [b"warming-%d" % one for one in range(number, number + 2 * PARTITIONS)]
        write_events(rig.kafka, topic, ((key, event(number + at, MARK, key, moment)) for at, key in enumerate(keys)))
        number += len(keys)
        subscriber.serve(0.5)


def measure(name: str, rate: float, seconds: float) -> Measured:
    """Run one contender at one rate, on topics of its own."""
    with Rig(f"latency-{uuid.uuid4().hex[:6]}", PARTITIONS, activity(marked_weights())) as rig:
        plan = Plan(rig.kafka, rig.settings.topic("events"), rate, WARM_SECONDS + seconds)
        publisher = Publisher(plan)
        subscriber = Subscriber(rig.kafka, rig.settings.topic("triggers"))
        try:
            with running(name, rig):
                await_life(rig, subscriber)
                warmed = len(subscriber.seen)
                publisher.start()
                while not publisher.is_done:
                    subscriber.serve(0.5)
                publisher.finish()
                end = time.monotonic() + PATIENCE_SECONDS
                while len(subscriber.seen) < plan.marks + warmed and time.monotonic() < end:
                    subscriber.serve(0.2)
        finally:
            publisher.kill()
            subscriber.close()
    return judged(publisher, subscriber.seen, rate)


def judged(publisher: Publisher, seen: Mapping[int, int], rate: float) -> Measured:
    """Return the percentiles of all marks after the warming; a trigger that never came took for ever."""
    plan = publisher.plan
    first = math.ceil(WARM_SECONDS * rate / MARKED_EVERY) * MARKED_EVERY
    marks = range(first, plan.count, MARKED_EVERY)
    waits = [(seen[number] - publisher.intended_ns(number)) / 1e6 if number in seen else math.inf for number in marks]
    late = percentile([0.0, *publisher.late_seconds()], 0.99) * 1000
    missing = sum(math.isinf(wait) for wait in waits)
    found = {shown: percentile(waits, share) for shown, share in _SHOWN.items()}
    return Measured(found, len(waits), missing, late, plan.count / plan.seconds)


def run(
    rates: Sequence[float], contenders: Sequence[str], rounds: int, seconds: float
) -> dict[float, dict[str, list[Measured]]]:
    """Run every contender at every rate ``rounds`` times, in turn."""
    found: dict[float, dict[str, list[Measured]]] = {rate: {name: [] for name in contenders} for rate in rates}
    for number in range(1, rounds + 1):
        for rate, of in found.items():
            for name, measured in of.items():
                one = measure(name, rate, seconds)
                measured.append(one)
                times = ", ".join(f"{shown} {ms:.1f}" for shown, ms in one.percentiles.items())
                print(
                    f"round {number}, {rate:,.0f}/s: {name}: {times} ms of {one.triggers:,} triggers"
                    f"{f', {one.missing:,} never came' if one.missing else ''}; sent {one.late_ms:.1f} ms late (p99)",
                    flush=True,
                )
    return found


def rows_of(found: Mapping[float, Mapping[str, Sequence[Measured]]]) -> list[Row]:
    """Return the result rows: Groundswell's percentiles, its p99 beside the echo's (with a goal) and Kafka Streams'."""
    rows: list[Row] = []
    for rate, of in found.items():
        ours = of[GROUNDSWELL]
        late = max(one.late_ms for measured in of.values() for one in measured)
        at = f"at {rate:,.0f} events/s" + (f" (sent up to {late:,.0f} ms late)" if late > LATE_MS else "")
        rows += [Row(f"{shown} {at}, ms", _middle(ours, shown)) for shown in _SHOWN]
        p99 = _middle(ours, "p99")
        for name, measured in of.items():
            if name == GROUNDSWELL:
                continue
            theirs = _middle(measured, "p99")
            measure_name = f"p99 {at}, ms, beside {name}"
            if math.isinf(p99) or math.isinf(theirs):
                # Who fell behind has no p99; whoever did not is below it.
                rows.append(Row(measure_name, p99, theirs, holds=not math.isinf(p99)))
            elif name == ECHO and rate not in FIXED:
                rows.append(Row(measure_name, p99, theirs, p99 / theirs))
            else:
                rows.append(judge(measure_name, p99, theirs, MOST_OF_ECHO if name == ECHO else 1.0, "less"))
    return rows


def _middle(measured: Sequence[Measured], shown: str) -> float:
    return median(one.percentiles[shown] for one in measured)


def report(found: Mapping[float, Mapping[str, Sequence[Measured]]], rounds: int) -> list[Row]:
    """Print and draw what was found, and return the result rows."""
    for rate, of in found.items():
        show(
            f"{rate:,.0f} events/s: event to trigger, ms, median of {rounds}",
            ("", *_SHOWN, "triggers", "never came", "sent late, p99"),
            [
                (
                    name,
                    *(f"{_middle(measured, shown):.1f}" for shown in _SHOWN),
                    f"{measured[0].triggers:,}",
                    f"{max(one.missing for one in measured):,}",
                    f"{max(one.late_ms for one in measured):.1f}",
                )
                for name, measured in of.items()
            ],
        )
    names = list(next(iter(found.values())))
    rooms = {
        ("events a second", f"{shown}, ms"): {
            name: [(rate, ms) for rate, of in found.items() if not math.isinf(ms := _middle(of[name], shown))]
            for name in names
        }
        for shown in _SHOWN
    }
    lines(
        RESULTS / "latency.png", "event to trigger, from the intended time of sending", rooms, log_x=False, log_y=True
    )
    return rows_of(found)


def highest_rate() -> float | None:
    """Return Groundswell's rate over uniform traffic in the last result of ``make bench``; None where there is none."""
    path = RESULTS / "bench.json"
    if not path.exists():
        return None
    rows = orjson.loads(path.read_bytes())
    return next((float(row["ours"]) for row in rows if row["measure"].startswith("uniform: events/s")), None)


def main() -> int:
    """Run, print, write the results; return 1 if a goal was missed, 2 if there is nothing to compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=25.0, help="of each run, after its warming")
    parser.add_argument("--highest", type=float, help="events/s that the shares are of; else that of the last bench")
    parser.add_argument("--rates", help="events/s, instead of all others")
    parser.add_argument("--contenders", metavar="WORDS", help="only those with one of these words in their names")
    arguments = parser.parse_args()
    highest = arguments.highest or highest_rate()
    if highest is None and arguments.rates is None:
        sys.exit("no highest rate: run `make bench` before, or give --highest or --rates")
    shares = [] if highest is None else [round(share * highest, -3) for share in SHARES]
    rates = [float(rate) for rate in arguments.rates.split(",")] if arguments.rates else sorted({*shares, *FIXED})
    words = arguments.contenders.lower().split(",") if arguments.contenders else [""]
    names = [name for name in CONTENDERS if name == GROUNDSWELL or any(word in name.lower() for word in words)]
    try:
        rows = report(run(rates, names, arguments.rounds, arguments.seconds), arguments.rounds)
    except (BenchmarkError, GroundswellError, KafkaError, OSError) as error:
        print(f"no figures: {error}", file=sys.stderr)
        return 2
    show_rows(rows)
    print(write("latency", rows))
    return 0 if all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
