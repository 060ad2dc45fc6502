"""Bugs of the kind that the protocols exist to exclude, planted into the code to see that the simulation finds them.

``make simulate PLANTED=1`` plants each and runs seeds until one fails that does not fail without the bug.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, cast
from unittest.mock import patch
from weakref import WeakKeyDictionary

import numpy as np
from aiokafka.errors import KafkaError
from redis.asyncio import Connection
from redis.exceptions import RedisError

from stream.agents.closing import unbroken
from stream.agents.fence import Fence
from stream.agents.relay import OutboxRelay, Relay
from stream.agents.tail import last_sequence
from stream.agents.writing import OPEN_SECONDS, Writer
from stream.columns import Columns
from stream.errors import CommitRefusedError
from stream.pipeline import process_batch, take_commit
from stream.records import Commit, Header, OutboxRow, Records
from stream.stores import redis as store_module
from stream.stores.packing import Pieces
from stream.stores.redis import RedisStore
from stream.stores.wire import Session, Wire, head, pack
from stream.transport.places import Place, Places
from tests.simulation.plan import Scenario
from tests.simulation.redis_commands import COMMANDS, Command, Words
from tests.simulation.redis_data import in_order
from tests.simulation.world import World


@dataclass(frozen=True)
class Bug:
    """A bug, and which faults can show it."""

    plant: Callable[[], AbstractContextManager[object]]
    shown_by: tuple[str, ...] = ()
    """Kinds of faults, or their words; any plan where there are none."""

    def can_show(self, scenario: Scenario) -> bool:
        """Return whether a plan holds a fault that can show the bug, and none that it could be blamed for."""
        met = {name for fault in scenario.faults for name in (fault.kind, fault.word)}
        return not met & (LOSSES - {*self.shown_by}) and (not self.shown_by or bool(met & {*self.shown_by}))


def token_unchecked() -> AbstractContextManager[object]:
    """A commit is checked by its offset alone."""

    def by_offset(prefix: str, header: Header | None, commit: Commit) -> None:
        if header is None or header.offset != commit.expected_offset:
            message = f"partition {prefix} stands elsewhere"
            raise CommitRefusedError(message)

    return patch.object(store_module, "refuse_foreign", by_offset)


class _Live:
    """Records that are read from the table when they are packed, and not when the commit was taken."""

    def __init__(self, taken: Records, table: Any) -> None:
        self.voters = taken.voters
        self._table, self._slots = table, table._in_flight.copy()

    def __len__(self) -> int:
        return len(self.voters)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(Records(self.voters, self.values))

    @property
    def values(self) -> Any:
        records = self._table.records
        return records.view(np.uint8).reshape(-1, records.dtype.itemsize)[self._slots]


class _Late(Pieces):
    """Pieces that are packed when they are sent."""

    def __init__(self, packing: Callable[[], Pieces]) -> None:
        super().__init__()
        self._packing = packing

    def __iter__(self) -> Iterator[bytes | memoryview]:
        return iter(self._packing())


@contextmanager
def packed_after_watch() -> Iterator[None]:
    """Records are packed after WATCH was answered, when later batches have changed them."""
    commands = RedisStore._commands

    def live(state: Any, expected_offset: int) -> Commit:
        commit = take_commit(state, expected_offset)
        return replace(commit, records=cast(Any, _Live(commit.records, state.table)))

    def late(store: RedisStore, commit: Commit) -> tuple[Pieces, int]:
        return _Late(lambda: commands(store, commit)[0]), commands(store, commit)[1]

    with patch("stream.agents.partition.take_commit", live), patch.object(RedisStore, "_commands", late):
        yield


def header_apart() -> AbstractContextManager[object]:
    """Records are written first, and the header after them, in a step of its own."""
    commit_all = RedisStore.commit

    async def commit(store: RedisStore, commit: Commit) -> None:
        if commit.records:
            pairs = store._packing.pairs(commit.records)
            await store._read(b"".join([head(2 * len(commit.records) + 1, b"MSET"), *pairs]), 1)
        await commit_all(store, replace(commit, records=Records.of([])))

    return patch.object(RedisStore, "commit", commit)


@contextmanager
def trimmed_by_count() -> Iterator[None]:
    """The outbox is trimmed by how many rows were sent."""
    outbox = RedisStore.outbox
    pages: WeakKeyDictionary[RedisStore, dict[str, list[OutboxRow]]] = WeakKeyDictionary()

    async def page(store: RedisStore, output: str, after: int, limit: int) -> list[OutboxRow]:
        rows = await outbox(store, output, after, limit)
        pages.setdefault(store, {})[output] = rows
        return rows

    async def trim(store: RedisStore, output: str, through: int) -> None:
        count = sum(row.sequence <= through for row in pages[store][output])
        if count:
            await store._read(pack(b"ZREMRANGEBYRANK", store._boxes[output], b"0", b"%d" % (count - 1)), 1)

    def by_rank(server: Any, words: Words) -> int:
        scores = server.data.sorted_set(words[0])
        gone = {member for member, _ in list(in_order(scores))[int(words[1]) : int(words[2]) + 1]}
        if gone:
            left = {member: score for member, score in scores.items() if member not in gone}
            server.write(words[0], left or None)
        return len(gone)

    command = Command(by_rank, 4, COMMANDS[b"ZREMRANGEBYSCORE"].keys, writes=True)
    with (
        patch.object(RedisStore, "outbox", page),
        patch.object(RedisStore, "trim", trim),
        patch.dict(COMMANDS, {b"ZREMRANGEBYRANK": command}),
    ):
        yield


def unknown_retried() -> AbstractContextManager[object]:
    """A transaction whose answer was lost is sent again on a new connection, as redis-py does by default."""
    execute = store_module._execute

    async def again(session: Session, pieces: Sequence[bytes], count: int, look: bytes = b"") -> list[Any] | None:
        try:
            return await execute(session, pieces, count, look)
        except (RedisError, OSError):
            connection: Any = session.connection
            await connection.disconnect(nowait=True)
            await asyncio.sleep(0.3)
            await connection.connect()
            return await execute(session, pieces, count, look)

    return patch.object(store_module, "_execute", again)


def clean_before_answer() -> AbstractContextManager[object]:
    """Records count as committed as soon as they are on their way."""

    def taken(state: Any, expected_offset: int) -> Commit:
        commit = take_commit(state, expected_offset)
        state.table.committed()
        return commit

    return patch("stream.agents.partition.take_commit", taken)


def no_marker() -> AbstractContextManager[object]:
    """The fence takes an epoch, and no marker carries it into the partition."""

    async def renew(fence: Fence) -> None:
        del fence

    return patch.object(Fence, "renew", renew)


def tail_before_marker() -> AbstractContextManager[object]:
    """The tail is read before the predecessor is fenced."""

    async def session(relay: Relay) -> None:
        async with asyncio.timeout(OPEN_SECONDS):
            last = await unbroken(last_sequence(relay._kafka, relay._topic, relay._partition))
        writer = await relay._open(relay._transactional_id, relay._partition)
        try:
            await relay._relay(writer, last)
        finally:
            await writer.close()

    return patch.object(Relay, "_session", session)


@contextmanager
def memory_trusted() -> Iterator[None]:
    """A relay that starts again goes on after what it knows to have sent."""
    known: WeakKeyDictionary[Relay, int | None] = WeakKeyDictionary()
    session, send_page = Relay._session, Relay._send_page

    async def remembered(relay: Relay, writer: Writer, rows: Sequence[OutboxRow], last: int | None) -> int:
        known[relay] = sent = await send_page(relay, writer, rows, last)
        return sent

    async def by_memory(relay: Relay) -> None:
        if relay not in known:
            await session(relay)
            return
        writer = await relay._open(relay._transactional_id, relay._partition)
        try:
            await relay._relay(writer, known[relay])
        finally:
            await writer.close()

    with patch.object(Relay, "_send_page", remembered), patch.object(Relay, "_session", by_memory):
        yield


def gap_skipped() -> AbstractContextManager[object]:
    """The relay sends on where the outbox does not continue the topic's tail."""

    def unchecked(relay: OutboxRelay, last: int, row: OutboxRow, where: str) -> None:
        del relay, last, row, where

    return patch.object(OutboxRelay, "_check_next", unchecked)


