"""Rows that a broker acknowledged and then lost, just when no outbox holds them any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.simulation.processes import Process

if TYPE_CHECKING:
    from tests.simulation.plan import Fault
    from tests.simulation.world import World

_NOTHING: Final = b":0\r\n"


class Loss:
    """Takes an output's last batch away after the next trim, where others stand before it; nothing mends that."""

    def __init__(self, world: World, fault: Fault) -> None:
        """Wait for a trim."""
        self._world = world
        first = fault.target % world.partitions
        self._places = [
            (f"engagement.{output}", (first + more) % world.partitions)
            for more in range(world.partitions)
            for output in ("triggers", "rejects")
        ]
        world.redis_wires.on_answer.append(self._answered)

    def _answered(self, process: Process | None, operation: str, answer: Any) -> None:
        del process
        if operation != "zremrangebyscore" or answer == _NOTHING:
            return
        world = self._world
        for place in self._places:
            log = world.kafka.logs[place]
            written = [batch.base_offset for batch in log.batches if not batch.control]
            # Behind a marker stands a relay that has looked and not yet written: it alone cannot notice.
            if len(written) > 1 and not log.batches[-1].control and world.kafka.elect_behind(*place):
                world.redis_wires.on_answer.remove(self._answered)
                world.tell(f"the last rows of {place} are lost")
                world.lost_tails.add(place)
                return
