"""The world that is broken: three brokers, Redis and its replica, wires, workers beside bare consumers, a publisher."""

from __future__ import annotations

import json
import re
import secrets
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import redis
from kafka import KafkaAdminClient

from load_tests.checker import Held
from load_tests.cluster import Broker, Kafka, RedisServer
from load_tests.deployment import OUTBOXES, Deployment, WorkerProcess, wait_until
from load_tests.faults.bare import BareConsumer, make_places, read_places
from load_tests.faults.disk import SmallDisk
from load_tests.faults.progress import Offsets, Watch
from load_tests.proxy import Proxies
from load_tests.traffic import Publisher, configurations
from stream.embedded.services import free_port

PARTITIONS: Final = 4
EVENTS_PER_SECOND: Final = 1000
SESSION_SECONDS: Final = 3.0
_SETTLE_SECONDS: Final = 180.0
"""What takes longer than this is stuck."""
_LEAVE_SECONDS: Final = 10.0
_DISK_MEGABYTES: Final = 24
_OFFSETS_PARTITIONS: Final = 4
_NEVER_REWRITTEN: Final = ("--auto-aof-rewrite-percentage", "0")
"""Else the end of the append-only file could be that of a new, small one when it is cut."""

_WORKER: Final = {
    "GROUNDSWELL_KAFKA__SESSION_TIMEOUT_SECONDS": str(SESSION_SECONDS),
    "GROUNDSWELL_KAFKA__HEARTBEAT_SECONDS": "0.5",
    "GROUNDSWELL_WORKER__IDLE_COMMIT_SECONDS": "0.5",
    "GROUNDSWELL_WORKER__RECLAIM_SECONDS": "0.3",
    # Fewer than there are, so that voters are dropped from memory and come back from Redis.
    "GROUNDSWELL_WORKER__VOTERS_IN_MEMORY": "2000",
    "GROUNDSWELL_SNAPSHOT__INTERVAL_MINUTES": "0.2",
    "GROUNDSWELL_SNAPSHOT__KEEP_COUNT": "2",
    "GROUNDSWELL_LOG__LEVEL": "info",
}


@dataclass
class Member:
    """A worker, and the bare consumer that shares its fate."""

    worker: WorkerProcess
    bare: BareConsumer

    def start(self) -> None:
        """Start both, or start them again."""
        self.worker.start()
        self.bare.start()

    def send(self, number: signal.Signals) -> None:
        """Send both a signal."""
        self.worker.send(number)
        self.bare.send(number)

    def kill(self) -> None:
        """End both, whatever they are doing."""
        self.send(signal.SIGKILL)
        self.worker.kill()
        self.bare.wait()


@dataclass(frozen=True)
class Moment:
    """What was in work at one moment."""

    uncommitted: int
    """Rows in the log that were not committed."""
    unsent: int
    """Rows in the outboxes that were not known to be sent."""