def failure_acknowledged() -> AbstractContextManager[object]:
    """A batch counts as sent though the broker refused it or did not answer."""
    send = Writer.send

    async def sent(writer: Writer, topic: str, partition: int, rows: Sequence[OutboxRow], first: int) -> int:
        try:
            return await send(writer, topic, partition, rows, first)
        except (KafkaError, OSError):
            return len(rows) - first

    return patch.object(Writer, "send", sent)


def epoch_kept() -> AbstractContextManager[object]:
    """A seek does not raise the epoch."""

    def reopened(places: Places, tp: Any, assignment: object, offset: int) -> int:
        place = places._places.setdefault(tp, Place(epoch=1))
        place.assignment, place.next, place.in_flight = assignment, offset, 0
        return place.epoch

    return patch.object(Places, "open", reopened)


def earliest() -> AbstractContextManager[object]:
    """The fetch begins anew at the log's start where it is told that its offset is out of range."""
    fetch = World.fetch

    def from_the_start(world: World, partition: int, offset: int, most: int) -> Any:
        fetched = fetch(world, partition, offset, most)
        return fetch(world, partition, world.bounds(partition)[0], most) if fetched is None else fetched

    return patch.object(World, "fetch", from_the_start)


@contextmanager
def connection_reused() -> Iterator[None]:
    """A connection whose await was cancelled is lent again, and redis-py does not close it either, as it once did not.

    It does since CVE-2023-28859.
    """
    read_response = Connection.read_response

    async def kept(connection: Connection, **options: Any) -> Any:
        return await read_response(connection, **options, disconnect_on_error=False)

    @asynccontextmanager
    async def session(wire: Wire) -> Any:
        async with wire._lock:
            session, wire._idle = wire._idle, None
            if session is None:
                session = Session(await wire._connect(), wire._timeout_seconds)
            try:
                yield session
            except asyncio.CancelledError:
                wire._idle = session
                raise
            except BaseException:
                await session.connection.disconnect(nowait=True)
                raise
            wire._idle = session

    with patch.object(Wire, "session", session), patch.object(Connection, "read_response", kept):
        yield


