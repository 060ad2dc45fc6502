"""The outside checker: reads nothing but the raw topics, decides everything anew, and compares.

It shares no code with the package: topics are read by kafka-python, decided by the oracle of the tests, and compared
byte for byte. Records in Redis are handed to it as bytes by whoever can read them.

``python -m load_tests.checker --bootstrap HOST:PORT --namespace NAME --partitions N``
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition

from tests.oracle import Key, Output, Partition, Row
from tests.oracle_events import read_event
from tests.oracle_record import COUNTS, LAYOUT

KINDS: Final = (
    "events_lost",
    "events_applied_twice",
    "records_altered",
    *(f"{output}_{kind}" for output in ("triggers", "rejects") for kind in ("missing", "doubled", "out_of_sequence")),
    *(f"{output}_{kind}" for output in ("triggers", "rejects") for kind in ("altered", "unexpected")),
)
"""Everything that can be wrong; each is counted, and all must be zero."""
_EXAMPLES: Final = 5
_LOG_APPEND_TIME: Final = 1
_PATIENCE_MS: Final = 30_000


@dataclass
class Findings:
    """What was compared, and what was wrong with it."""

    wrong: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    compared: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("rows", "folded", "triggers", "rejects", "tombstones", "records"), 0)
    )
    examples: list[str] = field(default_factory=list)
    """The first few things that were wrong, in words."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing at all was wrong."""
        return not any(self.wrong.values())

    def note(self, kind: str, what: str, count: int = 1) -> None:
        """Count something that is wrong."""
        self.wrong[kind] += count
        if sum(kind in example for example in self.examples) < _EXAMPLES:
            self.examples.append(f"{kind}: {what}")

    def add(self, other: Findings) -> None:
        """Take in what was found elsewhere."""
        for mine, theirs in ((self.wrong, other.wrong), (self.compared, other.compared)):
            for name, count in theirs.items():
                mine[name] += count
        self.examples += other.examples


@dataclass(frozen=True, slots=True)
class Found:
    """One record of an output topic as a subscriber reads it."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    @property
    def sequence(self) -> int | None:
        """The number in its ``groundswell-sequence`` header; None where it has none or more than one."""
        numbers = [value for name, value in self.headers if name == "groundswell-sequence"]
        return int(numbers[0]) if len(numbers) == 1 and numbers[0].isdigit() else None

    @property
    def is_tombstone(self) -> bool:
        """Whether it stands for a trigger withdrawn before it was sent."""
        return ("groundswell-tombstone", b"1") in self.headers and not self.value and self.key is None


# --- deciding anew ------------------------------------------------------------------------------------------


def decide(partition: Partition, rows: Sequence[Row]) -> dict[str, int]:
    """Feed the log to the oracle; return, by voter, the offset of the last erasure that was in it."""
    erased: dict[str, int] = {}
    for row in rows:
        partition.feed(row)
        if row.value and b"privacy.erased" in row.value:
            event = read_event(row.value, partition.now)
            if not isinstance(event, str) and event.type == "privacy.erased":
                erased[event.voter] = row.offset
    return erased


class OutputComparison:
    """An output partition beside what had to be sent; it can go on where it ended, as both grow."""

    def __init__(self, name: str) -> None:
        """Nothing was found yet."""
        self.name = name
        self._seen: set[int] = set()
        self._highest = 0
        self._expected = 0

    def go_on(
        self, expected: Sequence[Output], found: Sequence[Found], erased: Mapping[str, int], findings: Findings
    ) -> None:
        """Compare what was ``found`` since the last time, in its order, with all that had to be sent so far."""
        name, seen = self.name, self._seen
        for record in found:
            sequence = record.sequence
            where = f"offset {record.offset} of {name}, sequence {sequence}"
            if sequence is None or not 1 <= sequence <= len(expected):
                findings.note(f"{name}_unexpected", f"{where}, expected 1 to {len(expected)}")
                continue
            if sequence in seen:
                findings.note(f"{name}_doubled", where)
                continue
            seen.add(sequence)
            if sequence < self._highest:
                findings.note(f"{name}_out_of_sequence", f"{where}, after {self._highest}")
            self._highest = max(self._highest, sequence)
            wanted = expected[sequence - 1]
            if record.is_tombstone and erased.get((wanted.key or b"").decode(), -1) > wanted.made_at:
                findings.compared["tombstones"] += 1
            elif (record.key, record.value or b"", record.headers) != (wanted.key, wanted.value or b"", wanted.headers):
                findings.note(f"{name}_altered", f"{where}: {record.value!r}, expected {wanted.value!r}")
        for sequence in sorted(set(range(self._expected + 1, len(expected) + 1)) - seen):
            made_at = expected[sequence - 1].made_at
            findings.note(f"{name}_missing", f"sequence {sequence}, of the row at offset {made_at}")
            seen.add(sequence)
        findings.compared[name] += len(expected) - self._expected
        self._expected = len(expected)


def compare_output(
    name: str, expected: Sequence[Output], found: Sequence[Found], erased: Mapping[str, int], findings: Findings
) -> None:
    """Compare all that stands in an output partition, in its order, with what had to be sent."""
    OutputComparison(name).go_on(expected, found, erased, findings)


def compare_records(expected: Mapping[str, bytes], found: Mapping[str, bytes], findings: Findings) -> None:
    """Compare every voter's record with the oracle's: what is behind was lost, what is beyond was applied twice."""
    for voter in expected.keys() | found.keys():
        mine, theirs = expected.get(voter), found.get(voter)
        if mine == theirs:
            continue
        if theirs is None:
            findings.note("events_lost", "a voter has no record")
        elif mine is None:
            findings.note("records_altered", "a voter has a record without an event")
        elif len(theirs) != LAYOUT.size:
            findings.note("records_altered", f"a record has {len(theirs)} bytes, expected {LAYOUT.size}")
        else:
            _compare_record(LAYOUT.unpack(mine), LAYOUT.unpack(theirs), findings)
    findings.compared["records"] += len(expected)


def _compare_record(mine: tuple[Any, ...], theirs: tuple[Any, ...], findings: Findings) -> None:
    # Field 5 is the last offset.
    counts, others = sum(mine[COUNTS]), sum(theirs[COUNTS])
    both = enumerate(zip(mine, theirs, strict=True))
    differs = [(place, ours, found) for place, (ours, found) in both if ours != found]
    what = f"a record's last offset is {theirs[5]}, expected {mine[5]}; its counts are {others}, expected {counts}; "
    what += f"by place in LAYOUT, expected and found: {differs[:3]}"
    if theirs[5] < mine[5] or others < counts:
        findings.note("events_lost", what)
    elif theirs[5] > mine[5] or others > counts:
        findings.note("events_applied_twice", what)
    else:
        findings.note("records_altered", what)


def compare_totals(expected: Mapping[str, int], found: Mapping[str, int], findings: Findings) -> None:
    """Compare the header's totals: rows, folded, duplicates, suppressed, rejected."""
    for name, count in expected.items():
        difference = found.get(name, 0) - count
        if difference:
            kind = "events_lost" if difference < 0 else "events_applied_twice"
            findings.note(kind, f"the header counts {found.get(name)} {name}, expected {count}", abs(difference))


