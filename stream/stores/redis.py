"""A partition's state in Redis: header, records and outboxes, moved in single atomic steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import chain
from typing import Any, Final

from redis.asyncio import Connection
from redis.exceptions import RedisError

from stream.errors import CommitUnknownError, StoreFailedError, StoreUnavailableError
from stream.records import OUTPUTS, Commit, Header, OutboxRow, Records
from stream.spans import Spans
from stream.stores.answers import number, page, text, texts, texts_or_nulls
from stream.stores.endpoint import RedisEndpoint
from stream.stores.names import header_key, outbox_key, request_key, voter_prefix
from stream.stores.outcomes import is_lost, nothing_changed
from stream.stores.packing import KernelPacking, Packing, Pieces, PlainPacking
from stream.stores.route import Route
from stream.stores.terms import headless, refuse_foreign, refuse_restoring, refuse_usurped, rows_of, stateless
from stream.stores.wire import Session, Wire, bulks, first_error, head, pack

_ATTEMPTS: Final = 10
"""How often a WATCH that saw a touched key is tried again before the caller is told to."""
_ONE_SEND_BYTES: Final = 64 * 1024
"""What is smaller is sent as one piece."""
_PIECE_ROWS: Final = 64
"""Outbox rows that are packed at once."""
_PAGE_ROWS: Final = 1000
_SCAN_KEYS: Final = 10_000


class RedisStore:
    """One partition's state in Redis (interfaces.PartitionStore): one connection for commits, one for the rest.

    Nothing is retried behind the caller's back. A connection whose await was cancelled or that met an error is
    dropped, and the next call makes a new one. What each error of Redis becomes is listed in ``outcomes``. Nothing is
    read on a connection that is older than the one that commits: a failover may lie between the two, and a server that
    was replaced answers reads for ever with what it had then, without a word.

    After CommitUnknownError the caller settles what happened by ``read_header``, which then runs on a new
    connection: the commit is done where the header equals the commit's own; where it still has the offset from
    before, the commit may be sent again. Should the first one be executed even later, its WATCH or the second's
    fails, so that they cannot both be applied.
    """

    def __init__(self, endpoint: RedisEndpoint, prefix: str, *, reference: bool = False) -> None:
        """``prefix`` is that of names.partition_prefix. Nothing is connected before the first call.

        ``reference``: pack commands with Python's own formatting.
        """
        self._prefix = prefix
        self._header = header_key(prefix).encode()
        self._request = request_key(prefix).encode()
        self._voters = voter_prefix(prefix)
        self._packing: Packing = (PlainPacking if reference else KernelPacking)(self._voters.encode())
        self._boxes = {output: outbox_key(prefix, output).encode() for output in OUTPUTS}
        self._route = Route(endpoint, prefix)
        self._commits = Wire(self._connect_to_commit, endpoint.answer_timeout_seconds)
        self._reads = Wire(self._route.connect, endpoint.answer_timeout_seconds)
        self._written: tuple[bytes | None, Header | None] = (None, None)
        """The header that was packed last: where Redis has it, it need not be parsed."""

    async def read_header(self) -> Header | None:
        """Return the header, None where there is none."""
        (data,) = await self._read(pack(b"GET", self._header), 1)
        return _header_in(data)

    async def claim(self, owner: str, fresh: Header | None) -> Header:
        """Write ``owner`` into the header (into ``fresh`` if there is none) and return it as it then stands.

        Raises StateMissingError where there is neither; StateMismatchError where the header is missing beside any
        other key, or marked as restoring; StoreUnavailableError also where no answer came: claim again, a token
        written unheard harms nobody else.
        """
        async with self._session(self._commits) as session:
            for _ in range(_ATTEMPTS):
                _, data = _answers(await session.ask(self._look(self._header), 2))
                if data is None and await self._has_keys(session):
                    raise headless(self._prefix)
                header = _header_in(data) or fresh
                if header is None:
                    raise stateless(self._prefix)
                refuse_restoring(self._prefix, header)
                header = replace(header, owner=owner)
                if await _execute(session, [pack(b"SET", self._header, header.to_bytes())], 1) is not None:
                    return Header.from_bytes(header.to_bytes())
        raise self._contended()

    async def load(self, voters: Spans) -> list[bytes | None]:
        """Return each voter's record bytes, None for an unknown voter: one MGET."""
        if not voters:
            return []
        (values,) = await self._read(self._mget(voters), 1)
        return self._packing.unpacked(texts_or_nulls(values, len(voters)))

    async def read_together(self, voters: Sequence[str]) -> tuple[Header | None, list[bytes | None]]:
        """Return the header and the voters' records as of one moment: GET and MGET in one MULTI."""
        async with self._session(self._reads) as session:
            commands = [pack(b"GET", self._header)]
            if voters:
                commands.append(self._mget(Spans.of_texts(voters)))
            data, *values = await _execute(session, commands, len(commands)) or [None]
        return _header_in(data), self._packing.unpacked(texts_or_nulls(values[0], len(voters))) if values else []

    async def voters(self, step: int = _SCAN_KEYS) -> AsyncIterator[list[str]]:
        """Give every voter that has a record, page by page; one may come twice.

        All the server's keys are looked at, ``step`` for each page.
        """
        start = len(self._voters.encode())
        async for keys in self._pages(step):
            yield [key[start:].decode(errors="replace") for key in keys]

    async def commit(self, commit: Commit) -> None:
        """Write all of ``commit`` in one atomic step, or nothing; with no record it writes header and outbox.

        Raises CommitRefusedError (another owner or offset), CommitUnknownError (no answer),
        StoreUnavailableError (nothing done, retry) or StoreFailedError (stop). A cancelled commit is unknown.
        """
        # Relay and commit meet in the trigger outbox only when rows of it are replaced.
        keys = (self._header, self._boxes["triggers"]) if commit.erased else (self._header,)
        async with self._session(self._commits) as session:
            try:
                known, header = self._written
                pieces, count = self._commands(commit)
                for _ in range(_ATTEMPTS):
                    ahead = None if commit.erased else session.ahead
                    _, data = ahead or _answers(await session.ask(self._look(*keys), 2))
                    refuse_foreign(self._prefix, header if data == known else _header_in(data), commit)
                    withdrawals = await self._withdrawals(session, commit.erased) if commit.erased else []
                    if await self._executed(session, commit, [*pieces, *withdrawals], count + len(withdrawals)):
                        return
            except BaseException:
                self._packing.lost()
                raise
        raise self._contended()

    def _look(self, *keys: bytes) -> bytes:
        """Pack what a transaction begins with: WATCH, and the header as it then stands."""
        return pack(b"WATCH", *keys) + pack(b"GET", self._header)

    async def _executed(self, session: Session, commit: Commit, pieces: Pieces, count: int) -> bool:
        """Run a commit's commands; return whether they were, False where a watched key was touched.

        The look for the next commit goes along, so that one exchange makes a commit.
        """
        try:
            return await _execute(session, pieces, count, self._look(self._header)) is not None
        except (RedisError, OSError) as error:
            if not is_lost(error):
                raise
            message = (
                f"Redis at {self._route.address} did not answer, the commit of partition {self._prefix[:-1]} at offset "
                f"{commit.header.offset} may or may not be written: {str(error) or type(error).__name__}"
            )
            raise CommitUnknownError(message) from error

    async def outbox(self, output: str, after: int, limit: int) -> list[OutboxRow]:
        """Return up to ``limit`` rows of an output with a sequence above ``after``, in sequence."""
        (rows,) = await self._read(_range(self._boxes[output], after, limit), 1)
        return rows_of(self._prefix, output, texts(rows), after)

    async def trim(self, output: str, through: int) -> None:
        """Remove the rows of an output up to and with the sequence ``through``; doing it twice does no harm."""
        await self._read(pack(b"ZREMRANGEBYSCORE", self._boxes[output], b"-inf", b"%d" % through), 1)

    async def backlog(self) -> dict[str, int]:
        """Return how many rows each output's outbox holds."""
        counts = await self._read(b"".join([pack(b"ZCARD", self._boxes[output]) for output in OUTPUTS]), len(OUTPUTS))
        return dict(zip(OUTPUTS, map(number, counts), strict=True))

    async def begin_restore(self, header: Header) -> None:
        """Put ``header``, marked as restoring and under a fresh owner, in the place of whatever stands there.

        From here on every other owner's commit is refused, and so is every claim.
        """
        async with self._session(self._commits) as session:
            _answers(await session.ask(pack(b"SET", self._header, header.to_bytes()), 1))

    async def clear(self, owner: str) -> AsyncIterator[int]:
        """Delete outboxes, then voters page by page, and give how many keys each step deleted.

        Raises CommitRefusedError as soon as the header is not the one that ``owner`` began to restore under. Cut off
        half-way, it can be run again.
        """
        yield number(await self._restore_step(owner, pack(b"UNLINK", *self._boxes.values())))
        async for keys in self._pages(_SCAN_KEYS):
            if keys:
                yield number(await self._restore_step(owner, pack(b"UNLINK", *keys)))

    async def fill_restore(
        self, owner: str, records: Sequence[tuple[str, bytes]], rows: Mapping[str, Sequence[OutboxRow]]
    ) -> None:
        """Write some of a snapshot's records and outbox rows; what is there under the same names is overwritten.

        Raises CommitRefusedError as soon as the header is not the one that ``owner`` began to restore under.
        """
        commands = []
        if records:
            pairs = self._packing.pairs(Records.of([(voter.encode(), data) for voter, data in records]))
            commands.append(b"".join([head(2 * len(records) + 1, b"MSET"), *pairs]))
        for output, some in rows.items():
            if some:
                places = [b"%d" % row.sequence for row in some]
                commands.append(pack(b"ZREMRANGEBYSCORE", self._boxes[output], places[0], places[-1]))
                commands.append(b"".join(_zadd(self._boxes[output], some)))
        if commands:
            await self._restore_step(owner, *commands)

    async def finish_restore(self, header: Header) -> None:
        """Write ``header``, by which workers go on; its owner must be the one that began to restore.

        Raises CommitRefusedError where another restoration has begun since.
        """
        await self._restore_step(header.owner, pack(b"SET", self._header, header.to_bytes()))

    async def read_request(self) -> bytes | None:
        """Return what was written last for whoever takes snapshots of this partition, None where there is nothing."""
        (data,) = await self._read(pack(b"GET", self._request), 1)
        return text(data)

    async def write_request(self, data: bytes) -> None:
        """Leave word for whoever takes snapshots of this partition, or from them; no part of its state."""
        await self._read(pack(b"SET", self._request, data), 1)

    async def close(self) -> None:
        """Close the connections; a later call would make new ones."""
        await self._commits.drop()
        await self._reads.drop()

    async def _restore_step(self, owner: str, *commands: bytes) -> Any:
        """Run packed commands, return the first one's answer, if the restoration ``owner`` began is still under way."""
        async with self._session(self._commits) as session:
            for _ in range(_ATTEMPTS):
                _, data = _answers(await session.ask(self._look(self._header), 2))
                refuse_usurped(self._prefix, _header_in(data), owner)
                done = await _execute(session, commands, len(commands))
                if done is not None:
                    return done[0]
        raise self._contended()

    def _mget(self, voters: Spans) -> bytes:
        return b"".join([head(len(voters) + 1, b"MGET"), *self._packing.keys(voters)])

    def _commands(self, commit: Commit) -> tuple[Pieces, int]:
        """Pack what the commit writes, but for withdrawals; return it in pieces, and the number of commands."""
        header = commit.header.to_bytes()
        pieces: Pieces = [head(2 * len(commit.records) + 3, b"MSET")]
        pieces += self._packing.pairs(commit.records)
        pieces.append(bulks((self._header, header)))
        self._written = header, commit.header
        boxes = [_zadd(self._boxes[output], rows) for output, rows in commit.outbox.items() if rows]
        return [*pieces, *chain.from_iterable(boxes)], 1 + len(boxes)

    async def _withdrawals(self, session: Session, erased: frozenset[str]) -> list[bytes]:
        """Return the commands that put tombstones in the place of erased voters' unsent triggers."""
        keys = {voter.encode() for voter in erased}
        box = self._boxes["triggers"]
        commands: list[bytes] = []
        tombstones: list[OutboxRow] = []
        after = -1
        while True:
            (found,) = _answers(await session.ask(_range(box, after, _PAGE_ROWS), 1))
            rows = rows_of(self._prefix, "triggers", texts(found), after)
            for row in rows:
                if row.key in keys:
                    commands.append(pack(b"ZREMRANGEBYSCORE", box, *[b"%d" % row.sequence] * 2))
                    tombstones.append(row.tombstone())
            if len(rows) < _PAGE_ROWS:
                return [*commands, b"".join(_zadd(box, tombstones))] if tombstones else []
            after = rows[-1].sequence

    async def _has_keys(self, session: Session) -> bool:
        """Return whether the partition has any outbox row or voter; looks through the server's keys if it must."""
        (boxes,) = _answers(await session.ask(pack(b"EXISTS", *self._boxes.values()), 1))
        if number(boxes):
            return True
        cursor = b""
        while cursor != b"0":
            cursor, keys = await self._scan(session, cursor or b"0", _SCAN_KEYS)
            if keys:
                return True
        return False

    async def _pages(self, step: int) -> AsyncIterator[list[bytes]]:
        """Give the voters' keys, page by page; from the beginning again on each new connection.

        A cursor holds for one server's table alone: on another one, or the same started anew, it would pass keys over.
        """
        cursor, server = b"", None
        while cursor != b"0":
            async with self._session(self._reads) as session:
                if session.connection is not server:
                    cursor, server = b"0", session.connection
                cursor, keys = await self._scan(session, cursor, step)
            yield keys

    async def _scan(self, session: Session, cursor: bytes, step: int) -> tuple[bytes, list[bytes]]:
        """Return the next cursor (0: at the end) and the voters' keys of one step through the server's keys."""
        pattern = "".join(f"\\{sign}" if sign in "\\*?[]^" else sign for sign in self._voters).encode() + b"*"
        (answer,) = _answers(await session.ask(pack(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"%d" % step), 1))
        return page(answer)

    async def _read(self, payload: bytes, count: int) -> list[Any]:
        async with self._session(self._reads) as session:
            return _answers(await session.ask(payload, count))

    @asynccontextmanager
    async def _session(self, wire: Wire) -> AsyncIterator[Session]:
        """Lend a connection; errors of Redis leave as ours, and take both connections with them."""
        try:
            async with wire.session() as session:
                yield session
        except (RedisError, OSError) as error:
            address = self._route.address
            await self._lose()
            raise nothing_changed(error, address) from (error if is_lost(error) else None)
        except (CommitUnknownError, StoreFailedError, StoreUnavailableError):
            await self._lose()
            raise

    async def _connect_to_commit(self) -> Connection:
        connection = await self._route.connect()
        await self._reads.drop()
        return connection

    async def _lose(self) -> None:
        self._route.forget()
        await self.close()

    def _contended(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"the header of partition {self._prefix[:-1]} was written by others {_ATTEMPTS} times in a row"
        )


