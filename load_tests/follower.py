"""The outside checker that goes along: it decides the log anew while it grows, and forgets what it has compared.

Like ``load_tests.checker`` it reads nothing but the raw topics by kafka-python, and decides by the oracle of the tests.
It knows no erasures: a trigger that was withdrawn would count as altered.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawValue
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition

from load_tests.checker import Findings, Found, compare_records, compare_totals, read_contents
from load_tests.deployment import Deployment
from tests.oracle import Output, Partition, Row

OUTPUTS: Final = ("triggers", "rejects")
_LOG_APPEND_TIME: Final = 1
_NICENESS: Final = 10
_POLL_MS: Final = 500
_ROWS_AT_ONCE: Final = 2000
_COMPARED: Final = Output(0, 0, None, None, (), 0)
"""Stands for what was compared: the oracle counts its outputs to number them."""


class Followed:
    """One partition: its log decided so far, and what its output topics had of it."""

    def __init__(self, oracle: Partition) -> None:
        """Begin where the log does."""
        self.oracle = oracle
        self.findings = Findings()
        self._next = dict.fromkeys(OUTPUTS, 1)
        self._early: dict[str, deque[Found]] = {output: deque() for output in OUTPUTS}
        """Read before the row that they follow from."""
        self._ticks: deque[int] = deque()
        """Offsets of the ticks behind the last row that is none."""
        self._forwards = 0
        """How many were let go."""

    def feed(self, row: Row) -> None:
        """Take one row of the log."""
        if row.value is not None and b"clock.tick" in row.value:
            self._ticks.append(row.offset)
        else:
            self._ticks.clear()
        self.oracle.feed(row)
        forwards = self.oracle.outputs["forwards"]
        forwards[self._forwards :] = [_COMPARED] * (len(forwards) - self._forwards)
        self._forwards = len(forwards)

    def take(self, output: str, found: Found) -> None:
        """Take one record of an output topic."""
        self._early[output].append(found)

    def compare(self) -> None:
        """Compare what stands in the output topics with what was decided, as far as both go."""
        for output, early in self._early.items():
            expected = self.oracle.outputs[output]
            while early and (early[0].sequence or 0) <= len(expected):
                self._compare(output, expected, early.popleft())

    def _compare(self, output: str, expected: list[Output], found: Found) -> None:
        number, due = found.sequence or 0, self._next[output]
        where = f"offset {found.offset} of {output}[{self.oracle.partition}], sequence {found.sequence}"
        if number < 1:
            self.findings.note(f"{output}_unexpected", f"{where}, expected {due}")
        elif number < due:
            self.findings.note(f"{output}_doubled", f"{where}, after {due - 1}")
        else:
            if number > due:
                self.findings.note(f"{output}_missing", f"{where}, expected {due}", number - due)
            wanted = expected[number - 1]
            if (found.key, found.value or b"", found.headers) != (wanted.key, wanted.value or b"", wanted.headers):
                self.findings.note(f"{output}_altered", f"{where}: {found.value!r}, expected {wanted.value!r}")
            expected[due - 1 : number] = [_COMPARED] * (number - due + 1)
            self._next[output] = number + 1
            self.findings.compared[output] += 1

    def finish(self, deployment: Deployment) -> Findings:
        """Compare the end: nothing is missing, and Redis holds each record as it was decided."""
        self.compare()
        for output, early in self._early.items():
            missing = len(self.oracle.outputs[output]) - self._next[output] + 1
            if missing:
                self.findings.note(f"{output}_missing", f"from sequence {self._next[output]} on", missing)
            for found in early:
                self.findings.note(f"{output}_unexpected", f"offset {found.offset}, sequence {found.sequence}")
        held = deployment.held(self.oracle.partition)
        offset = int(held.header["offset"])
        left = [tick for tick in self._ticks if tick >= offset]
        rows = self.oracle.offset - offset
        if rows > 0 and not left:
            self.findings.note("events_lost", f"the header stands at {offset}, the log ends at {self.oracle.offset}")
        compare_records(self.oracle.records(), held.records, self.findings)
        totals = {**self.oracle.totals, "rows": self.oracle.totals["rows"] - len(left)}
        compare_totals(totals, held.header["totals"], self.findings)
        self.findings.compared["rows"] += totals["rows"]
        self.findings.compared["folded"] += totals["folded"]
        return self.findings


class _Reader:
    """Everything of some partitions of some topics, from their beginning, each record once."""

    def __init__(self, deployment: Deployment, kinds: Sequence[str], numbers: Sequence[int], isolation: str) -> None:
        where = [TopicPartition(deployment.topic(kind), number) for kind in kinds for number in numbers]
        # At an offset that retention has passed it must end, not go on elsewhere.
        self._consumer = KafkaConsumer(
            bootstrap_servers=deployment.bootstrap,
            isolation_level=isolation,
            enable_auto_commit=False,
            auto_offset_reset="none",
        )
        self._consumer.assign(where)
        for one in where:
            self._consumer.seek(one, 0)
        self._where = where

    def poll(self, timeout_ms: int) -> list[tuple[str, int, Any]]:
        """Return (kind of topic, partition, record) of what came."""
        polled = self._consumer.poll(timeout_ms=timeout_ms, max_records=_ROWS_AT_ONCE)
        return [(tp.topic.rpartition(".")[2], tp.partition, record) for tp, got in polled.items() for record in got]

    def is_at_end(self) -> bool:
        ends = self._consumer.end_offsets(self._where)
        return all(self._consumer.position(one) >= end for one, end in ends.items())

    def close(self) -> None:
        self._consumer.close()


def _follow(deployment: Deployment, numbers: Sequence[int], stop: Any, rows: Any, result: Connection) -> None:
    os.nice(_NICENESS)
    contents = read_contents(deployment.bootstrap, deployment.topic("config"))
    topic = deployment.topic("events")
    parts = {n: Followed(Partition(n, deployment.partitions, contents, topic)) for n in numbers}
    log = _Reader(deployment, ("events",), numbers, "read_committed")
    outputs = _Reader(deployment, OUTPUTS, numbers, "read_uncommitted")
    while True:
        is_last = bool(stop.value) and log.is_at_end() and outputs.is_at_end()
        for _, number, record in log.poll(_POLL_MS):
            time_ms = record.timestamp if record.timestamp_type == _LOG_APPEND_TIME else None
            parts[number].feed(Row(record.offset, time_ms, record.key, record.value, tuple(record.headers)))
            rows.value += 1
        for kind, number, record in outputs.poll(0):
            parts[number].take(kind, Found(record.offset, record.key, record.value, tuple(record.headers)))
        for part in parts.values():
            part.compare()
        if is_last:
            break
    findings = Findings()
    for part in parts.values():
        findings.add(part.finish(deployment))
    log.close()
    outputs.close()
    result.send(findings)


class Follower:
    """Follows some partitions of a deployment in a process of its own, from ``start`` to ``finish``."""

    def __init__(self, deployment: Deployment, numbers: Sequence[int]) -> None:
        """Nothing runs yet; topics must exist and contents be written before it starts."""
        self._stop, self._rows = RawValue("b", 0), RawValue("q", 0)
        context = multiprocessing.get_context("spawn")
        self._result, sender = context.Pipe(duplex=False)
        arguments = (deployment, list(numbers), self._stop, self._rows, sender)
        self._process = context.Process(target=_follow, args=arguments, daemon=True)
        self._sender = sender

    def start(self) -> None:
        """Start to follow."""
        self._process.start()
        self._sender.close()

    @property
    def rows(self) -> int:
        """How many log rows were decided anew so far."""
        return int(self._rows.value)

    def check(self) -> None:
        """Raise RuntimeError if it has ended by itself."""
        if self._process.exitcode is not None:
            message = f"the checker ended by itself with status {self._process.exitcode}, after {self.rows} rows"
            raise RuntimeError(message)

    def finish(self, seconds: float) -> Findings:
        """Return what was found, once all that stands in the topics is compared; the workers must have ended.

        However far behind it is, it may catch up; raises TimeoutError where it decides no row for ``seconds``.
        """
        self._stop.value = 1
        rows, end = -1, 0.0
        while not self._result.poll(1.0):
            self.check()
            if self.rows > rows:
                rows, end = self.rows, time.monotonic() + seconds
            elif time.monotonic() > end:
                message = f"the checker has decided nothing for {seconds:g} s, after {rows} rows, and is not at the end"
                raise TimeoutError(message)
        findings: Findings = self._result.recv()
        self._process.join(10)
        return findings
