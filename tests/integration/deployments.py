"""A deployment without a worker: a namespace of its own, and partitions that are processed by the test itself."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import orjson
from kafka import KafkaAdminClient, KafkaProducer
from redis import Redis

from stream.commands.reading import KafkaReader, ReadContents, Record, columns_from
from stream.commands.topics import TopicFacts
from stream.pipeline import PartitionState, process_batch, take_commit
from stream.records import Header
from stream.settings import TOPIC_KINDS, Settings
from stream.stores.redis import RedisStore
from stream.stores.table import Table

MODEL = '{"name": "eager", "kind": "linear", "bias": 0.0, "weights": {"social.like.decayed_1d": 1.0}}'
CAMPAIGN = """
name = "hello"
model = "eager"
direction = "up"
threshold = 0.5
rearm = 0.25
cooldown = "1d"
"""


@contextmanager
def deployment(kafka: str, redis: str, configuration: Path) -> Iterator[Settings]:
    """Give settings under a fresh namespace of three partitions; afterwards remove its topics and keys."""
    namespace = f"test-{uuid.uuid4().hex[:10]}"
    flags = {"namespace": namespace, "kafka.bootstrap_servers": kafka, "redis.url": redis, "topics.partitions": 3}
    for folder in ("models", "campaigns"):
        (configuration / folder).mkdir()
    (configuration / "models" / "eager.json").write_text(MODEL)
    (configuration / "campaigns" / "hello.toml").write_text(CAMPAIGN)
    try:
        yield Settings.load(flags={**flags, "configuration_directory": str(configuration)})
    finally:
        with closing(KafkaAdminClient(bootstrap_servers=kafka)) as admin:
            names = {f"{namespace}.engagement.{kind}" for kind in TOPIC_KINDS} & set(admin.list_topics())
            if names:
                admin.delete_topics(sorted(names))
        with closing(Redis.from_url(redis)) as client:
            for key in client.scan_iter(f"{{{namespace}:*", count=1000):
                client.delete(key)


def event(name: str, voter: str, **changes: object) -> bytes:
    return orjson.dumps(
        {"specversion": "1.0", "id": name, "source": "/test", "type": "social.like", "subject": voter, **changes}
    )


def send(settings: Settings, kind: str, values: list[bytes | None], partition: int = 0) -> None:
    """Write values to a topic, with their place as sequence."""
    with closing(KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)) as producer:
        for place, value in enumerate(values, 1):
            headers = [("groundswell-sequence", b"%d" % place)]
            producer.send(settings.topic(kind), key=b"key", value=value, partition=partition, headers=headers)
        producer.flush()


def read(settings: Settings, kind: str, partition: int = 0) -> list[Record]:
    """Return every record of a partition."""
    with closing(KafkaReader(settings.kafka.kafka_python(), settings.topic(kind), partition)) as reader:
        first, stop = reader.bounds()
        reader.seek(first)
        records: list[Record] = []
        while found := reader.read(stop):
            records += found
    return records


async def process(settings: Settings, topic: TopicFacts, partition: int) -> Header:
    """Take a whole partition through the pipeline and commit it to Redis, as a worker does."""
    store = RedisStore(settings.redis.endpoint(), settings.key_prefix(partition))
    kafka = settings.kafka.kafka_python()
    with (
        closing(KafkaReader(kafka, settings.topic("config"), 0)) as config,
        closing(KafkaReader(kafka, topic.name, partition)) as log,
    ):
        library = ReadContents.read(config)
        _, stop = log.bounds()
        fresh = Header(topic.topic_id, topic.partition_count, "", 0, 0)
        header = await store.claim("test", fresh)
        state = await PartitionState.open(partition, topic.name, header, Table(100), library)
        log.seek(header.offset)
        start = header.offset
        while rows := log.read(stop):
            await process_batch(
                state, columns_from(partition, rows, state.header.offset, log.position), library, store.load
            )
        await store.commit(take_commit(state, start))
    await store.close()
    return state.header


def servers() -> tuple[str, str] | None:
    """Return addresses of the real Kafka and Redis, None where they are not given."""
    kafka, redis = os.environ.get("GROUNDSWELL_TEST_KAFKA"), os.environ.get("GROUNDSWELL_TEST_REDIS")
    return (kafka, redis) if kafka and redis else None
