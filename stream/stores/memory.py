"""Redis' twin in memory: the same promises, kept by one event loop's order, for tests, simulation and replay."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from stream.records import OUTPUTS, Commit, Header, OutboxRow
from stream.spans import Spans
from stream.stores.names import header_key, outbox_key, request_key, voter_prefix
from stream.stores.terms import headless, refuse_foreign, refuse_restoring, refuse_usurped, row_of, rows_of, stateless

_PAGE_KEYS: Final = 1000


@dataclass(slots=True)
class Fault:
    """An error that the server answers one operation with, in place of a result."""

    operation: str
    """Name of the PartitionStore method that it meets."""
    error: BaseException
    executed: bool = False
    """Whether the operation was carried out before its answer was lost."""


@dataclass(slots=True)
class MemoryServer:
    """What several stores share, as they would share one Redis: values, sorted sets, and faults to come."""

    values: dict[str, bytes] = field(default_factory=dict)
    outboxes: dict[str, dict[int, bytes]] = field(default_factory=dict)
    """By key, the rows' bytes by sequence."""
    faults: list[Fault] = field(default_factory=list)
    """Each is met once, by the first operation of its name, in order."""

    def snapshot(self) -> MemoryServer:
        """Return a copy of the state, as a replica that is not kept up to date would hold it."""
        return MemoryServer(dict(self.values), copy.deepcopy(self.outboxes))

    def fail_over(self, replica: MemoryServer) -> None:
        """Take on the state of ``replica``: what was committed since its snapshot is lost."""
        self.values = dict(replica.values)
        self.outboxes = copy.deepcopy(replica.outboxes)

    def fault(self, operation: str) -> Fault | None:
        """Take the next fault for ``operation``; raise its error at once unless it strikes after execution."""
        for place, fault in enumerate(self.faults):
            if fault.operation == operation:
                del self.faults[place]
                if not fault.executed:
                    raise fault.error
                return fault
        return None


