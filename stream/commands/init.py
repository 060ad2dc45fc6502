"""``groundswell init``: a new deployment's state, so that it begins on a log that is older than it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from stream.agents.tail import last_sequence
from stream.commands.broker import readable_errors
from stream.commands.reading import KafkaReader
from stream.commands.topics import TopicFacts, chosen_partitions, require
from stream.commands.verify import Bound
from stream.errors import ConfigurationError, StateMismatchError
from stream.records import Header
from stream.settings import Settings
from stream.signatures import root_of
from stream.stores.redis import RedisStore

_OUTPUTS = ("triggers", "rejects")


@dataclass(frozen=True, slots=True)
class Begun:
    """Where a partition's state begins."""

    partition: int
    offset: int
    begin: int
    """First offset of its log."""
    end: int
    """Offset after the last one of its log."""


def init(settings: Settings, from_: str, partition: int | None = None) -> list[Begun]:
    """Write a fresh header into every partition (or one) that makes workers begin at an offset or a time.

    ``from_`` is an offset, or an RFC 3339 time: the first event appended then or later. Nothing that exists is
    ever changed: raises StateMismatchError where a partition has state, or has put out triggers or rejects already;
    ConfigurationError for an offset outside the log; TopicError where the topics do not suit.
    """
    bound = Bound.parse(from_)
    topic = require(settings)
    numbers = chosen_partitions(topic.name, topic.partition_count, partition)
    if bound is None:
        message = "say where to begin: an offset, or a time like 2026-11-24T21:22:31Z"
        raise ConfigurationError(message)
    begun = [_place(settings, topic, number, bound) for number in numbers]
    asyncio.run(_write(settings, topic, begun))
    return begun


def _place(settings: Settings, topic: TopicFacts, number: int, bound: Bound) -> Begun:
    with readable_errors(settings, "looking for the place to begin"):
        reader = KafkaReader(settings.kafka.kafka_python(), topic.name, number)
        try:
            begin, end = reader.bounds()
            offset = bound.offset_in(reader)
        finally:
            reader.close()
    if not begin <= offset <= end:
        message = f"offset {offset} is outside the log of partition {number}, which goes from {begin} to {end}"
        raise ConfigurationError(message)
    return Begun(number, offset, begin, end)


async def _write(settings: Settings, topic: TopicFacts, begun: Sequence[Begun]) -> None:
    """Look at every partition before the first is written."""
    stores = {
        place.partition: RedisStore(settings.redis.endpoint(), settings.key_prefix(place.partition)) for place in begun
    }
    try:
        for number, store in stores.items():
            header = await store.read_header()
            if header is not None:
                raise _occupied(settings, number, f"has state already, at offset {header.offset}")
            for output in _OUTPUTS:
                name = settings.topic(output)
                sequence = await last_sequence(settings.kafka.aiokafka(), name, number)
                if sequence:
                    raise _occupied(settings, number, f"has put out {sequence} {output} already, in {name!r}")
        for place in begun:
            root = root_of(settings.keyring())
            fresh = Header.fresh(topic.topic_id, topic.partition_count, "", place.offset, root)
            header = await stores[place.partition].claim("", fresh)
            if header != fresh:
                raise _occupied(settings, place.partition, "was claimed by a worker meanwhile")
    finally:
        for store in stores.values():
            await store.close()


def _occupied(settings: Settings, number: int, found: str) -> StateMismatchError:
    prefix = settings.key_prefix(number)
    return StateMismatchError(
        f"partition {number} {found}, and init destroys nothing. Begin a new deployment under a namespace of its own "
        f"(--namespace, its topics by `groundswell topics create`), or stop every worker and delete what is there "
        f"yourself: the keys {prefix}* in Redis, and the topics of triggers and rejects"
    )
