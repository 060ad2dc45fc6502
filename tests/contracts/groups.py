"""What the contract of a consumer group is checked over: the simulated one, and the batch transport on Apache Kafka."""

from __future__ import annotations

import asyncio
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from faust.types import TP

from stream.columns import Columns
from tests.contracts.kafka_clusters import BROKER, ApacheCluster, producing
from tests.integration.batch_apps import Worker, running
from tests.integration.outputs import end, new_topic
from tests.simulation import loop
from tests.simulation.group import Group, Hooks, Member
from tests.simulation.kafka_batches import Record
from tests.simulation.kafka_broker import SimulatedKafka

PARTITIONS = 3
TRANSACTIONS = [range(0, 100), range(101, 201), range(202, 302)]
"""The offsets of a partition's rows; a transaction's marker follows each hundred."""
OFFSETS = [offset for rows in TRANSACTIONS for offset in rows]
ALL = frozenset(range(PARTITIONS))
SESSION_SECONDS = 6.0
"""The shortest that Apache Kafka grants; what ``running`` asks for, as it does for the heartbeats."""
HEARTBEAT_SECONDS = 0.3
SEEDS = 5


@dataclass(frozen=True)
class Limits:
    """How a member is tuned."""

    in_flight_limit: int = 2
    max_records: int = 20
    revoke_seconds: float = 5.0


DEFAULTS = Limits()


@dataclass(frozen=True)
class Entry:
    """Something that a member was told or did."""

    what: str
    """``asked``, ``sought``, ``batch``, ``revoking``, then ``revoked`` or ``given up``; ``left``, ``silent``."""
    member: str
    offsets: Mapping[int, int] = field(default_factory=dict)
    """By partition, where it is to be read from (0 where that is not said)."""
    batch: Columns | None = None


class Tested(ABC):
    """A member of a group, and the application in it: it takes batches as ``stream.transport`` says."""

    def __init__(self, name: str, diary: list[Entry]) -> None:
        self.name = name
        self.diary = diary
        self.starts = dict.fromkeys(ALL, 0)
        """What ``positions`` answers."""
        self.work_seconds = 0.0
        """How long ``revoked`` has work in flight."""
        self.kept: frozenset[int] = frozenset()
        """The partitions whose batches are not released as they come."""
        self.batches: list[Columns] = []
        """Those that were not dropped."""
        self.failures: list[BaseException] = []
        self._held: frozenset[int] = frozenset()

    # --- what differs ----------------------------------------------------------------------------------

    @abstractmethod
    async def start(self) -> None:
        """Begin to take part; it need not have been dealt anything yet."""

    @abstractmethod
    async def stop(self) -> None:
        """Leave, as a worker that stops in order does."""

    @abstractmethod
    def silence(self) -> None:
        """Let no heartbeat through from now on; all else goes on."""

    @abstractmethod
    def speak(self) -> None:
        """Let them through again."""

    @abstractmethod
    async def seek(self, partition: int, offset: int) -> None: ...

    @abstractmethod
    def epoch(self, partition: int) -> int: ...

    @abstractmethod
    def is_assigned(self, partition: int) -> bool: ...

    @abstractmethod
    def release(self, batch: Columns) -> None: ...

    # --- what a test asks ------------------------------------------------------------------------------

    def holds(self) -> frozenset[int]:
        """Return what it was asked for and has not given back, once the transport says the same."""
        agreed = self._held and self._held == frozenset(filter(self.is_assigned, ALL))
        return self._held if agreed else frozenset()

    def of(self, partition: int) -> list[Columns]:
        """Return a partition's batches of the epoch that counts."""
        epoch = self.epoch(partition)
        return [batch for batch in self.batches if batch.partition == partition and batch.epoch == epoch]

    def has_read(self, partition: int) -> bool:
        """Return whether it has come to the log's end."""
        batches = self.of(partition)
        return bool(batches) and batches[-1].next > OFFSETS[-1]

    async def reseek(self, partition: int, offset: int) -> None:
        self._note("sought", {partition: offset})
        await self.seek(partition, offset)

    async def leave(self) -> None:
        self._note("left")
        await self.stop()

    def vanish(self) -> None:
        self._note("silent")
        self.silence()

    # --- the application -------------------------------------------------------------------------------

    async def positions(self, assigned: frozenset[TP]) -> Mapping[TP, int]:
        self._held = frozenset(tp.partition for tp in assigned)
        self._note("asked", {number: self.starts[number] for number in self._held})
        return {tp: self.starts[tp.partition] for tp in assigned}

    async def revoked(self, revoked: frozenset[TP]) -> None:
        offsets = dict.fromkeys((tp.partition for tp in revoked), 0)
        self._note("revoking", offsets)
        answer = "given up"
        try:
            await asyncio.sleep(self.work_seconds)
            answer = "revoked"
        finally:
            self._held -= offsets.keys()
            self._note(answer, offsets)

    def accept(self, batch: Columns) -> None:
        if batch.epoch != self.epoch(batch.partition):
            return
        self.batches.append(batch)
        self._note("batch", batch=batch)
        if batch.partition not in self.kept:
            self.release(batch)

    def _note(self, what: str, offsets: Mapping[int, int] | None = None, batch: Columns | None = None) -> None:
        self.diary.append(Entry(what, self.name, offsets or {}, batch))


