"""A deployment on a real broker and Redis for a test: topics, contents, and workers as processes of their own."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import redis
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from load_tests.checker import Held
from stream.commands import topics
from stream.embedded.services import free_port
from stream.settings import Settings
from tests.oracle_record import unpacked

OUTBOXES: Final = ("triggers", "rejects", "forwards")
GROUNDSWELL: Final = (sys.executable, "-m", "stream")


def wait_until(what: str, holds: Callable[[], bool], seconds: float, every_seconds: float = 0.05) -> float:
    """Return after how many seconds ``holds`` did; raise TimeoutError naming ``what`` where it never does."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > seconds:
            message = f"{what}: not within {seconds} s"
            raise TimeoutError(message)
        time.sleep(every_seconds)
    return time.monotonic() - begun


@dataclass(frozen=True)
class Content:
    """A model or campaign file."""

    kind: str
    name: str
    data: bytes

    @property
    def sha256(self) -> str:
        """Its version."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def key(self) -> bytes:
        """Its key in the configuration topic."""
        return f"{self.kind}/{self.name}/{self.sha256}".encode()


def activation(contents: Sequence[Content], serial: str) -> bytes:
    """Return the ``config.activated`` event that makes these contents, and no others, active."""
    listed = [{"kind": content.kind, "name": content.name, "sha256": content.sha256} for content in contents]
    event = {"specversion": "1.0", "id": serial, "source": "/load-tests", "type": "config.activated"}
    return json.dumps({**event, "data": {"engine": 1, "contents": listed}}).encode()


@dataclass
class Deployment:
    """Topics under a namespace, and what stands in Redis for them."""

    namespace: str
    bootstrap: str
    redis_url: str
    partitions: int

    def topic(self, kind: str) -> str:
        """Return the full name of a topic."""
        return f"{self.namespace}.engagement.{kind}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment that makes ``groundswell`` use this deployment."""
        named = {f"GROUNDSWELL_{key.upper().replace('.', '__')}": str(value) for key, value in self.settings.items()}
        return {**os.environ, **named}

    @property
    def settings(self) -> dict[str, str | int]:
        """The settings of this deployment, by their dotted keys."""
        return {
            "namespace": self.namespace,
            "kafka.bootstrap_servers": self.bootstrap,
            "redis.url": self.redis_url,
            "topics.partitions": self.partitions,
        }

    def create(self) -> None:
        """Create the four topics as an operator does."""
        topics.create(Settings.load(flags=self.settings))

    def delete(self) -> None:
        """Delete topics and keys."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        admin.delete_topics([self.topic(kind) for kind in ("events", "triggers", "rejects", "config")])
        admin.close()
        with self.keys() as client:
            for key in client.scan_iter(f"{{{self.namespace}:*", count=10_000):
                client.delete(key)

    def producer(self, **options: Any) -> KafkaProducer:
        """Return a producer that batches."""
        return KafkaProducer(bootstrap_servers=self.bootstrap, acks="all", linger_ms=5, batch_size=1 << 17, **options)

    def activate(self, contents: Sequence[Content], *, write: Sequence[Content] | None = None) -> None:
        """Write contents (all, or those in ``write``) and then their activation, in one transaction."""
        serial = f"{self.namespace}-{time.time_ns()}"
        producer = self.producer(transactional_id=serial)
        producer.init_transactions()
        producer.begin_transaction()
        for content in contents if write is None else write:
            producer.send(self.topic("config"), content.data, key=content.key, partition=0)
        for partition in range(self.partitions):
            producer.send(self.topic("events"), activation(contents, serial), partition=partition)
        producer.commit_transaction()
        producer.close()

    def keys(self) -> redis.Redis:
        """Return a client of Redis."""
        return redis.Redis.from_url(self.redis_url, protocol=2)

    def header(self, partition: int) -> dict[str, Any] | None:
        """Return a partition's header as it stands in Redis."""
        with self.keys() as client:
            data: Any = client.get(f"{{{self.namespace}:{partition}}}:header")
        return None if data is None else json.loads(data)

    def unsent(self, partition: int) -> int:
        """Return how many outbox rows of a partition are not trimmed."""
        with self.keys() as client:
            counts = [client.zcard(f"{{{self.namespace}:{partition}}}:outbox:{output}") for output in OUTBOXES]
        return sum(int(count) for count in counts)

    def held(self, partition: int) -> Held:
        """Return header and records as they stand in Redis, unpacked."""
        prefix = f"{{{self.namespace}:{partition}}}:v:".encode()
        with self.keys() as client:
            keys = list(client.scan_iter(prefix + b"*", count=10_000))
            values: Any = client.mget(keys) if keys else []
        header = self.header(partition) or {"offset": 0, "totals": {}}
        # One that went since it was listed is none.
        found = [(key[len(prefix) :].decode(), value) for key, value in zip(keys, values, strict=True) if value]
        return Held(header, {voter: unpacked(value) for voter, value in found})

    def ends(self) -> dict[int, int]:
        """Return by partition where the events topic ends."""
        where = [TopicPartition(self.topic("events"), partition) for partition in range(self.partitions)]
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, isolation_level="read_committed")
        try:
            return {tp.partition: end for tp, end in consumer.end_offsets(where).items()}
        finally:
            consumer.close()

    def stood_at(self, time_ms: int) -> dict[int, int]:
        """Return by partition where the events topic ended at a time, by its append times (ms since the epoch)."""
        ends = self.ends()
        where = {TopicPartition(self.topic("events"), partition): time_ms for partition in ends}
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap)
        try:
            later = consumer.offsets_for_times(where)
        finally:
            consumer.close()
        return {tp.partition: found.offset if (found := later[tp]) else ends[tp.partition] for tp in where}

    def is_drained(self) -> bool:
        """Whether all that stands in the log now is committed and sent; forwards go back into the log."""
        if any(self.unsent(partition) for partition in range(self.partitions)):
            return False
        for partition, end in self.ends().items():
            header = self.header(partition)
            # The last offsets may be transaction markers, which nothing but a later row moves past.
            if header is None or header["offset"] < end:
                return False
        return not any(self.unsent(partition) for partition in range(self.partitions))


