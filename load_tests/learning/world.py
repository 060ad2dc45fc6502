"""Weeks of the demo's electorate, and those weeks as a log in memory, read as ``groundswell dataset`` does."""

from __future__ import annotations

import asyncio
import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from stream.commands.activating import activation_event
from stream.commands.dataset import DatasetOptions, write_sources
from stream.commands.reading import Record
from stream.commands.verify import Sources
from stream.embedded.electorate import Calendar, Electorate, Flaws
from stream.records import ENGINE_VERSION, Activation, ContentId
from stream.stores.redis import RedisStore

BEGIN_MS: Final = 1_788_220_800_000
"""Tuesday, 2026-09-01 in UTC."""
_DAY_MS: Final = 86_400_000
_STEP_MS: Final = 900_000
TAXONOMY: Final = Path(__file__).parents[2] / "configs" / "taxonomy.toml"
_BATCH: Final = 4096
_DATES: Final = (0.5, 0.57, 0.8)
"""When the letter is delivered, all are asked, and the election is, as shares of the days."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much happens."""

    voters: int = 8000
    days: int = 49
    events_a_day: float = 1.0
    """Of each voter, at an average hour without anything viral."""
    seed: int = 2026


@dataclass
class World:
    """An electorate, and the log of what it did."""

    electorate: Electorate
    records: list[Record] = field(default_factory=list)
    contents: list[Record] = field(default_factory=list)
    """The configuration topic's."""

    def write(self, options: DatasetOptions, file: Path) -> None:
        """Write the rows that options ask for to ``file``."""
        sources = Sources(1, "events", self._reader, lambda _: cast(RedisStore, _NoState()))
        asyncio.run(write_sources(sources, options, file))

    def _reader(self, topic: str, _partition: int) -> LogReader:
        return LogReader(self.records if topic == "events" else self.contents)

    def begin(self) -> None:
        """Activate the shipped taxonomy, by the first record of the log."""
        data = TAXONOMY.read_bytes()
        content = ContentId("taxonomy", "taxonomy", hashlib.sha256(data).hexdigest())
        self.contents.append(Record(0, BEGIN_MS, content.key().encode(), data, ()))
        event = activation_event(Activation(ENGINE_VERSION, (content,)), "begin")
        self.records.append(Record(0, BEGIN_MS, None, event, ()))


def people(scale: Scale) -> Electorate:
    """Draw an electorate, before anything has happened; the same from the same scale."""
    dates = [BEGIN_MS + int(share * scale.days) * _DAY_MS for share in _DATES]
    flaws, calendar = Flaws(misrouted=0.0), Calendar(BEGIN_MS, *dates)
    return Electorate(scale.seed, BEGIN_MS, voters=scale.voters, flaws=flaws, calendar=calendar)


def weeks(electorate: Electorate, scale: Scale) -> Iterator[tuple[int, list[tuple[bytes, bytes]]]]:
    """Let an electorate live: give each quarter of an hour's end (ms), and what (key, event) it brought, in order."""
    mean = scale.voters * scale.events_a_day * _STEP_MS / _DAY_MS
    for stop_ms in range(BEGIN_MS + _STEP_MS, BEGIN_MS + scale.days * _DAY_MS + 1, _STEP_MS):
        yield stop_ms, electorate.until(stop_ms, mean)


def live(scale: Scale) -> World:
    """Let an electorate live for some weeks; the same from the same scale."""
    world = World(people(scale))
    if TAXONOMY.exists():
        world.begin()
    for stop_ms, events in weeks(world.electorate, scale):
        for key, value in events:
            world.records.append(Record(len(world.records), stop_ms, key, value, ()))
    return world


class LogReader:
    """Reads records in memory (``stream.commands.reading.PartitionReader``)."""

    def __init__(self, records: Sequence[Record]) -> None:
        """Begin at the first of ``records``, whose offsets are their places."""
        self._records = records
        self.position = 0

    def bounds(self) -> tuple[int, int]:
        """Return the offset of the first record, and the one after the last."""
        return 0, len(self._records)

    def seek(self, offset: int) -> None:
        """Go to ``offset``."""
        self.position = offset

    def read(self, stop: int) -> list[Record]:
        """Return the next records before ``stop``."""
        taken = list(self._records[self.position : min(stop, self.position + _BATCH)])
        self.position += len(taken)
        return taken

    def offset_at(self, time_ms: int) -> int:
        """Return the offset of the first record of that time or later."""
        return bisect_left(self._records, time_ms, key=lambda record: record.append_time_ms)

    def close(self) -> None:
        """Do nothing."""


class _NoState:
    """A store without a header: the deployment began where its log does."""

    async def read_header(self) -> Any:
        """Return none."""
        return None

    async def close(self) -> None:
        """Do nothing."""
