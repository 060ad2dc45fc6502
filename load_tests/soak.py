"""The soak: one worker for hours at half of what the machine bears, with skewed voters; its memory, p99 and backlog.

``python -m load_tests.soak --hours 1`` writes ``soak.csv``, ``soak.png`` and ``soak.json`` in ``load_tests/results``.
Kafka and Redis are those of GROUNDSWELL_TEST_KAFKA and GROUNDSWELL_TEST_REDIS; ``make soak`` starts both where they are
not set. The exit status is 0 only if memory was flat, the backlog did not grow, and nothing was lost, applied twice,
missing, doubled or altered.

First every voter acts once, so that neither the worker's table nor Redis grows from there; how fast that went is what
the machine bears, publisher, broker and checker on it too. The outside checker goes along and decides every event of
the checked partitions anew; of all partitions it is counted that each event was applied once.
"""

from __future__ import annotations

import argparse
import math
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import confluent_kafka
import orjson
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from load_tests.checker import Findings
from load_tests.checker import report as checked
from load_tests.deployment import Content, Deployment, WorkerProcess, wait_until
from load_tests.follower import Follower
from load_tests.processes import cpu_seconds
from load_tests.publisher import Publisher, Writing
from load_tests.report import RESULTS, Row, show_rows, write
from load_tests.rig import addresses
from load_tests.series import LEAST_SECONDS, Recorder, Sample, draw, judged, overview, percentile
from load_tests.workload import Skewed

PARTITIONS: Final = 16
VOTERS: Final = 50_000
VOTERS_IN_MEMORY: Final = 10_000
"""Fewer than there are: voters are dropped and loaded again all the time."""
CALIBRATION_EVENTS: Final = 1_000_000
SAMPLE_SECONDS: Final = 10.0
DECIDED_A_SECOND: Final = 1000.0 * (os.cpu_count() or 1)
"""Events that the outside checker decides anew with a fifth of the machine; beyond these only those of some partitions.

At least one partition is decided in any case."""
LOG_SECONDS: Final = 7200.0
"""For so long events are kept: so far the checker may be behind."""
LOG_BYTES: Final = 8e9
"""Or less long, where this much disk would not do."""
_EVENT_BYTES: Final = 100.0
"""Of disk; 75 were seen."""
_SEED: Final = 11
_DRAIN_SECONDS: Final = 120.0
_FINISH_SECONDS: Final = 120.0


def contents() -> list[Content]:
    """Return models and campaigns whose triggers go on for ever at real time: by pauses, and by counts that decay.

    Of three lengths of pauses some are met at any rate.
    """
    models = {
        "pause": {"hours_since_last_seen": 3600.0},
        "mood": {"social.like.decayed_1d": 0.5, "social.share.decayed_7d": 1.0, "sessions": 0.1},
    }
    campaigns = {
        "back": ("pause", 216.0, 72.0, "1s"),
        "again": ("pause", 22.0, 7.0, "60s"),
        "on": ("pause", 2.2, 0.7, "60s"),
        "keen": ("mood", 3.0, 2.5, "1s"),
    }
    found = [
        Content("model", name, orjson.dumps({"name": name, "kind": "linear", "bias": 0.0, "weights": weights}))
        for name, weights in models.items()
    ]
    for name, (model, threshold, rearm, cooldown) in campaigns.items():
        lines = (f'name = "{name}"', f'model = "{model}"', 'direction = "up"', f"threshold = {threshold}")
        text = "\n".join((*lines, f"rearm = {rearm}", f'cooldown = "{cooldown}"'))
        found.append(Content("campaign", name, text.encode()))
    return found


