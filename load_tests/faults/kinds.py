"""Each kind of fault: how it strikes the world, and what shows that it struck in the middle of work."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from load_tests.cluster import Broker
from load_tests.deployment import wait_until
from load_tests.faults.world import PARTITIONS, Member, Moment, World
from load_tests.proxy import Proxy, Trap, is_commit, produces_to

_TAKEN_SECONDS: Final = 30.0
_SNAPSHOT_SECONDS: Final = 60.0
_TRAP_SECONDS: Final = 10.0
"""Longest wait for a request to cut; there may be none, or only shorter ones."""
_CATCHES: Final = 60
_BUSY_SECONDS: Final = 5.0
"""Longest wait for a row that is committed and not sent."""
_COMMIT_BYTES: Final = 60_000
"""A commit's size at this load, roughly: cuts fall anywhere in it."""


@dataclass
class Strike:
    """What was done, and what stood in work at that moment."""

    what: str
    work: Moment


Fault = Callable[[World, random.Random], Strike]


# --- workers ------------------------------------------------------------------------------------------------


def kill_worker(world: World, chance: random.Random) -> Strike:
    """``kill -9`` a worker, and start it again at once or after a while."""
    member, held, work = _catch(world, chance)
    member.kill()
    _linger(chance, 2.0)
    member.start()
    return Strike(f"{member.worker.name} with {sorted(held)}", work)


def pause_worker(world: World, chance: random.Random) -> Strike:
    """Stop a worker past its session, let another take its partitions, and wake it."""
    member, held, work = _catch(world, chance)
    owners = {number: (world.inside.header(number) or {}).get("owner") for number in held}

    def taken() -> bool:
        return all((world.inside.header(number) or {}).get("owner") != owners[number] for number in held)

    try:
        seconds = wait_until("a paused worker's partitions are taken by the other", taken, _TAKEN_SECONDS)
        _linger(chance, 2.0)
    finally:
        member.send(signal.SIGCONT)
    return Strike(f"{member.worker.name} with {sorted(held)}, taken over after {seconds:.1f} s", work)


def _catch(world: World, chance: random.Random) -> tuple[Member, set[int], Moment]:
    """Stop a worker that holds partitions where it stands, in the middle of work; return what it has in work."""
    member, held = world.holder(chance)
    for _ in range(_CATCHES):
        time.sleep(chance.random() * 0.1)
        member.worker.send(signal.SIGSTOP)
        work = world.moment(sorted(held))
        if work.unsent:
            break
        member.worker.send(signal.SIGCONT)
    member.send(signal.SIGSTOP)
    return member, held, work


def join_and_leave(world: World, chance: random.Random) -> Strike:
    """Let one or two workers join, and as many leave, the new ones or the old."""
    count = chance.choice([1, 2])
    old = list(world.members)
    new = [world.join() for _ in range(count)]
    wait_until("who joined holds partitions", world.all_hold, 60, 0.1)
    work = world.busy_moment(_BUSY_SECONDS)
    leaving = chance.sample(old, count) if chance.random() < 0.5 else new
    for member in leaving:
        world.leave(member)
    return Strike(f"{count} joined, then {', '.join(member.worker.name for member in leaving)} left", work)


# --- Redis --------------------------------------------------------------------------------------------------


def kill_redis(world: World, chance: random.Random) -> Strike:
    """``kill -9`` Redis, hung or in full flight, and start it again."""
    work = _hang(world, chance)
    world.redis.kill()
    _linger(chance, 0.5)
    world.redis.start()
    world.redis.wait()
    return Strike("", work)


def promote_replica(world: World, chance: random.Random) -> Strike:
    """Cut the replica off, so that it lags; then kill the primary, and lead the workers to the replica."""
    world.replica.ask("REPLICAOF", "NO", "ONE")
    lag_seconds = chance.uniform(0.1, 1.5)
    time.sleep(lag_seconds)
    work = _hang(world, chance)
    world.redis.kill()
    world.promote()
    world.replica.forget()
    world.replica.start()
    world.replica.wait()
    world.replica.follow(world.redis)
    return Strike(f"{lag_seconds:.2f} s behind", work)


