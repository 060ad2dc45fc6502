"""The real pipeline over the real table and Redis' twin, driven by a seed: cuts, group commits, evictions, crashes."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest

from stream.columns import Columns, columns_of
from stream.errors import CommitRefusedError
from stream.pipeline import PartitionState, process_batch, take_commit
from stream.records import OUTPUTS, Commit, ContentId, Header, OutboxRow
from stream.signatures import Keyring
from stream.stores.memory import MemoryServer, MemoryStore
from stream.stores.names import partition_prefix, voter_prefix
from stream.stores.table import Table
from tests.logs import TOPIC, Log
from tests.oracle import Key, Row

TOPIC_ID = "topic-1"


class Shelf:
    """A library that has every content from the start (interfaces.Library)."""

    def __init__(self, contents: dict[Key, bytes]) -> None:
        self.contents = {ContentId(*key): content for key, content in contents.items()}

    def get(self, content: ContentId) -> bytes | None:
        return self.contents.get(content)

    async def wait_for(self, contents: Iterable[ContentId]) -> None:
        missing = [content for content in contents if content not in self.contents]
        assert not missing, f"would wait for ever for {missing}"


def columns(log: Log, rows: list[Row], start: int, next_offset: int) -> Columns:
    """Return a batch as the transport would hand it over."""
    return columns_of(
        log.partition,
        [row.offset for row in rows],
        [row.append_time or 0 for row in rows],
        [row.key for row in rows],
        [row.value for row in rows],
        [row.headers for row in rows],
        start=start,
        next_offset=next_offset,
    )


@dataclass
class Manner:
    """How one run cuts, commits and fails; probabilities are per batch."""

    longest_batch: int = 1 << 30
    limit: int = 100_000
    """Voters in memory."""
    commit: float = 1.0
    crash: float = 0.0
    send: float = 0.5
    reference: bool = False
    """By library code, not by the compiled loops."""


@dataclass
class Sent:
    """What left through the outboxes: rows by output, with the committed offset at which each was taken."""

    rows: dict[str, list[OutboxRow]] = field(default_factory=lambda: {output: [] for output in OUTPUTS})
    taken_at: list[int] = field(default_factory=list)
    """Of each trigger."""


class Run:
    """One run of one log."""

    def __init__(self, log: Log, manner: Manner, seed: int) -> None:
        self.log, self.manner, self.chance = log, manner, random.Random(seed)
        self.library = Shelf(log.contents)
        self.server = MemoryServer()
        self.prefix = partition_prefix("", log.partition)
        self.store = MemoryStore(self.server, self.prefix)
        self.sent = Sent()
        self.claims = self.crashes = self.evicted = self.batches = 0
        self.in_flight: Commit | None = None

    async def claim(self) -> None:
        """Start from what the store holds."""
        self.claims += 1
        start = self.log.start
        keyring = Keyring(self.log.secrets) if self.log.secrets else None
        fresh = Header.fresh(TOPIC_ID, self.log.count, "", start, keyring.root if keyring else [])
        header = await self.store.claim(f"owner-{self.claims}", fresh)
        self.committed = header.offset
        self.table = Table(self.manner.limit, reference=self.manner.reference)
        self.state = await PartitionState.open(self.log.partition, TOPIC, header, self.table, self.library, keyring)
        self.state.reference = self.manner.reference
        self.in_flight = None

    async def run(self) -> None:
        """Process the whole log, commit all of it, and send all that it gave."""
        await self.claim()
        end = self.log.rows[-1].offset + 1
        while self.state.header.offset < end:
            batch = self.cut(self.state.header.offset)
            await process_batch(self.state, batch, self.library, self.store.load)
            self.batches += 1
            self.evicted += self.table.evict()
            if self.chance.random() < self.manner.commit:
                await self.settle()
                self.take()
            if self.chance.random() < self.manner.send:
                await self.send(self.chance.randint(1, 5))
            if self.chance.random() < self.manner.crash:
                await self.crash()
        await self.settle()
        self.take()
        await self.settle()
        await self.send(1 << 30)

    def cut(self, offset: int) -> Columns:
        """Return the next batch: rows from ``offset``, then perhaps a stretch of offsets without rows."""
        rest = [row for row in self.log.rows if row.offset >= offset]
        count = self.chance.randint(1, self.manner.longest_batch)
        gap = rest[0].offset - offset
        if gap > 1 and self.chance.random() < 0.3:
            return columns(self.log, [], offset, offset + self.chance.randint(1, gap))
        rows, rest = rest[:count], rest[count:]
        end = rows[-1].offset + 1
        return columns(self.log, rows, offset, self.chance.randint(end, rest[0].offset) if rest else end)

    def take(self) -> None:
        """Copy out a commit; it stays on its way until it is settled."""
        if self.state.header.offset > self.committed:
            self.in_flight = take_commit(self.state, self.committed)

    async def settle(self) -> None:
        """Let the commit on its way arrive."""
        if self.in_flight is not None:
            await self.store.commit(self.in_flight)
            self.table.committed()
            self.committed = self.in_flight.header.offset
            self.in_flight = None

    async def send(self, most: int) -> None:
        """Be the relay: take up to ``most`` rows of each output, and trim them."""
        header = await self.store.read_header()
        assert header is not None
        for output, taken in self.sent.rows.items():
            rows = await self.store.outbox(output, len(taken), most)
            taken.extend(rows)
            if output == "triggers":
                self.sent.taken_at += [header.offset] * len(rows)
            await self.store.trim(output, len(taken))

    async def crash(self) -> None:
        """Lose the memory; the commit on its way was lost, or was executed; a zombie's is refused."""
        self.crashes += 1
        zombie, self.in_flight = self.in_flight, None
        executed = zombie is not None and self.chance.random() < 0.5
        if zombie is not None and executed:
            await self.store.commit(zombie)
        await self.claim()
        if zombie is not None:
            with pytest.raises(CommitRefusedError):
                await self.store.commit(zombie)

    # --- what it came to -------------------------------------------------------------------------------

    def header(self) -> dict[str, Any]:
        """Return the committed header, all but the owner and the topic's id."""
        header = asdict(Header.from_bytes(self.server.values[f"{self.prefix}header"]))
        return {name: value for name, value in header.items() if name not in {"owner", "topic_id", "restoring"}}

    def header_bytes(self) -> bytes:
        """Return the committed header's bytes under no owner's name."""
        header = Header.from_bytes(self.server.values[f"{self.prefix}header"])
        header.owner = ""
        return header.to_bytes()

    def records(self) -> dict[str, bytes]:
        """Return the committed records by voter."""
        prefix = voter_prefix(self.prefix)
        return {key.removeprefix(prefix): value for key, value in self.server.values.items() if key.startswith(prefix)}