class Subscriber:
    """An outside subscriber of all triggers: how late each is, and that each partition's come in sequence."""

    def __init__(self, deployment: Deployment) -> None:
        """Begin to read; every trigger from the first on."""
        self.findings = Findings()
        self.read = 0
        self._late_ms: list[float] = []
        self._last = dict.fromkeys(range(deployment.partitions), 0)
        self._stop = threading.Event()
        self._consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": deployment.bootstrap, "group.id": "soak", "enable.auto.commit": False}
        )
        topic, begin = deployment.topic("triggers"), confluent_kafka.OFFSET_BEGINNING
        self._consumer.assign(
            [confluent_kafka.TopicPartition(topic, number, begin) for number in range(deployment.partitions)]
        )
        self._thread = threading.Thread(target=self._run, name="subscriber", daemon=True)
        self._thread.start()

    def take(self) -> list[float]:
        """Return by how many ms each trigger was behind its event's append, of those since the last call."""
        late, self._late_ms = self._late_ms, []
        return late

    def stop(self) -> None:
        """End the reading."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            messages = self._consumer.consume(1000, 0.1)
            now_ms = time.time() * 1000
            for message in messages:
                if message.error() is None:
                    self._take(message, now_ms)

    def _take(self, message: Any, now_ms: float) -> None:
        data = orjson.loads(message.value())["data"]
        number, due = int(data["sequence"]), self._last[message.partition()] + 1
        where = f"sequence {number} in partition {message.partition()}, expected {due}"
        if number < due:
            self.findings.note("triggers_doubled", where)
        elif number > due:
            self.findings.note("triggers_missing", where, number - due)
        self._last[message.partition()] = max(number, due - 1)
        self._late_ms.append(now_ms - data["log_time_ms"])
        self.read += 1


class Gauges:
    """What can be seen of a running deployment from outside."""

    def __init__(self, deployment: Deployment, worker: WorkerProcess, publisher: Publisher, reader: Subscriber) -> None:
        """Take what is running."""
        self._deployment, self._worker, self._publisher, self._reader = deployment, worker, publisher, reader
        self._redis: Any = deployment.keys()
        self._log = KafkaConsumer(bootstrap_servers=deployment.bootstrap, isolation_level="read_committed")
        topic = deployment.topic("events")
        self._where = [TopicPartition(topic, number) for number in range(deployment.partitions)]
        self.begun = time.monotonic()
        self._cpu = cpu_seconds(self._pid()), self.begun
        reader.take()

    def sample(self) -> Sample:
        """Look at everything once."""
        seconds = time.monotonic() - self.begun
        memory, cpu, late = self._memory_mb(), self._cores(), self._reader.take()
        return Sample(
            seconds=seconds,
            rss_mb=memory["VmRSS"],
            anonymous_mb=memory["RssAnon"],
            redis_mb=self._redis.info("memory")["used_memory"] / 1e6,
            voters=self._redis.dbsize(),
            sent=self._publisher.sent,
            triggers=len(late),
            p50_ms=percentile(late, 0.5),
            p99_ms=percentile(late, 0.99),
            most_ms=max(late, default=math.nan),
            backlog_events=self._backlog(),
            unsent=sum(self._deployment.unsent(number) for number in range(self._deployment.partitions)),
            cpu=cpu,
        )

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()
        self._log.close()

    def _backlog(self) -> int:
        ends = self._log.end_offsets(self._where)
        headers = {tp: self._deployment.header(tp.partition) for tp in self._where}
        return sum(max(ends[tp] - int((header or {"offset": 0})["offset"]), 0) for tp, header in headers.items())

    def _memory_mb(self) -> dict[str, float]:
        status = Path(f"/proc/{self._pid()}/status").read_text().splitlines()
        lines = (line.split() for line in status if line.startswith(("VmRSS", "RssAnon")))
        return {words[0].rstrip(":"): int(words[1]) * 1024 / 1e6 for words in lines}

    def _cores(self) -> float:
        (before, since), now = self._cpu, time.monotonic()
        self._cpu = cpu_seconds(self._pid()), now
        return (self._cpu[0] - before) / max(now - since, 1e-9)

    def _pid(self) -> int:
        assert self._worker.process is not None  # noqa: S101 (it was started)
        return self._worker.process.pid


@dataclass(frozen=True)
class Plan:
    """What a soak is to do."""

    hours: float
    rate: float | None
    """Events a second; None: half of what the calibration gives."""
    voters: int
    name: str
    """Of the files in ``load_tests/results``."""
    environment: dict[str, str]
    """Of the worker, beside what every worker here has."""


class Soak:
    """One soak in a namespace of its own."""

    def __init__(self, deployment: Deployment, directory: Path, plan: Plan) -> None:
        """Take a deployment whose topics do not exist yet."""
        self.deployment, self.plan = deployment, plan
        settings = {"GROUNDSWELL_WORKER__VOTERS_IN_MEMORY": str(VOTERS_IN_MEMORY), **plan.environment}
        self.worker = WorkerProcess(deployment, directory, "worker", settings)
        self.rows: list[Row] = []
        self.findings = Findings()

    def run(self) -> None:
        """Do it all; what was started has ended when it returns."""
        deployment = self.deployment
        deployment.create()
        deployment.activate(contents())
        reader = Subscriber(deployment)
        try:
            self.worker.start()
            wait_until("the worker becomes ready", self.worker.is_ready, 180)
            workload = Skewed(_SEED, self.plan.voters)
            count = decided(self.plan.rate)
            follower = Follower(deployment, range(count))
            follower.start()
            before, bears = self._calibrate(workload)
            rate = self.plan.rate or bears / 2
            configure(deployment.bootstrap, deployment.topic("events"), retention(rate))
            say(f"{rate:,.0f} events/s for {self.plan.hours:g} h; decided anew: {count} of {PARTITIONS} partitions")
            publisher = Publisher(deployment.bootstrap, deployment.topic("events"), workload, rate)
            samples = self._load(publisher, follower, reader)
            wait_until("everything is committed and sent", deployment.is_drained, _DRAIN_SECONDS, 0.5)
            status, _ = self.worker.end(signal.SIGTERM, 30)
            if status != 0:
                message = f"the worker ended with status {status} when it was asked to stop"
                raise RuntimeError(message)
            self.findings.add(follower.finish(_FINISH_SECONDS))
            self._account(before + publisher.sent)
        finally:
            self.worker.kill()
            reader.stop()
        self.findings.add(reader.findings)
        self._judge(samples, rate, bears)

    def _calibrate(self, workload: Skewed) -> tuple[int, float]:
        """Let every voter act once, then some often; return how many events that was, and how many a second."""
        wanted = workload.voters if self.plan.rate else max(CALIBRATION_EVENTS, workload.voters)
        writing = Writing(self.deployment.bootstrap, self.deployment.topic("events"))
        begun, now_ms = time.monotonic(), time.time_ns() // 1_000_000
        for count, (key, value) in enumerate(
            [*workload.everybody(now_ms), *workload.at(now_ms, wanted - workload.voters)]
        ):
            writing.send(key, value)
            if count % 1000 == 0:
                writing.serve()
        writing.finish()
        wait_until("the first events are committed", lambda: self._counted() >= wanted, _DRAIN_SECONDS, 0.05)
        bears = wanted / (time.monotonic() - begun)
        say(f"the first {wanted:,} events went through at {bears:,.0f} events/s")
        return wanted, bears

    def _load(self, publisher: Publisher, follower: Follower, reader: Subscriber) -> list[Sample]:
        """Publish for as long as planned, and look every few seconds."""
        samples: list[Sample] = []
        recorder = Recorder(RESULTS / f"{self.plan.name}.csv")
        publisher.start()
        gauges = Gauges(self.deployment, self.worker, publisher, reader)
        end = gauges.begun + self.plan.hours * 3600
        try:
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(left, SAMPLE_SECONDS))
                self._check()
                publisher.check()
                follower.check()
                samples.append(gauges.sample())
                recorder.add(samples[-1])
        finally:
            publisher.finish()
            gauges.close()
            recorder.close()
        return samples

    def _check(self) -> None:
        if self.worker.status is not None:
            message = f"the worker ended by itself with status {self.worker.status}:\n{self.worker.log[-2000:]}"
            raise RuntimeError(message)

    def _counted(self) -> int:
        """Return how many events all headers count: each is applied, dropped as a duplicate, or rejected."""
        kinds = ("folded", "duplicates", "suppressed", "rejected")
        headers = [self.deployment.header(number) or {"totals": {}} for number in range(PARTITIONS)]
        return sum(header["totals"].get(kind, 0) for header in headers for kind in kinds)

    def _account(self, sent: int) -> None:
        """Hold what all headers count against what was published."""
        found = self._counted()
        if found != sent:
            kind = "events_lost" if found < sent else "events_applied_twice"
            self.findings.note(kind, f"{sent} events were published, the headers count {found}", abs(found - sent))

    def _judge(self, samples: Sequence[Sample], rate: float, bears: float) -> None:
        name, path = self.plan.name, RESULTS / f"{self.plan.name}.png"
        real = samples[-1].sent / samples[-1].seconds
        title = f"{name}: {self.plan.hours:g} h at {real:,.0f} events/s, {self.plan.voters:,} voters, Zipf 1.1"
        draw(samples, path, title)
        overview(samples)
        self.rows = [Row("events a second, published", real, rate, real / rate, 0.95, real >= 0.95 * rate)]
        self.rows.append(Row("events a second in the calibration", bears))
        if samples[-1].seconds > LEAST_SECONDS:
            self.rows += judged(samples)
        else:
            say(f"memory and backlog are judged only in a run of more than {LEAST_SECONDS / 60:g} minutes")
        wrong = sum(self.findings.wrong.values())
        self.rows.append(Row("events and triggers lost, doubled, missing or altered", wrong, goal=0, holds=wrong == 0))
        show_rows(self.rows)
        say(checked(self.findings))
        say(f"{write(name, self.rows)}  {path}")


def decided(rate: float | None) -> int:
    """Return of how many partitions the outside checker decides the events anew, at so many events a second."""
    return 1 if rate is None else min(PARTITIONS, max(1, int(DECIDED_A_SECOND * PARTITIONS / rate)))


def retention(rate: float) -> dict[str, str]:
    """Return the configuration of a log of ``rate`` events a second that keeps the disk bounded.

    By time alone: a worker does not start where size bounds a log.
    """
    seconds = min(LOG_SECONDS, LOG_BYTES / (rate * _EVENT_BYTES))
    return {"retention.ms": str(int(seconds * 1000)), "segment.ms": "300000"}


def configure(bootstrap: str, topic: str, configuration: dict[str, str]) -> None:
    """Set a topic's configuration as an operator would; what is not named stays."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=configuration)])
    admin.close()


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--rate", type=float, help="events a second; otherwise half of what the machine bears")
    parser.add_argument("--voters", type=int, default=VOTERS)
    parser.add_argument("--name", default="soak", help="of the files in load_tests/results")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of the worker's environment")
    given = parser.parse_args()
    bootstrap, redis_url = addresses()
    # Ended by a signal, the worker is taken along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    environment = dict(pair.split("=", 1) for pair in given.set)
    deployment = Deployment(f"soak-{secrets.token_hex(4)}", bootstrap, redis_url, PARTITIONS)
    directory = Path(tempfile.mkdtemp(prefix="groundswell-soak-"))
    say(f"namespace {deployment.namespace}, the worker's log in {directory}")
    soak = Soak(deployment, directory, Plan(given.hours, given.rate, given.voters, given.name, environment))
    soak.run()
    deployment.delete()
    if any(row.holds is False for row in soak.rows):
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
