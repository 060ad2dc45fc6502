"""The engagement agent: fetched batches to partitions, and partitions to whoever the group assigns them."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from aiokafka.errors import KafkaError
from faust.types import TP

from stream.agents.partition import Partition
from stream.columns import Columns
from stream.errors import GroundswellError
from stream.metrics import Metrics
from stream.pipeline import Outcome
from stream.records import Commit, OutboxRow

logger = logging.getLogger(__name__)

EX_STATE = 1
EX_DEFECT = 70


class Engagement:
    """All partitions of the events topic that this worker holds.

    ``positions`` and ``revoked`` are what the transport asks at a rebalance; ``accept`` takes what it fetched.
    """

    def __init__(
        self,
        topic: str,
        new_partition: Callable[[int, Engagement], Partition],
        metrics: Metrics,
        *,
        suspend_seconds: float,
        stalled_seconds: float,
    ) -> None:
        """Nothing is claimed yet. ``suspend_seconds`` bounds what a rebalance waits for the commit in flight."""
        self._topic = topic
        self._new_partition = new_partition
        self._metrics = metrics
        self._suspend_seconds = suspend_seconds
        self._stalled_seconds = stalled_seconds
        self.partitions: dict[int, Partition] = {}
        self._joined = False
        self._rejoining_since: float | None = None
        self._moved: dict[int, tuple[int | None, float]] = {}
        """By partition, the committed offset (None: not claimed yet) and since when it stands there (monotonic)."""
        self._unsent: dict[int, deque[tuple[int, int, str]]] = {}
        """By partition, the last trigger of each commit that has any, its oldest append time (ms), and its owner."""
        self._standing: dict[tuple[int, str], tuple[int, float]] = {}
        """By partition and output with a backlog: what is sent, and since when it stands there (monotonic)."""

    # --- rebalances ------------------------------------------------------------------------------------

    async def positions(self, assigned: frozenset[TP]) -> Mapping[TP, int]:
        """Claim the assigned partitions (or go on with memory that still fits) and say where to read each from."""
        numbers = sorted(tp.partition for tp in assigned if tp.topic == self._topic)
        await asyncio.gather(*(self._let_go(number) for number in self.partitions if number not in numbers))
        for number in numbers:
            if number not in self.partitions:
                self.partitions[number] = self._new_partition(number, self)
        now = time.monotonic()
        self._moved = dict.fromkeys(numbers, (None, now))
        offsets = await asyncio.gather(*(self.partitions[number].open() for number in numbers))
        now = time.monotonic()
        self._moved = {number: (offset, now) for number, offset in zip(numbers, offsets, strict=True)}
        self._metrics.claims.inc(len(numbers))
        self._joined, self._rejoining_since = True, None
        return {TP(self._topic, number): offset for number, offset in zip(numbers, offsets, strict=True)}

    async def _let_go(self, number: int) -> None:
        # Known until it is closed: cancelled half-way, this is done again at the next assignment.
        await self.partitions[number].close()
        self.partitions.pop(number, None)
        self._unsent.pop(number, None)
        self._moved.pop(number, None)
        self._metrics.forget_partition(number)

    async def revoked(self, revoked: frozenset[TP]) -> None:
        """Finish the commits in flight, within the bound, before the group gives the partitions to others."""
        self._rejoining_since = time.monotonic()
        numbers = [tp.partition for tp in revoked if tp.topic == self._topic and tp.partition in self.partitions]
        await asyncio.gather(*(self.partitions[number].suspend(self._suspend_seconds) for number in numbers))

    async def stop(self) -> None:
        """Finish the batch, commit, and let go of every partition."""
        partitions = list(self.partitions.values())
        await asyncio.gather(*(partition.suspend(self._suspend_seconds) for partition in partitions))
        await asyncio.gather(*(partition.close() for partition in partitions))

    def accept(self, columns: Columns) -> None:
        """Take one fetched batch to its partition; one that was given back meanwhile is dropped."""
        partition = self.partitions.get(columns.partition)
        if partition is not None:
            partition.feed(columns)

    # --- what an operator sees -------------------------------------------------------------------------

    def observe_batch(self, number: int, outcome: Outcome, seconds: float) -> None:
        """Count one batch."""
        metrics = self._metrics
        for counter, count in (
            (metrics.events, outcome.rows),
            (metrics.folded, outcome.folded),
            (metrics.duplicates, outcome.duplicates),
            (metrics.suppressed, outcome.suppressed),
            (metrics.forwards, outcome.forwards),
        ):
            # Each addition takes a lock, and most are of nothing.
            if count:
                counter.inc(count)
        metrics.batch_events.observe(outcome.rows)
        metrics.batch_seconds.observe(seconds)
        for reason, count in outcome.rejects.items():
            metrics.rejects.labels(reason).inc(count)
        for name, count in outcome.unknown.items():
            metrics.unknown.labels(name).inc(count)
        for campaign, count in outcome.triggers.items():
            metrics.triggers.labels(campaign).inc(count)
        for (model, role), scores in outcome.scores.items():
            metrics.observe_scores(model, scores, role)
        metrics.observe_drift(outcome.watch, outcome.samples)
        state = self.partitions[number].state if number in self.partitions else None
        if state is not None:
            metrics.voters.labels(str(number)).set(len(state.table))

    def observe_commit(self, number: int, commit: Commit, seconds: float, oldest_ms: int | None) -> None:
        """Count one commit, and remember when the triggers in it were appended as events."""
        metrics = self._metrics
        metrics.commit_seconds.observe(seconds)
        metrics.commit_records.inc(len(commit.records))
        if oldest_ms is not None:
            metrics.log_to_commit_seconds.observe(max(time.time() - oldest_ms / 1000, 0.0))
        if number not in self.partitions:
            return
        self._moved[number] = (commit.header.offset, time.monotonic())
        triggers = commit.outbox.get("triggers")
        if triggers and oldest_ms is not None:
            unsent = self._unsent.setdefault(number, deque())
            unsent.append((triggers[-1].sequence, oldest_ms, commit.header.owner))

    def observe_sent(self, output: str, number: int, rows: Sequence[OutboxRow]) -> None:
        """Count rows that Kafka has acknowledged."""
        self._metrics.relay_sent.labels(output).inc(len(rows))
        if output == "triggers":
            self._observe_triggers(number, rows[-1].sequence)

    def _observe_triggers(self, number: int, sent_through: int) -> None:
        unsent = self._unsent.get(number)
        if not unsent:
            return
        oldest_ms, present = None, self.partitions[number].owner
        # What was committed before another claim may have been sent in between, by another worker, or never will be.
        while unsent and (unsent[0][0] <= sent_through or unsent[0][2] != present):
            _, appended_ms, owner = unsent.popleft()
            if oldest_ms is None and owner == present:
                oldest_ms = appended_ms
        if oldest_ms is not None:
            self._metrics.log_to_trigger_seconds.observe(max(time.time() - oldest_ms / 1000, 0.0))

    def complaints(self, log_ends: Mapping[int, int]) -> list[str]:
        """Return a line for each reason why the worker is not ready, and keep what lags or waits up to date.

        ``log_ends`` is, by partition, the offset after the last one that may be read. Not ready is a worker that the
        group has assigned nothing yet; one whose group comes to no assignment, or whose partition is not claimed, lags
        without a commit, or has committed outputs and sends none, for too long. A worker that the group leaves without
        a partition, since there are fewer than workers, is ready: it stands by.
        """
        now = time.monotonic()
        stalls = self._observe_lags(log_ends, now) + self._observe_relays(now)
        if not self._joined:
            return ["the group has assigned nothing yet, or its partitions are being claimed"]
        lines = []
        if self._rejoining_since is not None and now - self._rejoining_since > self._stalled_seconds:
            lines.append(f"the group has not assigned partitions for {now - self._rejoining_since:.0f} s")
        return lines + stalls

    def _observe_lags(self, log_ends: Mapping[int, int], now: float) -> list[str]:
        """Show where each partition stands; return a line for each that has stood there for too long."""
        lines = []
        for number, partition in sorted(self.partitions.items()):
            label = str(number)
            offset, since = self._moved.get(number, (None, now))
            if offset is None:
                stall = f"is not claimed after {now - since:.0f} s"
            else:
                # An end that was asked for before a rebalance may be of a partition that is gone, or not yet there.
                end = log_ends.get(number, offset)
                processed = partition.state.header.offset if partition.state is not None else offset
                self._metrics.lag.labels(label).set(max(end - processed, 0))
                if end <= offset:
                    since = now
                    self._moved[number] = (offset, now)
                stall = f"stands at {offset} of {end} for {now - since:.0f} s"
            self._metrics.standstill_seconds.labels(label).set(now - since)
            if now - since > self._stalled_seconds:
                lines.append(f"partition {number} {stall}")
        return lines

    def _observe_relays(self, now: float) -> list[str]:
        """Show each relay's backlog, whether Kafka takes rows or not; return a line for each that stands too long."""
        lines = []
        standing = {}
        for number, partition in sorted(self.partitions.items()):
            for output, relay in sorted(partition.relays.items()):
                sent, backlog = relay.sent_through, relay.backlog
                if sent is None:
                    continue
                before, since = self._standing.get((number, output), (None, now))
                since = since if backlog and before == sent else now
                self._metrics.relay_backlog.labels(output, str(number)).set(backlog)
                self._metrics.relay_standstill_seconds.labels(output, str(number)).set(now - since)
                if backlog:
                    standing[number, output] = (sent, since)
                if now - since > self._stalled_seconds:
                    through = f"through {sent} of {sent + backlog} and no more for {now - since:.0f} s"
                    lines.append(f"partition {number} has sent its {output} {through}")
                if output == "triggers":
                    # A write whose answer was lost is known to be sent without a word of it.
                    self._observe_triggers(number, sent)
        self._standing = standing
        return lines


_QUOTABLE = (GroundswellError, KafkaError, OSError)
"""Errors whose texts name no voter; that of any other may quote what was being worked on."""


def end_process(error: BaseException) -> None:
    """End the worker at once, non-zero, with one clear line: the next start begins from Redis.

    An exception that leaves a Faust agent would make Faust skip the batch and go on; so nothing here raises
    into it.
    """
    if isinstance(error, GroundswellError):
        logger.critical("stopped: %s", error)
        status = EX_STATE
    else:
        logger.critical("stopped by a defect: %s", _anatomy(error))
        status = EX_DEFECT
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(status)


def _anatomy(error: BaseException) -> str:
    """Return the kinds of an error and of those that led to it, with their frames, and texts that name no voter."""
    lines = []
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        text = f": {link}" if isinstance(link, _QUOTABLE) else ""
        lines.append(f"{type(link).__name__}{text}\n{''.join(traceback.format_tb(link.__traceback__))}")
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "raised after ".join(lines).rstrip()
