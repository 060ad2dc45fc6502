"""``groundswell restore``: a namespace's state brought back by having its log replayed from where it began."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn

from stream.commands.fitness import require_redis
from stream.commands.headers import read_headers
from stream.commands.topics import TopicFacts, facts, require
from stream.errors import CommitRefusedError, ConfigurationError, StateMismatchError, StoreUnavailableError
from stream.records import ENGINE_VERSION, Header
from stream.settings import Settings
from stream.stores.redis import RedisStore

_ANEW = "begin a new deployment under another namespace, with `groundswell init --from`"

Tell = Callable[[int, int], None]
"""Takes a partition and how many of its keys were deleted so far."""


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

    def __str__(self) -> str:
        """Return one line for the operator."""
        return f"partition {self.partition}: {self.found}; its log is replayed from offset {self.start} to {self.end}"


def plan(settings: Settings, partition: int | None = None) -> list[Replayed]:
    """Say for every partition (or one) from where its log is to be replayed; changes nothing.

    Raises StateMismatchError where a log does not lead to the state that was; TopicError, StoreFailedError or
    StoreUnavailableError where Kafka or Redis do not suit a worker; ConfigurationError for an unknown partition.
    """
    require(settings)
    require_redis(settings)
    topic = facts(settings, bounded=True)
    if partition is not None and not 0 <= partition < topic.partition_count:
        message = f"there is no partition {partition}: {topic.name!r} has {topic.partition_count}"
        raise ConfigurationError(message)
    headers = asyncio.run(read_headers(settings, topic.partition_count, readable_header))
    return replays(topic, headers, range(topic.partition_count) if partition is None else [partition])


def replays(topic: TopicFacts, headers: Mapping[int, Header | None], numbers: Sequence[int]) -> list[Replayed]:
    """Return the plan for partitions, given all partitions' headers as far as they can be read."""
    begun = {number: header.start for number, header in headers.items() if header is not None}
    return [_replay(topic, number, headers[number], begun) for number in numbers]


def _replay(topic: TopicFacts, number: int, header: Header | None, begun: Mapping[int, int]) -> Replayed:
    begin, end = topic.begins[number], topic.ends[number]
    if header is None:
        later = {other: start for other, start in begun.items() if start > 0}
        if begin > 0:
            raise _refusal(number, f"its header is lost, and its log begins at offset {begin}, not 0")
        if later:
            other, start = min(later.items())
            raise _refusal(number, f"its header is lost, and the deployment did not begin at 0 ({other}: at {start})")
        return Replayed(number, 0, end, "no header that can be read")
    if header.topic_id and topic.topic_id and header.topic_id != topic.topic_id:
        found = f"its state is of topic id {header.topic_id!r}, but {topic.name!r} has id {topic.topic_id!r}"
        raise _refusal(number, f"{found}: a topic made anew")
    if header.partition_count != topic.partition_count:
        found = f"its state was made for {header.partition_count} partitions"
        raise _refusal(number, f"{found}, but {topic.name!r} has {topic.partition_count}")
    if header.engine != ENGINE_VERSION:
        found = f"its state was decided by engine {header.engine}, and this build is engine {ENGINE_VERSION}"
        raise _refusal(number, f"{found}: run the restore of that build")
    if not begin <= header.start <= end:
        found = f"the deployment began at offset {header.start}, but the log goes from {begin} to {end}"
        raise _refusal(number, f"{found}: it does not reach back any more")
    found = f"state at offset {header.offset}"
    if header.restoring:
        found = "a restoration that was cut off"
    elif header.offset > end:
        found += " (beyond the log's end: if the log was cut, run `groundswell verify` afterwards)"
    return Replayed(number, header.start, end, found)


def _refusal(number: int, found: str) -> StateMismatchError:
    return StateMismatchError(f"partition {number} cannot be restored from its log: {found}. Else {_ANEW}")


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
    """Clear each planned partition and set it to its start; give a line for each one done.

    A worker that holds it is refused from the first moment on, and ends; it goes on once the partition is done. Cut
    off at any place, it can be run again. Raises StoreUnavailableError, StoreFailedError or CommitRefusedError (by
    another restoration).
    """
    topic = require(settings)
    with _progress() as tell:
        for planned in plans:
            store = RedisStore(settings.redis.endpoint(), settings.key_prefix(planned.partition))
            deleted = asyncio.run(_restore_and_close(store, topic, planned, tell))
            yield f"partition {planned.partition}: {deleted} keys deleted, stands at offset {planned.start}"


async def _restore_and_close(store: RedisStore, topic: TopicFacts, planned: Replayed, tell: Tell) -> int:
    try:
        return await restore_partition(store, topic, planned, tell)
    finally:
        await store.close()


async def restore_partition(store: RestorableStore, topic: TopicFacts, planned: Replayed, tell: Tell) -> int:
    """Claim one partition, clear it, and write its fresh header last; return how many keys were deleted."""
    owner = secrets.token_hex(8)
    header = Header(topic.topic_id, topic.partition_count, owner, planned.start, planned.start)
    deleted = 0
    try:
        await store.begin_restore(replace(header, restoring=True))
        async for count in store.clear(owner):
            deleted += count
            tell(planned.partition, deleted)
        await store.finish_restore(header)
    except (CommitRefusedError, StoreUnavailableError) as error:
        message = f"{error}. Partition {planned.partition} is not restored to its end: run `groundswell restore` again"
        raise type(error)(message) from error
    return deleted


@contextmanager
def _progress() -> Iterator[Tell]:
    """Show on standard error, where it is a terminal, how many keys are deleted."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("partition {task.fields[partition]}"), TextColumn("{task.completed:,} keys"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[int, TaskID] = {}

        def tell(partition: int, deleted: int) -> None:
            if partition not in tasks:
                tasks[partition] = bar.add_task("clearing", total=None, partition=partition)
            bar.update(tasks[partition], completed=deleted)

        yield tell
