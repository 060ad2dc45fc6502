"""How much memory a worker takes that serves a million voters, and its speed with a quarter of them in memory.

``python -m load_tests.memory`` prints tables and writes ``load_tests/results/memory.json``. It is the real pipeline
over a Redis of its own: every voter has an event, and then few do most of what follows (Zipf's law); that is what speed
is of. With all voters in memory and with a quarter of them, in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from load_tests.processes import memory_bytes
from load_tests.report import Row, compare, judge, show, show_rows, spread, write
from load_tests.workload import START_MS, ZIPF_EXPONENT, zipf
from stream.columns import Columns, columns_of
from stream.embedded.binaries import redis_program
from stream.errors import StoreUnavailableError
from stream.interfaces import Library
from stream.pipeline import PartitionState, process_batch, take_commit
from stream.records import ContentId, Header
from stream.spans import Spans
from stream.stores import RedisEndpoint, RedisStore, Table, partition_prefix

LIMIT_BYTES: Final = 1_000_000_000
VOTERS: Final = 1_000_000
EVENTS_AGAIN: Final = 1_000_000
"""By Zipf's law, after one of each voter."""
PARTITIONS: Final = 4
LEAST_SPEED: Final = 0.5
RECORD_BYTES: Final = 768
WORKER_MODULES: Final = ("stream.agents.engagement", "faust", "aiokafka", "prometheus_client", "typer", "rich.table")
"""What a worker has in memory beside the pipeline and the stores."""
BATCH_EVENTS: Final = 2000


class _NoContents(Library):
    """A configuration topic in which nothing stands."""

    def get(self, content: ContentId) -> bytes | None:
        return None

    async def wait_for(self, contents: Iterable[ContentId]) -> None:
        return None


class _Partition:
    """One partition of the worker: its own voters, table and connections."""

    def __init__(self, number: int, store: RedisStore, state: PartitionState, table: Table) -> None:
        self.number = number
        self.store = store
        self.state = state
        self.table = table
        self.loaded = 0

    @classmethod
    async def open(cls, number: int, endpoint: RedisEndpoint, limit: int) -> _Partition:
        store = RedisStore(endpoint, partition_prefix("", number))
        # One partition in the header: what these voters' keys hash to does not matter here.
        header = await store.claim("memory", Header("topic", 1, "", 0, 0))
        table = Table(limit)
        return cls(
            number, store, await PartitionState.open(0, "engagement.events", header, table, _NoContents()), table
        )

    async def load(self, voters: Spans) -> list[bytes | None]:
        values = await self.store.load(voters)
        self.loaded += sum(value is not None for value in values)
        return values

    def columns(self, voters: Sequence[int]) -> Columns:
        """Return one event of each voter, as the next in the log."""
        offset = self.state.header.offset
        values = [_event(offset + place, voter) for place, voter in enumerate(voters)]
        offsets = range(offset, offset + len(values))
        return columns_of(
            0, offsets, [START_MS + place for place in offsets], [None] * len(values), values, [()] * len(values)
        )

    async def take(self, columns: Columns) -> float:
        """Take events through all eight steps; return how many seconds that took."""
        begun = time.perf_counter()
        offset = self.state.header.offset
        await process_batch(self.state, columns, _NoContents(), self.load)
        await self.store.commit(take_commit(self.state, offset))
        self.table.committed()
        self.table.evict()
        return time.perf_counter() - begun


def _event(number: int, voter: int) -> bytes:
    return (
        b'{"specversion":"1.0","id":"e-%d","source":"/trackers/load","type":"social.like","subject":"voter-%07d",'
        b'"time":"2026-01-01T00:00:00Z","datacontenttype":"application/json","data":{"post":"p-481"}}' % (number, voter)
    )


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is to do."""

    limit: int
    """Voters in memory, over all partitions."""
    voters: int = VOTERS
    again: int = EVENTS_AGAIN

    def __post_init__(self) -> None:
        """Raise ValueError for what does not come out even."""
        for name, each in (("voters", PARTITIONS * BATCH_EVENTS), ("again", BATCH_EVENTS)):
            if getattr(self, name) % each:
                message = f"{name} is {getattr(self, name)}, expected a multiple of {each}"
                raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Served:
    """What a worker measured in its own process."""

    before: int
    """Its memory before its voters, in bytes."""
    peak: int
    in_memory: int
    """Voters, at the end."""
    loaded: int
    """Voters that were evicted and loaded again."""
    again: int
    """Events by Zipf's law ..."""
    seconds: float
    """... and how long they took, from columns to committed."""

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.again / self.seconds


