"""A partition's snapshots, taken in their time, or when an operator asks, beside the work of whoever holds it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from stream.agents.surroundings import Held
from stream.errors import GroundswellError
from stream.snapshots.capture import Aside, Capture, CopiedStore
from stream.snapshots.catalogue import Catalogue, Retention
from stream.snapshots.format import Manifest, SnapshotName
from stream.snapshots.requests import Request

logger = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_RETRY_SECONDS = 60.0
"""After a failure, where the schedule is not sooner."""
_ABANDON_SECONDS = 10.0


class SnapshotsStore(CopiedStore, Protocol):
    """The partition's store, on connections of its own: commits and loads do not wait behind a page."""

    async def read_request(self) -> bytes | None:
        """Return what was written last, None where there is nothing."""
        ...

    async def write_request(self, data: bytes) -> None:
        """Leave word."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


@dataclass(slots=True)
class SnapshotObserver:
    """Who is told what came of it; each takes the partition first."""

    found: Callable[[int, int], None]
    """When the newest snapshot was begun (ms), as it was found at the start."""
    taken: Callable[[int, Manifest, float, float], None]
    """The manifest, the seconds that it took, and the longest time that it kept a batch waiting."""
    failed: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a partition's snapshots are due: at the same moments whoever holds it, partitions one after another."""

    interval_seconds: float
    partition: int
    partition_count: int

    def next_after(self, now: float) -> float:
        """Return the first moment after ``now`` (seconds since the epoch) at which one is due."""
        phase = self.interval_seconds * self.partition / self.partition_count
        rounds = (now - phase) // self.interval_seconds + 1
        return phase + rounds * self.interval_seconds


def _token() -> str:
    return secrets.token_hex(4)


@dataclass(slots=True)
class PartitionSnapshots:
    """Takes one partition's snapshots for as long as ``run`` is left running; stops nothing when it fails."""

    topic: str
    catalogue: Catalogue
    store: SnapshotsStore
    schedule: Schedule
    retention: Retention
    observer: SnapshotObserver
    aside: Aside | None = None
    """Has the records read elsewhere than on this event loop; None: here, by ``store``."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Shared by a worker's partitions: one snapshot at a time."""
    now: Callable[[], float] = time.time
    """Seconds since the epoch."""
    clock: Callable[[], float] = time.perf_counter
    token: Callable[[], str] = _token
    poll_seconds: float = _POLL_SECONDS
    _leftovers: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def number(self) -> int:
        """The partition."""
        return self.catalogue.place.partition

    async def run(self, held: Held) -> None:
        """Take snapshots when they are due or asked for, until cancelled."""
        await self._note_newest()
        due = self.schedule.next_after(self.now())
        while True:
            await asyncio.sleep(min(max(due - self.now(), 0.0), self.poll_seconds))
            request = await self._asked()
            if request is None and self.now() < due:
                continue
            async with self.turn:
                manifest = await self.take(held, request)
            due = self.schedule.next_after(self.now())
            if manifest is None:
                due = min(due, self.now() + _RETRY_SECONDS)

    async def take(self, held: Held, request: Request | None = None) -> Manifest | None:
        """Take one snapshot of the state as it is now, and clear away what need not be kept.

        Returns None where that failed: it was logged, counted, and told to whoever asked. Cancelled, it leaves a
        folder without a manifest, whose removal goes on by itself.
        """
        started, created_ms = self.clock(), int(self.now() * 1000)
        token = self.token() if request is None else request.token
        try:
            manifest, hold_seconds = await self._capture(held, created_ms, token)
            seconds = self.clock() - started
            self.observer.taken(self.number, manifest, seconds, hold_seconds)
            logger.info(
                "partition %d: snapshot at offset %d, %d records, %d bytes, %.1f s",
                self.number,
                manifest.offset,
                manifest.records,
                manifest.size,
                seconds,
            )
            await self._answer(request, "taken", f"at offset {manifest.offset}")
            for name in await self.catalogue.clear_away(self.retention, created_ms):
                logger.info("partition %d: snapshot %s is not kept any longer", self.number, name.text)
        except GroundswellError as error:
            logger.error("partition %d: no snapshot: %s", self.number, error)
            self.observer.failed(self.number)
            await self._answer(request, "failed", str(error))
            return None
        return manifest

    async def close(self) -> None:
        """Finish removing what was abandoned, within a bound, and close the store's connections."""
        if self._leftovers:
            await asyncio.wait(self._leftovers, timeout=_ABANDON_SECONDS)
        await self.store.close()

    async def _capture(self, held: Held, created_ms: int, token: str) -> tuple[Manifest, float]:
        # From here to the first await nothing else runs: the state is that of a batch's boundary.
        state = held.state
        name = SnapshotName.make(created_ms, state.header.offset, token)
        writer = self.catalogue.writer(name)
        capture = Capture(deepcopy(state.header), self.store, writer, self.clock, aside=self.aside)
        state.before_change = partial(capture.keep, state.table)

        async def committed() -> int:
            while held.committed_offset < capture.offset:
                held.committed.clear()
                await held.committed.wait()
            return held.committed_offset

        try:
            # Polled since who knows when, it may lead to a server that a failover has replaced, and that says nothing.
            await self.store.close()
            manifest = await capture.run(self.catalogue.place, self.topic, created_ms, committed)
        except asyncio.CancelledError:
            # Whoever gives the partition back is waiting.
            removal = asyncio.ensure_future(self._remove(writer.abandon))
            self._leftovers.add(removal)
            removal.add_done_callback(self._leftovers.discard)
            raise
        except BaseException:
            await self._remove(writer.abandon)
            raise
        finally:
            state.before_change = None
        return manifest, capture.longest_hold_seconds

    async def _remove(self, abandon: Callable[[], Awaitable[None]]) -> None:
        try:
            await abandon()
        except GroundswellError as error:
            logger.warning("partition %d: an unfinished snapshot stays for now: %s", self.number, error)

    async def _note_newest(self) -> None:
        try:
            names = await self.catalogue.complete()
        except GroundswellError as error:
            logger.warning("partition %d: the snapshots' storage is not reached: %s", self.number, error)
            return
        if names:
            self.observer.found(self.number, names[0].created_ms)

    async def _asked(self) -> Request | None:
        """Return what an operator asks for, and say that it is begun."""
        try:
            request = Request.from_bytes(await self.store.read_request())
            if request is None or not request.is_open:
                return None
            await self.store.write_request(replace(request, state="begun").to_bytes())
        except GroundswellError:
            # Redis is away: commits wait for it as well, and say so.
            return None
        return request

    async def _answer(self, request: Request | None, state: str, text: str) -> None:
        if request is None:
            return
        try:
            await self.store.write_request(replace(request, state=state, text=text).to_bytes())
        except GroundswellError as error:
            logger.warning("partition %d: whoever asked for the snapshot was not told: %s", self.number, error)