def cut_tail(world: World, chance: random.Random) -> Strike:
    """``kill -9`` Redis, cut the end off its append-only file, as a crash of the machine does, and start it again."""
    work = _hang(world, chance)
    world.redis.kill()
    count = world.redis.cut_tail(chance.randrange(1, 500_000))
    world.redis.start()
    world.redis.wait()
    return Strike(f"{count} bytes", work)


def _hang(world: World, chance: random.Random) -> Moment:
    """Now and then let Redis hang for a moment, so that commits wait for its answer; return what is in work."""
    work = world.busy_moment(_BUSY_SECONDS)
    if chance.random() < 0.5:
        world.redis.pause()
        time.sleep(chance.uniform(0.05, 0.5))
    return work


# --- brokers ------------------------------------------------------------------------------------------------


def kill_leader(world: World, chance: random.Random) -> Strike:
    """``kill -9`` the broker that leads a partition of the events or the triggers, and start it again."""
    kind, partition = chance.choice(["events", "triggers"]), chance.randrange(PARTITIONS)
    return _kill(world, chance, world.leader(kind, partition), f"leader of {kind} {partition}")


def kill_coordinator(world: World, chance: random.Random) -> Strike:
    """``kill -9`` the broker that coordinates the group, and start it again."""
    return _kill(world, chance, world.coordinator(), "coordinator")


def restart_broker(world: World, chance: random.Random) -> Strike:
    """Restart a broker in order, the leader of a partition or the coordinator."""
    broker = chance.choice([world.leader("events", 0), world.leader("triggers", 1), world.coordinator()])
    broker.stop()
    work = world.busy_moment(_BUSY_SECONDS)
    broker.start()
    broker.wait()
    return Strike(broker.name, work)


def _kill(world: World, chance: random.Random, broker: Broker, role: str) -> Strike:
    broker.kill()
    # What cannot be sent now stands in the outbox.
    work = world.busy_moment(_BUSY_SECONDS)
    _linger(chance, 3.0)
    broker.start()
    broker.wait()
    return Strike(f"{broker.name}, {role}", work)


# --- wires --------------------------------------------------------------------------------------------------


def cut_commit(world: World, chance: random.Random) -> Strike:
    """Cut the wire to Redis in the middle of commits, or of their answers."""

    def next_trap() -> tuple[Proxy, Trap]:
        answers = chance.random() < 0.5
        # Small ones are more common than large ones.
        after = 0 if answers else min(chance.randrange(1, _COMMIT_BYTES), chance.randrange(1, _COMMIT_BYTES))
        return world.redis_wire, Trap(is_commit, after, answers)

    return _cut(world, chance, next_trap)


def cut_produce(world: World, chance: random.Random) -> Strike:
    """Cut the wire to a broker in the middle of the relay's writes, or of their answers."""

    def next_trap() -> tuple[Proxy, Trap]:
        kind, partition = chance.choice(["triggers", "triggers", "rejects"]), chance.randrange(PARTITIONS)
        wire = world.kafka.proxies[world.leader(kind, partition).number - 1]
        answers = chance.random() < 0.5
        after = chance.randrange(0, 40) if answers else chance.randrange(1, 1500)
        return wire, Trap(produces_to(world.deployment.topic(kind)), after, answers)

    return _cut(world, chance, next_trap)


def _cut(world: World, chance: random.Random, next_trap: Callable[[], tuple[Proxy, Trap]]) -> Strike:
    """Set three traps, one after the other, and look at what is in work whenever one has cut the wire."""
    done, work = [], Moment(0, 0)
    for _ in range(3):
        wire, trap = next_trap()
        where = f"answer after {trap.after}" if trap.answers else f"after {trap.after}"
        wire.arm(trap)
        moment = world.moment_of(trap.sprung, _TRAP_SECONDS)
        if moment is not None:
            done.append(where)
            work = _more(work, moment)
        wire.arm(None)
        time.sleep(chance.uniform(0.0, 0.5))
    return Strike(", ".join(done) or "no request met", work)


