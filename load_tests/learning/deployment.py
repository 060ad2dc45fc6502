"""A deployment on a live broker whose log is weeks of the electorate, and the commands that are typed for it.

Log time passes by ticks, which carry it: no broker can be told that weeks have gone by, so the events topic takes its
records' times from who writes them, where a worker's would have append times; ``groundswell dataset`` reads both.
"""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import confluent_kafka

from load_tests.learning.world import BEGIN_MS, TAXONOMY
from load_tests.processes import memory_bytes
from stream.agents.clock import tick
from stream.commands.broker import administration
from stream.commands.config import apply
from stream.commands.keys import new as new_key
from stream.commands.topics import create
from stream.partitioning import partition_of
from stream.settings import TOPIC_KINDS, Settings
from stream.settings.sources import only_settings, variable_of
from stream.signatures import Signer

PARTITIONS: Final = 4
_ERASURE: Final = b'"privacy.erased"'
_FLUSH_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.05
_LAST_LINES: Final = 5
COMMAND_SECONDS: Final = 1800.0
"""The longest that a command may take."""


class CommandFailedError(Exception):
    """A command ended with another exit status than 0."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command said, and what it took."""

    output: str
    seconds: float
    processor: float
    """Seconds of it."""
    peak: int
    """Of its memory, bytes."""

    def then(self, after: Ran) -> Ran:
        """Return what both took, one after the other."""
        seconds, processor = self.seconds + after.seconds, self.processor + after.processor
        return Ran(self.output + after.output, seconds, processor, max(self.peak, after.peak))


class Deployment:
    """Topics under a namespace of their own, gone when the ``with`` block ends; nothing but commands touches Redis."""

    def __init__(self, kafka: str, redis_url: str, partitions: int = PARTITIONS) -> None:
        """Take where Kafka and Redis are; nothing is created yet."""
        self._temporary = tempfile.TemporaryDirectory(prefix="groundswell-learning-")
        self.directory = Path(self._temporary.name)
        flags: dict[str, str | int] = {
            "namespace": f"learning-{uuid.uuid4().hex[:10]}",
            "configuration_directory": str(self.directory),
            "kafka.bootstrap_servers": kafka,
            "redis.url": redis_url,
            "topics.partitions": partitions,
            "security.keys_file": str(self.directory / "keyring"),
        }
        new_key("learning", self.directory / "keyring")
        with only_settings({variable_of(name): str(value) for name, value in flags.items()}):
            self.settings = Settings.load(flags=flags)
            self._environment = dict(os.environ)

    def __enter__(self) -> Self:
        """Create the topics, lay down recipes and taxonomy, begin log time, and activate."""
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        for folder in ("models", "campaigns"):
            (self.directory / folder).mkdir()
        for recipe in (TAXONOMY.parent / "models").glob("*.toml"):
            shutil.copy(recipe, self.directory / "models")
        shutil.copy(TAXONOMY, self.directory)
        by_writer = {"message.timestamp.type": "CreateTime", "retention.ms": "-1", "cleanup.policy": "delete"}
        options = {"num_partitions": self.settings.topics.partitions, "replication_factor": -1, "configs": by_writer}
        with administration(self.settings, "creating the events topic") as admin:
            admin.create_topics({self.settings.topic("events"): options})
        create(self.settings)
        writing = Writing(self.settings)
        writing.tick(BEGIN_MS)
        writing.finish()
        apply(self.settings)

    def __exit__(self, *error: object) -> None:
        """Delete the topics."""
        try:
            with administration(self.settings, "deleting topics") as admin:
                admin.delete_topics([self.settings.topic(kind) for kind in TOPIC_KINDS], raise_errors=False)
        finally:
            self._temporary.cleanup()

    def publish(self, weeks: Iterable[tuple[int, Sequence[tuple[bytes, bytes]]]]) -> int:
        """Write what an electorate does (``world.weeks``) into the log, in order; return how many events that were."""
        writing, count = Writing(self.settings), 0
        for stop_ms, events in weeks:
            writing.tick(stop_ms)
            for key, value in events:
                writing.send(key, value, stop_ms)
            count += len(events)
        writing.finish()
        return count

    def run(self, *words: str) -> Ran:
        """Run a groundswell command; raise CommandFailedError, with what it said, where its exit status is not 0.

        It is killed where this process is ended meanwhile, and after COMMAND_SECONDS.
        """
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            before, begun, peak = _processor(), time.monotonic(), 0
            command = [sys.executable, "-m", "stream", *words]
            with subprocess.Popen(command, stdout=output, stderr=errors, env=self._environment) as process:
                try:
                    while process.poll() is None and time.monotonic() - begun < COMMAND_SECONDS:
                        peak = max(peak, _peak(process.pid))
                        time.sleep(_LOOK_SECONDS)
                finally:
                    process.kill()
            seconds, processor = time.monotonic() - begun, _processor() - before
            for file in (output, errors):
                file.seek(0)
            said, complaint = output.read(), errors.read()
        if process.returncode:
            last = "\n".join(complaint.splitlines()[-_LAST_LINES:])
            message = f"exit status {process.returncode} of `{shlex.join(['groundswell', *words])}`:\n{last}"
            raise CommandFailedError(message)
        return Ran(said, seconds, processor, peak)