class Site(Protocol):
    """A group of its own over a topic of ``PARTITIONS`` partitions, each with rows at ``OFFSETS``."""

    diary: list[Entry]
    """What all members were told and did, in order."""

    def member(self, name: str, limits: Limits = ...) -> Tested:
        """Make a member, to be started; it ends with the scenario."""
        ...


Scenario = Callable[[Site], Awaitable[None]]


# --- the simulated one ---------------------------------------------------------------------------------


class AudibleGroup(Group):
    """A coordinator that some members' heartbeats do not reach, of which these do not learn."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(PARTITIONS, SESSION_SECONDS, chance)
        self.unheard: set[Member] = set()

    def heartbeat(self, member: Member, generation: int) -> str:
        return "ok" if member in self.unheard else super().heartbeat(member, generation)

    async def keep(self) -> None:
        while True:
            await asyncio.sleep(0.25)
            self.expire()


class SimulatedLog:
    """The topic, as the fetch sees it."""

    def __init__(self) -> None:
        self.kafka = SimulatedKafka(lambda: 1000)
        self.kafka.create_topic("events", PARTITIONS)
        for partition in ALL:
            for rows in TRANSACTIONS:
                for offset in rows:
                    self.kafka.append("events", partition, None, b"%d" % offset)
                self.kafka.log("events", partition).skip(1)

    def fetch(self, partition: int, offset: int, most: int) -> tuple[list[Record], int] | None:
        return self.kafka.fetch("events", partition, offset, most)

    def bounds(self, partition: int) -> tuple[int, int]:
        log = self.kafka.log("events", partition)
        return log.start, log.last_stable_offset


class SimulatedMember(Tested):
    """``tests.simulation.group.Member``."""

    def __init__(self, name: str, site: SimulatedSite, limits: Limits) -> None:
        super().__init__(name, site.diary)
        self.group = site.group
        hooks = Hooks(
            self.positions,
            self.revoked,
            self.failures.append,
            self.accept,
            in_flight_limit=limits.in_flight_limit,
            max_records=limits.max_records,
            revoke_seconds=limits.revoke_seconds,
        )
        self.member = Member("events", site.group, site.log, hooks, site.chance, HEARTBEAT_SECONDS)
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._running = asyncio.create_task(self.member.run(), name=self.name)

    async def stop(self) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            await end(running)
            await self.member.leave()

    def silence(self) -> None:
        self.group.unheard.add(self.member)

    def speak(self) -> None:
        self.group.unheard.discard(self.member)

    async def seek(self, partition: int, offset: int) -> None:
        await self.member.reseek(partition, offset)

    def epoch(self, partition: int) -> int:
        return self.member.epoch(partition)

    def is_assigned(self, partition: int) -> bool:
        return self.member.is_assigned(partition)

    def release(self, batch: Columns) -> None:
        self.member.release(batch.partition, batch.epoch)


class SimulatedSite:
    """The simulated group, from one seed."""

    def __init__(self, seed: int) -> None:
        self.diary: list[Entry] = []
        self.chance = random.Random(f"members {seed}")
        self.group = AudibleGroup(random.Random(f"group {seed}"))
        self.log = SimulatedLog()
        self.members: list[SimulatedMember] = []

    def member(self, name: str, limits: Limits = DEFAULTS) -> Tested:
        member = SimulatedMember(name, self, limits)
        self.members.append(member)
        return member

    async def play(self, scenario: Scenario) -> None:
        keeping = asyncio.create_task(self.group.keep(), name="group")
        try:
            await scenario(self)
        finally:
            for member in self.members:
                await member.stop()
            await end(keeping)
            # What was cancelled ends.
            await asyncio.sleep(1)
        assert [member.failures for member in self.members] == [[] for _ in self.members]


def play_simulated(scenario: Scenario) -> None:
    """Play a scenario in virtual time, from several seeds."""
    for seed in range(SEEDS):
        loop.run(SimulatedSite(seed).play(scenario))


# --- the real one --------------------------------------------------------------------------------------


class _FaustWorker(Worker):
    """A Faust app whose hooks are a member's."""

    def __init__(self, topic: str, member: ApacheMember, limits: Limits) -> None:
        super().__init__(
            topic,
            self._take,
            positions=member.positions,
            revoked=member.revoked,
            failed=member.failures.append,
            in_flight_limit=limits.in_flight_limit,
            max_records=limits.max_records,
            revoke_seconds=limits.revoke_seconds,
        )
        self._accept = member.accept

    async def _take(self, _: Worker, batch: Columns) -> None:
        self._accept(batch)


