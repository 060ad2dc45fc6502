"""The rebalance storm: under load a worker joins or leaves every two seconds; then an outside checker recomputes all.

``python -m load_tests.storm --minutes 5 --seed 1``; Kafka and Redis are those of GROUNDSWELL_TEST_KAFKA and
GROUNDSWELL_TEST_REDIS; ``make storm`` starts both where they are not set. Of those that leave, most do so by SIGTERM,
and some are killed. The exit status is 0 only if nothing was lost, applied twice, missing, doubled, altered or out of
sequence, and no worker ended otherwise than it was told to.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import secrets
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from load_tests.checker import Findings, check
from load_tests.checker import report as checked
from load_tests.deployment import Deployment, wait_until
from load_tests.nursery import Nursery
from load_tests.publisher import Publisher
from load_tests.report import Row, show_rows, write
from load_tests.rig import addresses
from load_tests.soak import contents
from load_tests.workload import Skewed
from stream.embedded.services import free_port

PARTITIONS: Final = 32
VOTERS: Final = 5000
FEWEST, MOST = 2, 5
"""Workers alive."""
EVERY_SECONDS: Final = 2.0
KILLED: Final = 0.25
"""Share of the leaves."""
SESSION_SECONDS: Final = 6.0
_WORKER: Final = {
    "GROUNDSWELL_KAFKA__SESSION_TIMEOUT_SECONDS": str(SESSION_SECONDS),
    "GROUNDSWELL_KAFKA__HEARTBEAT_SECONDS": "1.0",
    "GROUNDSWELL_WORKER__IDLE_COMMIT_SECONDS": "0.5",
    "GROUNDSWELL_WORKER__RECLAIM_SECONDS": "0.3",
    "GROUNDSWELL_WORKER__VOTERS_IN_MEMORY": "32000",
    "GROUNDSWELL_WEB__HOST": "127.0.0.1",
    "GROUNDSWELL_LOG__LEVEL": "info",
}
_JOINING: Final = "joining the group"
_BROKEN_OFF: Final = "stopping took longer than worker.shutdown_seconds"
_LOOK_SECONDS: Final = 0.1
_START_SECONDS: Final = 120.0
_DRAIN_SECONDS: Final = 240.0
_STOP_SECONDS: Final = 20.0


class Member:
    """One worker, from its join to its end."""

    def __init__(self, nursery: Nursery, deployment: Deployment, directory: Path, number: int) -> None:
        """Start it."""
        self.name = f"worker-{number}"
        self.log_path = directory / f"{self.name}.log"
        self._nursery = nursery
        environment = {**deployment.environment, **_WORKER, "GROUNDSWELL_WEB__PORT": str(free_port())}
        self._pid = nursery.fork(environment, self.log_path)
        self.told: signal.Signals | None = None
        """What it was told to leave by."""
        self._told_at = 0.0

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    @property
    def has_worked(self) -> bool:
        """Whether it has claimed a partition."""
        return " claimed at offset " in self.log

    @property
    def status(self) -> int | None:
        """Its exit status (less than 0: the signal that ended it); None while it runs."""
        return self._nursery.statuses.get(self._pid)

    @property
    def was_broken_off(self) -> bool:
        """Whether it had not ended in its time after SIGTERM, and so broke off, as it promises."""
        return self.status == 1 and self.told is signal.SIGTERM and _BROKEN_OFF in self.log

    def leave(self, by: signal.Signals) -> None:
        """Tell it to leave."""
        self.told, self._told_at = by, time.monotonic()
        os.kill(self._pid, by)

    def defect(self) -> str:
        """Return what is wrong with how it ended or did not end; empty where nothing is."""
        status = self.status
        if status is None:
            late = self.told is not None and time.monotonic() - self._told_at > _STOP_SECONDS
            return f"{self.name} has not ended {_STOP_SECONDS:g} s after {self.told!r}" if late else ""
        expected = {None: "nothing", signal.SIGTERM: 0, signal.SIGKILL: -signal.SIGKILL}[self.told]
        if status == expected or self.was_broken_off:
            return ""
        # Told so early that it did not listen yet.
        if status == -signal.SIGTERM and self.told is signal.SIGTERM and _JOINING not in self.log:
            return ""
        return f"{self.name} ended with status {status} after {self.told!r}, expected {expected}: {self.log[-1500:]}"


class Progress:
    """How long nothing was committed: of all partitions together, and of each."""

    def __init__(self, deployment: Deployment) -> None:
        """Begin to look."""
        numbers = range(deployment.partitions)
        self._keys = [f"{{{deployment.namespace}:{number}}}:header" for number in numbers]
        self._redis: Any = deployment.keys()
        self._stop = threading.Event()
        self.longest = 0.0
        """Seconds in which no partition at all came on."""
        self.longest_of = [0.0 for _ in numbers]
        """By partition."""
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the looking."""
        self._stop.set()
        self._thread.join()
        self._redis.close()

    def _run(self) -> None:
        now = time.monotonic()
        offsets, moved = self._offsets(), [now] * len(self._keys)
        while not self._stop.wait(_LOOK_SECONDS):
            found, now = self._offsets(), time.monotonic()
            self.longest = max(self.longest, now - max(moved))
            for number, (before, offset) in enumerate(zip(offsets, found, strict=True)):
                self.longest_of[number] = max(self.longest_of[number], now - moved[number])
                if offset > before:
                    moved[number] = now
            offsets = found

    def _offsets(self) -> list[int]:
        return [-1 if data is None else int(orjson.loads(data)["offset"]) for data in self._redis.mget(self._keys)]


