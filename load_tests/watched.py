"""A worker that tells when each of its batches and snapshots ended: ``python -m load_tests.watched FILE``.

It is ``groundswell worker`` itself; one line is written to FILE after each batch and each snapshot.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from stream import app
from stream.agents.engagement import Engagement
from stream.agents.snapshots import PartitionSnapshots
from stream.cli import main as stream_main

if TYPE_CHECKING:
    from stream.agents.surroundings import Held
    from stream.pipeline import Outcome
    from stream.snapshots import Manifest, Request

BATCH: Final = "batch"
SNAPSHOT: Final = "snapshot"
NOTHING: Final = "nothing"
"""A snapshot that was not taken."""


@dataclass(frozen=True, slots=True)
class Done:
    """A batch or a snapshot that has ended."""

    what: str
    ended: float
    """By the machine's monotonic clock, in seconds: ``time.perf_counter`` of any process."""
    seconds: float
    count: int
    """Rows of the batch, records of the snapshot."""
    waited: float = 0.0
    """How long, since it began to run, the worker's thread waited for a processor that others had, in seconds."""
    voters: int = 0
    """In memory, in the batch's partition."""

    @property
    def begun(self) -> float:
        """When it began."""
        return self.ended - self.seconds

    def line(self) -> bytes:
        """Return it as it stands in the file."""
        return f"{self.what} {self.ended!r} {self.seconds!r} {self.count} {self.waited!r} {self.voters}\n".encode()

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line of the file."""
        what, ended, seconds, count, waited, voters = line.split()
        return cls(what, float(ended), float(seconds), int(count), float(waited), int(voters))


def read(path: Path) -> list[Done]:
    """Return what a worker has told so far, in the order in which it ended."""
    # The last line may be half written.
    return [Done.parse(line) for line in path.read_text().rpartition("\n")[0].splitlines()]


def main() -> None:
    """Run the worker until SIGTERM."""
    schedule = os.open("/proc/thread-self/schedstat", os.O_RDONLY)

    def waited() -> float:
        return int(os.pread(schedule, 100, 0).split()[1]) / 1e9

    told = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    class WatchedEngagement(Engagement):
        def observe_batch(self, number: int, outcome: Outcome, seconds: float) -> None:
            ended = time.perf_counter()
            super().observe_batch(number, outcome, seconds)
            state = self.partitions[number].state
            voters = 0 if state is None else len(state.table)
            os.write(told, Done(BATCH, ended, seconds, outcome.rows, waited(), voters).line())

    class WatchedSnapshots(PartitionSnapshots):
        async def take(self, held: Held, request: Request | None = None) -> Manifest | None:
            begun = time.perf_counter()
            manifest = await PartitionSnapshots.take(self, held, request)
            ended = time.perf_counter()
            what, records = (NOTHING, 0) if manifest is None else (SNAPSHOT, manifest.records)
            os.write(told, Done(what, ended, ended - begun, records, waited()).line())
            return manifest

    app.Engagement = WatchedEngagement  # type: ignore[attr-defined]
    app.PartitionSnapshots = WatchedSnapshots  # type: ignore[attr-defined]
    sys.argv[1:] = ["worker"]
    stream_main()


if __name__ == "__main__":
    main()
