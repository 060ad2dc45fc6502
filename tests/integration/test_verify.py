"""``verify`` on a broker and a Redis: silent where all is right, exact about the place where it is not."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import redis
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from stream.commands.reading import KafkaReader
from stream.commands.verify import Report, sources_of, verify, verify_sources
from stream.embedded import EmbeddedServices
from stream.records import CONSENT_ERASED, ContentId, Header, OutboxRow
from stream.settings import Settings
from stream.stores.packing import packed, unpacked
from stream.stores.redis import RedisStore
from tests.logs import Generator, Log
from tests.simulation.topics import work

COUNT = 2
LENGTH = 300
KEPT = 5


@dataclass
class Deployment:
    """Topics and keys as workers leave them: most rows sent, the last few of each output still in the outbox."""

    settings: Settings
    sent: dict[str, list[OutboxRow]] = field(default_factory=lambda: {"triggers": [], "rejects": []})

    def create(self, topic: str, partitions: int, *, append_time: bool = False) -> None:
        configs = {"message.timestamp.type": "LogAppendTime"} if append_time else {}
        admin = KafkaAdminClient(**self.settings.kafka.kafka_python())
        admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)])
        admin.close()

    def produce(self, topic: str, rows: Sequence[OutboxRow]) -> None:
        producer = KafkaProducer(**self.settings.kafka.kafka_python(), max_request_size=2**21)
        for row in rows:
            # kafka-python refuses to write a record without key and value, as tombstones are.
            value = b"" if row.key is None and row.value is None else row.value
            producer.send(topic, value, row.key, list(row.headers), row.partition)
        producer.flush()
        producer.close()

    def produce_in_transactions(self, topic: str, rows: Sequence[OutboxRow]) -> None:
        """Write rows between transaction markers, which take offsets, after rows that are taken back."""
        identity = f"{topic}-{secrets.token_hex(4)}"
        producer = KafkaProducer(**self.settings.kafka.kafka_python(), transactional_id=identity)
        producer.init_transactions()
        for end in (producer.abort_transaction, producer.commit_transaction):
            producer.begin_transaction()
            for row in rows:
                producer.send(topic, row.value, row.key, list(row.headers), row.partition)
            end()
        producer.close()

    async def work(self) -> None:
        """Be the workers of all partitions."""
        sources = sources_of(self.settings)
        for number in range(COUNT):
            store = RedisStore(self.settings.redis.endpoint(), self.settings.key_prefix(number))
            left = await work(sources, number, store, keep=KEPT)
            await store.close()
            for output, rows in left.sent.items():
                self.sent[output] += rows

    def erased(self, partition: int) -> set[bytes]:
        """Return the voters of a partition whom its log erases."""
        with self.keys() as client:
            start = self.settings.key_prefix(partition) + "v:"
            found: Any = {key: client.get(key) for key in client.keys(f"{start}*")}
        return {key[len(start.encode()) :] for key, data in found.items() if unpacked(data)[2] == CONSENT_ERASED}

    def verify_with_triggers(self, change: Callable[[list[OutboxRow]], None]) -> Report:
        """Verify against a trigger topic of its own, in which the sent triggers are changed."""
        topic = f"{self.settings.topic('triggers')}-{secrets.token_hex(4)}"
        rows = list(self.sent["triggers"])
        change(rows)
        self.create(topic, COUNT)
        self.produce(topic, rows)
        kafka = self.settings.kafka.kafka_python()

        def reader(kind: str, number: int) -> KafkaReader:
            return KafkaReader(kafka, topic if kind == "triggers" else self.settings.topic(kind), number)

        return asyncio.run(verify_sources(replace(sources_of(self.settings), reader=reader)))

    @contextmanager
    def keys(self) -> Iterator[redis.Redis]:
        client = redis.Redis.from_url(self.settings.redis.url)
        yield client
        client.close()

    def verify_with_value(self, pattern: str, change: Callable[[bytes], bytes]) -> Report:
        """Verify while the value of one key of partition 0 is changed."""
        with self.keys() as client:
            prefix = self.settings.key_prefix(0)
            key = sorted(client.keys(f"{prefix}{pattern}"))[0]
            kept: Any = client.get(key)
            client.set(key, change(kept))
            report = verify(self.settings, progress=False)
            client.set(key, kept)
        return report


def logs(append_time: bool) -> list[Log]:
    begin_ms = int(time.time() * 1000) if append_time else 1_790_000_000_000
    return [Generator(seed, (number, COUNT), begin_ms).run(LENGTH) for number, seed in enumerate((1026, 1030))]


def deploy(bootstrap: str, url: str, *, real: bool) -> Deployment:
    """Write logs and contents, and be the worker; a real broker stamps its events and keeps transactions."""
    flags = {"namespace": f"verify-{secrets.token_hex(4)}", "kafka.bootstrap_servers": bootstrap, "redis.url": url}
    made = Deployment(Settings.load(flags=flags))
    topic = made.settings.topic
    made.create(topic("events"), COUNT, append_time=real)
    made.create(topic("config"), 1)
    for name in ("triggers", "rejects"):
        made.create(topic(name), COUNT)
    for log in logs(real):
        contents = [OutboxRow(0, 0, ContentId(*key).key().encode(), value) for key, value in log.contents.items()]
        made.produce(topic("config"), contents)
        rows = [
            OutboxRow(
                0, log.partition, row.key, row.value or b"", tuple((name, text or b"") for name, text in row.headers)
            )
            for row in log.rows
        ]
        made.produce(topic("events"), rows[: LENGTH // 3])
        (made.produce_in_transactions if real else made.produce)(topic("events"), rows[LENGTH // 3 :])
    asyncio.run(made.work())
    for name, rows in made.sent.items():
        made.produce(topic(name), rows)
    return made


@pytest.fixture(scope="module", params=[pytest.param("kafka", marks=pytest.mark.kafka), "embedded"])
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    if request.param == "embedded":
        with EmbeddedServices() as services:
            yield deploy(services.bootstrap_servers, services.redis_url, real=False)
        return
    if "GROUNDSWELL_TEST_KAFKA" not in os.environ or "GROUNDSWELL_TEST_REDIS" not in os.environ:
        pytest.skip("GROUNDSWELL_TEST_KAFKA and GROUNDSWELL_TEST_REDIS name no servers")
    made = deploy(os.environ["GROUNDSWELL_TEST_KAFKA"], os.environ["GROUNDSWELL_TEST_REDIS"], real=True)
    yield made
    admin = KafkaAdminClient(**made.settings.kafka.kafka_python())
    admin.delete_topics([name for name in admin.list_topics() if name.startswith(made.settings.namespace)])
    admin.close()
    with made.keys() as client:
        for key in client.keys(f"{{{made.settings.namespace}:*"):
            client.delete(key)


def unwithdrawn(rows: list[OutboxRow], partition: int) -> tuple[int, OutboxRow]:
    """Return a trigger that is no tombstone, and its place."""
    return next((place, row) for place, row in enumerate(rows) if row.value and row.partition == partition)


def changed(value: bytes) -> bytes:
    """Return ``value`` with one digit of its score changed."""
    place = value.index(b'"score_after":') + 16
    return value[:place] + (b"7" if value[place : place + 1] != b"7" else b"3") + value[place + 1 :]


def test_nothing_differs_where_nothing_was_touched(deployment: Deployment) -> None:
    report = verify(deployment.settings, progress=False)
    assert str(report.difference) == "None"
    assert report.exit_status == 0
    assert report.not_compared == []
    assert sorted(report.partitions) == list(range(COUNT))
    assert min(done.triggers for done in report.partitions.values()) > 2 * KEPT
    assert min(done.rejects for done in report.partitions.values()) > KEPT
    assert min(done.records for done in report.partitions.values()) > 5


def test_changed_byte_in_a_trigger_is_named(deployment: Deployment) -> None:
    def change(rows: list[OutboxRow]) -> None:
        place, row = unwithdrawn(rows, 0)
        rows[place] = replace(row, value=changed(row.value or b""))

    _, row = unwithdrawn(deployment.sent["triggers"], 0)
    report = deployment.verify_with_triggers(change)
    assert report.exit_status == 1
    assert f"partition 0: triggers {row.sequence}, at offset {row.sequence - 1} of its topic" in str(report)


def test_removed_trigger_is_named(deployment: Deployment) -> None:
    kept = [row for row in deployment.sent["triggers"] if row.partition == 1 and row.value]
    gone = next(row for row in kept if row.key not in deployment.erased(1))
    report = deployment.verify_with_triggers(lambda rows: rows.remove(gone))
    assert report.exit_status == 1
    assert f"partition 1: triggers {gone.sequence}" in str(report)
    assert "no record in its topic and none in the outbox" in str(report)


def test_added_trigger_is_named(deployment: Deployment) -> None:
    report = deployment.verify_with_triggers(lambda rows: rows.append(unwithdrawn(rows, 1)[1]))
    assert report.exit_status == 1
    assert "partition 1: triggers: a record too many" in str(report)


def test_changed_byte_in_a_record_in_redis_is_named(deployment: Deployment) -> None:
    def change(data: bytes) -> bytes:
        record = unpacked(data)
        return packed(record[:200] + bytes([record[200] ^ 1]) + record[201:])

    report = deployment.verify_with_value("v:*", change)
    assert report.exit_status == 1
    assert "partition 0: record of voter" in str(report)
    assert "field 'counts'" in str(report)


def test_changed_byte_in_a_header_in_redis_is_named(deployment: Deployment) -> None:
    def change(data: bytes) -> bytes:
        header = Header.from_bytes(data)
        header.log_time_ms += 1
        return header.to_bytes()

    report = deployment.verify_with_value("header", change)
    assert report.exit_status == 1
    assert "partition 0: header in Redis" in str(report)
    assert "'log_time_ms'" in str(report)


def test_one_partition_is_compared_alone(deployment: Deployment) -> None:
    assert sorted(verify(deployment.settings, partition=1, progress=False).partitions) == [1]
