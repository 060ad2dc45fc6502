"""The verdict over a run: the oracle, fed with the log as it stands, beside what Redis and the topics hold."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from stream.columns import ORIGIN_HEADER
from stream.records import SEQUENCE_HEADER, TOMBSTONE_HEADER
from tests.oracle import Key, Output, Partition, Row
from tests.simulation.kafka_batches import Record

_NOT_DECIDED = ("owner", "topic_id", "restoring", "start", "offset")
_ERASED = 3


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

        ``before`` is the header that it replaces, ``found`` holds the records under their keys; all rows below the
        header's offset were read.
        """
        header = orjson.loads(after)
        offset = header["offset"]
        # A claim whose answer was lost is repeated, and changes nothing.
        if before is not None and before != after:
            former = orjson.loads(before)
            if former["owner"] == header["owner"] and former["offset"] >= offset:
                return f"owner {header['owner']} moved the header from {former['offset']} to {offset}"
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
            if found.get(prefix + voter.encode()) != expected:
                return f"the record of {voter!r} is not the oracle's at the header's offset {offset}"
        return ""

    # --- at its end ----------------------------------------------------------------------------------

    def check_records(self, found: Mapping[str, bytes]) -> str:
        """Return what is wrong with the records at the end of the log."""
        expected = self.oracle.records()
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
