"""``groundswell verify``: the log replayed through the same pure function, and compared with what stands outside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from stream.commands.comparison import (
    Difference,
    DifferenceFoundError,
    OutputComparison,
    Range,
    StateReader,
    compare_header,
    compare_record,
    header_of,
    last_offset_of,
)
from stream.commands.reading import KafkaReader, PartitionReader, ReadContents
from stream.commands.replay import Derived, Replay
from stream.commands.topics import chosen_partitions, facts
from stream.continuity import LogFacts
from stream.errors import ConfigurationError, SnapshotRefusedError, SnapshotStorageError, StateMismatchError
from stream.interfaces import Library
from stream.records import ENGINE_VERSION, Header
from stream.settings import Settings
from stream.signatures import Keyring
from stream.snapshots import Catalogue, Fitting, choose_to_replay
from stream.stores.redis import RedisStore

_CHUNK_VOTERS: Final = 500
_COMPARED_OUTPUTS: Final = ("triggers", "rejects")

Step = Callable[[int, int, int], None]
"""Told how far it is: partition, log rows replayed so far (as offsets), and how many there are."""


@dataclass
class Compared:
    """How much of one partition was compared, and found as it should be."""

    offset: int = 0
    """Offset up to which the log was replayed."""
    triggers: int = 0
    rejects: int = 0
    records: int = 0
    header: bool = False
    begun: str = ""
    """What the replay began with, in words; empty: with nothing, where the deployment began."""


@dataclass
class Report:
    """What ``verify`` found."""

    partitions: dict[int, Compared] = field(default_factory=dict)
    not_compared: list[str] = field(default_factory=list)
    """Each range that could not be compared, and why."""
    difference: Difference | None = None
    """The first one; nothing after it was looked at."""

    @property
    def exit_status(self) -> int:
        """0 where nothing differs, else 1."""
        return 0 if self.difference is None else 1

    def __str__(self) -> str:
        """Return the whole report, fit for a terminal."""
        lines = [
            f"partition {number}: {done.triggers} triggers, {done.rejects} rejects, {done.records} voters' records"
            f"{' and the header' if done.header else ''} are what {done.begun}the log up to offset {done.offset} gives"
            for number, done in sorted(self.partitions.items())
            if self.difference is None or number != self.difference.partition
        ]
        lines += [f"not compared: {text}" for text in self.not_compared]
        if self.difference is not None:
            lines.append(f"DIFFERENCE in {self.difference}")
        return "\n".join(lines)


class NotComparableError(Exception):
    """The rest of a partition cannot be compared; the text says which range, and why."""


@dataclass(frozen=True)
class Sources:
    """Where everything that is compared is read from."""

    partition_count: int
    events_topic: str
    reader: Callable[[str, int], PartitionReader]
    """Opens one partition of one of the topics ``events``, ``triggers``, ``rejects``, ``config``."""
    store: Callable[[int], StateReader]
    """Opens one partition's state in Redis."""
    snapshots: Callable[[int], Catalogue] | None = None
    """Opens one partition's snapshots; None where there are none."""
    keyring: Keyring | None = None
    """What checks signatures; None: control records are not signed."""


@dataclass(frozen=True)
class Bound:
    """One end of the range that is compared: an offset in every partition, or a time."""

    offset: int | None = None
    time_ms: int | None = None

    @classmethod
    def parse(cls, text: str | None) -> Bound | None:
        """Read an offset or an RFC 3339 date-time with an offset from UTC; raise ConfigurationError for others."""
        if text is None:
            return None
        if text.isdigit():
            return cls(offset=int(text))
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            message = f"{text!r} is neither an offset nor a time like 2026-11-24T21:22:31Z"
            raise ConfigurationError(message)
        return cls(time_ms=int(moment.timestamp() * 1000))

    def offset_in(self, log: PartitionReader) -> int:
        """Return the bound as an offset of one partition."""
        return self.offset if self.offset is not None else log.offset_at(self.time_ms or 0)


