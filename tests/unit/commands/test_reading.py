"""Logs as commands read them: the records that the worker reads, and no others."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest

from stream.commands import reading
from stream.commands.reading import KafkaReader, ReadContents
from stream.errors import ConfigurationError
from stream.records import ContentId, OutboxRow
from tests.simulation.topics import MemoryReader, MemoryTopic


class Consumer:
    """Gives records of these offsets, some at a time, as kafka-python hands over whatever a batch holds."""

    def __init__(self, polls: list[list[int]]) -> None:
        self.polls = polls
        self.next = 0

    def assign(self, partitions: list[Any]) -> None:
        self.where = partitions[0]

    def poll(self, *_: int) -> dict[Any, list[Any]]:
        offsets = self.polls.pop(0)
        self.next = offsets[-1] + 1
        fields: dict[str, Any] = {"timestamp": 0, "timestamp_type": 0, "key": None, "value": b"v", "headers": []}
        return {self.where: [SimpleNamespace(offset=offset, **fields) for offset in offsets]}

    def position(self, _: Any) -> int:
        return self.next


@pytest.mark.parametrize("polls", [[[0, 0, 0, 3]], [[0, 0], [0, 3]], [[0, -1, 0], [3]]])
def test_an_offset_that_comes_twice_is_read_once_as_the_worker_reads_it(
    polls: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = Consumer(polls)
    monkeypatch.setattr(reading, "KafkaConsumer", lambda **_: consumer)
    reader = KafkaReader({}, "events", 0)
    found: list[int] = []
    while records := reader.read(4):
        found += [record.offset for record in records]
    assert found == [0, 3]


def put(topic: MemoryTopic, data: bytes) -> ContentId:
    content = ContentId("model", "support", hashlib.sha256(data).hexdigest())
    topic.append(OutboxRow(0, 0, content.key().encode(), data, ()))
    return content


async def test_content_that_was_written_since_is_found_when_the_log_activates_it() -> None:
    topic = MemoryTopic()
    first = put(topic, b"one")
    opened = []

    def opens() -> MemoryReader:
        opened.append(MemoryReader(topic))
        return opened[-1]

    library = ReadContents.following(opens)
    await library.wait_for([first])
    assert (library.get(first), library.identities, len(opened)) == (b"one", (first,), 1)
    second = put(topic, b"two")
    assert library.get(second) is None
    await library.wait_for([first, second])
    assert (library.get(second), library.identities) == (b"two", (first, second))
    assert library.offsets == {first: 0, second: 1}
    missing = ContentId("model", "support", "0" * 64)
    with pytest.raises(ConfigurationError, match="does not hold model/support/000"):
        await library.wait_for([missing])


async def test_topic_as_it_stood_at_one_moment_stays_so() -> None:
    topic = MemoryTopic()
    library = ReadContents.read(MemoryReader(topic))
    with pytest.raises(ConfigurationError, match="which the log activates"):
        await library.wait_for([put(topic, b"one")])