def largest_time_first() -> AbstractContextManager[object]:
    """Every row of a batch is decided at the batch's largest time."""

    async def processed(state: Any, columns: Columns, library: Any, load: Any, facts: Any) -> Any:
        if len(columns):
            columns.log_times[:] = columns.log_times.max()
        return await process_batch(state, columns, library, load, facts)

    return patch("stream.agents.partition.process_batch", processed)


LOSSES: Final = frozenset({"tail_lost", "trimmed_row_lost"})
"""Faults that lose what Kafka had acknowledged, which nothing mends: what is missing then is no proof of a bug."""

BUGS: Final[dict[str, Bug]] = {
    "offset checked without the token": Bug(token_unchecked, ("steps>claimed", "watch>claimed")),
    "records packed after WATCH": Bug(packed_after_watch),
    "header written apart from records": Bug(header_apart),
    "trim by count": Bug(trimmed_by_count, ("produce>refilled",)),
    "a retried unknown commit": Bug(unknown_retried, ("redis_cuts", "redis_restart", "redis_away")),
    "a record marked clean before the answer": Bug(clean_before_answer),
    "relay without the fence's marker": Bug(no_marker, ("zrangebyscore>read",)),
    "relay that reads the tail before the marker stands": Bug(tail_before_marker, ("zrangebyscore>read",)),
    "relay that trusts its memory": Bug(memory_trusted, ("zremrangebyscore",)),
    "relay that skips a gap": Bug(gap_skipped, ("trimmed_row_lost",)),
    "ack of a failed batch": Bug(failure_acknowledged, ("zrangebyscore>fenced", "zrangebyscore>read")),
    "seek without a new epoch": Bug(epoch_kept),
    "reset to earliest": Bug(earliest, ("out_of_range",)),
    "a reused cancelled connection": Bug(connection_reused, ("slow_rebalance",)),
    "a batch's largest time used for its first row": Bug(largest_time_first),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Let the code have a bug."""
    with BUGS[name].plant():
        yield
