"""Whoever runs ``groundswell restore`` when state is lost: the real planning and restoring, in a process of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final, Protocol

from stream.commands.restore import plan_with, readable_header, restore_partition, rooted
from stream.commands.topics import TopicFacts
from stream.errors import (
    CommitRefusedError,
    GroundswellError,
    SnapshotRefusedError,
    SnapshotStorageError,
    StoreUnavailableError,
)
from stream.records import Header
from stream.snapshots import Catalogue
from stream.stores.endpoint import RedisEndpoint
from stream.stores.names import partition_prefix
from stream.stores.redis import RedisStore
from tests.simulation.processes import Process

MOST_ATTEMPTS: Final = 30
_KILLED: Final = 2
"""How many attempts may be killed."""
_TO_BE_REPEATED: Final = (CommitRefusedError, StoreUnavailableError, SnapshotRefusedError, SnapshotStorageError)
"""What ``restore`` may end with where it is right to run it again."""


class Deployment(Protocol):
    """What is restored."""

    partitions: int

    def endpoint(self) -> RedisEndpoint:
        """Return the running process's way to Redis."""
        ...

    def catalogue(self, partition: int) -> Catalogue:
        """Return a partition's snapshots."""
        ...

    def facts(self) -> TopicFacts:
        """Return what the broker says of the events topic."""
        ...

    def tell(self, line: str) -> None:
        """Add a line to the trace."""
        ...

    def broken(self, problem: str) -> None:
        """Hear of what must not be."""
        ...

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something in the context of the world."""
        ...


class Operator:
    """Restores all partitions when called, and again where that was cut off."""

    def __init__(self, deployment: Deployment, chance: random.Random) -> None:
        """Nobody has called."""
        self.processes: list[Process] = []
        self.is_busy = False
        self.restored = 0
        self._deployment = deployment
        self._chance = chance
        self._attempts = 0

    def call(self) -> None:
        """Ask for a restoration, unless one is under way."""
        if not self.is_busy:
            self.is_busy = True
            self._attempts = 0
            self._later(0.2 + 1.5 * self._chance.random())

    def _later(self, seconds: float) -> None:
        self._deployment.later(seconds, self._begin)

    def _begin(self) -> None:
        self._attempts += 1
        if self._attempts > MOST_ATTEMPTS:
            self._deployment.broken(f"a restoration has not come to its end in {MOST_ATTEMPTS} attempts")
            return
        process = Process(f"restore-{len(self.processes) + 1}")
        self.processes.append(process)
        if self._attempts <= _KILLED and self._chance.random() < 0.6:
            process.kill_at = 1 + self._chance.randrange(150)
        process.on_death = lambda: self._ended(process)
        self._deployment.tell(f"start {process.name}")
        process.start(self._main(process), process.name)

    def _ended(self, process: Process) -> None:
        self._deployment.tell(f"end {process.name} after {process.steps} steps")
        if self.is_busy:
            self._later(0.1 + 0.4 * self._chance.random())

    async def _main(self, process: Process) -> None:
        try:
            await self._restore()
        except _TO_BE_REPEATED as error:
            self._deployment.tell(f"failed {process.name}: {type(error).__name__}: {error}")
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if not process.alive:
                return
            self._deployment.broken(f"{process.name} ended: {type(error).__name__}: {error}")
        else:
            self.is_busy = False
            self.restored += 1
        process.kill()

    async def _restore(self) -> None:
        deployment = self._deployment
        topic = deployment.facts()
        headers: dict[int, Header | None] = {}
        for number in range(deployment.partitions):
            headers[number] = await self._with_store(number, readable_header)
        catalogues = {number: deployment.catalogue(number) for number in range(deployment.partitions)}
        plans = await plan_with(topic, headers, catalogues, None, _unheard)
        for planned in rooted(topic, headers, plans, None):
            deployment.tell(str(planned))
            await self._with_store(
                planned.partition,
                lambda store, planned=planned: restore_partition(store, topic, planned, _unheard),  # type: ignore[misc]
            )

    async def _with_store(self, number: int, use: Callable[[RedisStore], Any]) -> Any:
        store = RedisStore(self._deployment.endpoint(), partition_prefix("", number))
        try:
            return await use(store)
        finally:
            await store.close()


def _unheard(partition: int, what: str, done: int, total: int | None) -> None:
    """Show no progress."""


def names_restore(error: BaseException) -> bool:
    """Say whether an error tells its reader to restore."""
    return isinstance(error, GroundswellError) and "groundswell restore" in str(error)
