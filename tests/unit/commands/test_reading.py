"""Logs as commands read them: the records that the worker reads, and no others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stream.commands import reading
from stream.commands.reading import KafkaReader


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
