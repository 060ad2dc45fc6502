"""A bare consumer: a member of a group that reads and does nothing else, the measure of how fast one can recover.

``python -m load_tests.faults.bare BOOTSTRAP GROUP TOPIC SESSION_SECONDS FILE``: the offset after the last record read
of partition N stands in the file as its Nth number (8 bytes, little-endian).
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from mmap import mmap
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

from load_tests.cluster import WITH_ITS_STARTER

_WIDTH: Final = 8
_POLL_MS: Final = 100


class BareConsumer:
    """One bare consumer as a process."""

    def __init__(self, bootstrap: str, group: str, topic: str, session_seconds: float, places: Path) -> None:
        """Nothing runs yet; all members of a group share the file ``places``."""
        words = (bootstrap, group, topic, str(session_seconds), str(places))
        self._words = [*WITH_ITS_STARTER, sys.executable, "-m", "load_tests.faults.bare", *words]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again."""
        with Path(self._words[-1]).with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(self._words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def wait(self, seconds: float = 10.0) -> None:
        """Wait for its end; kill it where that does not come."""
        if self.process is None:
            return
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def make_places(path: Path, partitions: int) -> None:
    """Make the file in which the members of a group say how far they have read."""
    path.write_bytes(bytes(_WIDTH * partitions))


def read_places(path: Path) -> list[int]:
    """Return by partition how far the members of a group have read."""
    data = path.read_bytes()
    return [int.from_bytes(data[at : at + _WIDTH], "little") for at in range(0, len(data), _WIDTH)]


async def consume(bootstrap: str, group: str, topic: str, session_seconds: float, places: mmap) -> None:
    """Read until told to end, then leave the group."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        session_timeout_ms=int(session_seconds * 1000),
        heartbeat_interval_ms=500,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        partition_assignment_strategy=[RoundRobinPartitionAssignor],
    )
    await consumer.start()
    while not told.is_set():
        batches = await consumer.getmany(timeout_ms=_POLL_MS)
        for where, records in batches.items():
            at = _WIDTH * where.partition
            places[at : at + _WIDTH] = (records[-1].offset + 1).to_bytes(_WIDTH, "little")
    await consumer.stop()


def main() -> None:
    """Run from the command line."""
    bootstrap, group, topic, session_seconds, path = sys.argv[1:]
    with Path(path).open("r+b") as file, mmap(file.fileno(), 0) as places:
        asyncio.run(consume(bootstrap, group, topic, float(session_seconds), places))


if __name__ == "__main__":
    main()
