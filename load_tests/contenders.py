"""Who does the benchmarks' jobs, and how each is let do it once: over a log, checked by the triggers that it wrote."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson

from load_tests.job import activity_document
from load_tests.peers.environment import peers_python, streams, streams_arguments
from load_tests.rig import PARTITIONS, WORKER, BenchmarkError, Rig, Worker

RUN_SECONDS: Final = 900.0
POLL_SECONDS: Final = 0.05
GROUNDSWELL: Final = "Groundswell"
REFERENCE: Final = "Groundswell --reference"
SCRIPT: Final = "straight-line script"
QUIET_SCRIPT: Final = "script, garbage collected as seldom"
FAUST: Final = "plain Faust agent with a Table"
QUIX: Final = "quixstreams exactly-once"
STREAMS: Final = "Kafka Streams exactly_once_v2"
WAX: Final = "bytewax, at least once"
SLOW: Final = (QUIX, WAX)
"""Who runs a fifth of the log, of the same density; the Faust agent runs a hundredth."""


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


@dataclass(frozen=True, slots=True)
class Log:
    """A topic and how many events it holds, control records not counted."""

    topic: str
    count: int


@cache
def reference_command() -> tuple[str, ...] | None:
    """Return the command of a worker without its fast path; None where the worker has but one."""
    said = subprocess.run([*WORKER, "--help"], capture_output=True, text=True, check=True).stdout
    return (*WORKER, "--reference") if "--reference" in said else None


class Bench:
    """One rig, and each contender on it."""

    def __init__(self, rig: Rig) -> None:
        """Take a rig whose topics exist."""
        self.rig = rig
        self.is_campaign = len(rig.job.campaigns) > 1
        self.triggers = rig.settings.topic("triggers")

    def contend(self, name: str, log: Log) -> Measured:
        """Let a contender do its job once, from where everything was before."""
        self.rig.wipe()
        if name in {GROUNDSWELL, REFERENCE}:
            return self.groundswell(log, (reference_command() or WORKER) if name == REFERENCE else WORKER)
        if name == STREAMS:
            return self._streams(log)
        if name in SLOW:
            return self._slow(name, log)
        return self._faust(log) if name == FAUST else self.script(log, quiet=name == QUIET_SCRIPT)

    def script(self, log: Log, *, quiet: bool = False) -> Measured:
        """Run the straight-line script over a log."""
        rig = self.rig
        module = "straight_campaign" if self.is_campaign else "straight_line"
        words = [rig.kafka, rig.redis_url, f"{{{rig.namespace}:script}}:", log.topic, self.triggers, str(log.count)]
        if quiet:
            words.append(str(rig.settings.worker.garbage_objects))
        return self._peer([sys.executable, "-m", f"load_tests.peers.{module}", *words])

    def _faust(self, log: Log) -> Measured:
        rig = self.rig
        name = self._name("faust")
        rig.create_topic(f"{name}-voters-changelog", {"cleanup.policy": "compact"})
        words = (rig.kafka, name, log.topic, self.triggers, str(log.count), str(PARTITIONS))
        return self._peer([sys.executable, "-m", "load_tests.peers.faust_table", *words])

    def _slow(self, name: str, log: Log) -> Measured:
        with tempfile.TemporaryDirectory(prefix="groundswell-peer-") as directory:
            words = [self.rig.kafka, log.topic, self.triggers, directory]
            if name == QUIX:
                words = [self.rig.kafka, self._name("quix"), *words[1:3], str(log.count), directory]
            module = "quix" if name == QUIX else "wax"
            return self._peer([peers_python(), "-m", f"load_tests.peers.{module}", *words])

    def _streams(self, log: Log) -> Measured:
        with tempfile.TemporaryDirectory(prefix="groundswell-peer-") as directory:
            write_job(self.rig, Path(directory))
            name = self._name("streams")
            words = streams_arguments(self.rig.kafka, name, log.topic, self.triggers, log.count, Path(directory))
            return self._peer([*streams(), *words])

    def _name(self, kind: str) -> str:
        return f"{self.rig.namespace}-peer-{kind}-{uuid.uuid4().hex[:6]}"

    def _peer(self, command: Sequence[str]) -> Measured:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
        what = " ".join(command[1:4])
        if done.returncode != 0:
            message = f"{what} ended with exit status {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            raise BenchmarkError(message)
        measured = Measured(**orjson.loads(done.stdout.splitlines()[-1]))
        written = self.rig.count(self.triggers)
        if written != measured.triggers:
            message = f"{what} decided {measured.triggers} triggers, and {written} stand in the topic"
            raise BenchmarkError(message)
        # What it made for itself is of no more use, and large.
        self.rig.drop_topics(f"{self.rig.namespace}-peer-")
        return measured

    # --- Groundswell -----------------------------------------------------------------------------------

    def groundswell(self, log: Log, command: Sequence[str] = WORKER) -> Measured:
        """Run a worker over the log, from its first batch until all is committed and every trigger stands in Kafka."""
        rig = self.rig
        ends = rig.ends()
        with rig.worker(command=command) as worker:
            wall, cpu = await_first(worker)
            await_all(rig, worker, ends)
            wall, cpu = time.perf_counter() - wall, worker.cpu_seconds() - cpu
        headers = [header for header in rig.headers() if header is not None]
        seen = sum(header.totals["rows"] for header in headers)
        # The rows that are no events are control records: few, and no fewer than the activation in each partition.
        if not log.count < seen <= log.count * 1.01 + 1000:
            message = f"the worker saw {seen} rows of a log of {log.count} events"
            raise BenchmarkError(message)
        triggers = sum(header.sequences["triggers"] for header in headers)
        written = rig.count(self.triggers)
        if written != triggers:
            message = f"the worker decided {triggers} triggers, and {written} stand in the topic"
            raise BenchmarkError(message)
        rejected = sum(header.totals["rejected"] for header in headers)
        if rejected:
            message = f"the worker rejected {rejected} events of {log.count}"
            raise BenchmarkError(message)
        return Measured(log.count, triggers, wall, cpu)


def write_job(rig: Rig, directory: Path, document: dict[str, Any] | None = None) -> None:
    """Write the rig's job, or another's ``document``, where StreamsJob reads it."""
    if document is None:
        document = rig.job.document() if len(rig.job.campaigns) > 1 else activity_document()
    (directory / "job.json").write_bytes(orjson.dumps(document))


def await_first(worker: Worker, events: int = 0) -> tuple[float, float]:
    """Return wall and CPU time at the last moment when no more than ``events`` events had been processed."""
    end = time.monotonic() + RUN_SECONDS
    before = time.perf_counter(), worker.cpu_seconds()
    while time.monotonic() < end:
        place = time.perf_counter(), worker.cpu_seconds()
        if worker.metric("groundswell_folded_total") > events:
            return before
        before = place
        worker.check()
        time.sleep(POLL_SECONDS)
    message = f"the worker has processed no more than {events} events after {RUN_SECONDS} s"
    raise BenchmarkError(message)


def await_all(rig: Rig, workers: Worker | Sequence[Worker], ends: Sequence[int]) -> None:
    """Wait until workers have committed all up to ``ends`` and their outboxes are empty."""
    end = time.monotonic() + RUN_SECONDS
    while time.monotonic() < end:
        headers = rig.headers()
        reached = all(header and header.offset >= stop for header, stop in zip(headers, ends, strict=True))
        if reached and rig.unsent() == 0:
            return
        for worker in [workers] if isinstance(workers, Worker) else workers:
            worker.check()
        time.sleep(POLL_SECONDS)
    message = f"the end of the log is not reached after {RUN_SECONDS} s"
    raise BenchmarkError(message)
