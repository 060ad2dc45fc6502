"""The verdict over a run: the oracle, fed with the log as it stands, beside what Redis and the topics hold."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from stream.columns import ORIGIN_HEADER
from stream.records import SEQUENCE_HEADER, TOMBSTONE_HEADER, OutboxRow
from tests.oracle import Key, Output, Partition, Row
from tests.oracle_record import packed, unpacked
from tests.simulation.kafka_batches import Record

_NOT_DECIDED = ("owner", "topic_id", "restoring", "start", "offset")
_ERASED = 3

_plain = lru_cache(1 << 14)(unpacked)


class Judge:
    """The oracle of one partition, and what it has said at each offset."""

    def __init__(self, number: int, count: int, contents: Mapping[Key, bytes], topic: str) -> None:
        """Nothing is read yet."""
        self.number = number
        self.oracle = Partition(number, count, contents, topic)
        self._offsets = [0]
        self._headers = [self._header()]
        self._records: dict[str, tuple[list[int], list[bytes]]] = {}
        """By voter, the offsets from which on each of its records stood."""
        self._erasures: dict[str, list[int]] = {}
        self._committed: set[str] = set()
        """Owners that have moved the header."""

    def _header(self) -> bytes:
        return orjson.dumps(_decided(self.oracle.header()), option=orjson.OPT_SORT_KEYS)

    def read(self, records: Sequence[Record]) -> None:
        """Take the log's next rows."""
        oracle = self.oracle
        for record in records:
            oracle.feed(Row(record.offset, record.time_ms, record.key, record.value, record.headers))
            self._offsets.append(oracle.offset)
            self._headers.append(self._header())
            for voter, state in oracle.voters.items():
                if state.version and state.last_offset == record.offset:
                    offsets, versions = self._records.setdefault(voter, ([], []))
                    offsets.append(oracle.offset)
                    versions.append(state.pack())
                    if state.consent == _ERASED:
                        self._erasures.setdefault(voter, []).append(record.offset)

    # --- while it runs -------------------------------------------------------------------------------

    def check_write(self, before: bytes | None, after: bytes, found: Mapping[bytes, Any], prefix: bytes) -> str:
        """Return what is wrong with a header at the moment at which it is written, "" where nothing is.

        ``before`` is the header that it replaces, ``found`` holds the packed records by key; all rows below its offset
        were read.
        """
        header = orjson.loads(after)
        offset = header["offset"]
        if header["restoring"]:
            # A restoration may begin over anything, and what it loads is judged by the header that ends it.
            return ""
        former = None if before is None else orjson.loads(before)
        if former is not None and former["restoring"]:
            if (former["owner"], former["offset"]) != (header["owner"], offset):
                return (
                    f"{header['owner']} moved the header, at {former['offset']}, of a restoration by {former['owner']}"
                )
        elif former is not None and before is not None:
            # A claim whose answer was lost is repeated, and changes nothing; after its first commit an owner claims no
            # more, and what moves nothing then is a commit that came twice.
            repeats = before == after and header["owner"] not in self._committed
            if former["owner"] == header["owner"] and former["offset"] >= offset and not repeats:
                return f"owner {header['owner']} moved the header from {former['offset']} to {offset}"
            if former["owner"] == header["owner"] and not repeats:
                self._committed.add(header["owner"])
            if former["owner"] != header["owner"] and former["offset"] != offset:
                return f"{header['owner']} moved the header of {former['owner']} from {former['offset']} to {offset}"
        expected = self._headers[bisect_right(self._offsets, offset) - 1]
        decided = orjson.dumps(_decided(header), option=orjson.OPT_SORT_KEYS)
        if decided != expected:
            return f"the header at offset {offset} is {decided!r}, the oracle has {expected!r}"
        return self._check_records_at(offset, found, prefix)

    def _check_records_at(self, offset: int, found: Mapping[bytes, Any], prefix: bytes) -> str:
        for voter, (offsets, versions) in self._records.items():
            place = bisect_right(offsets, offset) - 1
            expected = versions[place] if place >= 0 else None
            value = found.get(prefix + voter.encode())
            if (None if value is None else _plain(value)) != expected:
                return f"the record of {voter!r} is not the oracle's at the header's offset {offset}"
        return ""

    def check_snapshot(
        self,
        header: Mapping[str, Any],
        records: Sequence[tuple[str, bytes]],
        rows: Mapping[str, Sequence[OutboxRow]],
        unsent: Mapping[str, int],
    ) -> str:
        """Return what is wrong with a snapshot: it must be the oracle's state at its offset; outputs all but sent ones.

        ``unsent`` is by output the first sequence that counts.
        """
        offset = header["offset"]
        decided = orjson.dumps(_decided(header), option=orjson.OPT_SORT_KEYS)
        expected = self._headers[bisect_right(self._offsets, offset) - 1]
        if decided != expected:
            return f"the header of the snapshot of offset {offset} is {decided!r}, the oracle has {expected!r}"
        found = {voter.encode(): data for voter, data in records}
        if any(found[voter.encode()] != data for voter, data in records):
            return f"a voter comes twice, and differs, in the snapshot of offset {offset}"
        problem = self._check_records_at(offset, found, b"")
        if problem:
            return f"snapshot: {problem}"
        for output, first in unsent.items():
            last = header["sequences"][output]
            counted = [row for row in rows.get(output, ()) if row.sequence >= first]
            if [row.sequence for row in counted] != list(range(first, last + 1)):
                return f"the snapshot of offset {offset} has {len(counted)} {output} from {first} on, up to {last}"
            for row in counted:
                record = Record(0, 0, row.key, row.value, tuple(row.headers))
                if not self._fits(output, self.oracle.outputs[output][row.sequence - 1], record):
                    return f"{output} {row.sequence} in the snapshot of offset {offset} is not the oracle's: {row}"
        return ""

    # --- at its end ----------------------------------------------------------------------------------

    def check_records(self, found: Mapping[str, bytes]) -> str:
        """Return what is wrong with the records, as Redis has them, at the end of the log: packed, each of them."""
        expected = {voter: packed(record) for voter, record in self.oracle.records().items()}
        for voter in sorted({*found, *expected}):
            if found.get(voter) != expected.get(voter):
                return f"the record of {voter!r} is not the oracle's at the end of the log"
        return ""

    def check_output(self, output: str, sent: Sequence[Record], *, whole: bool = True) -> str:
        """Return what is wrong with an output topic's partition: each row once, in sequence, the oracle's bytes.

        Not ``whole``: the last rows may be missing.
        """
        expected = self.oracle.outputs[output]
        for place, (row, record) in enumerate(zip(expected, sent, strict=False)):
            if not self._fits(output, row, record):
                headers = dict(record.headers)
                return f"{output} row {place}: expected sequence {row.sequence}, found {headers} {record.value!r}"
        if len(expected) < len(sent) or (whole and len(expected) > len(sent)):
            return f"{output}: {len(sent)} rows were sent, expected {len(expected)}"
        return ""

    def _fits(self, output: str, row: Output, record: Record) -> bool:
        if dict(record.headers).get(SEQUENCE_HEADER) != b"%d" % row.sequence:
            return False
        if (record.key, record.value, tuple(record.headers)) == (row.key, row.value, tuple(row.headers)):
            return True
        withdrawn = dict(record.headers).get(TOMBSTONE_HEADER) == b"1" and record.value is None
        erased = self._erasures.get((row.key or b"").decode(errors="replace"), [])
        return output == "triggers" and withdrawn and any(offset > row.made_at for offset in erased)

    def check_forwards(self, logs: Mapping[int, Sequence[Record]]) -> str:
        """Return what is wrong with what went on to other partitions: each at least once, first come in order."""
        prefix = b"%d:" % self.number
        for target, records in logs.items():
            wanted = [
                (dict(row.headers)[ORIGIN_HEADER], row.value)
                for row in self.oracle.outputs["forwards"]
                if row.partition == target
            ]
            seen: list[tuple[Any, ...]] = []
            for record in records:
                origin = dict(record.headers).get(ORIGIN_HEADER)
                if origin and origin.startswith(prefix) and (origin, record.value) not in seen:
                    seen.append((origin, record.value))
            found = [entry for entry in seen if entry in set(wanted)]
            if found != wanted:
                return f"forwards to {target}: {len(found)} of {len(wanted)} stand there in order"
        return ""


def _decided(header: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in header.items() if name not in _NOT_DECIDED}
