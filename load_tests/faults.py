"""The kill loop: two workers under load are killed, paused and woken; then an outside checker recomputes everything.

``python -m load_tests.faults --kills 10 --seed 1``; the exit status is 0 only if nothing was lost, applied twice,
missing, doubled, altered or out of sequence, and no worker ended by itself.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any, Final

from load_tests.checker import Findings, check, report
from load_tests.deployment import Content, Deployment, WorkerProcess, wait_until
from stream.embedded.electorate import Electorate, Flaws
from stream.partitioning import partition_of

PARTITIONS: Final = 4
VOTERS: Final = 6000
EVENTS_PER_SECOND: Final = 3000
SESSION_SECONDS: Final = 2.5
SPEED: Final = 200
"""Seconds of the voters' time in a second of the test's."""
_SLICE_SECONDS: Final = 0.02
_FLAWS: Final = Flaws(duplicates=0.04, late=0.05, broken=0.005, misrouted=0.01)

_WORKER: Final = {
    "GROUNDSWELL_KAFKA__SESSION_TIMEOUT_SECONDS": str(SESSION_SECONDS),
    "GROUNDSWELL_KAFKA__HEARTBEAT_SECONDS": "0.5",
    "GROUNDSWELL_WORKER__IDLE_COMMIT_SECONDS": "0.5",
    "GROUNDSWELL_WORKER__RECLAIM_SECONDS": "0.3",
    # Fewer than there are, so that voters are dropped from memory and come back from Redis.
    "GROUNDSWELL_WORKER__VOTERS_IN_MEMORY": "2000",
    "GROUNDSWELL_LOG__LEVEL": "info",
}


def _model(name: str, weights: dict[str, float], bias: float = 0.0) -> Content:
    return Content(
        "model", name, json.dumps({"name": name, "kind": "linear", "bias": bias, "weights": weights}).encode()
    )


def _campaign(name: str, model: str, direction: str, threshold: float, rearm: float) -> Content:
    lines = (f'name = "{name}"', f'model = "{model}"', f'direction = "{direction}"', f"threshold = {threshold}")
    return Content("campaign", name, "\n".join((*lines, f"rearm = {rearm}", 'cooldown = "1s"')).encode())


def configurations() -> list[list[Content]]:
    """Return what is active at first, and what is made active on the way."""
    pause = _model("pause", {"hours_since_last_seen": 1.0})
    mood = _model("mood", {"social.like.decayed_1d": 0.5, "social.share.decayed_7d": 1.0, "sessions": 0.1})
    other = _model("mood", {"social.like.decayed_1d": 0.6, "social.comment.decayed_7d": 1.0})
    back = _campaign("back", "pause", "up", 0.06, 0.02)
    quick = _campaign("quick", "pause", "down", 0.01, 0.05)
    keen = _campaign("keen", "mood", "up", 3.0, 2.5)
    return [[pause, mood, back, keen], [pause, other, back, keen, quick]]


def publish(deployment: Deployment, seed: int, events_per_second: float, stop: Any, sent: Any) -> None:
    """Publish a seeded electorate's events at an even rate until told to stop, then flush."""
    # Yesterday at noon: the same hours, and as many events, whenever it runs.
    start_ms = (int(time.time()) // 86_400 - 1) * 86_400_000 + 12 * 3_600_000
    electorate = Electorate(seed, start_ms, voters=VOTERS, flaws=_FLAWS)
    producer = deployment.producer()
    topic = deployment.topic("events")
    step_ms = int(_SLICE_SECONDS * SPEED * 1000)
    begun = time.monotonic()
    count = 0
    while not stop.value:
        time.sleep(max(begun + count / events_per_second - time.monotonic(), 0.0))
        for key, value in electorate.until(electorate.now_ms + step_ms, events_per_second * _SLICE_SECONDS):
            producer.send(topic, value, key=key, partition=partition_of(key, PARTITIONS))
            count += 1
        sent.value = count
    producer.flush(60)
    producer.close()


class Publisher:
    """The publisher, a process of its own: what it costs slows nobody else down."""

    def __init__(self, deployment: Deployment, seed: int, events_per_second: float) -> None:
        """Nothing runs yet."""
        context = multiprocessing.get_context("spawn")
        # Without locks: one that a signal interrupts would be held for ever.
        self._stop = RawValue("b", 0)
        self._sent = RawValue("q", 0)
        arguments = (deployment, seed, events_per_second, self._stop, self._sent)
        self._process = context.Process(target=publish, args=arguments, daemon=True)

    def start(self) -> None:
        """Start to publish."""
        self._process.start()

    @property
    def sent(self) -> int:
        """How many events were sent."""
        return int(self._sent.value)

    def finish(self) -> None:
        """Stop, once everything is acknowledged; raise RuntimeError where it was not."""
        self._stop.value = 1
        if self._process.pid is not None:
            self._process.join(90)
            if self._process.exitcode != 0:
                message = f"the publisher ended with status {self._process.exitcode}"
                raise RuntimeError(message)


@dataclass
class Result:
    """What a run did and what was found."""

    seed: int
    kills: list[str] = field(default_factory=list)
    """One line for each kill that struck work in progress."""
    idle_kills: int = 0
    pauses: list[str] = field(default_factory=list)
    sent: int = 0
    defects: list[str] = field(default_factory=list)
    """Workers that ended by themselves, or did not end as they should."""
    findings: Findings = field(default_factory=Findings)
    seconds: float = 0.0
    kept: str = ""
    """Where what went wrong can be looked at."""

    @property
    def holds(self) -> bool:
        """Whether nothing was wrong."""
        return self.findings.is_clean and not self.defects

    def __str__(self) -> str:
        """Say it in lines."""
        head = (
            f"seed {self.seed}: {len(self.kills)} kills in work, {self.idle_kills} idle, {len(self.pauses)} pauses, "
            f"{self.sent} events, {self.seconds:.0f} s: {'all zero' if self.holds else 'FAILED'}"
        )
        return "\n".join([head, *self.kills, *self.pauses, *self.defects, report(self.findings), self.kept]).rstrip()


class KillLoop:
    """One run: seeded moments, two workers, one publisher."""

    def __init__(self, deployment: Deployment, directory: Path, seed: int, events_per_second: float) -> None:
        """Take a deployment whose topics do not exist yet."""
        self.deployment = deployment
        self.chance = random.Random(seed)
        self.result = Result(seed)
        self.workers = [WorkerProcess(deployment, directory, f"worker-{name}", _WORKER) for name in "ab"]
        self.publisher = Publisher(deployment, seed, events_per_second)
        self.begun = time.monotonic()

    def run(self, kills: int) -> Result:
        """Do it all; workers are gone when it returns."""
        self.deployment.create()
        first, second = configurations()
        try:
            self.deployment.activate(first)
            for worker in self.workers:
                worker.start()
            wait_until("the workers become ready", lambda: all(worker.is_ready() for worker in self.workers), 180)
            self.publisher.start()
            self._disturb(kills, second)
            self.publisher.finish()
            wait_until("everything is committed and sent", self._is_drained, 60, 0.2)
            self._stop()
            held = {number: self.deployment.held(number) for number in range(PARTITIONS)}
        except TimeoutError as error:
            self.result.defects.append(str(error))
            held = {}
        finally:
            self.publisher.finish()
            for worker in self.workers:
                worker.kill()
        self.result.sent = self.publisher.sent
        if held:
            self.result.findings = check(self.deployment.bootstrap, self.deployment.namespace, PARTITIONS, held)
        self.result.seconds = time.monotonic() - self.begun
        return self.result

    def _disturb(self, kills: int, second: list[Content]) -> None:
        pause_at, change_at = self.chance.randrange(kills), self.chance.randrange(kills)
        for attempt in range(4 * kills):
            done = len(self.result.kills)
            if done == kills:
                return
            if attempt == pause_at:
                self._pause()
            if attempt == change_at:
                self.deployment.activate(second)
            # Now and then while the group is still being put together again.
            if self.chance.random() < 0.6:
                wait_until("both workers hold partitions", self._both_hold, 60)
                time.sleep(self.chance.uniform(0.3, 2.0))
            self._kill()
        message = f"only {len(self.result.kills)} of {4 * kills} kills struck work in progress"
        raise TimeoutError(message)

    def _both_hold(self) -> bool:
        self._bury()
        return all(worker.held_partitions() for worker in self.workers)

    def _victim(self) -> tuple[WorkerProcess, set[int]]:
        """Return a worker that holds partitions, and these."""
        wait_until("a worker holds partitions", lambda: any(worker.held_partitions() for worker in self.workers), 60)
        holding = [(worker, held) for worker in self.workers if (held := worker.held_partitions())]
        return self.chance.choice(holding)

    def _kill(self) -> None:
        self._bury()
        worker, held = self._victim()
        time.sleep(self.chance.random() * 0.1)
        worker.kill()
        ends = self.deployment.stood_at(time.time_ns() // 1_000_000)
        # What stood in the log and was not committed, and what was committed and not sent.
        headers = {number: self.deployment.header(number) for number in held}
        rows = sum(max(ends[number] - (header or {"offset": 0})["offset"], 0) for number, header in headers.items())
        unsent = sum(self.deployment.unsent(number) for number in held)
        if rows or unsent:
            line = f"  killed {worker.name} with {sorted(held)}: {rows} rows not committed, {unsent} outbox rows unsent"
            self.result.kills.append(f"{self._clock()} {line}")
        else:
            self.result.idle_kills += 1
        time.sleep(self.chance.choice([0.0, 0.0, self.chance.uniform(0, 2)]))
        worker.start()

    def _pause(self) -> None:
        """Stop a worker past its session, let another take its partitions, and wake it."""
        worker, held = self._victim()
        before = {number: (self.deployment.header(number) or {}).get("owner") for number in held}
        worker.send(signal.SIGSTOP)

        def taken() -> bool:
            return all((self.deployment.header(number) or {}).get("owner") != before[number] for number in held)

        try:
            seconds = wait_until("a paused worker's partitions are taken by the other", taken, 30)
            time.sleep(self.chance.uniform(0.0, 2.0))
        finally:
            worker.send(signal.SIGCONT)
        self.result.pauses.append(
            f"{self._clock()}   paused {worker.name} with {sorted(held)}: taken over after {seconds:.1f} s"
        )

    def _clock(self) -> str:
        return f"{time.monotonic() - self.begun:6.1f} s"

    def _bury(self) -> None:
        """Note workers that ended by themselves, and start them again."""
        for worker in self.workers:
            if worker.status is not None:
                self.result.defects.append(f"  {worker.name} ended by itself with status {worker.status}")
                worker.start()

    def _is_drained(self) -> bool:
        self._bury()
        return self.deployment.is_drained()

    def _stop(self) -> None:
        for worker in self.workers:
            wait_until(f"{worker.name} is ready", worker.is_ready, 30)
        for worker in self.workers:
            status, seconds = worker.end(signal.SIGTERM, 20)
            if status != 0 or seconds > 5:
                self.result.defects.append(f"  {worker.name}: SIGTERM, then status {status} after {seconds:.1f} s")


def kill_loop(
    bootstrap: str,
    redis_url: str,
    *,
    kills: int = 10,
    seed: int = 1,
    events_per_second: float = EVENTS_PER_SECOND,
) -> Result:
    """Run the kill loop in a namespace of its own; where all is well, topics, keys and logs are removed again."""
    deployment = Deployment(f"faults-{secrets.token_hex(4)}", bootstrap, redis_url, PARTITIONS)
    directory = Path(tempfile.mkdtemp(prefix="groundswell-faults-"))
    result = KillLoop(deployment, directory, seed, events_per_second).run(kills)
    if result.holds:
        deployment.delete()
        shutil.rmtree(directory)
    else:
        result.kept = f"  kept: namespace {deployment.namespace}, logs of the workers in {directory}"
    return result


def main() -> int:
    """Run from the command line."""
    arguments = argparse.ArgumentParser(description="Kill workers under load, and check from outside what came of it.")
    arguments.add_argument("--kills", type=int, default=10)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--rate", type=float, default=EVENTS_PER_SECOND, help="events a second")
    given = arguments.parse_args()
    # Ended by a signal, the workers are taken along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    bootstrap = os.environ.get("GROUNDSWELL_TEST_KAFKA", "127.0.0.1:9092")
    redis_url = os.environ.get("GROUNDSWELL_TEST_REDIS", "redis://127.0.0.1:6379/0")
    result = kill_loop(bootstrap, redis_url, kills=given.kills, seed=given.seed, events_per_second=given.rate)
    sys.stdout.write(f"{result}\n")
    return 0 if result.holds else 1


if __name__ == "__main__":
    sys.exit(main())
