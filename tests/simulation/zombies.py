"""A worker that falls asleep in the middle of its work, and wakes at the moment at which another takes its place.

A pause of some seconds, begun and ended at any time, seldom ends in the milliseconds that the protocols guard: between
a new owner's claim and its first commit, say, or between its reading of an output's tail and its first row there.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from stream.records import OUTPUTS
from stream.stores.names import header_key, outbox_key, partition_prefix
from tests.simulation.processes import Process

if TYPE_CHECKING:
    from tests.simulation.plan import Fault
    from tests.simulation.world import World

LONGEST_SECONDS: Final = 8.0
"""A sleeper whose place nobody takes wakes by itself."""
LATE_SECONDS: Final = 0.012
"""Longest time from what wakes it to its waking."""
_REMOVED: Final = 0.8
"""How often a sleeper is taken out of its group before its session is over."""
_STEPS: Final = 300
_STEPS_AFTER_ANSWER: Final = 8
_EMPTY: Final = b"*0\r\n"
_FENCED: Final = ("triggers", "rejects")


class Sleeper:
    """One worker: awake until it is in the middle of something, and again when its place is taken.

    Asleep it can be found at any of its ``steps``, or soon after an answer: of ``watch`` (it is about to commit),
    ``commit`` or ``zrangebyscore`` (about to send what was handed over, or read) or ``produce`` (about to trim). It is
    woken when another owner's token is written (``claimed``), its fence's marker (``fenced``), when it has ``read`` the
    tail, or filled an empty outbox (``refilled``).
    """

    def __init__(self, world: World, fault: Fault) -> None:
        """``fault.word`` says where it falls asleep and what wakes it: ``watch>claimed``."""
        self._world = world
        self._falls, self._wakes = fault.word.split(">")
        self._chance = random.Random(f"sleeper {world.scenario.seed} {fault.at}")
        self._passes = self._chance.choice((0, 1, 1, 1)) if self._falls == "zrangebyscore" else 0
        """Answers that are let pass: a relay looks for a first row before it opens its session."""
        self._process: Process | None = None
        self._partitions: frozenset[int] = frozenset()
        if self._falls == "steps":
            owners = [worker for worker in world.workers if _held_by(worker)] or world.workers
            self._choose(owners[fault.target % len(owners)].process, int(_STEPS * fault.amount))
        else:
            wires = world.kafka_wires if self._falls == "produce" else world.redis_wires
            wires.on_answer.append(self._answered)

    def _answered(self, process: Process | None, operation: str, answer: Any) -> None:
        if self._process is not None or process is None or operation != self._falls or answer == _EMPTY:
            return
        if self._passes:
            self._passes -= 1
        else:
            self._choose(process, self._chance.randrange(_STEPS_AFTER_ANSWER))

    def _choose(self, process: Process, steps: int) -> None:
        self._process = process
        process.on_pause = self._asleep
        process.pause_at = process.steps + 1 + steps

    def _asleep(self) -> None:
        world, process = self._world, self._process
        assert process is not None
        self._partitions = frozenset().union(*[_held_by(other) for other in world.workers if other.process is process])
        world.tell(f"{process.name} sleeps until {self._wakes}")
        watch: dict[str, Callable[[], None]] = {
            "claimed": self._watch_headers,
            "fenced": self._watch_markers,
            "read": self._watch_readings,
            "refilled": self._watch_outboxes,
        }
        watch[self._wakes]()
        world.later(LONGEST_SECONDS, process.wake)
        if self._chance.random() < _REMOVED:
            # By hand (RemoveMembersFromConsumerGroup), so that much of the log is still to come for its successor.
            for member in [other.member for other in world.workers if other.process is process and other.member]:
                world.later(0.2 * self._chance.random(), partial(world.group.leave, member))
        if len(world.workers) == 1:
            # Somebody takes it for dead, and starts another.
            world.later(self._chance.random(), lambda: world.start_worker(len(world.workers)))

    def _taken(self, late_seconds: float = LATE_SECONDS) -> None:
        process = self._process
        if process is not None and process.paused:
            self._world.tell(f"{process.name} is to wake: {self._wakes}")
            self._world.later(late_seconds * self._chance.random(), process.wake)

    def _unsent(self) -> list[tuple[str, int]]:
        """Return its outputs, and their partitions, that hold a row."""
        servers = (self._world.redis, self._world.other)
        return [
            (output, number)
            for number in sorted(self._partitions)
            for output in OUTPUTS
            if any(
                server.data.values.get(outbox_key(partition_prefix("", number), output).encode()) for server in servers
            )
        ]

    # --- what wakes it -------------------------------------------------------------------------------

    def _watch_headers(self) -> None:
        keys = {header_key(partition_prefix("", number)).encode() for number in self._partitions}

        def is_claim(key: bytes, before: Any, value: Any) -> bool:
            is_header = key in keys and isinstance(before, bytes) and isinstance(value, bytes)
            return is_header and _owner(before) != _owner(value)

        self._watch_writes(is_claim, LATE_SECONDS)

    def _watch_outboxes(self) -> None:
        full = {outbox_key(partition_prefix("", number), output).encode() for output, number in self._unsent()}

        def is_refill(key: bytes, before: Any, value: Any) -> bool:
            return key in full and not before and bool(value)

        self._watch_writes(is_refill, 0.0)

    def _watch_writes(self, matters: Callable[[bytes, Any, Any], bool], late_seconds: float) -> None:
        for server in (self._world.redis, self._world.other):
            self._watch_server(server, matters, late_seconds)

    def _watch_server(self, server: Any, matters: Callable[[bytes, Any, Any], bool], late_seconds: float) -> None:
        write = server.write

        def watched(key: bytes, value: Any) -> Any:
            if matters(key, server.data.values.get(key), value):
                self._taken(late_seconds)
            return write(key, value)

        server.write = watched

    def _watch_readings(self) -> None:
        for output, number in self._unsent():
            if output in _FENCED:
                self._watch_tail(self._world.kafka.logs[f"engagement.{output}", number])

    def _watch_tail(self, log: Any) -> None:
        read = log.read

        def watched(offset: int, max_bytes: int, *, committed: bool) -> Any:
            self._taken()
            return read(offset, max_bytes, committed=committed)

        log.read = watched

    def _watch_markers(self) -> None:
        for output, number in self._unsent():
            if output in _FENCED:
                self._watch_log(f"engagement.{output}", number, f"groundswell.{output}.{number}")

    def _watch_log(self, topic: str, number: int, transactional_id: str) -> None:
        log: Any = self._world.kafka.logs[topic, number]
        ids = self._world.kafka.coordinator.ids
        append_marker = log.append_marker

        def watched(producer_id: int, epoch: int, *, commit: bool) -> Any:
            written = append_marker(producer_id, epoch, commit=commit)
            if transactional_id in ids and ids[transactional_id].producer_id == producer_id:
                self._taken()
            return written

        log.append_marker = watched


def _held_by(worker: Any) -> frozenset[int]:
    """Return the partitions that a living worker is assigned, as far as it knows."""
    held: frozenset[int] = worker.member.assigned if worker.process.alive and worker.member else frozenset()
    return held


def _owner(header: bytes) -> Any:
    return orjson.loads(header)["owner"]
