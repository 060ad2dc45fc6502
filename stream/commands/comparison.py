"""What was derived against what was found: outputs in their topics and outboxes, headers and records in Redis."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

import numpy as np
import orjson

from stream.commands.reading import PartitionReader, Record
from stream.errors import StateMismatchError, printable
from stream.records import SEQUENCE_HEADER, TOMBSTONE_HEADER, VOTER, Header, OutboxRow

_PAGE_ROWS: Final = 500
_NOT_DECIDED: Final = ("owner", "topic_id", "restoring")
"""Fields of a header that the log does not decide."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where what was found is not what the log gives."""

    partition: int
    place: str
    expected: str
    found: str

    def __str__(self) -> str:
        """Return the whole of it, fit for a terminal."""
        return f"partition {self.partition}: {self.place}\n  expected: {self.expected}\n  found:    {self.found}"


class DifferenceFoundError(Exception):
    """Ends the comparison; ``difference`` says why."""

    def __init__(self, difference: Difference) -> None:
        """Carry the difference."""
        super().__init__(str(difference))
        self.difference = difference


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets of the events whose consequences are compared: from ``first`` to before ``stop``."""

    first: int
    stop: int | None
    """None: to the end."""

    @property
    def is_whole(self) -> bool:
        """Whether everything is compared."""
        return self.first <= 0 and self.stop is None

    def __contains__(self, offset: int) -> bool:
        """Return whether an event's offset lies in the range."""
        return offset >= self.first and (self.stop is None or offset < self.stop)


class StateReader(Protocol):
    """What is read of a partition's store; both stores offer it."""

    async def read_header(self) -> Header | None:
        """Return the header, None where there is none."""
        ...

    async def read_together(self, voters: Sequence[str]) -> tuple[Header | None, list[bytes | None]]:
        """Return the header and the voters' records as of one moment."""
        ...

    async def outbox(self, output: str, after: int, limit: int) -> list[OutboxRow]:
        """Return up to ``limit`` rows of an output with a sequence above ``after``, in sequence."""
        ...

    def voters(self) -> AsyncIterator[list[str]]:
        """Give every voter that has a record, page by page; one may come twice."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


# --- how things are shown ----------------------------------------------------------------------------


def show_row(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> str:
    """Return an output record in full."""
    named = {name: text.decode("latin-1") for name, text in headers}
    shown = "null" if value is None else value.decode(errors="backslashreplace")
    return f"key {key!r}, headers {named}, value {printable(shown)}"


def show_record(data: bytes | None) -> str:
    """Return a voter's record by its fields, or its bytes where it has not the length of one."""
    if data is None:
        return "no record"
    if len(data) != VOTER.itemsize:
        return f"{len(data)} bytes: {data.hex()}"
    record = np.frombuffer(data, VOTER)[0]
    return str({name: record[name].tolist() for name in VOTER.names or ()})


def last_offset_of(data: bytes) -> int:
    """Return the offset of the last event folded into a voter's record."""
    return int(np.frombuffer(data, VOTER)["last_offset"][0])


def row_offset(output: str, row: OutboxRow) -> int:
    """Return the offset of the event that a derived output row comes from."""
    if output == "triggers":
        return int(orjson.loads(row.value or b"{}")["data"]["cause"]["offset"])
    return int(dict(row.headers)["offset"])


def _sequence_of(record: Record) -> int:
    """Return a record's sequence, -1 where its header says none."""
    text = dict(record.headers).get(SEQUENCE_HEADER, b"")
    return int(text) if text.isdigit() else -1


def _at(record: Record) -> str:
    return f"offset {record.offset} of its topic"


# --- outputs -----------------------------------------------------------------------------------------