class ApacheMember(Tested):
    """``stream.transport`` in Faust."""

    def __init__(self, name: str, site: ApacheSite, limits: Limits) -> None:
        super().__init__(name, site.diary)
        self.group = site.group
        self.worker = _FaustWorker(site.topic, self, limits)
        self._stack = AsyncExitStack()
        self._speak: Callable[[], Any] = lambda: None

    async def start(self) -> None:
        await self._stack.enter_async_context(running(self.worker, group=self.group))

    async def stop(self) -> None:
        await self._stack.aclose()

    def silence(self) -> None:
        thread = self.worker.consumer._thread
        coordinator = thread._ensure_consumer()._coordinator
        may_speak, heartbeat = asyncio.Event(), coordinator._do_heartbeat

        async def late() -> Any:
            await may_speak.wait()
            return await heartbeat()

        coordinator._do_heartbeat = late
        self._speak = lambda: thread.thread_loop.call_soon_threadsafe(may_speak.set)

    def speak(self) -> None:
        self._speak()

    async def seek(self, partition: int, offset: int) -> None:
        await self.worker.consumer.reseek({self.worker.tp(partition): offset})

    def epoch(self, partition: int) -> int:
        return self.worker.consumer.epoch(self.worker.tp(partition))

    def is_assigned(self, partition: int) -> bool:
        return self.worker.consumer.is_assigned(self.worker.tp(partition))

    def release(self, batch: Columns) -> None:
        self.worker.release(batch)


class ApacheSite:
    """A group of its own on GROUNDSWELL_TEST_KAFKA."""

    def __init__(self) -> None:
        self.diary: list[Entry] = []
        self.topic, self.group = new_topic(PARTITIONS), f"group-{random.SystemRandom().getrandbits(48):012x}"
        self.members: list[ApacheMember] = []

    def member(self, name: str, limits: Limits = DEFAULTS) -> Tested:
        member = ApacheMember(name, self, limits)
        self.members.append(member)
        return member

    async def play(self, scenario: Scenario) -> None:
        await self._fill()
        try:
            await scenario(self)
        finally:
            for member in self.members:
                member.work_seconds = 0.0
                await member.stop()
        assert [member.failures for member in self.members] == [[] for _ in self.members]

    async def _fill(self) -> None:
        cluster = ApacheCluster()
        async with producing(cluster, transactional_id=self.topic) as producer:
            for rows in TRANSACTIONS:
                async with producer.transaction():
                    for partition in ALL:
                        for offset in rows:
                            await producer.send(self.topic, b"%d" % offset, partition=partition)


def play_on_apache(scenario: Scenario) -> None:
    """Play a scenario on the real one."""
    assert BROKER
    asyncio.run(ApacheSite().play(scenario))


# --- what holds in every scenario ----------------------------------------------------------------------


def judge(diary: list[Entry]) -> None:
    """Check what both must keep, whatever happened."""
    _judge_holders(diary)
    _judge_batches(diary)


def _judge_holders(diary: list[Entry]) -> None:
    """A partition is asked for, and read, by one at a time: the one before was told, and has answered or given up."""
    holders: dict[int, str] = {}
    absent: set[str] = set()
    reading: set[str] = set()
    for entry in diary:
        held = {partition for partition, holder in holders.items() if holder == entry.member}
        if entry.what == "asked":
            assert not held, f"{entry.member} is asked for {entry.offsets}, and was not told that it lost {held}"
            taken = {number: holders[number] for number in entry.offsets if number in holders}
            assert not taken, f"{entry.member} is asked for {entry.offsets}, and {taken} were not told, or not awaited"
            holders.update(dict.fromkeys(entry.offsets, entry.member))
            absent.discard(entry.member)
            reading.add(entry.member)
        elif entry.what == "revoking":
            assert entry.member in absent or held == entry.offsets.keys()
            reading.discard(entry.member)
        elif entry.batch is not None:
            assert entry.member in absent or (entry.member in reading and entry.batch.partition in held)
        elif entry.what != "sought":
            absent |= {entry.member} if entry.what in ("left", "silent") else set()
            holders = {partition: holder for partition, holder in holders.items() if holder != entry.member}


def _judge_batches(diary: list[Entry]) -> None:
    """Batches of an epoch follow one another, from where it was sought; no epoch comes back."""
    sought: dict[tuple[str, int], int] = {}
    last: dict[tuple[str, int], tuple[int, int]] = {}
    for entry in diary:
        if entry.what in ("asked", "sought"):
            sought.update({(entry.member, number): offset for number, offset in entry.offsets.items()})
        if entry.batch is None:
            continue
        batch, place = entry.batch, (entry.member, entry.batch.partition)
        epoch, behind = last.get(place, (0, math.nan))
        assert batch.epoch >= epoch
        assert batch.start == (behind if batch.epoch == epoch else sought[place])
        assert batch.offsets.tolist() == [offset for offset in OFFSETS if batch.start <= offset < batch.next]
        assert [batch.value(row) for row in range(len(batch))] == [b"%d" % offset for offset in batch.offsets]
        last[place] = (batch.epoch, batch.next)
