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

import numpy as np
from faust.types import TP

from stream.agents.partition import Partition
from stream.errors import GroundswellError
from stream.metrics import SCORE_BOUNDS, Metrics
from stream.pipeline import Outcome
from stream.records import Columns, Header, OutboxRow

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
        self._moved: dict[int, tuple[int, float]] = {}
        self._unsent: dict[int, deque[tuple[int, int]]] = {}
        """By partition, the sequences that commits reached, each with its oldest append time (ms)."""

    # --- rebalances ------------------------------------------------------------------------------------

    async def positions(self, assigned: frozenset[TP]) -> Mapping[TP, int]:
        """Claim the assigned partitions (or go on with memory that still fits) and say where to read each from."""
        numbers = sorted(tp.partition for tp in assigned if tp.topic == self._topic)
        for number in [number for number in self.partitions if number not in numbers]:
            await self.partitions.pop(number).close()
            self._unsent.pop(number, None)
            self._metrics.forget_partition(number)
        for number in numbers:
            if number not in self.partitions:
                self.partitions[number] = self._new_partition(number, self)
        offsets = await asyncio.gather(*(self.partitions[number].open() for number in numbers))
        now = time.monotonic()
        self._moved = {number: (offset, now) for number, offset in zip(numbers, offsets, strict=True)}
        self._metrics.claims.inc(len(numbers))
        return {TP(self._topic, number): offset for number, offset in zip(numbers, offsets, strict=True)}

    async def revoked(self, revoked: frozenset[TP]) -> None:
        """Finish the commits in flight, within the bound, before the group gives the partitions to others."""
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
        metrics.events.inc(outcome.rows)
        metrics.folded.inc(outcome.folded)
        metrics.duplicates.inc(outcome.duplicates)
        metrics.suppressed.inc(outcome.suppressed)
        metrics.forwards.inc(outcome.forwards)
        metrics.batch_events.observe(outcome.rows)
        metrics.batch_seconds.observe(seconds)
        for reason, count in outcome.rejects.items():
            metrics.rejects.labels(reason).inc(count)
        for campaign, count in outcome.triggers.items():
            metrics.triggers.labels(campaign).inc(count)
        for model, scores in outcome.scores.items():
            bucket = np.searchsorted(SCORE_BOUNDS, scores, side="left")
            counts = np.bincount(bucket, minlength=len(SCORE_BOUNDS) + 1)
            metrics.observe_scores(model, counts.tolist(), float(scores.sum()))
        state = self.partitions[number].state if number in self.partitions else None
        if state is not None:
            self._moved[number] = (state.header.offset, time.monotonic())
            metrics.voters.labels(str(number)).set(len(state.table))

    def observe_commit(self, number: int, header: Header, records: int, seconds: float, oldest_ms: int | None) -> None:
        """Count one commit, and remember when the triggers in it were appended as events."""
        metrics = self._metrics
        metrics.commit_seconds.observe(seconds)
        metrics.commit_records.inc(records)
        if oldest_ms is None:
            return
        metrics.log_to_commit_seconds.observe(max(time.time() - oldest_ms / 1000, 0.0))
        unsent = self._unsent.setdefault(number, deque())
        sequence = header.sequences["triggers"]
        if not unsent or unsent[-1][0] < sequence:
            unsent.append((sequence, oldest_ms))

    def observe_sent(self, output: str, number: int, rows: Sequence[OutboxRow], backlog: int) -> None:
        """Count rows that Kafka has acknowledged; ``backlog`` is how many committed ones it has not."""
        metrics = self._metrics
        metrics.relay_sent.labels(output).inc(len(rows))
        metrics.relay_backlog.labels(output, str(number)).set(backlog)
        unsent = self._unsent.get(number)
        if output != "triggers" or not unsent:
            return
        oldest_ms = None
        while unsent and unsent[0][0] <= rows[-1].sequence:
            oldest_ms = oldest_ms or unsent[0][1]
            unsent.popleft()
        if oldest_ms is not None:
            metrics.log_to_trigger_seconds.observe(max(time.time() - oldest_ms / 1000, 0.0))

    def stalled(self, log_ends: Mapping[int, int]) -> list[str]:
        """Return a line for each partition that lags and has made no progress for too long.

        ``log_ends`` is, by partition, the offset after the last one that may be read.
        """
        now = time.monotonic()
        lines = []
        for number, end in sorted(log_ends.items()):
            offset, since = self._moved.get(number, (0, now))
            self._metrics.lag.labels(str(number)).set(max(end - offset, 0))
            if end <= offset:
                self._moved[number] = (offset, now)
            elif now - since > self._stalled_seconds:
                lines.append(f"partition {number} stands at {offset} of {end} for {now - since:.0f} s")
        return lines


def end_process(error: BaseException) -> None:
    """End the worker at once, non-zero, with one clear line: the next start begins from Redis.

    An exception that leaves a Faust agent would make Faust skip the batch and go on; so nothing here raises
    into it.
    """
    if isinstance(error, GroundswellError):
        logger.critical("stopped: %s", error)
        status = EX_STATE
    else:
        logger.critical("stopped by a defect: %r", error)
        traceback.print_exception(error)
        status = EX_DEFECT
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(status)