class Writing:
    """A producer of a deployment's events, as its trackers, its office and its clock would be."""

    def __init__(self, settings: Settings) -> None:
        """Connect."""
        keyring = settings.keyring()
        assert keyring is not None  # noqa: S101 (a Deployment has made one)
        self._topic = settings.topic("events")
        self._partitions = settings.topics.partitions
        self._homes: dict[bytes, int] = {}
        self._failed: list[str] = []
        self._keys, self._signer = keyring.root, Signer(keyring, self._topic, time.time_ns)
        self._producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": settings.kafka.bootstrap_servers,
                # One at a time: what is sent again comes before what follows it.
                "max.in.flight.requests.per.connection": 1,
                "linger.ms": 50,
                # The embedded broker may end before it.
                "log.connection.close": False,
            }
        )

    def tick(self, now_ms: int) -> None:
        """Let log time be ``now_ms`` (since the epoch) in every partition, from here on."""
        for partition in range(self._partitions):
            self._write(partition, None, tick(partition, now_ms), now_ms, signed=True)

    def send(self, key: bytes, value: bytes, now_ms: int) -> None:
        """Write an event that arrives at ``now_ms`` to the partition of its key."""
        home = self._homes.get(key)
        if home is None:
            home = self._homes[key] = partition_of(key, self._partitions)
        self._write(home, key, value, now_ms, signed=_ERASURE in value)

    def finish(self) -> None:
        """Wait until all is written; raise CommandFailedError for what was not."""
        left = self._producer.flush(_FLUSH_SECONDS)
        if self._failed or left:
            message = f"{len(self._failed) + left} records were not written, first: {(*self._failed, 'no answer')[0]}"
            raise CommandFailedError(message)

    def _write(self, partition: int, key: bytes | None, value: bytes, now_ms: int, *, signed: bool) -> None:
        headers = [self._signer.sign(self._keys, partition, key, value)] if signed else []
        given: Mapping[str, Any] = {"partition": partition, "timestamp": now_ms, "headers": headers}
        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=self._delivered, **given)
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def _delivered(self, error: confluent_kafka.KafkaError | None, _message: object) -> None:
        if error is not None:
            self._failed.append(str(error))


def _processor() -> float:
    """Return the seconds of the processor that ended processes of this one have taken."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _peak(process_id: int) -> int:
    """Return the most memory that a process has had, bytes; 0 where it has ended.

    Linux counts what its parent had before it in its resource usage, so that cannot tell.
    """
    try:
        return memory_bytes("VmHWM", process_id)
    except OSError:
        return 0
