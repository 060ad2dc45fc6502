"""How each kind of fault is done to a world, and undone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from aiokafka import errors as kafka_errors
from redis.crc import key_slot

from stream.errors import RelayGapError, StateMismatchError
from stream.stores.names import header_key, partition_prefix
from tests.simulation.losses import Loss
from tests.simulation.operators import names_restore
from tests.simulation.plan import Fault
from tests.simulation.redis_data import Dataset
from tests.simulation.zombies import Sleeper

if TYPE_CHECKING:
    from tests.simulation.world import World

_COPIES = 15
_REFUSALS = (
    ("produce", kafka_errors.NotLeaderForPartitionError),
    ("produce", kafka_errors.RequestTimedOutError),
    ("produce", kafka_errors.NotEnoughReplicasAfterAppendError),
    ("end_txn", kafka_errors.CoordinatorNotAvailableError),
    ("add_partitions_to_txn", kafka_errors.NotCoordinatorError),
)


class Faults:
    """Carries out a plan."""

    def __init__(self, world: World) -> None:
        """Nothing is wrong yet."""
        self.world = world
        self.copies: deque[tuple[Any, Any]] = deque(maxlen=_COPIES)
        self._context = copy_context()
        self._is_misled = False
        self._is_lost = False
        """Whether state, or the log behind it, was taken away."""

    def context(self) -> Context:
        """Return the context of the world, which is no process."""
        return self._context.copy()

    def remember(self) -> None:
        """Keep a copy of what the servers of Redis hold."""
        self.copies.append((self.world.redis.copy(), self.world.other.copy()))

    async def run(self, faults: Sequence[Fault]) -> None:
        """Let each fault happen at its time; return when all are over."""
        loop = asyncio.get_running_loop()
        for fault in faults:
            await asyncio.sleep(max(fault.at - loop.time(), 0))
            self.world.tell(f"fault {fault}")
            getattr(self, f"_{fault.kind}")(fault)
        await asyncio.sleep(max(self.world.calm_at - loop.time(), 0))

    def explain(self, error: BaseException) -> bool:
        """Say whether a fault that was done is meant to end a worker with this error."""
        if isinstance(error, RelayGapError):
            return bool(self.world.lost_tails)
        if isinstance(error, StateMismatchError) and self._is_lost:
            if names_restore(error):
                self.world.operator.call()
                return True
            return "is to be read from" in str(error)
        return isinstance(error, StateMismatchError) and self._is_misled and "is to be read from" in str(error)

    def _until(self, seconds: float, undo: Callable[[], None]) -> None:
        """Undo a fault after so long."""
        self.world.later(seconds, undo)

    def _worker(self, fault: Fault) -> Any:
        return self.world.workers[fault.target % len(self.world.workers)]

    # --- workers -------------------------------------------------------------------------------------

    def _kill(self, fault: Fault) -> None:
        self._worker(fault).process.kill()

    def _kill_in_steps(self, fault: Fault) -> None:
        process = self._worker(fault).process
        process.kill_at = process.steps + 1 + int(300 * fault.amount)

    def _pause(self, fault: Fault) -> None:
        process = self._worker(fault).process
        process.pause()
        self._until(0.2 + 7 * fault.amount, process.wake)

    def _stop(self, fault: Fault) -> None:
        self._worker(fault).stop()

    def _rebalance(self, fault: Fault) -> None:
        self.world.group.rebalance()

    def _zombie(self, fault: Fault) -> None:
        Sleeper(self.world, fault)

    def _slow_rebalance(self, fault: Fault) -> None:
        """Rebalance while Redis is slow, so that what is revoked has asked it something."""
        self._slow(self.world.redis_wires, fault)
        self.world.group.rebalance()

    # --- Redis ---------------------------------------------------------------------------------------

    def _redis_restart(self, fault: Fault) -> None:
        self.world.redis.restart()

    def _past(self, fault: Fault) -> tuple[Any, Any]:
        return self.copies[-1 - min(int(fault.amount * 8), len(self.copies) - 1)]

    def _redis_fall_back(self, fault: Fault) -> None:
        self.world.redis.fall_back(self._past(fault)[0])

    def _redis_promote(self, fault: Fault) -> None:
        self.world.redis.promote(self._past(fault)[0])

    def _redis_moved(self, fault: Fault) -> None:
        world = self.world
        if world.redis.cluster is not None:
            slot = key_slot(partition_prefix("", fault.target % world.partitions).encode())
            world.moving = True
            world.redis.cluster.move(slot, world.other if fault.amount < 0.5 else world.redis)
            world.moving = False

    def _redis_loads(self, fault: Fault) -> None:
        server = self.world.redis
        server.restart()
        server.loading = True
        self._until(2 * fault.amount, lambda: setattr(server, "loading", False))

    def _redis_away(self, fault: Fault) -> None:
        self.world.redis.stop()
        self._until(2 * fault.amount, self.world.redis.start)

    def _redis_cuts(self, fault: Fault) -> None:
        self._cuts(self.world.redis_wires, fault)

    def _redis_slow(self, fault: Fault) -> None:
        self._slow(self.world.redis_wires, fault)

    def _redis_lost(self, fault: Fault) -> None:
        """Be a Redis without an append-only file that was started anew, or one that lost a header and more."""
        world = self.world
        self._is_lost = True
        if fault.amount < 0.5:
            world.redis.fall_back(Dataset())
            world.other.fall_back(Dataset())
        else:
            prefix = partition_prefix("", fault.target % world.partitions)
            for server in (world.redis, world.other):
                for key in sorted(key for key in server.data.values if key.startswith(prefix.encode())):
                    if key == header_key(prefix).encode() or world.chance.random() < fault.amount - 0.5:
                        server.write(key, None)
        if world.chance.random() < 0.5:
            world.operator.call()

    # --- snapshots and the log behind them ----------------------------------------------------------------

    def _head_deleted(self, fault: Fault) -> None:
        """Be retention that takes the events up to the last whole snapshot."""
        number = fault.target % self.world.partitions
        offsets = [offset for _, offset in self.world.whole_snapshots(number)]
        if offsets:
            self._is_lost = True
            self.world.delete_events_before(number, max(offsets))

    def _disk_full(self, fault: Fault) -> None:
        disk = self.world.disk
        disk.is_full = True
        self._until(0.5 + 3 * fault.amount, lambda: setattr(disk, "is_full", False))

    def _snapshot_torn(self, fault: Fault) -> None:
        """Damage a file of a snapshot, where the state can be restored without it."""
        world = self.world
        number = fault.target % world.partitions
        start = world.bounds(number)[0]
        usable = [folder for folder, offset in world.whole_snapshots(number) if offset >= start]
        if usable and (start == 0 or len(usable) > 1):
            files = sorted(name for name in world.disk.files if name.startswith(f"{usable[-1]}/"))
            name = files[int(fault.amount * len(files))]
            data = world.disk.files[name]
            world.disk.files[name] = data[: len(data) // 2] if world.chance.random() < 0.5 else bytes(len(data))
            world.torn.add(usable[-1])

    # --- Kafka ---------------------------------------------------------------------------------------

    def _kafka_cuts(self, fault: Fault) -> None:
        self._cuts(self.world.kafka_wires, fault)

    def _kafka_slow(self, fault: Fault) -> None:
        self._slow(self.world.kafka_wires, fault)

    def _cuts(self, wires: Any, fault: Fault) -> None:
        wires.weather.cut, wires.weather.only = (0.1 + 0.5 * fault.amount, fault.word)
        self._until(0.5 + 2 * fault.amount, lambda: setattr(wires.weather, "cut", 0.0))

    def _slow(self, wires: Any, fault: Fault) -> None:
        wires.weather.slow = 5 + 100 * fault.amount
        self._until(1 + 2 * fault.amount, lambda: setattr(wires.weather, "slow", 1.0))

    def _kafka_refuses(self, fault: Fault) -> None:
        operation, error = _REFUSALS[fault.target % len(_REFUSALS)]
        self.world.kafka.refuse(operation, error, 1 + int(3 * fault.amount))

    def _leader_moves(self, fault: Fault) -> None:
        kafka = self.world.kafka
        places = sorted(kafka.leaders)
        topic, partition = places[fault.target % len(places)]
        node = kafka.nodes[int(fault.amount * 2.99)]
        kafka.set_leader(topic, partition, None)
        self._until(fault.amount, lambda: kafka.set_leader(topic, partition, node))

    def _broker_dies(self, fault: Fault) -> None:
        kafka = self.world.kafka
        node = kafka.nodes[fault.target % len(kafka.nodes)]
        others = [other for other in kafka.nodes if other != node and other not in kafka.stopped]
        if not others:
            return
        kafka.stop_node(node)

        def elect() -> None:
            for place, leader in list(kafka.leaders.items()):
                if leader is None:
                    kafka.set_leader(*place, others[0])
            if kafka.coordinator_node is None:
                kafka.set_coordinator(others[0])

        self._until(0.3 + fault.amount, elect)
        self._until(1.5 + 2 * fault.amount, lambda: kafka.start_node(node))

    def _coordinator_moves(self, fault: Fault) -> None:
        kafka = self.world.kafka
        kafka.set_coordinator(None)
        node = kafka.nodes[int(fault.amount * 2.99)]
        self._until(fault.amount, lambda: kafka.set_coordinator(node))

    def _trimmed_row_lost(self, fault: Fault) -> None:
        Loss(self.world, fault)

    def _fetch_stalls(self, fault: Fault) -> None:
        number = fault.target % self.world.partitions
        self.world.stalled.add(number)
        self._until(0.5 + 3 * fault.amount, lambda: self.world.stalled.discard(number))

    def _out_of_range(self, fault: Fault) -> None:
        """Be a new leader that does not know yet how far the log is committed."""
        self._is_misled = True
        self.world.out_of_range.add(fault.target % self.world.partitions)

    def _tail_lost(self, fault: Fault) -> None:
        """Elect a leader that lacks what was acknowledged: an output's last rows are gone, and nothing mends that."""
        world = self.world
        place = (("engagement.triggers", "engagement.rejects")[int(2 * fault.amount)], fault.target % world.partitions)
        if world.kafka.elect_behind(*place):
            world.lost_tails.add(place)

    def _markers(self, fault: Fault) -> None:
        """Write transaction markers at a log's end, as other producers do."""
        kafka = self.world.kafka
        places = sorted(place for place in kafka.logs if place[0] != "engagement.config")
        log = kafka.logs[places[fault.target % len(places)]]
        for number in range(1 + int(80 * fault.amount)):
            log.append_marker(900_000 + number, 0, commit=False)
        log.replicate(log.end)

    def _clock_jumps(self, fault: Fault) -> None:
        self.world.jump_ms += int((fault.amount - 0.3) * 100_000)