@dataclass
class Result:
    """What a storm did and what was found."""

    joins: int = 0
    leaves: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    defects: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    rows: list[Row] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing was wrong."""
        return self.findings.is_clean and not self.defects and all(row.holds is not False for row in self.rows)


class Storm:
    """One storm: seeded joins and leaves, one publisher."""

    def __init__(self, deployment: Deployment, directory: Path, seed: int, rate: float) -> None:
        """Take a deployment whose topics do not exist yet."""
        self.deployment, self.directory = deployment, directory
        self.chance = random.Random(seed)
        self.publisher = Publisher(deployment.bootstrap, deployment.topic("events"), Skewed(seed, VOTERS), rate)
        self.nursery = Nursery()
        self.members: list[Member] = []
        self.result = Result()

    def run(self, seconds: float) -> Result:
        """Do it all; workers are gone when it returns."""
        self.deployment.create()
        self.deployment.activate(contents())
        held = {}
        try:
            with self.nursery:
                self._blow(seconds)
            held = {number: self.deployment.held(number) for number in range(PARTITIONS)}
        except TimeoutError as error:
            self.result.defects.append(str(error))
        finally:
            self.publisher.finish()
        self.result.sent = self.publisher.sent
        if held:
            self.result.findings = check(self.deployment.bootstrap, self.deployment.namespace, PARTITIONS, held)
        return self.result

    def _blow(self, seconds: float) -> None:
        for _ in range(FEWEST):
            self._join()
        wait_until("partitions are claimed", lambda: any(one.has_worked for one in self.members), _START_SECONDS)
        self.publisher.start()
        wait_until("events are published", lambda: self.publisher.sent > 0, _START_SECONDS)
        progress = Progress(self.deployment)
        self._rage(seconds)
        progress.stop()
        self.publisher.finish()
        wait_until("everything is committed and sent", self.deployment.is_drained, _DRAIN_SECONDS, 0.5)
        self._end()
        self._figures(seconds, progress)

    # --- joins and leaves ------------------------------------------------------------------------------

    def _staying(self) -> list[Member]:
        return [member for member in self.members if member.told is None and member.status is None]

    def _join(self) -> None:
        self.members.append(Member(self.nursery, self.deployment, self.directory, len(self.members) + 1))

    def _leave(self) -> None:
        staying = self._staying()
        # One that has not come as far as to hold anything would leave without a trace.
        member = self.chance.choice([one for one in staying if one.has_worked] or staying)
        by = signal.SIGKILL if self.chance.random() < KILLED else signal.SIGTERM
        member.leave(by)
        self.result.leaves[by.name] += 1

    def _rage(self, seconds: float) -> None:
        begun = time.monotonic()
        for number in range(int(seconds / EVERY_SECONDS)):
            time.sleep(max(begun + number * EVERY_SECONDS - time.monotonic(), 0.0))
            self._bury()
            staying = len(self._staying())
            if staying <= FEWEST or (staying < MOST and self.chance.random() < 0.5):
                self._join()
                self.result.joins += 1
            else:
                self._leave()

    def _bury(self) -> None:
        """Note workers that ended otherwise than they were told to, each once."""
        for member in self.members:
            if (defect := member.defect()) and not any(
                known.startswith(f"{member.name} ") for known in self.result.defects
            ):
                self.result.defects.append(defect)

    def _end(self) -> None:
        for member in self._staying():
            member.leave(signal.SIGTERM)
        ended = lambda: all(member.status is not None for member in self.members)  # noqa: E731
        wait_until("all workers have ended", ended, _STOP_SECONDS)
        self._bury()

    # --- figures ---------------------------------------------------------------------------------------

    def _figures(self, seconds: float, progress: Progress) -> None:
        logs = [member.log for member in self.members]
        changes = self.result.joins + sum(self.result.leaves.values())
        claimed = sum(len(re.findall(r" claimed at offset ", log)) for log in logs)
        refused = sum(log.count("refused") for log in logs)
        worked = sum(" claimed at offset " in log for log in logs)
        broken_off = sum(member.was_broken_off for member in self.members)
        partitions = progress.longest_of
        self.result.rows = [
            Row("joins", self.result.joins),
            *(Row(f"leaves by {by}", count) for by, count in sorted(self.result.leaves.items())),
            Row("seconds from one to the next", seconds / changes, EVERY_SECONDS, seconds / changes / EVERY_SECONDS),
            Row("workers that claimed partitions, of all", worked, len(self.members), worked / len(self.members)),
            Row("workers that had not ended 5 s after SIGTERM and broke off", broken_off),
            Row("claims of a partition", claimed),
            Row("lines in the logs about a refused commit", refused),
            Row("events published", self.publisher.sent),
            Row("longest time in which no partition came on, seconds", progress.longest),
            Row("longest time without progress of a partition, seconds: median", statistics.median(partitions)),
            Row("longest time without progress of a partition, seconds: worst", max(partitions)),
        ]


def show(result: Result, seed: int) -> None:
    """Print what a storm did and what was found, and write ``load_tests/results/storm.json``."""
    wrong = sum(result.findings.wrong.values()) + len(result.defects)
    rows: Sequence[Row] = [*result.rows, Row("wrong, all kinds", wrong, goal=0, holds=wrong == 0)]
    show_rows(rows)
    lines = [f"seed {seed}: {'all zero' if result.holds else 'FAILED'}", checked(result.findings), *result.defects]
    print("\n".join(lines), write("storm", rows), sep="\n", flush=True)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=600.0, help="events a second")
    given = parser.parse_args()
    bootstrap, redis_url = addresses()
    # Ended by a signal, the workers are taken along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    deployment = Deployment(f"storm-{secrets.token_hex(4)}", bootstrap, redis_url, PARTITIONS)
    directory = Path(tempfile.mkdtemp(prefix="groundswell-storm-"))
    result = Storm(deployment, directory, given.seed, given.rate).run(given.minutes * 60)
    show(result, given.seed)
    if result.holds:
        deployment.delete()
        shutil.rmtree(directory)
    else:
        print(f"kept: namespace {deployment.namespace}, logs of the workers in {directory}")
    return 0 if result.holds else 1


if __name__ == "__main__":
    sys.exit(main())