class MemoryStore:
    """One partition's state in a MemoryServer (interfaces.PartitionStore)."""

    def __init__(self, server: MemoryServer, prefix: str) -> None:
        """``prefix`` is that of names.partition_prefix."""
        self._server = server
        self._prefix = prefix
        self._header_key = header_key(prefix)
        self._voter_prefix = voter_prefix(prefix)

    async def read_header(self) -> Header | None:
        """Return the header, None where there is none."""
        self._server.fault("read_header")
        return self._header()

    async def claim(self, owner: str, fresh: Header | None) -> Header:
        """Write ``owner`` into the header (into ``fresh`` if there is none) and return it as it then stands.

        Raises StateMissingError where there is neither, StateMismatchError where the header is missing beside any
        other key, or marked as restoring.
        """
        fault = self._server.fault("claim")
        header = self._header()
        if header is None:
            keys = [*self._server.values, *(key for key, rows in self._server.outboxes.items() if rows)]
            found = next((key for key in keys if key.startswith((self._voter_prefix, f"{self._prefix}outbox:"))), None)
            if found is not None:
                raise headless(self._prefix)
            header = fresh
        if header is None:
            raise stateless(self._prefix)
        refuse_restoring(self._prefix, header)
        header = replace(header, owner=owner)
        self._server.values[self._header_key] = header.to_bytes()
        if fault is not None:
            raise fault.error
        return Header.from_bytes(header.to_bytes())

    async def load(self, voters: Spans) -> list[bytes | None]:
        """Return each voter's record bytes, None for an unknown voter."""
        self._server.fault("load")
        return [self._server.values.get(self._voter_prefix + voter.decode()) for voter in voters]

    async def read_together(self, voters: Sequence[str]) -> tuple[Header | None, list[bytes | None]]:
        """Return the header and the voters' records as of one moment."""
        self._server.fault("read_together")
        return self._header(), [self._server.values.get(self._voter_prefix + voter) for voter in voters]

    async def voters(self, step: int = _PAGE_KEYS) -> AsyncIterator[list[str]]:
        """Give every voter that has a record, ``step`` at a time; not all of those that are new meanwhile."""
        start = self._voter_prefix
        voters = [key.removeprefix(start) for key in self._server.values if key.startswith(start)]
        for first in range(0, max(len(voters), 1), step):
            self._server.fault("voters")
            yield voters[first : first + step]

    async def commit(self, commit: Commit) -> None:
        """Write all of ``commit``, or nothing; raises CommitRefusedError (another owner or offset)."""
        fault = self._server.fault("commit")
        refuse_foreign(self._prefix, self._header(), commit)
        server = self._server
        for voter, value in commit.records:
            server.values[self._voter_prefix + voter.decode()] = value
        server.values[self._header_key] = commit.header.to_bytes()
        self._withdraw(commit)
        for output, rows in commit.outbox.items():
            box = server.outboxes.setdefault(outbox_key(self._prefix, output), {})
            box.update((row.sequence, row.to_bytes()) for row in rows)
        if fault is not None:
            raise fault.error

    async def outbox(self, output: str, after: int, limit: int) -> list[OutboxRow]:
        """Return up to ``limit`` rows of an output with a sequence above ``after``, in sequence."""
        self._server.fault("outbox")
        box = self._server.outboxes.get(outbox_key(self._prefix, output), {})
        sequences = sorted(sequence for sequence in box if sequence > after)[:limit]
        return rows_of(self._prefix, output, [box[sequence] for sequence in sequences], after)

    async def trim(self, output: str, through: int) -> None:
        """Remove the rows of an output up to and with the sequence ``through``."""
        fault = self._server.fault("trim")
        box = self._server.outboxes.get(outbox_key(self._prefix, output), {})
        for sequence in [sequence for sequence in box if sequence <= through]:
            del box[sequence]
        if fault is not None:
            raise fault.error

    async def backlog(self) -> dict[str, int]:
        """Return how many rows each output's outbox holds."""
        self._server.fault("backlog")
        return {output: len(self._server.outboxes.get(outbox_key(self._prefix, output), {})) for output in OUTPUTS}

    async def begin_restore(self, header: Header) -> None:
        """Put ``header``, marked as restoring and under a fresh owner, in the place of whatever stands there."""
        self._server.fault("begin_restore")
        self._server.values[self._header_key] = header.to_bytes()

    async def clear(self, owner: str) -> AsyncIterator[int]:
        """Delete outboxes, then voters page by page, and give how many keys each step deleted."""
        values, outboxes = self._server.values, self._server.outboxes
        self._refuse_usurped(owner)
        # As in Redis, an empty sorted set is no key.
        yield sum(bool(outboxes.pop(outbox_key(self._prefix, output), None)) for output in OUTPUTS)
        voters = [key for key in values if key.startswith(self._voter_prefix)]
        for first in range(0, len(voters), _PAGE_KEYS):
            self._refuse_usurped(owner)
            page = voters[first : first + _PAGE_KEYS]
            yield sum(values.pop(key, None) is not None for key in page)

    async def fill_restore(
        self, owner: str, records: Sequence[tuple[str, bytes]], rows: Mapping[str, Sequence[OutboxRow]]
    ) -> None:
        """Write some of a snapshot's records and outbox rows; what is there under the same names is overwritten."""
        self._server.fault("fill_restore")
        refuse_usurped(self._prefix, self._header(), owner)
        self._server.values.update((self._voter_prefix + voter, data) for voter, data in records)
        for output, some in rows.items():
            box = self._server.outboxes.setdefault(outbox_key(self._prefix, output), {})
            box.update((row.sequence, row.to_bytes()) for row in some)

    async def finish_restore(self, header: Header) -> None:
        """Write ``header``, by which workers go on; its owner must be the one that began to restore."""
        self._server.fault("finish_restore")
        refuse_usurped(self._prefix, self._header(), header.owner)
        self._server.values[self._header_key] = header.to_bytes()

    async def read_request(self) -> bytes | None:
        """Return what was written last for whoever takes snapshots of this partition, None where there is nothing."""
        self._server.fault("read_request")
        return self._server.values.get(request_key(self._prefix))

    async def write_request(self, data: bytes) -> None:
        """Leave word for whoever takes snapshots of this partition, or from them; no part of its state."""
        self._server.fault("write_request")
        self._server.values[request_key(self._prefix)] = data

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    def _refuse_usurped(self, owner: str) -> None:
        self._server.fault("clear")
        refuse_usurped(self._prefix, self._header(), owner)

    def _header(self) -> Header | None:
        data = self._server.values.get(self._header_key)
        return None if data is None else Header.from_bytes(data)

    def _withdraw(self, commit: Commit) -> None:
        """Put tombstones in the place of erased voters' unsent triggers."""
        box = self._server.outboxes.get(outbox_key(self._prefix, "triggers"), {})
        erased = {voter.encode() for voter in commit.erased}
        for sequence, data in box.items() if erased else ():
            row = row_of(self._prefix, "triggers", data)
            if row.key in erased:
                box[sequence] = row.tombstone().to_bytes()
