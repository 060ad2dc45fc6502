"""The consumer group and the fetch, as a worker's transport meets them: eager rebalances, epochs, late news.

The promises are those of ``stream.transport``: a seek raises the epoch (kept by the real Places), batches carry where
they start and end, revocation stops the fetch and then waits, bounded, for what is in flight.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from faust.types import TP

from stream.columns import Columns, columns_of
from stream.errors import StateMismatchError
from stream.transport.places import Places
from tests.simulation.kafka_batches import Record

LOG_READ_SECONDS = 0.03


class EventsLog(Protocol):
    """The events topic as the fetch sees it."""

    def fetch(self, partition: int, offset: int, most: int) -> tuple[list[Record], int] | None:
        """Return up to ``most`` rows and the position behind them; None where ``offset`` is out of range."""
        ...

    def bounds(self, partition: int) -> tuple[int, int]:
        """Return the first offset, and the one after the last that may be read."""
        ...


@dataclass(eq=False)
class _Seat:
    """A member as the coordinator knows it."""

    member: Member
    seen: float
    joined: bool = False
    generation: int = -1


class Group:
    """The coordinator: it hears heartbeats, waits for members to join, and deals out partitions."""

    def __init__(self, partitions: int, session_seconds: float, chance: random.Random) -> None:
        """Nobody has joined."""
        self.partitions = partitions
        self.session_seconds = session_seconds
        self.chance = chance
        self.generation = 0
        self.is_rebalancing = False
        self._seats: dict[Member, _Seat] = {}
        self._deals: dict[Member, frozenset[int]] = {}
        self._deadline = 0.0

    def expire(self) -> None:
        """Drop members that were not heard of for a session, and end a rebalance that waited long enough."""
        now = asyncio.get_running_loop().time()
        late = [seat for seat in self._seats.values() if now - seat.seen > self.session_seconds]
        for seat in late:
            del self._seats[seat.member]
        if late:
            self._begin()
        if self.is_rebalancing and now >= self._deadline:
            for seat in [seat for seat in self._seats.values() if not seat.joined]:
                del self._seats[seat.member]
            self._deal()

    def join(self, member: Member) -> None:
        """Take a member's wish to take part in the next generation."""
        now = asyncio.get_running_loop().time()
        seat = self._seats.get(member)
        if seat is None:
            self._begin()
            seat = self._seats[member] = _Seat(member, now)
        elif not self.is_rebalancing:
            self._begin()
        seat.seen, seat.joined = now, True
        if all(other.joined for other in self._seats.values()):
            self._deal()

    def leave(self, member: Member) -> None:
        """Forget a member at once."""
        if self._seats.pop(member, None) is not None:
            self._begin()
            if self._seats and all(other.joined for other in self._seats.values()):
                self._deal()

    def heartbeat(self, member: Member, generation: int) -> str:
        """Return ``ok``, ``rejoin`` (a rebalance is on, or another generation runs) or ``unknown``."""
        seat = self._seats.get(member)
        if seat is None:
            return "unknown"
        seat.seen = asyncio.get_running_loop().time()
        return "rejoin" if self.is_rebalancing or seat.generation != generation else "ok"

    def deal(self, member: Member) -> tuple[int, frozenset[int]] | None:
        """Return a member's generation and partitions; None while the rebalance goes on."""
        if self.is_rebalancing or member not in self._deals:
            return None
        return self.generation, self._deals[member]

    def awaits(self, member: Member) -> bool:
        """Return whether a member's wish to take part still stands: a round that began after it takes another."""
        seat = self._seats.get(member)
        return seat is not None and seat.joined

    def rebalance(self) -> None:
        """Begin a rebalance without a reason of the members' own."""
        self._begin()

    def _begin(self) -> None:
        if not self.is_rebalancing:
            self.is_rebalancing = True
            self._deadline = asyncio.get_running_loop().time() + self.session_seconds
            self._deals = {}
            for seat in self._seats.values():
                seat.joined = False

    def _deal(self) -> None:
        self.is_rebalancing = False
        self.generation += 1
        members = list(self._seats)
        self.chance.shuffle(members)
        hands: dict[Member, set[int]] = {member: set() for member in members}
        for partition in range(self.partitions if members else 0):
            hands[members[partition % len(members)]].add(partition)
        self._deals = {member: frozenset(hand) for member, hand in hands.items()}
        for seat in self._seats.values():
            seat.generation = self.generation


@dataclass(frozen=True)
class Hooks:
    """What the worker gives its transport (stream.transport.BatchHooks)."""

    positions: Callable[[frozenset[TP]], Awaitable[Mapping[TP, int]]]
    revoked: Callable[[frozenset[TP]], Awaitable[None]]
    failed: Callable[[BaseException], None]
    accept: Callable[[Columns], None]
    in_flight_limit: int = 2
    max_records: int = 50
    revoke_seconds: float = 3.0


