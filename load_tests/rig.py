"""What benchmarks run on: topics, configuration and a worker under a namespace of their own, and their end."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import confluent_kafka
import redis

from load_tests.job import Job, activity
from load_tests.processes import cpu_seconds
from stream.commands.broker import administration
from stream.commands.config import apply
from stream.commands.contents import TAXONOMY
from stream.commands.topics import create, facts
from stream.embedded.services import free_port
from stream.records import Header
from stream.settings import TOPIC_KINDS, Settings
from stream.settings.sources import variable_of
from stream.stores.names import header_key, outbox_key

WORKER: Final = (sys.executable, "-m", "stream", "worker")
PARTITIONS: Final = 4
ADDRESSES: Final = ("GROUNDSWELL_TEST_KAFKA", "GROUNDSWELL_TEST_REDIS")
DELETION_SECONDS: Final = 60.0
KEYS_AT_ONCE: Final = 5000


class BenchmarkError(Exception):
    """Something that must hold for the figures to mean anything does not."""


def addresses() -> tuple[str, str]:
    """Return where Kafka and Redis are; exit with the remedy where the environment does not say."""
    kafka, url = (os.environ.get(name, "") for name in ADDRESSES)
    if not kafka or not url:
        sys.exit(f"{' and '.join(ADDRESSES)} must say where Kafka and Redis are; `make bench` starts both")
    return kafka, url


class Rig:
    """Topics and keys under one namespace, all gone when the ``with`` block ends."""

    def __init__(self, namespace: str, partitions: int = PARTITIONS, job: Job | None = None, **snapshot: float) -> None:
        """Nothing is created yet. ``job`` is what is active, at first the activity job.

        ``snapshot`` are settings of that group; with any, snapshots are in the rig's own.
        """
        self.namespace = namespace
        self.job = activity() if job is None else job
        self.partitions = partitions
        self.kafka, self.redis_url = addresses()
        self._directory = tempfile.TemporaryDirectory(prefix="groundswell-bench-")
        self.directory = Path(self._directory.name)
        self.web_port = free_port()
        flags: dict[str, str | float] = {
            "namespace": namespace,
            "configuration_directory": str(self.directory),
            "kafka.bootstrap_servers": self.kafka,
            "redis.url": self.redis_url,
            "topics.partitions": partitions,
            "web.host": "127.0.0.1",
            "web.port": self.web_port,
        }
        if snapshot:
            flags["snapshot.url"] = f"file://{self.directory}/snapshots"
            flags |= {f"snapshot.{name}": value for name, value in snapshot.items()}
        self.environment = {variable_of(name): str(value) for name, value in flags.items()}
        self.settings = Settings.load(flags=flags)
        self._redis: Any = redis.Redis.from_url(self.redis_url)
        self._topics = [self.settings.topic(kind) for kind in TOPIC_KINDS]

    def __enter__(self) -> Self:
        """Create the topics and activate the job's models and campaigns."""
        for folder, files in (
            ("models", {f"{model.name}.json": model.file() for model in self.job.models}),
            ("campaigns", {f"{campaign.name}.toml": campaign.file() for campaign in self.job.campaigns}),
        ):
            (self.directory / folder).mkdir()
            for name, content in files.items():
                (self.directory / folder / name).write_bytes(content)
        if self.job.taxonomy:
            (self.directory / TAXONOMY).write_bytes(self.job.taxonomy)
        create(self.settings)
        apply(self.settings)
        return self

    def __exit__(self, *error: object) -> None:
        """Delete the topics and keys."""
        self._delete(self._topics)
        self._forget()
        self._redis.close()
        self._directory.cleanup()

    def create_topic(self, name: str, configuration: Mapping[str, str]) -> None:
        """Create one more topic, with as many partitions."""
        options = {"num_partitions": self.partitions, "replication_factor": -1, "configs": dict(configuration)}
        with administration(self.settings, f"creating {name}") as admin:
            admin.create_topics({name: options})
        self._topics.append(name)

    def drop_topics(self, fragment: str) -> None:
        """Delete the topics whose names have ``fragment`` in them: what a contender made for itself."""
        with administration(self.settings, "listing topics") as admin:
            found = [name for name in admin.list_topics() if fragment in name]
        self._delete(found)

    def wipe(self) -> None:
        """Bring everything to where it was before the first worker: the events stay, all that came of them goes."""
        self._delete([self.settings.topic("triggers"), self.settings.topic("rejects")])
        create(self.settings)
        self._forget()

    def _delete(self, topics: Sequence[str]) -> None:
        with administration(self.settings, "deleting topics") as admin:
            admin.delete_topics(list(topics), raise_errors=False)
            end = time.monotonic() + DELETION_SECONDS
            while set(topics) & set(admin.list_topics()):
                if time.monotonic() > end:
                    message = f"the broker still has some of {topics} after {DELETION_SECONDS} s"
                    raise BenchmarkError(message)
                time.sleep(0.05)

    def _forget(self) -> None:
        keys = [*self._redis.scan_iter(match=f"{{{self.namespace}:*", count=KEYS_AT_ONCE)]
        for first in range(0, len(keys), KEYS_AT_ONCE):
            self._redis.unlink(*keys[first : first + KEYS_AT_ONCE])

    # --- what stands there -----------------------------------------------------------------------------

    def headers(self) -> list[Header | None]:
        """Return each partition's header as it stands in Redis."""
        keys = [header_key(self.settings.key_prefix(number)) for number in range(self.partitions)]
        return [None if data is None else Header.from_bytes(data) for data in self._redis.mget(keys)]

    def unsent(self) -> int:
        """Return how many triggers and rejects are committed and not yet known to stand in Kafka."""
        prefixes = [self.settings.key_prefix(number) for number in range(self.partitions)]
        boxes = [outbox_key(prefix, output) for prefix in prefixes for output in ("triggers", "rejects")]
        return sum(self._redis.zcard(box) for box in boxes)

    def ends(self) -> tuple[int, ...]:
        """Return by partition the offset after the last record of the events topic."""
        return facts(self.settings, bounded=True).ends

    def count(self, topic: str) -> int:
        """Return how many records a topic of as many partitions holds, read one by one."""
        settings = {"group.id": "count", "enable.partition.eof": True, "enable.auto.commit": False}
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.kafka, **settings})
        begin = confluent_kafka.OFFSET_BEGINNING
        consumer.assign([confluent_kafka.TopicPartition(topic, number, begin) for number in range(self.partitions)])
        found, ended = 0, 0
        while ended < self.partitions:
            for message in consumer.consume(10_000, 1.0):
                error = message.error()
                if error is None:
                    found += 1
                elif error.code() == confluent_kafka.KafkaError._PARTITION_EOF:  # noqa: SLF001 (its only name)
                    ended += 1
                else:
                    raise confluent_kafka.KafkaException(error)
        consumer.close()
        return found

    def surroundings(self) -> dict[str, str]:
        """Return the environment of a worker or a command on this rig."""
        return {**os.environ, **self.environment}

    @contextmanager
    def worker(self, environment: Mapping[str, str] | None = None, command: Sequence[str] = WORKER) -> Iterator[Worker]:
        """Run a worker for the block, and end it as an operator does; ``environment`` comes on top of this one."""
        worker = Worker(
            {**self.surroundings(), **(environment or {})}, self.web_port, self.directory / "worker.log", command
        )
        try:
            yield worker
            worker.stop()
        finally:
            worker.kill()