def _answers(answers: list[Any]) -> list[Any]:
    """Return the answers; raise the first error among them."""
    error = first_error(answers)
    if error is not None:
        raise error
    return answers


def _header_in(answer: Any) -> Header | None:
    """Return the header that GET answered, None for none."""
    data = text(answer)
    return None if data is None else Header.from_bytes(data)


def _range(box: bytes, after: int, limit: int) -> bytes:
    return pack(b"ZRANGEBYSCORE", box, b"(%d" % after, b"+inf", b"LIMIT", b"0", b"%d" % limit)


def _zadd(box: bytes, rows: Sequence[OutboxRow]) -> list[bytes]:
    """Pack one command, in pieces: of all rows together each copy would be fresh memory."""
    pieces = [head(2 * len(rows) + 2, b"ZADD", box)]
    for first in range(0, len(rows), _PIECE_ROWS):
        members = [(b"%d" % row.sequence, row.to_bytes()) for row in rows[first : first + _PIECE_ROWS]]
        pieces.append(bulks(chain.from_iterable(members)))
    return pieces


async def _execute(
    session: Session, pieces: Sequence[bytes | memoryview], count: int, look: bytes = b""
) -> list[Any] | None:
    """Run ``count`` packed commands in one MULTI and return their answers; None where a watched key was touched.

    ``look`` holds the two commands that the next transaction begins with; ``session.ahead`` has their answers then.
    An error answer to a queued command or to EXEC itself, which says that nothing was executed, is raised as it is.
    """
    session.ahead = None
    payload: Pieces = [pack(b"MULTI"), *pieces, pack(b"EXEC") + look]
    if sum(map(len, payload)) <= _ONE_SEND_BYTES:
        payload = [b"".join(payload)]
    answers = await session.ask(payload, count + (4 if look else 2))
    queued, result, looked = answers[: count + 1], answers[count + 1], answers[count + 2 :]
    error = first_error(queued) or (result if isinstance(result, Exception) else None)
    if error is not None:
        raise error
    if looked and first_error(looked) is None:
        session.ahead = looked
    if result is None:
        return None
    error = first_error(result) if isinstance(result, list) else TypeError()
    if error is not None or len(result) != count:
        message = (
            f"Redis executed only a part of a transaction ({type(error).__name__}), and it does not roll back: "
            "run `groundswell restore`"
        )
        raise StoreFailedError(message)
    return list(result)
