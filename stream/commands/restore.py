"""``groundswell restore``: a namespace's state brought back, from a snapshot or from where its log began."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from stream.commands.fitness import require_redis
from stream.commands.headers import read_headers
from stream.commands.topics import TopicFacts, chosen_partitions, facts, require
from stream.continuity import ANEW, LogFacts, foreign
from stream.errors import (
    CommitRefusedError,
    ConfigurationError,
    SnapshotRefusedError,
    SnapshotStorageError,
    StateMismatchError,
    StoreUnavailableError,
)
from stream.records import Header, Keys, OutboxRow
from stream.settings import Settings
from stream.signatures import Keyring, require_keyring, root_of
from stream.snapshots import Catalogue, Fitting, choose_to_restore
from stream.stores.redis import RedisStore

_FILL_ITEMS: Final = 1000
_Item = TypeVar("_Item")

Tell = Callable[[int, str, int, int | None], None]
"""Takes a partition, what is done to it, how far it is, and how much there is (None: not known)."""


class RestorableStore(Protocol):
    """What restoring asks of a partition's store; Redis and its twin in memory have it."""

    async def read_header(self) -> Header | None:
        """Return the header, None where there is none; raise StateMismatchError where it is damaged."""
        ...

    async def begin_restore(self, header: Header) -> None:
        """Put ``header``, marked as restoring and under a fresh owner, in the place of whatever stands there."""
        ...

    def clear(self, owner: str) -> AsyncIterator[int]:
        """Delete all but the header, page by page, and give how many keys each step deleted."""
        ...

    async def fill_restore(
        self, owner: str, records: Sequence[tuple[str, bytes]], rows: Mapping[str, Sequence[OutboxRow]]
    ) -> None:
        """Write some of a snapshot's records and outbox rows."""
        ...

    async def finish_restore(self, header: Header) -> None:
        """Write ``header``, by which workers go on."""
        ...


@dataclass(frozen=True, slots=True)
class Replayed:
    """From where to where workers will replay a partition's log."""

    partition: int
    start: int
    end: int
    found: str
    """What stands in Redis now, in words."""
    snapshot: Fitting | None = None
    """What is loaded first; its offset is ``start``. None: nothing, the log is replayed from the deployment's start."""
    refused: tuple[str, ...] = ()
    """Why newer snapshots cannot be used."""
    root: Keys = field(default_factory=list)
    """The key in force at ``start``; none where control records are not signed."""

    def __str__(self) -> str:
        """Return a line for the operator, and one for each snapshot that cannot be used."""
        lines = [f"not used: {text}" for text in self.refused]
        source = "" if self.snapshot is None else f"the snapshot {self.snapshot.name.text} is loaded, and "
        replay = f"its log is replayed from offset {self.start} to {self.end}"
        return "\n".join([*lines, f"partition {self.partition}: {self.found}; {source}{replay}"])


def plan(
    settings: Settings, partition: int | None = None, at_ms: int | None = None, *, from_snapshots: bool = True
) -> list[Replayed]:
    """Say for every partition (or one) what is loaded and from where its log is replayed; changes nothing.

    The newest snapshot begun at or before ``at_ms`` that fits is loaded, after every file of it was checked; where
    there is none, the log is replayed from where the deployment began. Raises StateMismatchError where that cannot be
    done, or no snapshot is as old as ``at_ms``; TopicError, StoreFailedError or StoreUnavailableError where Kafka or
    Redis do not suit a worker; SnapshotStorageError; ConfigurationError for an unknown partition, or ``at_ms`` without
    the setting that says where snapshots are.
    """
    require(settings)
    require_redis(settings)
    topic = facts(settings, bounded=True)
    numbers = chosen_partitions(topic.name, topic.partition_count, partition)
    storage = settings.snapshot.storage() if from_snapshots else None
    if storage is None and at_ms is not None:
        message = "a time is given, but snapshot.url is not set: without snapshots there is nothing of that time"
        raise ConfigurationError(message)
    headers = asyncio.run(read_headers(settings, topic.partition_count, readable_header))
    if storage is None:
        plans = replays(topic, headers, numbers)
    else:
        with _progress() as tell:
            catalogues = {number: settings.snapshots_of(number, storage) for number in numbers}
            plans = asyncio.run(plan_with(topic, headers, catalogues, at_ms, tell))
    return rooted(topic, headers, plans, settings.keyring())


