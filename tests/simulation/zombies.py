"""A worker that falls asleep in the middle of its work, and wakes at the moment at which another takes its place.

A pause of some seconds, begun and ended at any time, seldom ends in the milliseconds that the protocols guard: between
a new owner's claim and its first commit, or between its fence's epoch, its marker, and its reading of the tail.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import orjson

from stream.stores.names import header_key, partition_prefix

if TYPE_CHECKING:
    from tests.simulation.plan import Fault
    from tests.simulation.world import World

LONGEST_SECONDS: Final = 8.0
"""A sleeper whose place nobody takes wakes by itself."""
LATE_SECONDS: Final = 0.03
"""Longest time from what wakes it to its waking."""
_STEPS: Final = 300
_OUTPUTS: Final = ("triggers", "rejects")


class Sleeper:
    """One worker, awake until it has taken so many steps, and again when its place is taken."""

    def __init__(self, world: World, worker: Any, fault: Fault) -> None:
        """``fault.word`` says what wakes it: ``claimed``, ``fencing`` (an epoch was given) or ``fenced`` (a marker)."""
        self._world = world
        self._process = worker.process
        self._member = worker.member
        self._word = fault.word
        self._chance = random.Random(f"sleeper {world.scenario.seed} {fault.at}")
        self._partitions: frozenset[int] = frozenset()
        process = worker.process
        process.pause_at = process.steps + 1 + int(_STEPS * fault.amount)
        process.on_pause = self._asleep

    def _asleep(self) -> None:
        world = self._world
        self._partitions = frozenset() if self._member is None else self._member.assigned
        world.tell(f"{self._process.name} sleeps until {self._word}")
        {"claimed": self._watch_headers, "fencing": self._watch_epochs, "fenced": self._watch_markers}[self._word]()
        world.later(LONGEST_SECONDS, self._process.wake)

    def _taken(self) -> None:
        if self._process.paused:
            self._world.later(LATE_SECONDS * self._chance.random(), self._process.wake)

    def _watch_headers(self) -> None:
        keys = {header_key(partition_prefix("", number)).encode() for number in self._partitions}
        for server in (self._world.redis, self._world.other):
            self._watch_server(server, keys)

    def _watch_server(self, server: Any, keys: set[bytes]) -> None:
        write = server.write

        def watched(key: bytes, value: Any) -> Any:
            before = server.data.values.get(key)
            if key in keys and isinstance(value, bytes) and isinstance(before, bytes) and _owner(before) != _owner(value):
                self._taken()
            return write(key, value)

        server.write = watched

    def _watch_epochs(self) -> None:
        coordinator: Any = self._world.kafka.coordinator
        initialize = coordinator.initialize
        ids = {f"groundswell.{output}.{number}" for output in _OUTPUTS for number in self._partitions}

        def watched(transactional_id: str, timeout_ms: int) -> Any:
            given = initialize(transactional_id, timeout_ms)
            if transactional_id in ids:
                self._taken()
            return given

        coordinator.initialize = watched

    def _watch_markers(self) -> None:
        producers = self._world.kafka.coordinator.ids
        for output in _OUTPUTS:
            for number in self._partitions:
                log: Any = self._world.kafka.logs[f"engagement.{output}", number]
                self._watch_log(log, lambda name=f"groundswell.{output}.{number}": producers[name].producer_id)

    def _watch_log(self, log: Any, fence: Any) -> None:
        append_marker = log.append_marker

        def watched(producer_id: int, epoch: int, *, commit: bool) -> Any:
            written = append_marker(producer_id, epoch, commit=commit)
            if producer_id == fence():
                self._taken()
            return written

        log.append_marker = watched


def _owner(header: bytes) -> Any:
    return orjson.loads(header)["owner"]