# --- reading the raw topics ---------------------------------------------------------------------------------


def read_partition(
    bootstrap: str, topic: str, number: int, *, start: int | None = None, committed: bool = False
) -> list[Any]:
    """Return every record of a partition, from ``start`` (its first offset where None) to its end as of now.

    At kafka-python's defaults, as any subscriber; ``committed`` leaves out what a transaction took back.
    """
    isolation = {"isolation_level": "read_committed"} if committed else {}
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, **isolation)
    try:
        where = TopicPartition(topic, number)
        consumer.assign([where])
        if start is None:
            consumer.seek_to_beginning(where)
        else:
            consumer.seek(where, start)
        end = consumer.end_offsets([where])[where]
        records: list[Any] = []
        waited_ms = 0
        while (before := consumer.position(where)) < end:
            records += consumer.poll(timeout_ms=500, max_records=10_000).get(where, [])
            waited_ms = 0 if consumer.position(where) > before else waited_ms + 500
            if waited_ms > _PATIENCE_MS:
                message = f"{topic}[{number}] gives nothing after offset {before}, though it ends at {end}"
                raise TimeoutError(message)
        return records
    finally:
        consumer.close()


def read_contents(bootstrap: str, topic: str) -> dict[Key, bytes]:
    """Return the configuration topic's contents by kind, name and hash."""
    contents: dict[Key, bytes] = {}
    for record in read_partition(bootstrap, topic, 0, committed=True):
        kind, name, sha256 = record.key.decode().split("/")
        contents[kind, name, sha256] = record.value
    return contents


def read_rows(bootstrap: str, topic: str, number: int, start: int | None = None) -> list[Row]:
    """Return the log of a partition of the events topic, from ``start`` on."""
    return [
        Row(
            record.offset,
            record.timestamp if record.timestamp_type == _LOG_APPEND_TIME else None,
            record.key,
            record.value,
            tuple(record.headers),
        )
        for record in read_partition(bootstrap, topic, number, start=start, committed=True)
    ]


@dataclass(frozen=True)
class Held:
    """What a partition has in the store: the header's fields, and the records' bytes."""

    header: Mapping[str, Any]
    records: Mapping[str, bytes]