class PartitionVerification:
    """The verification of one partition."""

    def __init__(self, sources: Sources, number: int, bounds: tuple[Bound | None, Bound | None], step: Step) -> None:
        """Open the topics and the store; nothing is read yet."""
        self._sources = sources
        self._number = number
        self._step = step
        self._bounds = bounds
        self._store = sources.store(number)
        self._log = sources.reader("events", number)
        self._topics = {output: sources.reader(output, number) for output in _COMPARED_OUTPUTS}
        self._comparisons: dict[str, OutputComparison] = {}
        self._begun = 0
        self.compared = Compared()

    async def run(self, library: Library) -> list[str]:
        """Compare; return what could not be, raise DifferenceFoundError or NotComparableError."""
        found, snapshot = await self._read_header_within_reach()
        begin, end = self._bounds
        compared = Range(
            0 if begin is None else begin.offset_in(self._log), None if end is None else end.offset_in(self._log)
        )
        state = found if snapshot is None else snapshot.manifest.state()
        self._comparisons = {
            output: OutputComparison(
                output, self._number, topic, self._store, compared, 0 if snapshot is None else state.sequences[output]
            )
            for output, topic in self._topics.items()
        }
        if snapshot is not None:
            self.compared.begun = f"the snapshot {snapshot.name.text}, taken at offset {state.offset}, and "
        topic, keyring = self._sources.events_topic, self._sources.keyring
        replay = await Replay.open(self._number, topic, found, self._log, library, keyring, snapshot=snapshot)
        self._begun = replay.header.offset
        try:
            await self._advance(replay, found)
            await self._compare_records(replay, compared)
            if begin is None and end is None:
                await self._compare_unknown_voters(replay)
            await self._finish(replay)
        except DifferenceFoundError:
            # After a failover rows and records are missing that come again: no defect, and nothing to compare with.
            header = await self._header()
            if header is not None and header.offset < replay.header.offset:
                raise self._went_back(replay, header) from None
            raise
        finally:
            replay.records.close()
        return self._lost()

    async def close(self) -> None:
        """Close every connection."""
        await self._store.close()
        for reader in (self._log, *self._topics.values()):
            reader.close()

    async def _read_header_within_reach(self) -> tuple[Header, Fitting | None]:
        """Return the header, if a replay can reach it, and the snapshot that the replay begins with, if any."""
        found = await self._header()
        first, end = self._log.bounds()
        if found is None:
            message = f"partition {self._number}, offsets {first} to {end}: no worker has claimed it yet"
            raise NotComparableError(message)
        if found.engine != ENGINE_VERSION:
            message = (
                f"partition {self._number}, offsets {found.start} to {found.offset}: decided by engine "
                f"{found.engine}, and this build is engine {ENGINE_VERSION}"
            )
            raise NotComparableError(message)
        if not found.start <= found.offset <= end:
            place = "header in Redis, field 'offset'"
            expected = f"{found.start} to {end}, where the log goes"
            raise DifferenceFoundError(Difference(self._number, place, expected, str(found.offset)))
        return found, await self._snapshot(found, first)

    async def _snapshot(self, found: Header, first: int) -> Fitting | None:
        """Return the snapshot nearest to where the comparison begins; None: replay from the deployment's start.

        With neither a ``from`` nor a log that lost its head the whole log is replayed, since that proves the most.
        """
        begin = self._bounds[0]
        if begin is None and first <= found.start:
            return None
        wanted = found.start if begin is None else max(begin.offset_in(self._log), found.start)
        chosen, refused = None, list[str]()
        if self._sources.snapshots is not None:
            log = LogFacts(self._sources.events_topic, found.topic_id, found.partition_count, first, found.offset)
            chosen, refused = await choose_to_replay(self._sources.snapshots(self._number), log, wanted)
        if first <= found.start:
            return chosen if chosen is not None and chosen.manifest.offset <= wanted else None
        if chosen is None:
            message = (
                f"partition {self._number}, offsets {found.start} to {found.offset}: the log begins at {first} now, so "
                f"what was decided since {found.start} cannot be derived again, and no snapshot fits"
            )
            raise NotComparableError("; ".join([message, *refused]))
        return chosen

    async def _advance(self, replay: Replay, found: Header) -> None:
        """Replay up to a header that was found, comparing what that gives, and then the header itself."""
        if found.offset < replay.header.offset:
            raise self._went_back(replay, found)

        async def take(derived: Derived) -> None:
            for output, comparison in self._comparisons.items():
                for row in derived.outputs[output]:
                    await comparison.expect(row)
            self._comparisons["triggers"].erased(derived.erased)
            self._step(self._number, replay.header.offset - self._begun, found.offset - self._begun)

        try:
            await replay.to(found.offset, take)
        except ConfigurationError as error:
            message = f"partition {self._number}, from offset {replay.header.offset} on: {error}"
            raise NotComparableError(message) from error
        self.compared.offset = found.offset
        for output, comparison in self._comparisons.items():
            setattr(self.compared, output, comparison.compared_rows)
        if self._bounds[1] is None:
            compare_header(self._number, replay.header, found)
            self.compared.header = True

    async def _compare_records(self, replay: Replay, compared: Range) -> None:
        """Compare the records of all voters seen so far, each chunk at the offset of the header beside it."""
        voters = replay.records.voters()
        for first in range(0, len(voters), _CHUNK_VOTERS):
            await self._compare_chunk(replay, voters[first : first + _CHUNK_VOTERS], compared)

    async def _compare_chunk(self, replay: Replay, voters: list[str], compared: Range) -> None:
        try:
            found, values = await self._store.read_together(voters)
        except StateMismatchError as error:
            raise header_of(self._number, error) from error
        if found is None:
            raise self._headless()
        await self._advance(replay, found)
        for voter, value in zip(voters, values, strict=True):
            expected = replay.records.get(voter)
            if expected is None or last_offset_of(expected) in compared:
                compare_record(self._number, voter, expected, value, found.offset)
                self.compared.records += expected is not None

    async def _compare_unknown_voters(self, replay: Replay) -> None:
        """Raise for a record in Redis of a voter that the log does not know."""
        async for page in self._store.voters():
            unknown = [voter for voter in page if voter not in replay.records]
            if unknown:
                await self._compare_chunk(replay, unknown, Range(0, None))

    async def _finish(self, replay: Replay) -> None:
        """Look for records too many: all that stands in a topic now is of rows before the header read after."""
        ends = {output: comparison.end() for output, comparison in self._comparisons.items()}
        found = await self._header()
        if found is None:
            raise self._headless()
        await self._advance(replay, found)
        for output, comparison in self._comparisons.items():
            comparison.finish(ends[output])

    async def _header(self) -> Header | None:
        try:
            return await self._store.read_header()
        except StateMismatchError as error:
            raise header_of(self._number, error) from error

    def _headless(self) -> DifferenceFoundError:
        return DifferenceFoundError(Difference(self._number, "header in Redis", "a header", "no header any more"))

    def _went_back(self, replay: Replay, found: Header) -> NotComparableError:
        return NotComparableError(
            f"partition {self._number}: its state in Redis went back from offset {replay.header.offset} to "
            f"{found.offset} meanwhile (a failover); run verify again"
        )

    def _lost(self) -> list[str]:
        return [
            f"partition {self._number}, {output} {comparison.lost[0]} to {comparison.lost[1]}: no longer in their topic"
            for output, comparison in self._comparisons.items()
            if comparison.lost
        ]