def rooted(
    topic: TopicFacts, headers: Mapping[int, Header | None], plans: Sequence[Replayed], keyring: Keyring | None
) -> list[Replayed]:
    """Return the plans with the key that each partition began with.

    A lost header began with the key that another one did, or else with the keyring's oldest. Raises
    StateMismatchError where the keyring lacks a key that is in force where a replay begins.
    """
    roots = [header.root for header in headers.values() if header is not None]
    known = []
    for planned in plans:
        header = headers[planned.partition]
        begun = replace(planned, root=[*roots, root_of(keyring)][0] if header is None else header.root)
        require_keyring(first_header(topic, begun), keyring, f"{topic.name} partition {planned.partition}")
        known.append(begun)
    return known


def first_header(topic: TopicFacts, planned: Replayed) -> Header:
    """Return the header, of no owner, that a partition is set to: the snapshot's, or one as at its start."""
    if planned.snapshot is not None:
        return replace(planned.snapshot.manifest.state(), owner="", restoring=False)
    return Header.fresh(topic.topic_id, topic.partition_count, "", planned.start, planned.root)


async def plan_with(
    topic: TopicFacts,
    headers: Mapping[int, Header | None],
    catalogues: Mapping[int, Catalogue],
    at_ms: int | None,
    tell: Tell,
) -> list[Replayed]:
    """Return the plan for the partitions whose snapshots are given, as ``plan`` does."""
    plans = []
    for number, catalogue in catalogues.items():

        def checked(done: int, total: int, number: int = number) -> None:
            tell(number, "checking", done, total)

        chosen, refused = await choose_to_restore(catalogue, topic.log(number), at_ms, checked)
        if chosen is not None:
            end = topic.ends[number]
            plans.append(Replayed(number, chosen.manifest.offset, end, _words(headers[number]), chosen, tuple(refused)))
            continue
        if at_ms is not None:
            message = f"partition {number} has no snapshot of that time or before that can be used"
            raise StateMismatchError("\n".join([*refused, message]))
        try:
            (planned,) = replays(topic, headers, [number])
        except StateMismatchError as error:
            message = "\n".join([*refused, f"{error}; there is no snapshot that can be used"])
            raise StateMismatchError(message) from error
        plans.append(replace(planned, refused=tuple(refused)))
    return plans


def replays(topic: TopicFacts, headers: Mapping[int, Header | None], numbers: Sequence[int]) -> list[Replayed]:
    """Return the plan for partitions without snapshots, given all partitions' headers as far as they can be read."""
    begun = {number: header.start for number, header in headers.items() if header is not None}
    return [_replay(topic.log(number), number, headers[number], begun) for number in numbers]


def _replay(log: LogFacts, number: int, header: Header | None, begun: Mapping[int, int]) -> Replayed:
    if header is None:
        later = {other: start for other, start in begun.items() if start > 0}
        if log.begin > 0:
            raise _refusal(number, f"its header is lost, and its log begins at offset {log.begin}, not 0")
        if later:
            other, start = min(later.items())
            raise _refusal(number, f"its header is lost, and the deployment did not begin at 0 ({other}: at {start})")
        return Replayed(number, 0, log.end, _words(header))
    unfit = foreign(header, log)
    if unfit is not None:
        raise _refusal(number, f"its state {unfit.found}", unfit.mend)
    if not log.begin <= header.start <= log.end:
        found = f"the deployment began at offset {header.start}, but the log goes from {log.begin} to {log.end}"
        raise _refusal(number, f"{found}: it does not reach back any more")
    words = _words(header)
    if header.offset > log.end and not header.restoring:
        words += " (beyond the log's end: if the log was cut, run `groundswell verify` afterwards)"
    return Replayed(number, header.start, log.end, words)


def _words(header: Header | None) -> str:
    if header is None:
        return "no header that can be read"
    return "a restoration that was cut off" if header.restoring else f"state at offset {header.offset}"


