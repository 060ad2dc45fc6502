"""How much memory ``groundswell dataset`` takes, and how long, on logs of several sizes.

``python -m load_tests.dataset`` prints a table and writes ``load_tests/results/dataset.json``. The log is made as it is
read, four weeks of uniform events of which a seventh decide labels, in one partition, which holds all voters: nothing
but the command's own work is in its process. A goal is judged at the size of EVENTS; where only smaller logs were run,
by the line through the two largest, which the row says.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from load_tests.report import Row, judge, show, show_rows, write
from load_tests.workload import EVENTS_PER_VOTER, SPAN_MS, START_MS, events
from stream.commands.dataset import DatasetOptions, write_sources
from stream.commands.reading import PartitionReader, Record
from stream.commands.verify import Sources
from stream.stores.memory import MemoryServer, MemoryStore

EVENTS: Final = 10_000_000
LIMIT_BYTES: Final = 2_000_000_000
SIZES: Final = (1_000_000, 2_000_000)
OPTIONS: Final = DatasetOptions("donation.completed where amount>=5 within 1d", negatives=0.1)
_PAGE: Final = 5_000


class MadeLog:
    """A log (stream.commands.reading.PartitionReader) that is made as it is read, from offset 0 on."""

    def __init__(self, count: int) -> None:
        """Hold ``count`` events; none for the configuration topic."""
        self._count = count
        self.position = 0
        self._rows = self._made()

    def bounds(self) -> tuple[int, int]:
        """Return 0, and how many there are."""
        return 0, self._count

    def seek(self, offset: int) -> None:
        """Begin again; raise ValueError for another offset than 0."""
        if offset:
            message = f"offset {offset}, expected 0: this log is read from its beginning"
            raise ValueError(message)
        self.position = 0
        self._rows = self._made()

    def read(self, stop: int) -> list[Record]:
        """Return the next records before ``stop``."""
        rows = [next(self._rows) for _ in range(min(stop - self.position, _PAGE))]
        self.position += len(rows)
        return rows

    def offset_at(self, time_ms: int) -> int:
        """Return the end: nobody asks."""
        return self._count

    def close(self) -> None:
        """Nothing is open."""

    def _made(self) -> Iterator[Record]:
        made = events(self._count, self._count // EVENTS_PER_VOTER, 1, START_MS + SPAN_MS) if self._count else ()
        for offset, (key, value) in enumerate(made):
            yield Record(offset, START_MS + offset * SPAN_MS // self._count, key, value, ())


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run took."""

    events: int
    rows: int
    peak: int
    """Of its process, bytes."""
    seconds: float
    processor: float
    """Seconds of it, of which making the log takes a part."""
    size: int
    """Of the file, bytes."""


def take(count: int) -> Taken:
    """Write the rows of a log of ``count`` events, in this process."""

    def reader(kind: str, _partition: int) -> PartitionReader:
        return MadeLog(count if kind == "events" else 0)

    server = MemoryServer()
    sources = Sources(1, "engagement.events", reader, lambda _number: MemoryStore(server, "{0}:"))
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="groundswell-dataset-") as directory:
        out = Path(directory) / "rows.parquet"
        written = asyncio.run(write_sources(sources, OPTIONS, out))
        seconds, size = time.perf_counter() - begun, out.stat().st_size
    usage = resource.getrusage(resource.RUSAGE_SELF)
    rows, processor = written.metadata["counts"]["rows"], usage.ru_utime + usage.ru_stime
    return Taken(count, rows, usage.ru_maxrss * 1024, seconds, processor, size)


def taken_together(runs: Sequence[Taken]) -> Taken:
    """Return several runs of one size as one: the largest peak and the least time, to which others only add."""
    return replace(
        runs[0],
        peak=max(run.peak for run in runs),
        seconds=min(run.seconds for run in runs),
        processor=min(run.processor for run in runs),
    )


def peak_at(count: int, found: Sequence[Taken]) -> float:
    """Return the peak of a log of ``count`` events: as measured, else by the line through the two largest."""
    runs = sorted(found, key=lambda one: one.events)
    if runs[-1].events >= count or len(runs) == 1:
        return float(runs[-1].peak)
    low, high = runs[-2:]
    slope = (high.peak - low.peak) / (high.events - low.events)
    return high.peak + slope * (count - high.events)


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print, write the results; return 1 if the goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=list(SIZES))
    parser.add_argument(
        "--rounds", type=int, default=1, help="runs of each size: the largest peak and the least time count"
    )
    parser.add_argument("--take", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    if arguments.rounds < 1:
        parser.error(f"--rounds is {arguments.rounds}, expected 1 or more")
    if arguments.take:
        print(json.dumps(asdict(take(arguments.take))))
        return 0
    found = []
    for count in arguments.events:
        words = [sys.executable, "-m", "load_tests.dataset", "--take", str(count)]
        runs = [
            Taken(**json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout))
            for _ in range(arguments.rounds)
        ]
        found.append(taken_together(runs))
        print(found[-1], flush=True)
    show(
        f"groundswell dataset --label '{OPTIONS.label}' --negatives {OPTIONS.negatives}",
        ("events", "rows", "peak, MB", "seconds", "of the processor", "file, MB"),
        [
            (
                f"{one.events:,}",
                f"{one.rows:,}",
                f"{one.peak / 1e6:,.0f}",
                f"{one.seconds:,.0f}",
                f"{one.processor:,.0f}",
                f"{one.size / 1e6:,.0f}",
            )
            for one in found
        ],
    )
    most = max(one.events for one in found)
    how = "measured" if most >= EVENTS else f"by a line from what {most:,} took"
    rows = [
        judge(f"peak memory with {EVENTS:,} events ({how}), bytes", peak_at(EVENTS, found), None, LIMIT_BYTES, "less")
    ]
    rows += [Row(f"peak memory with {one.events:,} events, bytes", one.peak) for one in found]
    show_rows(rows)
    print(write("dataset", rows))
    return 0 if all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
