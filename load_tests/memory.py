"""How much memory a worker takes that serves a million voters: the real pipeline over a Redis of its own.

``python -m load_tests.memory`` prints a table and writes ``load_tests/results/memory.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from load_tests.workload import START_MS
from stream.columns import columns_of
from stream.embedded.binaries import redis_program
from stream.errors import StoreUnavailableError
from stream.interfaces import Library
from stream.pipeline import PartitionState, process_batch, take_commit
from stream.records import ContentId, Header
from stream.spans import Spans
from stream.stores import DEFAULT_LIMIT, RedisEndpoint, RedisStore, Table, partition_prefix

RESULTS: Final = Path(__file__).parent / "results" / "memory.json"
LIMIT_BYTES: Final = 1_000_000_000
VOTERS: Final = 1_000_000
EVENTS_AGAIN: Final = 250_000
PARTITIONS: Final = 4
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

    async def take(self, voters: Sequence[int]) -> None:
        """Take one event of each voter through all eight steps."""
        offset = self.state.header.offset
        values = [_event(offset + place, voter) for place, voter in enumerate(voters)]
        offsets = range(offset, offset + len(values))
        columns = columns_of(
            0, offsets, [START_MS + place for place in offsets], [None] * len(values), values, [()] * len(values)
        )
        await process_batch(self.state, columns, _NoContents(), self.load)
        await self.store.commit(take_commit(self.state, offset))
        self.table.committed()
        self.table.evict()


def _event(number: int, voter: int) -> bytes:
    return (
        b'{"specversion":"1.0","id":"e-%d","source":"/trackers/load","type":"social.like","subject":"voter-%07d",'
        b'"time":"2026-01-01T00:00:00Z","datacontenttype":"application/json","data":{"post":"p-481"}}' % (number, voter)
    )


def _memory_bytes(name: str) -> int:
    """Return ``VmRSS`` (now) or ``VmHWM`` (at its highest) of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    message = f"/proc/self/status has no {name}; this benchmark needs Linux"
    raise OSError(message)


async def _serve(port: int, limit: int) -> dict[str, Any]:
    """Serve every voter once, then some again at random; return what was measured in this process."""
    for name in WORKER_MODULES:
        importlib.import_module(name)
    endpoint = RedisEndpoint(port=port)
    partitions = [await _Partition.open(number, endpoint, limit // PARTITIONS) for number in range(PARTITIONS)]
    voters = list(range(VOTERS + PARTITIONS * BATCH_EVENTS))
    for place, partition in enumerate(partitions):
        await partition.take(voters[VOTERS + place * BATCH_EVENTS :][:BATCH_EVENTS])
    before = _memory_bytes("VmRSS")
    chance = random.Random(7)
    begun = time.perf_counter()
    for first in range(0, VOTERS, BATCH_EVENTS):
        await partitions[first // BATCH_EVENTS % PARTITIONS].take(voters[first : first + BATCH_EVENTS])
    for number in range(EVENTS_AGAIN // BATCH_EVENTS):
        place = number % PARTITIONS
        batches = VOTERS // BATCH_EVENTS // PARTITIONS
        chosen = [
            (chance.randrange(batches) * PARTITIONS + place) * BATCH_EVENTS + chance.randrange(BATCH_EVENTS)
            for _ in range(BATCH_EVENTS)
        ]
        await partitions[place].take(chosen)
    seconds = time.perf_counter() - begun
    for partition in partitions:
        await partition.store.close()
    return {
        "before": before,
        "peak": _memory_bytes("VmHWM"),
        "in_memory": sum(len(partition.table) for partition in partitions),
        "loaded": sum(partition.loaded for partition in partitions),
        "seconds": seconds,
    }


def _rows(found: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    peak = found["peak"]
    return [
        {
            "measure": f"peak memory of a worker serving {VOTERS:,} voters, {limit:,} of them in memory, bytes",
            "ours": peak,
            "reference": LIMIT_BYTES,
            "ratio": round(peak / LIMIT_BYTES, 3),
            "goal": 1.0,
            "holds": peak <= LIMIT_BYTES and found["loaded"] > 0,
        },
        {
            "measure": "memory of the worker before its voters, bytes",
            "ours": found["before"],
            "reference": None,
            "ratio": None,
            "goal": None,
            "holds": None,
        },
        {
            "measure": "memory for each voter in memory, bytes (a record has 768)",
            "ours": round((peak - found["before"]) / found["in_memory"]),
            "reference": 768,
            "ratio": round((peak - found["before"]) / found["in_memory"] / 768, 3),
            "goal": None,
            "holds": None,
        },
        {
            "measure": "voters evicted and loaded again",
            "ours": found["loaded"],
            "reference": None,
            "ratio": None,
            "goal": None,
            "holds": None,
        },
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


def _measure(limit: int) -> dict[str, Any]:
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
                worker = [sys.executable, "-m", "load_tests.memory", "--limit", str(limit), "--serve", str(port)]
                found: dict[str, Any] = json.loads(subprocess.run(worker, check=True, stdout=subprocess.PIPE).stdout)
            finally:
                server.terminate()
    return found


def main() -> int:
    """Measure, print, write the results; return 1 if the goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=DEFAULT_LIMIT, help="voters in memory, over all partitions")
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        print(json.dumps(asyncio.run(_serve(arguments.serve, arguments.limit))))
        return 0
    rows = _rows(_measure(arguments.limit), arguments.limit)
    for row in rows:
        goal = (
            "" if row["holds"] is None else f"   {'holds' if row['holds'] else 'MISSED'}: at most {row['reference']:,}"
        )
        print(f"{row['ours']:>15,}  {row['measure']}{goal}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1))
    return 0 if rows[0]["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