class OutputComparison:
    """One partition of one output, in sequence: first what its topic holds, then what waits in the outbox."""

    def __init__(
        self, output: str, partition: int, topic: PartitionReader, store: StateReader, compared: Range, after: int = 0
    ) -> None:
        """Begin at the topic's first record; rows up to and with the sequence ``after`` are not derived."""
        self.output = output
        self.compared_rows = 0
        """Rows that lay in the range."""
        self.lost_through = after
        """Sequence up to which the topic's retention has taken what was sent."""
        self._after = after
        self._partition = partition
        self._topic = topic
        self._store = store
        self._compared = compared
        first, self._end = topic.bounds()
        self._is_cut = first > 0
        topic.seek(first)
        self._records: deque[Record] = deque()
        self._page: deque[OutboxRow] = deque()
        self._unsent: dict[int, OutboxRow] = {}
        self._gone: dict[bytes, list[tuple[OutboxRow, str]]] = {}

    @property
    def lost(self) -> tuple[int, int] | None:
        """From and to which sequence retention has taken what was to be compared; None where it has not."""
        return (self._after + 1, self.lost_through) if self.lost_through > self._after else None

    def end(self) -> int:
        """Return the offset after the last record that stands in the topic now."""
        return self._topic.bounds()[1]

    async def expect(self, row: OutboxRow) -> None:
        """Compare the next derived row with what is found under its sequence."""
        record = await self._next_record(row.sequence)
        if record is not None and _sequence_of(record) == row.sequence:
            self._records.popleft()
            self._compare(row, record.key, record.value, record.headers, _at(record))
        elif record is None and (waiting := await self._waiting(row.sequence)) is not None:
            self._unsent[row.sequence] = row
            self._compare(row, waiting.key, waiting.value, waiting.headers, "its row in the outbox")
        elif self._is_cut and self.lost_through == row.sequence - 1:
            self.lost_through = row.sequence
            return
        else:
            self._miss(row, "no record in its topic and none in the outbox")
        self.compared_rows += self._is_compared(row)

    def erased(self, voters: Iterable[str]) -> None:
        """Accept that what was sent to these voters before is gone."""
        for voter in voters:
            self._gone.pop(voter.encode(), None)

    def finish(self, end: int) -> None:
        """Say that every row was derived; raise for a record before ``end`` that none accounts for."""
        while record := self._look():
            if record.offset >= end:
                break
            self._records.popleft()
            self._arrive(record)
        for rows in self._gone.values():
            row, what = rows[0]
            self._differ(f"{self.output} {row.sequence}", row, f"{what}, and its voter was not erased later")

    # --- finding ---------------------------------------------------------------------------------------

    def _look(self) -> Record | None:
        """Return the topic's next record without taking it, None at the end."""
        if not self._records:
            self._records.extend(self._topic.read(self._end))
        return self._records[0] if self._records else None

    async def _next_record(self, sequence: int) -> Record | None:
        """Return the topic's next record, past those that arrived out of the outbox meanwhile."""
        while True:
            record = self._look()
            if record is None:
                if await self._waiting(sequence) is not None:
                    return None
                # What left the outbox stands in the topic: look where the topic ends now.
                end = self.end()
                if end <= self._end:
                    return None
                self._end = end
            elif _sequence_of(record) < sequence:
                self._records.popleft()
                self._arrive(record)
            else:
                return record

    async def _waiting(self, sequence: int) -> OutboxRow | None:
        """Return the row of that sequence in the outbox, None where there is none."""
        while self._page and self._page[0].sequence < sequence:
            self._page.popleft()
        if not self._page:
            self._page.extend(await self._store.outbox(self.output, sequence - 1, _PAGE_ROWS))
        return self._page[0] if self._page and self._page[0].sequence == sequence else None

    def _arrive(self, record: Record) -> None:
        """Take a record whose sequence was accounted for: sent since it was seen in the outbox, or one too many."""
        row = self._unsent.pop(_sequence_of(record), None)
        if row is None:
            if 0 < _sequence_of(record) <= self._after or self._is_of_another_range(record):
                return
            place = f"{self.output}: a record too many, at {_at(record)}"
            shown = show_row(record.key, record.value, record.headers)
            raise DifferenceFoundError(Difference(self._partition, place, "no record", shown))
        self._compare(row, record.key, record.value, record.headers, _at(record))

    def _is_of_another_range(self, record: Record) -> bool:
        """Return whether a record says of itself that it comes from an event outside what is compared."""
        try:
            row = OutboxRow(0, self._partition, record.key, record.value, record.headers)
            return row_offset(self.output, row) not in self._compared
        except (ValueError, KeyError, TypeError):
            return False

    # --- judging ---------------------------------------------------------------------------------------

    def _compare(
        self,
        row: OutboxRow,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes], ...],
        where: str,
    ) -> None:
        place = f"{self.output} {row.sequence}, at {where}"
        if dict(headers).get(TOMBSTONE_HEADER) and key is None and not value:
            if dict(headers).get(SEQUENCE_HEADER) != b"%d" % row.sequence:
                self._differ(place, row, show_row(key, value, headers))
            self._miss(row, "a tombstone")
        elif (key, value, headers) != (row.key, row.value, row.headers):
            self._differ(place, row, show_row(key, value, headers))

    def _is_compared(self, row: OutboxRow) -> bool:
        return self._compared.is_whole or row_offset(self.output, row) in self._compared

    def _miss(self, row: OutboxRow, what: str) -> None:
        """Note a row that is gone: right only for a trigger whose voter is erased later in the log."""
        if self.output != "triggers":
            self._differ(f"{self.output} {row.sequence}", row, what)
        if self._is_compared(row):
            self._gone.setdefault(row.key or b"", []).append((row, what))

    def _differ(self, place: str, row: OutboxRow, found: str) -> None:
        if self._is_compared(row):
            shown = show_row(row.key, row.value, row.headers)
            raise DifferenceFoundError(Difference(self._partition, place, shown, found))


# --- Redis -------------------------------------------------------------------------------------------


def compare_header(partition: int, expected: Header, found: Header) -> None:
    """Raise DifferenceFoundError, naming the first field that differs."""
    found_fields: dict[str, Any] = asdict(found)
    for name, value in asdict(expected).items():
        if name not in _NOT_DECIDED and found_fields[name] != value:
            place = f"header in Redis at offset {found.offset}, field {name!r}"
            raise DifferenceFoundError(Difference(partition, place, repr(value), repr(found_fields[name])))


def compare_record(partition: int, voter: str, expected: bytes | None, found: bytes | None, offset: int) -> None:
    """Raise DifferenceFoundError, naming the first field that differs, unless the bytes are the same."""
    if expected == found:
        return
    place = f"record of voter {voter!r} in Redis at offset {offset}"
    if expected is not None and found is not None and len(found) == VOTER.itemsize:
        ours, theirs = np.frombuffer(expected, VOTER)[0], np.frombuffer(found, VOTER)[0]
        names = [name for name in VOTER.names or () if ours[name].tobytes() != theirs[name].tobytes()]
        place += f", field {names[0]!r}"
    raise DifferenceFoundError(Difference(partition, place, show_record(expected), show_record(found)))


def header_of(partition: int, error: StateMismatchError) -> DifferenceFoundError:
    """Return a header that cannot be read as a difference."""
    return DifferenceFoundError(Difference(partition, "header in Redis", "a header as a commit writes it", str(error)))