class Worker:
    """``groundswell worker`` as a process of its own, seen from outside."""

    def __init__(
        self, environment: Mapping[str, str], web_port: int, log: Path, command: Sequence[str] = WORKER
    ) -> None:
        """Start it, with its log in a file."""
        self._port = web_port
        self.log = log
        self.started = time.perf_counter()
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise BenchmarkError, with the end of its log, if it has ended."""
        if self._process.poll() is not None:
            lines = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            message = f"the worker ended with exit status {self._process.returncode}; its log ends:\n{lines}"
            raise BenchmarkError(message)

    def cpu_seconds(self) -> float:
        """Return the CPU time, user and system, that it has used so far."""
        return cpu_seconds(self.pid)

    def metric(self, name: str) -> float:
        """Return the sum of a metric's series; 0 while ``/metrics`` does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            return 0.0
        finally:
            connection.close()
        return sum(float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE))

    def memory_bytes(self) -> int:
        """Return how much of its memory is resident."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        """End it by SIGTERM; raise BenchmarkError if it does not end well."""
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(30)
        if status != 0:
            message = f"the worker ended with exit status {status} when it was asked to stop"
            raise BenchmarkError(message)

    def kill(self) -> None:
        """End it at once, if it still runs."""
        self._process.kill()
        self._process.wait()