@dataclass
class WorkerProcess:
    """One worker as a process, from its start to its end."""

    deployment: Deployment
    directory: Path
    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    """Environment variables beside those that the deployment gives."""

    def __post_init__(self) -> None:
        """Nothing runs yet."""
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.starts = 0

    @property
    def log_path(self) -> Path:
        """Where its standard error goes, over all starts."""
        return self.directory / f"{self.name}.log"

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def start(self) -> None:
        """Start it, or start it again."""
        self.port = free_port()
        self.starts += 1
        variables = {"GROUNDSWELL_WEB__HOST": "127.0.0.1", "GROUNDSWELL_WEB__PORT": str(self.port), **self.settings}
        environment = {**self.deployment.environment, **variables}
        with self.log_path.open("ab") as log:
            log.write(f"--- start {self.starts}\n".encode())
            self.process = subprocess.Popen([*GROUNDSWELL, "worker"], env=environment, stdout=log, stderr=log)

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return None if self.process is None else self.process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None  # noqa: S101 (it was started)
        self.process.send_signal(number)

    def end(self, number: signal.Signals, seconds: float) -> tuple[int, float]:
        """Send it a signal and wait for its end; return its status and how many seconds it took."""
        assert self.process is not None  # noqa: S101 (it was started)
        begun = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(seconds)
        return status, time.monotonic() - begun

    def kill(self) -> None:
        """End it, whatever it is doing, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def page(self, path: str, seconds: float = 2.0) -> tuple[int, str]:
        """Return status and text of one of its pages; 0 where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=seconds) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def is_ready(self) -> bool:
        """Whether it says that it is ready."""
        return self.page("/readyz")[0] == 200

    def held_partitions(self) -> set[int]:
        """Return the partitions that it works on, as its metrics say."""
        text = self.page("/metrics")[1]
        return {int(number) for number in re.findall(r'groundswell_voters_in_memory\{partition="(\d+)"\}', text)}
