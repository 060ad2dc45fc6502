"""What a snapshot of a million voters in one partition costs a worker under full load: its longest pause, above all.

``python -m load_tests.snapshot`` prints tables and writes ``load_tests/results/snapshot.json``. The worker has events
before it all the time, as many as it can do; times with a snapshot and times without one follow each other. Then the
log is cut off at the newest snapshot, and ``groundswell verify`` replays from it and compares every voter's record.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import redis
from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import KafkaError

from load_tests import watched
from load_tests.feeding import Feeder
from load_tests.filling import fill
from load_tests.report import Row, compare, judge, show, show_rows, spread, write
from load_tests.rig import BenchmarkError, Rig, Worker
from load_tests.workload import EVENTS_PER_VOTER, voter
from stream.commands.snapshot import Taken, listing, take
from stream.errors import GroundswellError
from stream.records import VOTER
from stream.stores.names import voter_prefix
from stream.stores.packing import packed, unpacked

VOTERS: Final = 1_000_000
GROWN: Final = 20_000
"""Voters whose records come of ten events each; the others' are copies of theirs, with recent events of their own."""
LEAST_SECONDS: Final = 10.0
SETTLING_SECONDS: Final = 10.0
WAIT_SECONDS: Final = 600.0
SAMPLE_SECONDS: Final = 0.05
COPIES_AT_ONCE: Final = 2000
SNAPSHOT_SECONDS: Final = 60.0
ONE_BATCH: Final = 1.0
VOTER_BYTES: Final = 950
"""What a voter takes in a worker's memory (load_tests/memory.py measures it)."""


@dataclass(frozen=True, slots=True)
class Span:
    """What a worker did between two moments."""

    seconds: float
    rows: int
    batches: tuple[float, ...]
    """Seconds that each took, from its decoding to its decisions."""
    standstills: tuple[float, ...]
    """Seconds from the end of each batch to that of the next one."""
    undisturbed: tuple[float, ...]
    """The same, less what the worker's thread waited for a processor, which others had."""
    memory_bytes: int
    """Most that the worker had, less what the voters took whose records were in it."""

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.rows / self.seconds


@dataclass(frozen=True, slots=True)
class Measured:
    """One round: a snapshot, and as long a time without one after it."""

    quiet: Span
    busy: Span
    size: int
    """Bytes of the snapshot's files."""
    hold_seconds: float
    """Longest step on the event loop, by the worker's own metric."""


