"""Faust's settings for this transport, and what of Faust must start or end otherwise than usual."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, cast

from faust.tables.manager import TableManager
from faust.types.agents import ActorRefT
from faust.worker import Worker
from mode.supervisors import SupervisorStrategy

from stream.transport.hooks import hooks_of


class NoTables(TableManager):
    """Faust's table manager for an app without tables.

    Faust's own sleeps a second at every start, to see whether tables are still being defined.
    """

    async def on_start(self) -> None:
        """Go on at once."""
        await self._update_channels()
        await self.recovery.start()


class EndOfProcess(SupervisorStrategy):
    """A supervisor of agents that ends the process when something unexpected leaves one.

    Faust's own starts the agent again, and the batch that it had in hand is skipped.
    """

    def wakeup(self) -> None:
        """Tell the application what left the agent; Faust calls this right after it has crashed."""
        for agent in cast(list[ActorRefT], self._services):
            if agent.crash_reason is not None:
                hooks_of(agent.agent.app).failed(agent.crash_reason)
        super().wakeup()


class Process(Worker):
    """Faust's worker process, which ends as soon as nothing is left to wait for."""

    async def _sentinel_task(self) -> None:
        """Wait, at most a second, for the tasks that were cancelled; Faust's own sleeps that second in any case."""
        cancelled = asyncio.all_tasks() - {asyncio.current_task()}
        if cancelled:
            await asyncio.wait(cancelled, timeout=1.0)


FAUST_SETTINGS: Final[Mapping[str, Any]] = {
    # Nothing here is acked, so there is nothing to wait for.
    "stream_wait_empty": False,
    "broker_commit_interval": 3600.0,
    # Batches in flight are bounded by the transport; these bounds must never be met.
    "stream_buffer_maxsize": 1 << 16,
    # Seconds that Faust waits after an assignment for another one.
    "stream_recovery_delay": 0.0,
    "TableManager": NoTables,
    "agent_supervisor": EndOfProcess,
    "topic_disable_leader": True,
    "topic_allow_declare": False,
    "key_serializer": "raw",
    "value_serializer": "raw",
}
"""Keywords for ``faust.App``."""