def _refusal(number: int, found: str, mend: str = ANEW) -> StateMismatchError:
    return StateMismatchError(f"partition {number} cannot be restored from its log: {found}. Else {mend}")


async def readable_header(store: RestorableStore) -> Header | None:
    """Return the header, None where there is none or none that can be believed."""
    try:
        header = await store.read_header()
    except StateMismatchError:
        return None
    if header is None:
        return None
    numbers = (header.start, header.offset, header.partition_count, header.engine)
    is_sound = all(type(number) is int and number >= 0 for number in numbers) and isinstance(header.topic_id, str)
    return header if is_sound else None


def restore(settings: Settings, plans: Sequence[Replayed]) -> Iterator[str]:
    """Clear each planned partition and bring it to its start; give a line for each one done.

    A worker that holds it is refused from the first moment on, and ends; it goes on once the partition is done. Cut
    off at any place, it can be run again. Raises StoreUnavailableError, StoreFailedError, SnapshotStorageError,
    SnapshotRefusedError (altered since it was checked) or CommitRefusedError (by another restoration).
    """
    topic = require(settings)
    with _progress() as tell:
        for planned in plans:
            store = RedisStore(settings.redis.endpoint(), settings.key_prefix(planned.partition))
            done = asyncio.run(_restore_and_close(store, topic, planned, tell))
            yield f"partition {planned.partition}: {done}, stands at offset {planned.start}"


@dataclass(slots=True)
class Restored:
    """What was done to a partition."""

    deleted: int = 0
    """Keys."""
    records: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    """Unsent rows by output."""

    def __str__(self) -> str:
        """Return it in words."""
        return (
            f"{self.deleted} keys deleted, {self.records} records and {sum(self.rows.values())} unsent outputs loaded"
        )


async def _restore_and_close(store: RedisStore, topic: TopicFacts, planned: Replayed, tell: Tell) -> Restored:
    try:
        return await restore_partition(store, topic, planned, tell)
    finally:
        await store.close()


async def restore_partition(store: RestorableStore, topic: TopicFacts, planned: Replayed, tell: Tell) -> Restored:
    """Claim one partition, clear it, load its snapshot if there is one, and write its header last."""
    owner = secrets.token_hex(8)
    header = replace(first_header(topic, planned), owner=owner)
    done = Restored()
    try:
        await store.begin_restore(replace(header, restoring=True))
        async for count in store.clear(owner):
            done.deleted += count
            tell(planned.partition, "clearing", done.deleted, None)
        if planned.snapshot is not None:
            await _load(store, owner, planned, done, tell)
        await store.finish_restore(header)
    except (CommitRefusedError, StoreUnavailableError, SnapshotRefusedError, SnapshotStorageError) as error:
        message = f"{error}. Partition {planned.partition} is not restored to its end: run `groundswell restore` again"
        raise type(error)(message) from error
    return done


async def _load(store: RestorableStore, owner: str, planned: Replayed, done: Restored, tell: Tell) -> None:
    assert planned.snapshot is not None  # noqa: S101 (its caller looked)
    reader, manifest = planned.snapshot.reader, planned.snapshot.manifest
    async for pairs in reader.records(manifest):
        for some in _pieces(pairs):
            await store.fill_restore(owner, some, {})
            done.records += len(some)
            tell(planned.partition, "loading", done.records, manifest.records)
    async for output, rows in reader.rows(manifest):
        for page in _pieces(rows):
            await store.fill_restore(owner, [], {output: page})
            done.rows[output] = done.rows.get(output, 0) + len(page)


def _pieces(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    for first in range(0, len(items), _FILL_ITEMS):
        yield items[first : first + _FILL_ITEMS]


@contextmanager
def _progress() -> Iterator[Tell]:
    """Show on standard error, where it is a terminal, how far it is."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("partition {task.fields[partition]}: {task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[tuple[int, str], TaskID] = {}

        def tell(partition: int, what: str, done: int, total: int | None) -> None:
            if (partition, what) not in tasks:
                tasks[partition, what] = bar.add_task(what, total=total, partition=partition)
            bar.update(tasks[partition, what], completed=done, total=total)

        yield tell
