"""``groundswell watch``: triggers as they come, read as any subscriber would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson
from kafka import TopicPartition

from stream.commands.broker import consumer
from stream.commands.topics import bounds, facts
from stream.errors import printable
from stream.records import SEQUENCE_HEADER, TOMBSTONE_HEADER
from stream.settings import Settings

_POLL_MS: Final = 500


def watch(
    settings: Settings,
    tell: Callable[[str], None],
    *,
    raw: bool = False,
    from_beginning: bool = False,
    most: int | None = None,
    ready: Callable[[], None] = lambda: None,
) -> int:
    """Give each trigger's line to ``tell`` until ``most`` were given (None: until interrupted); return how many.

    ``raw`` gives the CloudEvents as they are, else one readable line each, a withdrawn one included. ``ready`` is
    called once reading has begun: what is written from then on is given. Raises TopicError where the topic is
    missing, KafkaUnavailableError where it cannot be read.
    """
    topic = facts(settings, "triggers")
    given = 0
    with consumer(settings, f"reading {topic.name}", auto_offset_reset="earliest") as client:
        begins, ends = bounds(client, topic.name, topic.partition_count)
        for number, offset in enumerate(begins if from_beginning else ends):
            client.seek(TopicPartition(topic.name, number), offset)
        ready()
        while most is None or given < most:
            for records in client.poll(_POLL_MS).values():
                for record in records[: None if most is None else most - given]:
                    line = _raw(record.value) if raw else readable(record)
                    if line is not None:
                        tell(line)
                        given += 1
    return given


def readable(record: Any) -> str:
    """Return time, campaign, voter, scores and reason of a record of the trigger topic, in one line."""
    headers = dict(record.headers or ())
    if record.value is None or TOMBSTONE_HEADER in headers:
        sequence = headers.get(SEQUENCE_HEADER, b"?").decode(errors="replace")
        return f"{'-':24}  trigger {sequence} of partition {record.partition} was withdrawn: its voter was erased"
    try:
        event = orjson.loads(record.value)
        data = event["data"]
        before, after = float(data["score_before"]), float(data["score_after"])
        line = (
            f"{event.get('time', '-'):24}  {data['campaign']}  {event['subject']}  {before:.4f} -> {after:.4f}  "
            f"{data['why']}"
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        line = f"{'-':24}  offset {record.offset} of partition {record.partition} is no trigger: {record.value[:80]!r}"
    return printable(line)


def _raw(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="backslashreplace")
