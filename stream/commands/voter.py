"""``groundswell voter show``: everything that is kept about one voter, in words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stream.commands.activating import read_library
from stream.commands.broker import readable_errors
from stream.commands.reading import KafkaReader, Record
from stream.commands.topics import TopicFacts, facts
from stream.commands.voter_why import Why, version_for, why
from stream.errors import ConfigurationError, GroundswellError, printable
from stream.features import Field, describe
from stream.partitioning import partition_of
from stream.records import CONSENT_ERASED, CONSENT_NO, MAX_VOTER_BYTES, VOTER, Header
from stream.settings import Settings
from stream.stores.redis import RedisStore
from stream.stores.table import migrate


class UnknownVoterError(GroundswellError):
    """There is no record of the voter."""


@dataclass(frozen=True, slots=True)
class VoterReport:
    """One voter's record as of one moment."""

    voter: str
    partition: int
    offset: int
    """Next offset that the partition will process: the record is as of all rows before it."""
    log_time_ms: int
    fields: tuple[Field, ...]
    """Every field of the record with its name, value and unit."""
    last_event: dict[str, Any] | None
    """id, source, type, time and log_time_ms of the event last folded in; None where the log no longer holds it."""
    why: Why | None = None
    """What the score by one model is made of now, where that was asked."""

    def to_json(self) -> bytes:
        """Return the report as one JSON object."""
        document: dict[str, Any] = {
            "voter": self.voter,
            "partition": self.partition,
            "offset": self.offset,
            "log_time_ms": self.log_time_ms,
            "fields": [item._asdict() for item in self.fields],
            "last_event": self.last_event,
        }
        if self.why is not None:
            document["why"] = self.why.to_document()
        return orjson.dumps(document, option=orjson.OPT_INDENT_2)

    def to_table(self, *, everything: bool = False) -> RenderableType:
        """Return the report for a terminal: what is not 0, or ``everything``."""
        title = f"{self.voter}, partition {self.partition}, as of offset {self.offset} ({moment(self.log_time_ms)})"
        table = Table(title=Text(printable(title)), title_justify="left", box=None, pad_edge=False)
        table.add_column("field", no_wrap=True)
        table.add_column("value", justify="right", overflow="fold")
        table.add_column("unit", overflow="fold")
        shown = [item for item in self.fields if everything or not _is_nothing(item.value)]
        for item in shown:
            value = f"{item.value:.6g}" if isinstance(item.value, float) else str(item.value)
            unit = item.unit
            if "_ms" in item.name and isinstance(item.value, int):
                unit = f"ms: {moment(item.value)}"
            elif unit == "s since the epoch":
                unit = f"s: {moment(int(item.value) * 1000)}"
            table.add_row(Text(item.name), Text(value), Text(unit))
        event = self.last_event
        last = "no longer in the log" if event is None else f"{event['type']} {event['id']} from {event['source']}"
        table.add_row(Text("last folded in"), "", Text(printable(last)))
        left_out = len(self.fields) - len(shown)
        if left_out:
            table.add_row(Text(f"{left_out} fields"), "0", Text("--all shows them"))
        return table if self.why is None else Group(table, "", self.why.to_table())


def show(settings: Settings, voter: str, model: str | None = None) -> VoterReport:
    """Return what is kept about a voter, and what the score by ``model`` is made of now, if one is named.

    Raises ConfigurationError for an id that can be none or a model that is not active, UnknownVoterError where there is
    no record of the voter, StateMismatchError for a record that this build cannot read, and what reading Kafka and
    Redis may raise.
    """
    key = voter.encode(errors="surrogateescape")
    if not 1 <= len(key) <= MAX_VOTER_BYTES:
        message = f"the voter id {voter[:80]!r} is {len(key)} bytes long, expected 1 to {MAX_VOTER_BYTES}"
        raise ConfigurationError(message)
    topic = facts(settings)
    partition = partition_of(key, topic.partition_count)
    header, record = asyncio.run(_read(settings, partition, voter))
    if header is None or record is None:
        message = f"there is no record of voter {voter!r} in partition {partition}"
        raise UnknownVoterError(message)
    read = np.frombuffer(migrate(voter, record), VOTER)
    reason = None
    if model is not None:
        if read["consent"][0] in {CONSENT_NO, CONSENT_ERASED}:
            message = f"voter {voter!r} has withdrawn consent or was erased: nobody scores them"
            raise ConfigurationError(message)
        content = version_for(header, model, key)
        reason = why(content, read_library(settings), read, header.log_time_ms)
    fields = describe(read[0], names(header.slots["model"]), names(header.slots["campaign"]))
    return VoterReport(
        voter,
        partition,
        header.offset,
        header.log_time_ms,
        tuple(fields),
        _event_at(settings, topic, partition, int(read["last_offset"][0])),
        reason,
    )


def _is_nothing(value: float | str) -> bool:
    """Return whether a field holds no more than zeros."""
    return not value.strip("0 ") if isinstance(value, str) else value == 0


def names(slots: Sequence[list[str] | None]) -> list[str | None]:
    """Return the names in a header's slots."""
    return [None if item is None else item[0] for item in slots]


def moment(time_ms: int) -> str:
    """Return a time in ms since the epoch as RFC 3339 in UTC; ``never`` for 0, digits for what no calendar holds."""
    if time_ms == 0:
        return "never"
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(time_ms)


async def _read(settings: Settings, partition: int, voter: str) -> tuple[Header | None, bytes | None]:
    store = RedisStore(settings.redis.endpoint(), settings.key_prefix(partition))
    try:
        header, (record,) = await store.read_together([voter])
    finally:
        await store.close()
    return header, record


def _event_at(settings: Settings, topic: TopicFacts, partition: int, offset: int) -> dict[str, Any] | None:
    """Return what names the event at an offset of the log, None where it is not there."""
    with readable_errors(settings, "reading the event last folded in"):
        reader = KafkaReader(settings.kafka.kafka_python(), topic.name, partition)
        try:
            begin, end = reader.bounds()
            if not begin <= offset < end:
                return None
            reader.seek(offset)
            return _named(reader.read(offset + 1))
        finally:
            reader.close()


def _named(records: Sequence[Record]) -> dict[str, Any] | None:
    if not records:
        return None
    try:
        event = orjson.loads(records[0].value or b"")
        named = {name: event.get(name) for name in ("id", "source", "type", "time")}
    except (orjson.JSONDecodeError, AttributeError):
        return None
    return {**named, "log_time_ms": records[0].append_time_ms}