async def _serve(port: int, size: Size) -> Served:
    """Serve every voter once, then few of them most of the time; return what was measured in this process."""
    for name in WORKER_MODULES:
        importlib.import_module(name)
    endpoint = RedisEndpoint(port=port)
    limit = size.limit // PARTITIONS
    partitions = [await _Partition.open(number, endpoint, limit) for number in range(PARTITIONS)]
    for place, partition in enumerate(partitions):
        # Others than those that follow: what compiles does so now.
        first = size.voters + place * BATCH_EVENTS
        await partition.take(partition.columns(range(first, first + BATCH_EVENTS)))
    before = memory_bytes("VmRSS")
    for first in range(0, size.voters, BATCH_EVENTS):
        partition = partitions[_partition_of(first)]
        await partition.take(partition.columns(range(first, first + BATCH_EVENTS)))
    seconds = 0.0
    for number, voters in _busy(size):
        seconds += await partitions[number].take(partitions[number].columns(voters))
    for partition in partitions:
        await partition.store.close()
    in_memory = sum(len(partition.table) for partition in partitions)
    loaded = sum(partition.loaded for partition in partitions)
    return Served(before, memory_bytes("VmHWM"), in_memory, loaded, size.again, seconds)


def _partition_of(voter: int) -> int:
    return voter // BATCH_EVENTS % PARTITIONS


def _busy(size: Size) -> Iterator[tuple[int, list[int]]]:
    """Yield (partition, voters) of batches of events by Zipf's law, as many as there are to be."""
    chance = np.random.default_rng(7)
    ranked = chance.permutation(size.voters)
    shares = zipf(size.voters, ZIPF_EXPONENT)
    waiting: list[list[int]] = [[] for _ in range(PARTITIONS)]
    left = size.again
    while left:
        ranks = np.minimum(np.searchsorted(shares, chance.random(size.again)), size.voters - 1)
        for voter in ranked[ranks].tolist():
            number = _partition_of(voter)
            waiting[number].append(voter)
            if len(waiting[number]) == BATCH_EVENTS:
                yield number, waiting[number]
                waiting[number] = []
                left -= BATCH_EVENTS
                if not left:
                    return


def rows_of(voters: int, all_in: Sequence[Served], quarter: Sequence[Served]) -> list[Row]:
    """Return the result rows of runs with all voters in memory, and with a quarter of them."""
    peak, small = (median(one.peak for one in of) for of in (all_in, quarter))
    each = median((one.peak - one.before) / one.in_memory for one in all_in)
    return [
        judge(f"peak memory of a worker with {voters:,} voters in memory, bytes", peak, None, LIMIT_BYTES, "less"),
        judge(
            "events/s of Zipf traffic with a quarter of the voters in memory beside all",
            median(one.rate for one in quarter),
            median(one.rate for one in all_in),
            LEAST_SPEED,
        ),
        compare("peak memory with a quarter of the voters in memory beside all, bytes", small, peak),
        Row("memory of the worker before its voters, bytes", median(one.before for one in all_in)),
        compare("memory for each voter in memory beside its record, bytes", each, RECORD_BYTES),
        Row("voters evicted and loaded again with a quarter in memory", median(one.loaded for one in quarter)),
    ]


async def _answers(endpoint: RedisEndpoint) -> None:
    store = RedisStore(endpoint, partition_prefix("", 0))
    for _ in range(200):
        try:
            await store.read_header()
        except StoreUnavailableError:
            await asyncio.sleep(0.05)
        else:
            await store.close()
            return
    message = f"the server at {endpoint.address} did not start"
    raise StoreUnavailableError(message)


def _measure(size: Size) -> Served:
    """Run a Redis and the worker, each in a process of its own, and return what the worker measured."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="groundswell-memory-") as directory:
        program = str(redis_program(Path(directory)))
        words = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as server:
            try:
                asyncio.run(_answers(replace(RedisEndpoint(), port=port)))
                worker = [sys.executable, "-m", "load_tests.memory", "--serve", str(port), "--limit", str(size.limit)]
                worker += ["--voters", str(size.voters), "--events", str(size.again)]
                found = subprocess.run(worker, check=True, stdout=subprocess.PIPE).stdout
            finally:
                server.terminate()
    return Served(**json.loads(found))


def main() -> int:
    """Measure, print, write the results; return 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--voters", type=int, default=VOTERS)
    parser.add_argument("--events", type=int, default=EVENTS_AGAIN, help="by Zipf's law, after one of each voter")
    parser.add_argument("--limit", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    voters, again = arguments.voters, arguments.events
    if arguments.serve:
        served = asyncio.run(_serve(arguments.serve, Size(arguments.limit, voters, again)))
        print(json.dumps(asdict(served)))
        return 0
    sizes = {
        "all": Size(voters + PARTITIONS * BATCH_EVENTS, voters, again),
        "a quarter": Size(voters // 4, voters, again),
    }
    found: dict[str, list[Served]] = {name: [] for name in sizes}
    for _ in range(arguments.rounds):
        for name, size in sizes.items():
            found[name].append(_measure(size))
            print(f"{name}: {found[name][-1]}", flush=True)
    show(
        f"{voters:,} voters, median of {arguments.rounds} (range)",
        ("in memory", "peak, MB", "events/s", "evicted and loaded again"),
        [
            (
                name,
                spread([one.peak / 1e6 for one in of]),
                spread([one.rate for one in of]),
                spread([one.loaded for one in of]),
            )
            for name, of in found.items()
        ],
    )
    rows = rows_of(voters, found["all"], found["a quarter"])
    show_rows(rows)
    print(write("memory", rows))
    return 0 if all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