@dataclass(eq=False)
class Member:
    """One worker's transport: it takes part in the group, and fetches what it is dealt."""

    topic: str
    group: Group
    log: EventsLog
    hooks: Hooks
    chance: random.Random
    heartbeat_seconds: float = 0.3
    assigned: frozenset[int] = frozenset()
    _generation: int = -1
    _flows: bool = False
    _epoch_of_assignment: object = None
    _claim: asyncio.Task[None] | None = None
    _positions: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Not in the group yet."""
        self._room = asyncio.Event()
        self.places = Places(self.hooks.in_flight_limit, self._room.set)

    # --- what the worker asks of it ------------------------------------------------------------------

    def tp(self, number: int) -> TP:
        """Return Faust's name of a partition."""
        return TP(self.topic, number)

    async def bounds(self, number: int) -> tuple[int, int]:
        """Return the log's first offset, and the one after its last."""
        await asyncio.sleep(self._hop())
        return self.log.bounds(number)

    async def reseek(self, number: int, offset: int) -> None:
        """Read a partition from an offset on, under a new epoch, if it is still assigned."""
        await self._seek({number: offset})

    def epoch(self, number: int) -> int:
        """Return the epoch whose batches count."""
        return self.places.epoch(self.tp(number))

    def release(self, number: int, epoch: int) -> None:
        """Give back a batch's place."""
        self.places.release(self.tp(number), epoch)

    def is_assigned(self, number: int) -> bool:
        """Return whether the partition is this member's, as far as it knows."""
        return number in self.assigned

    async def _seek(self, offsets: Mapping[int, int]) -> None:
        # The consumer's thread does it, and may have lost the assignment by then.
        assignment = self._epoch_of_assignment
        await asyncio.sleep(self._hop())
        if assignment is None or assignment is not self._epoch_of_assignment:
            return
        for number, offset in offsets.items():
            if number in self.assigned:
                self._positions[number] = offset
                self.places.open(self.tp(number), assignment, offset)
        self._room.set()

    # --- the group -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take part in the group until cancelled."""
        fetching = asyncio.create_task(self._fetch(), name="fetch")
        try:
            while True:
                await self._rejoin()
                answer = "ok"
                while answer == "ok":
                    await asyncio.sleep(self.heartbeat_seconds)
                    answer = self.group.heartbeat(self, self._generation)
                await self._revoke()
        finally:
            fetching.cancel()

    async def leave(self) -> None:
        """Leave the group, as a worker that stops in order does."""
        await self._end_claim()
        self.group.leave(self)

    async def _rejoin(self) -> None:
        self.group.join(self)
        while (deal := self.group.deal(self)) is None:
            await asyncio.sleep(self._hop() + 0.02)
            # Whoever did not hear of its deal before the next round is told so at once (REBALANCE_IN_PROGRESS).
            if self.group.heartbeat(self, self._generation) == "unknown" or not self.group.awaits(self):
                self.group.join(self)
        self._generation, self.assigned = deal
        self._epoch_of_assignment = object()
        self._flows = True
        await self._end_claim()
        self._claim = asyncio.create_task(self._claim_and_seek(self.assigned), name="claim")

    async def _claim_and_seek(self, assigned: frozenset[int]) -> None:
        try:
            offsets = await self.hooks.positions(frozenset(map(self.tp, assigned)))
            await self._seek({tp.partition: offset for tp, offset in offsets.items()})
        except Exception as error:
            self.hooks.failed(error)

    async def _end_claim(self) -> None:
        if self._claim is not None:
            self._claim.cancel()
            await asyncio.wait((self._claim,))
            self._claim = None

    async def _revoke(self) -> None:
        self.places.close()
        self._flows = False
        self._epoch_of_assignment = None
        await asyncio.sleep(self._hop())
        await self._end_claim()
        revoked = frozenset(map(self.tp, self.assigned))
        if revoked:
            try:
                await asyncio.wait_for(self.hooks.revoked(revoked), self.hooks.revoke_seconds)
            except TimeoutError:
                pass
            except Exception as error:
                self.hooks.failed(error)
        self.assigned = frozenset()

    # --- the fetch -----------------------------------------------------------------------------------

    async def _fetch(self) -> None:
        while True:
            ready = self.places.ready(self._epoch_of_assignment) if self._flows else []
            taken = [columns for tp in ready if (columns := self._take(tp)) is not None]
            if not taken:
                self._room.clear()
                await asyncio.sleep(LOG_READ_SECONDS * (1 + self.chance.random()))
                continue
            # On the way from the consumer's thread to the agent's loop.
            await asyncio.sleep(self._hop())
            current = [columns for columns in taken if columns.epoch == self.epoch(columns.partition)]
            for columns in current if self._flows else ():
                self.hooks.accept(columns)
                await asyncio.sleep(0)

    def _take(self, tp: TP) -> Columns | None:
        position = self._positions[tp.partition]
        fetched = self.log.fetch(tp.partition, position, self.chance.randint(1, self.hooks.max_records))
        if fetched is None:
            message = f"{tp.topic} partition {tp.partition} is to be read from {position}, which its log has not"
            self.hooks.failed(StateMismatchError(message))
            return None
        rows, behind = fetched
        self._positions[tp.partition] = behind
        if not rows:
            return None
        epoch, start = self.places.take(tp, behind)
        columns = columns_of(
            tp.partition,
            [row.offset for row in rows],
            [row.time_ms for row in rows],
            [row.key for row in rows],
            [row.value for row in rows],
            [row.headers for row in rows],
            epoch=epoch,
            start=start,
            next_offset=behind,
        )
        columns.is_followed = behind < self.log.bounds(tp.partition)[1]
        return columns

    def _hop(self) -> float:
        return 0.002 * self.chance.random()