class Memory:
    """Samples of a worker's resident memory, each with its moment."""

    def __init__(self, worker: Worker) -> None:
        """Take none yet."""
        self._worker = worker
        self._samples: list[tuple[float, int]] = []
        self._ended = threading.Event()

    @contextmanager
    def sampled(self) -> Iterator[None]:
        """Take samples for the block."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._samples.append((time.perf_counter(), self._worker.memory_bytes()))

    def most(self, begun: float, ended: float) -> int:
        """Return the most memory between two moments."""
        return max((count for moment, count in self._samples if begun <= moment <= ended), default=0)


def span(done: Sequence[watched.Done], memory: Memory, begun: float, ended: float) -> Span:
    """Return what was done between two moments; a standstill counts where it ends."""
    batches = [one for one in done if one.what == watched.BATCH]
    within = [place for place, one in enumerate(batches) if place and begun <= one.ended <= ended]
    if not within:
        message = f"the worker did no batch in {ended - begun:.1f} s"
        raise BenchmarkError(message)
    return Span(
        ended - begun,
        sum(batches[place].count for place in within),
        tuple(batches[place].seconds for place in within),
        tuple(batches[place].ended - batches[place - 1].ended for place in within),
        tuple(
            batches[place].ended - batches[place - 1].ended - batches[place].waited + batches[place - 1].waited
            for place in within
        ),
        memory.most(begun, ended) - max(batches[place].voters for place in within) * VOTER_BYTES,
    )


class Bench:
    """A rig of one partition, and the worker on it."""

    def __init__(self, rig: Rig, voters: int) -> None:
        """Take a rig whose topics exist."""
        self.rig = rig
        self.voters = voters
        self.told = rig.directory / "told"
        self._redis: Any = redis.Redis.from_url(rig.redis_url)

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """Run a worker that is watched."""
        with self.rig.worker(command=(sys.executable, "-m", "load_tests.watched", str(self.told))) as worker:
            yield worker

    def prepare(self) -> None:
        """Let some voters' records grow by events, make all others' of them, and fill the log."""
        rig = self.rig
        grown = min(GROWN, self.voters)
        topic = rig.settings.topic("events")
        fill(rig.kafka, topic, grown * EVENTS_PER_VOTER, grown)
        (end,) = rig.ends()
        with self.worker() as worker:
            self._await(worker, lambda: self._offset() >= end and rig.unsent() == 0, "the first voters' records")
        self._multiply(grown)

    def _multiply(self, grown: int) -> None:
        start = voter_prefix(self.rig.settings.key_prefix(0))
        found = self._redis.mget([start + voter(number) for number in range(grown)])
        originals = np.frombuffer(b"".join(map(unpacked, filter(None, found))), VOTER)
        chance = np.random.default_rng(1)
        for first in range(grown, self.voters, COPIES_AT_ONCE):
            count = min(COPIES_AT_ONCE, self.voters - first)
            copies = originals[chance.integers(0, len(originals), count)]
            used = copies["ring"] != 0
            copies["ring"][used] = chance.integers(1, 1 << 63, int(used.sum()))
            blocks = copies.view(np.dtype((np.void, VOTER.itemsize))).tolist()
            self._redis.mset({start + voter(first + place): packed(block) for place, block in enumerate(blocks)})

    def _offset(self) -> int:
        (header,) = self.rig.headers()
        return 0 if header is None else header.offset

    def _await(self, worker: Worker, is_done: Any, what: str) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while not is_done():
            worker.check()
            if time.monotonic() > end:
                message = f"{what}: not there after {WAIT_SECONDS} s"
                raise BenchmarkError(message)
            time.sleep(0.1)

    # --- measuring -------------------------------------------------------------------------------------

    def rounds(self, count: int) -> list[Measured]:
        """Let the worker work ``count`` times without a snapshot and with one."""
        found = []
        feeder = Feeder(self.rig, self.voters, self._offset)
        with feeder.fed(), self.worker() as worker:
            memory = Memory(worker)
            offset = self._offset()
            with memory.sampled():
                self._await(worker, lambda: self._offset() > offset, "the first batch")
                time.sleep(SETTLING_SECONDS)
                for number in range(1, count + 1):
                    found.append(self._round(worker, memory))
                    feeder.check()
                    print(f"round {number}: {told(found[-1])}", flush=True)
        return found

    def _round(self, worker: Worker, memory: Memory) -> Measured:
        asked = time.perf_counter()
        answers: list[Taken] = []
        take(self.rig.settings, None, answers.append)
        if any(answer.is_error for answer in answers):
            raise BenchmarkError(str(answers[0]))
        # The last line is the snapshot's: older ones are removed after whoever asked was told.
        self._await(worker, lambda: any(one.ended > asked for one in self._snapshots()), "a snapshot")
        taken = self._snapshots()[-1]
        # As long: the longest of many standstills is longer than that of few.
        begun = time.perf_counter()
        time.sleep(max(taken.seconds, LEAST_SECONDS))
        ended = time.perf_counter()
        done = watched.read(self.told)
        newest = listing(self.rig.settings, 0)[0]
        if newest.manifest is None:
            raise BenchmarkError(str(newest))
        return Measured(
            span(done, memory, begun, ended),
            span(done, memory, taken.begun, taken.ended),
            newest.manifest.size,
            worker.metric("groundswell_snapshot_hold_seconds"),
        )

    def _snapshots(self) -> list[watched.Done]:
        return [one for one in watched.read(self.told) if one.what == watched.SNAPSHOT]

    # --- is it right -----------------------------------------------------------------------------------

    def verify(self) -> str:
        """Cut the log off at the newest snapshot and let ``groundswell verify`` compare; return what it says."""
        rig = self.rig
        newest = listing(rig.settings, 0)[0].manifest
        if newest is None:
            message = "the newest snapshot cannot be used"
            raise BenchmarkError(message)
        place = TopicPartition(rig.settings.topic("events"), 0)
        with closing(KafkaAdminClient(bootstrap_servers=rig.kafka)) as admin:
            admin.delete_records({place: newest.offset})
        command = [sys.executable, "-m", "stream", "verify"]
        done = subprocess.run(command, env=rig.surroundings(), capture_output=True, text=True, check=False)
        if done.returncode != 0 or f"taken at offset {newest.offset}" not in done.stdout:
            message = f"`groundswell verify` does not find the state right:\n{done.stdout}{done.stderr}"
            raise BenchmarkError(message)
        return done.stdout


def told(measured: Measured) -> str:
    """Return a round in words."""
    quiet, busy = measured.quiet, measured.busy
    return (
        f"snapshot in {busy.seconds:.1f} s, {measured.size / 1e6:.0f} MB; longest standstill "
        f"{max(busy.standstills) * 1e3:.0f} ms (without: {max(quiet.standstills) * 1e3:.0f} ms), undisturbed "
        f"{max(busy.undisturbed) * 1e3:.0f} ms ({max(quiet.undisturbed) * 1e3:.0f} ms), batch "
        f"{statistics.median(busy.batches) * 1e3:.0f} ms ({statistics.median(quiet.batches) * 1e3:.0f} ms), "
        f"{busy.rate:,.0f} events/s ({quiet.rate:,.0f}), longest step {measured.hold_seconds * 1e3:.1f} ms, "
        f"{(busy.memory_bytes - quiet.memory_bytes) / 1e6:+.0f} MB"
    )


def report(found: Sequence[Measured], voters: int) -> list[Row]:
    """Print what the worker did without and with a snapshot, and return the result rows."""
    spans = {"without": [one.quiet for one in found], "with a snapshot": [one.busy for one in found]}
    show(
        f"{len(found)} rounds, median (range); times in ms",
        (
            "",
            "seconds",
            "events/s",
            "batch",
            "longest batch",
            "longest standstill",
            "undisturbed",
            "memory less voters, MB",
        ),
        [
            (
                name,
                spread([one.seconds for one in some], 1),
                spread([one.rate for one in some]),
                spread([statistics.median(one.batches) * 1e3 for one in some], 1),
                spread([max(one.batches) * 1e3 for one in some], 1),
                spread([max(one.standstills) * 1e3 for one in some], 1),
                spread([max(one.undisturbed) * 1e3 for one in some], 1),
                spread([one.memory_bytes / 1e6 for one in some]),
            )
            for name, some in spans.items()
        ],
    )
    return judged(found, voters)


def judged(found: Sequence[Measured], voters: int) -> list[Row]:
    """Return the result rows."""
    quiet, busy = [one.quiet for one in found], [one.busy for one in found]
    # What others on the machine take of the processors is no snapshot's doing, and may be more than a batch.
    batch_ms = statistics.median([seconds for one in quiet for seconds in one.undisturbed]) * 1e3
    longest_ms = max(max(one.undisturbed) for one in busy) * 1e3
    usual_ms = max(max(one.undisturbed) for one in quiet) * 1e3
    raw = voters * VOTER.itemsize / 1e6
    return [
        judge(
            "longest pause that a snapshot causes (longest standstill with one, less that without), ms, beside a batch",
            max(longest_ms - usual_ms, 0.0),
            batch_ms,
            ONE_BATCH,
            "less",
        ),
        judge(
            f"seconds of a snapshot of {voters:,} voters ({raw:,.0f} MB) under full load",
            statistics.median(one.seconds for one in busy),
            None,
            SNAPSHOT_SECONDS,
            "less",
        ),
        compare("longest undisturbed standstill with a snapshot beside that without, ms", longest_ms, usual_ms),
        compare(
            "longest standstill with a snapshot beside that without, other processes' time included, ms",
            max(max(one.standstills) for one in busy) * 1e3,
            max(max(one.standstills) for one in quiet) * 1e3,
        ),
        compare(
            "events/s with a snapshot beside those without",
            statistics.median(one.rate for one in busy),
            statistics.median(one.rate for one in quiet),
        ),
        compare("longest step of a snapshot beside a batch, ms", max(o.hold_seconds for o in found) * 1e3, batch_ms),
        compare("size of a snapshot beside its records, MB", found[-1].size / 1e6, raw),
        Row(
            "memory that a snapshot takes in the worker, MB",
            max(one.busy.memory_bytes - one.quiet.memory_bytes for one in found) / 1e6,
        ),
    ]


def run(voters: int, rounds: int) -> list[Measured]:
    """Measure on a rig of its own, and have the last snapshot proved right."""
    namespace = f"snapshot-{uuid.uuid4().hex[:6]}"
    # Nothing is due by itself while it is measured.
    with Rig(namespace, 1, interval_minutes=10_000, keep_count=1) as rig:
        bench = Bench(rig, voters)
        print(f"making {voters:,} voters", flush=True)
        bench.prepare()
        found = bench.rounds(rounds)
        print("verifying from the newest snapshot", flush=True)
        print(bench.verify(), flush=True)
    return found


def main() -> int:
    """Run, print, write the results; return 1 if a goal was missed, 2 if there is nothing to compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--voters", type=int, default=VOTERS)
    arguments = parser.parse_args()
    try:
        rows = report(run(arguments.voters, arguments.rounds), arguments.voters)
    except (BenchmarkError, GroundswellError, KafkaError) as error:
        print(f"no figures: {error}", file=sys.stderr)
        return 2
    show_rows(rows)
    print(write("snapshot", rows))
    return 0 if all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