@dataclass
class World:
    """All that runs. ``close`` ends it."""

    directory: Path
    seed: int
    members: list[Member] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    """What no fault excuses: workers that ended by themselves, or did not end as they should."""

    def __post_init__(self) -> None:
        """Nothing runs yet."""
        proxies = Proxies()
        self.kafka = Kafka(self.directory, 3, proxies)
        self.redis = RedisServer("redis a", self.directory / "redis-a", *_NEVER_REWRITTEN)
        self.replica = RedisServer("redis b", self.directory / "redis-b", *_NEVER_REWRITTEN)
        self.redis_wire = proxies.between(free_port(), self.redis.port)
        namespace = f"faults-{secrets.token_hex(4)}"
        self.deployment = Deployment(
            namespace, self.kafka.bootstrap, f"redis://127.0.0.1:{self.redis_wire.port}/0", PARTITIONS
        )
        self.inside = Deployment(namespace, self.kafka.direct, self.redis.url, PARTITIONS)
        """The same, behind the proxies: for who looks on."""
        self.publisher = Publisher(self.inside, self.seed, EVENTS_PER_SECOND)
        self.disk = SmallDisk(self.directory / "snapshots", _DISK_MEGABYTES)
        self.places = self.directory / "bare.places"
        self.contents = configurations()
        self._admin: Any = None
        self._store: redis.Redis | None = None
        self._named = 0
        self.watch = Watch(self._committed, lambda: read_places(self.places))

    def start(self) -> None:
        """Start everything, up to workers that hold partitions and a publisher that publishes."""
        self.disk.mount()
        self.redis.start()
        self.replica.start()
        self.kafka.start()
        self.redis.wait()
        self.replica.wait()
        self.replica.follow(self.redis)
        self._admin = KafkaAdminClient(bootstrap_servers=self.kafka.direct)
        self.inside.create()
        self.inside.activate(self.contents[0])
        make_places(self.places, PARTITIONS)
        for _ in range(2):
            self.join()
        # A first start on a machine compiles the kernels.
        wait_until("the first workers hold partitions", self.all_hold, 300, 0.2)
        self.publisher.start()
        self.settle()
        self.watch.start()

    def close(self) -> None:
        """End everything."""
        self.watch.stop()
        for member in self.members:
            member.kill()
        self.publisher.kill()
        self.kafka.stop()
        for server in (self.redis, self.replica):
            server.resume()
            server.kill()
        self.disk.unmount()

    # --- workers ---------------------------------------------------------------------------------------

    def join(self) -> Member:
        """Let one more member join, and do not wait."""
        name = f"worker-{'abcdefghijklmnopqrstuvwxyz'[self._named % 26]}"
        self._named += 1
        bare = BareConsumer(
            self.kafka.bootstrap, self.bare_group, self.deployment.topic("events"), SESSION_SECONDS, self.places
        )
        member = Member(WorkerProcess(self.deployment, self.directory, name, self._settings), bare)
        self.members.append(member)
        member.start()
        return member

    @property
    def _settings(self) -> dict[str, str]:
        return {**_WORKER, "GROUNDSWELL_SNAPSHOT__URL": self.disk.directory.as_uri()}

    def leave(self, member: Member) -> None:
        """Let a member end as an operator ends it."""
        self.members.remove(member)
        member.bare.send(signal.SIGTERM)
        status, seconds = member.worker.end(signal.SIGTERM, 20)
        if status != 0 or seconds > _LEAVE_SECONDS:
            self.defects.append(f"{member.worker.name}: SIGTERM, then status {status} after {seconds:.1f} s")
        member.bare.wait()

    @property
    def bare_group(self) -> str:
        """A group with the same coordinator as the workers'."""
        wanted = coordinated_by(self.group)
        names = (f"{self.deployment.namespace}.bare-{number}" for number in range(10_000))
        return next(name for name in names if coordinated_by(name) == wanted)

    @property
    def group(self) -> str:
        """The workers' group."""
        return f"{self.deployment.namespace}.groundswell"

    def bury(self) -> None:
        """Note workers that ended by themselves, and start them again."""
        for member in self.members:
            if member.worker.status is not None:
                log = " | ".join(member.worker.log.splitlines()[-3:])
                self.defects.append(f"{member.worker.name} ended by itself, status {member.worker.status}: {log}")
                member.worker.start()

    def all_hold(self) -> bool:
        """Whether every worker holds partitions, and together they hold them all."""
        self.bury()
        held = [member.worker.held_partitions() for member in self.members]
        return all(held) and sum(map(len, held)) == PARTITIONS

    def holder(self, chance: Any) -> tuple[Member, set[int]]:
        """Return a member that holds partitions, and these."""
        holding: list[tuple[Member, set[int]]] = []

        def any_holds() -> bool:
            holding[:] = [(member, held) for member in self.members if (held := member.worker.held_partitions())]
            return bool(holding)

        wait_until("a worker holds partitions", any_holds, 60)
        found: tuple[Member, set[int]] = chance.choice(holding)
        return found

    def settle(self) -> None:
        """Wait until all that was broken works again, and every partition has got as far as the log is now."""
        wait_until("every broker is in step", self.kafka_is_whole, _SETTLE_SECONDS, 0.2)
        wait_until("the replica follows", self.replica.follows, _SETTLE_SECONDS, 0.1)
        wait_until("all workers hold partitions", self.all_hold, _SETTLE_SECONDS, 0.1)
        ends = self.inside.ends()

        def caught_up() -> bool:
            self.bury()
            offsets = self._committed()
            # The last offset may be a transaction's marker, until the next tick.
            return offsets is not None and all(offsets[number] >= end for number, end in ends.items())

        wait_until("the workers catch up", caught_up, _SETTLE_SECONDS)

    def part(self) -> None:
        """Let every worker end as an operator ends it."""
        for member in list(self.members):
            self.leave(member)

    def activate(self, number: int) -> None:
        """Make one of the configurations active."""
        self.inside.activate(self.contents[number])

    def refusals(self) -> int:
        """Return how many commits were refused or unheard, by the counts of the workers that run."""
        return sum(self.counted(f"groundswell_commits_{what}_total") for what in ("refused", "unknown"))

    # --- what there is to see ----------------------------------------------------------------------------

    def _committed(self) -> Offsets:
        """Return by partition the offset that Redis has; None where it gives none."""
        try:
            if self._store is None:
                self._store = self.redis.client(1.0)
            keys = [f"{{{self.deployment.namespace}:{number}}}:header" for number in range(PARTITIONS)]
            values: Any = self._store.mget(keys)
        except (redis.RedisError, OSError):
            return None
        # A server that is empty yet says nothing either.
        return None if None in values else [int(json.loads(value)["offset"]) for value in values]

    def moment(self, numbers: Sequence[int] = tuple(range(PARTITIONS))) -> Moment:
        """Return what is in work now in some partitions."""
        with self.redis.client() as client:
            return self._moment(client, numbers)

    def moment_of(self, event: threading.Event, seconds: float) -> Moment | None:
        """Return what is in work when something happens; None where it does not in so many seconds."""
        with self.redis.client() as client:
            # Connected before: what was cut is repeated within a tenth of a second.
            client.ping()
            return self._moment(client, range(PARTITIONS)) if event.wait(seconds) else None

    def busy_moment(self, seconds: float) -> Moment:
        """Return the first moment with something unsent; what is in work in the end where none comes in time.

        An idle machine sends a row within milliseconds of its commit, so nothing else is asked before it was seen.
        """
        numbers = range(PARTITIONS)
        end = time.monotonic() + seconds
        with self.redis.client() as client:
            while not (unsent := self._unsent(client, numbers)) and time.monotonic() < end:
                time.sleep(0.001)
            return Moment(self._uncommitted(client, numbers), unsent)

    def _moment(self, client: redis.Redis, numbers: Sequence[int]) -> Moment:
        # What is unsent first: it does not last.
        unsent = self._unsent(client, numbers)
        return Moment(self._uncommitted(client, numbers), unsent)

    def _unsent(self, client: redis.Redis, numbers: Sequence[int]) -> int:
        pipe = client.pipeline(transaction=False)
        for number in numbers:
            for output in OUTBOXES:
                pipe.zcard(f"{{{self.deployment.namespace}:{number}}}:outbox:{output}")
        return sum(map(int, pipe.execute()))

    def _uncommitted(self, client: redis.Redis, numbers: Sequence[int]) -> int:
        found: Any = client.mget([f"{{{self.deployment.namespace}:{number}}}:header" for number in numbers])
        offsets = [0 if data is None else int(json.loads(data)["offset"]) for data in found]
        ends = self.inside.ends()
        return sum(max(ends[number] - offset, 0) for number, offset in zip(numbers, offsets, strict=True))

    def counted(self, metric: str) -> int:
        """Return the sum of a metric over all workers that answer."""
        texts = [member.worker.page("/metrics")[1] for member in self.members]
        found = [re.findall(rf"^{metric}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE) for text in texts]
        return int(sum(float(value) for values in found for value in values))

    def held(self) -> dict[int, Held]:
        """Return what every partition has in Redis."""
        return {number: self.inside.held(number) for number in range(PARTITIONS)}

    # --- servers ---------------------------------------------------------------------------------------

    def promote(self) -> None:
        """Let the replica be the primary, and lead the workers to it; the old primary must not run any more."""
        self.redis, self.replica = self.replica, self.redis
        self.inside.redis_url = self.redis.url
        self._store = None
        self.redis_wire.lead_to(self.redis.port)

    def broker(self, number: int) -> Broker:
        """Return a broker by its number."""
        return self.kafka.brokers[number - 1]

    def leader(self, kind: str, partition: int) -> Broker:
        """Return the broker that leads a partition of a topic of this kind."""
        return self.broker(self._partitions(self.deployment.topic(kind))[partition]["leader_id"])

    def coordinator(self) -> Broker:
        """Return the broker that coordinates the workers' group, and the bare consumers'."""
        return self.broker(self._partitions("__consumer_offsets")[coordinated_by(self.group)]["leader_id"])

    def kafka_is_whole(self) -> bool:
        """Whether every copy of every partition is in step."""
        kinds = [self.deployment.topic(kind) for kind in ("events", "triggers", "rejects", "config")]
        topics = [*kinds, "__consumer_offsets", "__transaction_state"]
        found = self._admin.describe_topics(topics)
        return all(len(part["isr_nodes"]) == 3 for topic in found for part in topic["partitions"])

    def _partitions(self, topic: str) -> dict[int, dict[str, Any]]:
        (found,) = self._admin.describe_topics([topic])
        return {part["partition_index"]: part for part in found["partitions"]}

    def rewrite(self) -> None:
        """Let Redis write its append-only file anew, so that it does not grow from round to round."""
        self.redis.ask("BGREWRITEAOF")

        def is_written() -> bool:
            facts = self.redis.facts("persistence")
            return facts.get("aof_rewrite_in_progress") == 0 and facts.get("aof_rewrite_scheduled") == 0

        wait_until("the append-only file is written anew", is_written, 60)

    def drain(self) -> None:
        """Stop the publisher, and wait until all that stands in the log is committed and sent."""
        self.publisher.pause()

        def is_drained() -> bool:
            self.bury()
            return self.inside.is_drained()

        wait_until("everything is committed and sent", is_drained, _SETTLE_SECONDS, 0.2)


def coordinated_by(group: str, partitions: int = _OFFSETS_PARTITIONS) -> int:
    """Return the partition of the offsets topic that a group belongs to: Java's hash of its name."""
    code = 0
    for character in group:
        code = (31 * code + ord(character)) & 0xFFFFFFFF
    signed = code - (1 << 32) if code & 0x80000000 else code
    return abs(signed) % partitions