def verify(
    settings: Settings,
    from_: str | None = None,
    to: str | None = None,
    partition: int | None = None,
    *,
    progress: bool = True,
) -> Report:
    """Replay the log of every partition (or of ``partition``) and compare; stop at the first difference.

    ``from_`` and ``to`` (an offset in each partition, or an RFC 3339 time; the first is compared, the second is not)
    bound what is compared by the place of the causing event, not what is replayed; with a ``to`` headers, which
    stand at the log's end, are not compared. ``progress`` shows a bar where standard error is a terminal. Raises
    ConfigurationError for unusable arguments, TopicError, StoreUnavailableError and kafka-python's errors where
    something cannot be read.
    """
    bounds = (Bound.parse(from_), Bound.parse(to))
    sources = sources_of(settings)
    with _progress_bar(shown=progress) as step:
        return asyncio.run(verify_sources(sources, bounds, partition, step))


def sources_of(settings: Settings) -> Sources:
    """Return Kafka and Redis as the settings name them; raise TopicError where the events topic is missing."""
    kafka = settings.kafka.kafka_python()
    endpoint, storage = settings.redis.endpoint(), settings.snapshot.storage()
    return Sources(
        partition_count=facts(settings).partition_count,
        events_topic=settings.topic("events"),
        reader=lambda kind, number: KafkaReader(kafka, settings.topic(kind), number),
        store=lambda number: RedisStore(endpoint, settings.key_prefix(number)),
        snapshots=None if storage is None else lambda number: settings.snapshots_of(number, storage),
        keyring=settings.keyring(),
    )


@contextmanager
def _progress_bar(*, shown: bool) -> Iterator[Step]:
    console = Console(stderr=True)
    columns = (TextColumn("partition {task.fields[partition]}"), BarColumn(), TextColumn("{task.completed:,} events"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not (shown and console.is_terminal)) as bar:
        tasks: dict[int, TaskID] = {}

        def step(partition: int, done: int, total: int) -> None:
            if partition not in tasks:
                tasks[partition] = bar.add_task("replay", partition=partition)
            bar.update(tasks[partition], completed=done, total=total)

        yield step


async def verify_sources(
    sources: Sources,
    bounds: tuple[Bound | None, Bound | None] = (None, None),
    partition: int | None = None,
    step: Step = lambda _partition, _done, _total: None,
) -> Report:
    """Compare every partition (or one) of what ``sources`` open; stop at the first difference."""
    numbers = chosen_partitions(sources.events_topic, sources.partition_count, partition)
    report = Report()
    library = ReadContents.following(lambda: sources.reader("config", 0))
    for number in numbers:
        verification = PartitionVerification(sources, number, bounds, step)
        try:
            report.not_compared += await verification.run(library)
            report.partitions[number] = verification.compared
        except (NotComparableError, SnapshotRefusedError, SnapshotStorageError) as error:
            report.not_compared.append(str(error))
        except DifferenceFoundError as error:
            report.difference = error.difference
            break
        finally:
            await verification.close()
    return report