def slow_wire(world: World, chance: random.Random) -> Strike:
    """Make the wires to Redis, to the brokers or to all of them slow, and silent for a moment."""
    choices = [[world.redis_wire], world.kafka.proxies, [world.redis_wire, *world.kafka.proxies]]
    wires = chance.choice(choices)
    delay, rate = chance.uniform(0.01, 0.08), chance.uniform(100_000, 400_000)
    for wire in wires:
        wire.delay_seconds, wire.bytes_per_second = delay, rate
    time.sleep(2.0)
    work = world.busy_moment(_BUSY_SECONDS)
    silent = chance.choice(wires)
    silent.stop_flow()
    time.sleep(chance.uniform(0.2, 1.0))
    silent.resume_flow()
    time.sleep(2.0)
    for wire in wires:
        wire.heal()
    return Strike(f"{len(wires)} wires, {delay * 1000:.0f} ms, {rate / 1000:.0f} kB/s", work)


# --- the disk -----------------------------------------------------------------------------------------------


def fill_disk(world: World, chance: random.Random) -> Strike:
    """Fill the disk that snapshots go to until one fails; then make room, and wait until one is taken."""
    failed = world.counted("groundswell_snapshots_failed_total")
    world.disk.fill()
    try:
        seconds = wait_until(
            "a snapshot fails on a full disk",
            lambda: world.counted("groundswell_snapshots_failed_total") > failed,
            _SNAPSHOT_SECONDS,
            0.2,
        )
        work = world.busy_moment(_BUSY_SECONDS)
        _linger(chance, 2.0)
    finally:
        world.disk.free()
    taken = world.counted("groundswell_snapshots_total")
    wait_until(
        "a snapshot is taken once there is room again",
        lambda: world.counted("groundswell_snapshots_total") > taken,
        _SNAPSHOT_SECONDS,
        0.2,
    )
    return Strike(f"a snapshot failed after {seconds:.1f} s", work)


# --- the publisher ------------------------------------------------------------------------------------------


def double_events(world: World, chance: random.Random) -> Strike:
    """Let the publisher send each event twice for some seconds."""
    before = world.counted("groundswell_duplicates_total")
    world.publisher.send_each(2)
    time.sleep(chance.uniform(2.0, 4.0))
    work = world.busy_moment(_BUSY_SECONDS)
    world.publisher.send_each(1)
    time.sleep(0.5)
    dropped = world.counted("groundswell_duplicates_total") - before
    if dropped < 500:
        world.defects.append(f"each event was sent twice for seconds, and only {dropped} were dropped")
    return Strike(f"{dropped} dropped", work)


def _linger(chance: random.Random, most_seconds: float) -> None:
    """Wait for a while, or not at all."""
    time.sleep(chance.choice([0.0, chance.uniform(0.0, most_seconds)]))


def _more(first: Moment, second: Moment) -> Moment:
    return Moment(max(first.uncommitted, second.uncommitted), max(first.unsent, second.unsent))


KINDS: Final[Mapping[str, Fault]] = {
    "kill a worker": kill_worker,
    "pause a worker": pause_worker,
    "kill Redis": kill_redis,
    "promote the lagging replica": promote_replica,
    "cut the file's tail": cut_tail,
    "kill a leader": kill_leader,
    "kill the coordinator": kill_coordinator,
    "restart a broker": restart_broker,
    "cut a commit": cut_commit,
    "cut a write": cut_produce,
    "slow wire": slow_wire,
    "join and leave": join_and_leave,
    "full disk at a snapshot": fill_disk,
    "each event twice": double_events,
}
"""By name; every kind occurs in every run."""