class PartitionCheck:
    """One partition's log decided anew and compared; each ``go_on`` takes up what came since the last one."""

    def __init__(self, bootstrap: str, namespace: str, number: int, count: int) -> None:
        """Nothing is read yet."""
        self._bootstrap = bootstrap
        self._prefix = f"{namespace}.engagement." if namespace else "engagement."
        self._number = number
        self._contents: dict[Key, bytes] = {}
        self._oracle = Partition(number, count, self._contents, f"{self._prefix}events")
        self._erased: dict[str, int] = {}
        self._places: dict[str, int] = {}
        """By topic, the offset after the last record read."""
        self._outputs = [OutputComparison(name) for name in ("triggers", "rejects")]

    def go_on(self, held: Held | None = None) -> Findings:
        """Decide what came since, and compare; what the store holds is compared at its own offset.

        With ``held``, rows after that offset wait for the next time, and none but ticks may stand there.
        """
        findings, oracle, events = Findings(), self._oracle, f"{self._prefix}events"
        self._contents.update(read_contents(self._bootstrap, f"{self._prefix}config"))
        rows = read_rows(self._bootstrap, events, self._number, self._places.get(events))
        if held is not None:
            offset = int(held.header["offset"])
            left = [row for row in rows if row.offset >= offset and b"clock.tick" not in (row.value or b"")]
            if left:
                what = f"partition {self._number} stands at {offset}, and the log goes on from {left[0].offset}"
                findings.note("events_lost", what, len(left))
            rows = [row for row in rows if row.offset < offset]
        folded = oracle.totals["folded"]
        self._erased |= decide(oracle, rows)
        findings.compared["rows"] += len(rows)
        findings.compared["folded"] += oracle.totals["folded"] - folded
        self._note_place(events, rows)
        if held is not None:
            compare_records(oracle.records(), held.records, findings)
            compare_totals(oracle.totals, held.header["totals"], findings)
        for output in self._outputs:
            topic = self._prefix + output.name
            records = read_partition(self._bootstrap, topic, self._number, start=self._places.get(topic))
            self._note_place(topic, records)
            found = [Found(record.offset, record.key, record.value, tuple(record.headers)) for record in records]
            output.go_on(oracle.outputs[output.name], found, self._erased, findings)
        return findings

    def _note_place(self, topic: str, records: Sequence[Any]) -> None:
        if records:
            self._places[topic] = records[-1].offset + 1


class Checker:
    """Checks all partitions of a deployment, two at a time, each in a process of its own, as often as it is told to."""

    def __init__(self, bootstrap: str, namespace: str, count: int) -> None:
        """Start the processes; nothing is read yet."""
        self._count = count
        context = multiprocessing.get_context("spawn")
        self._halves = [
            (numbers, ProcessPoolExecutor(1, context, _begin, (bootstrap, namespace, numbers, count)))
            for numbers in (range(0, count, 2), range(1, count, 2))
            if numbers
        ]

    def go_on(self, held: Mapping[int, Held] | None = None) -> Findings:
        """Check what came since the last time."""
        findings = Findings()
        parts = [
            pool.submit(_go_on, number, held[number] if held else None)
            for numbers, pool in self._halves
            for number in numbers
        ]
        for part in parts:
            findings.add(part.result())
        return findings

    def close(self) -> None:
        """End the processes."""
        for _, pool in self._halves:
            pool.shutdown(cancel_futures=True)


_checks: dict[int, PartitionCheck] = {}
"""In a checker's process, its partitions."""


def _begin(bootstrap: str, namespace: str, numbers: Sequence[int], count: int) -> None:
    for number in numbers:
        _checks[number] = PartitionCheck(bootstrap, namespace, number, count)


def _go_on(number: int, held: Held | None) -> Findings:
    return _checks[number].go_on(held)


def check(bootstrap: str, namespace: str, count: int, held: Mapping[int, Held] | None = None) -> Findings:
    """Check all partitions once."""
    checker = Checker(bootstrap, namespace, count)
    try:
        return checker.go_on(held)
    finally:
        checker.close()


def report(findings: Findings) -> str:
    """Return what was compared, and each count, in lines."""
    lines = ["compared: " + ", ".join(f"{count} {name}" for name, count in findings.compared.items())]
    lines += [f"  {name.replace('_', ' '):28} {count}" for name, count in findings.wrong.items()]
    return "\n".join([*lines, *(f"  ! {example}" for example in findings.examples)])


def main() -> int:
    """Check a deployment's topics; the exit status is 0 only if nothing is wrong."""
    arguments = argparse.ArgumentParser(description="Recompute a deployment from its raw topics and compare.")
    arguments.add_argument("--bootstrap", default="127.0.0.1:9092")
    arguments.add_argument("--namespace", default="")
    arguments.add_argument("--partitions", type=int, default=8)
    given = arguments.parse_args()
    findings = check(given.bootstrap, given.namespace, given.partitions)
    sys.stdout.write(report(findings) + "\n")
    return 0 if findings.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
