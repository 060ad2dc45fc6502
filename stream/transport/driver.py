"""Faust transport ``batches://``: one Faust event for all that one fetch gave, batch by batch of a partition."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, cast

from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka as faust_driver
from faust.types import TP, ConsumerMessage, Message
from mode import ServiceT

from stream.columns import Columns
from stream.errors import ConfigurationError
from stream.transport.hooks import hooks_of
from stream.transport.thread import ConsumerThread

logger = logging.getLogger(__name__)

_FETCH_SECONDS = 1.0


class Consumer(faust_driver.Consumer):
    """Faust's consumer, except in where it starts, what it hands over, and that it never commits."""

    _thread: ConsumerThread

    def __init__(self, *args: Any, **options: Any) -> None:
        """Faust makes one for each worker."""
        super().__init__(*args, **options)
        self.hooks = hooks_of(self.app)
        self._claim: asyncio.Task[None] | None = None

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # --- for the application ---------------------------------------------------------------------------

    async def reseek(self, offsets: Mapping[TP, int]) -> dict[TP, int]:
        """Read each partition from its offset on; return the new epoch of each that is still assigned.

        Batches fetched before, wherever they are, carry an older epoch and are to be dropped.
        """
        return await self._thread.reseek(offsets)

    def epoch(self, tp: TP) -> int:
        """Return the epoch whose batches count; those of any other are to be dropped."""
        return self._thread.places.epoch(tp)

    def release(self, tp: TP, epoch: int) -> None:
        """Give back the place in flight that a batch of this epoch took; from any thread."""
        self._thread.places.release(tp, epoch)

    def is_assigned(self, tp: TP) -> bool:
        """Return whether the group assigns the partition to this worker, as far as it knows."""
        return tp in self.assignment()

    async def log_ranges(self, tps: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """Ask the broker, by partition, for the first offset and the one after the last that may be read."""
        return await self._thread.ranges(frozenset(tps))

    async def log_ends(self) -> dict[TP, int]:
        """Return, by assigned partition, the offset that one who has processed everything stands at.

        It lies before the log's end where only transaction markers follow; so a partition below it lags.
        """
        ends = {}
        for tp, (_, end) in (await self.log_ranges(self.assignment())).items():
            fetched = self._thread.fetched_through(tp)
            handed_over = self._thread.places.next(tp) if self._thread.places.epoch(tp) else end
            ends[tp] = min(end, handed_over) if fetched is not None and fetched >= end else end
        return ends

    async def publish_offsets(self, offsets: Mapping[TP, int]) -> None:
        """Write the group's offsets, for dashboards only: nothing ever starts from them. A failure is logged."""
        try:
            await self._thread.publish(offsets)
        except Exception as error:
            logger.warning("the group's offsets could not be written: %r", error)

    # --- assignment ------------------------------------------------------------------------------------

    async def perform_seek(self) -> None:
        """Begin to claim the assigned partitions: the last that Faust does on every assignment.

        The claim goes on by itself, since Faust gives up waiting for it, silently, after a while; and nothing is
        fetched before it is done.
        """
        await self._end_claim()
        self._claim = asyncio.create_task(self._claim_and_seek(frozenset(self.assignment())), name="claim")

    async def _claim_and_seek(self, assigned: frozenset[TP]) -> None:
        try:
            offsets = await self.hooks.positions(assigned)
            missing = sorted(assigned - offsets.keys())
            if missing:
                message = f"batch_hooks.positions gave no offset for {missing}, which are assigned"
                raise ConfigurationError(message)
            await self.reseek(offsets)
        except Exception as error:
            self.hooks.failed(error)

    async def _end_claim(self) -> None:
        if self._claim is not None:
            self._claim.cancel()
            await asyncio.wait((self._claim,))
            self._claim = None

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Claim also where nothing is assigned: what was held before is to be let go. Faust seeks only otherwise."""
        await super().on_partitions_assigned(assigned, generation_id)
        if not assigned:
            await self.perform_seek()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stop the flow, then wait, bounded, for what is in flight; only then the group goes on."""
        await super().on_partitions_revoked(revoked)
        await self._end_claim()
        if not revoked:
            return
        try:
            await asyncio.wait_for(self.hooks.revoked(frozenset(revoked)), self.hooks.revoke_seconds)
        except TimeoutError:
            logger.warning(
                "gave up %d partitions with work in flight after %s s", len(revoked), self.hooks.revoke_seconds
            )
        except Exception as error:
            self.hooks.failed(error)

    def stop_flow(self) -> None:
        """Stop handing over batches, without waiting for a fetch under way."""
        super().stop_flow()
        self._thread.wake()

    def close(self) -> None:
        """Close nothing: Faust calls this where its stop meets a rebalance, and would close from the wrong loop.

        The thread closes what it opened.
        """

    async def on_stop(self) -> None:
        """Leave a claim under way undone."""
        await self._end_claim()
        await super().on_stop()

    # --- fetching --------------------------------------------------------------------------------------

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        """Hand over what is fetched until Faust stops the fetching.

        Faust's own makes a dozen tasks for each message, and drops all that lies below the highest offset read: a seek
        back would lose it.
        """
        try:
            while not (self.should_stop or fetcher.should_stop):
                async for _, message in self.getmany(timeout=_FETCH_SECONDS):
                    await self.callback(message)
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.app.should_stop:
                raise
        except Exception as error:
            self.hooks.failed(error)
            raise

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        """Hand over what is fetched. What was fetched before a seek, or while the flow stops, is dropped.

        All in one message, under its first batch's partition: a Faust stream takes one message in each turn of the
        loop, and a turn may take some ms.
        """
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        fetched: Mapping[TP, list[Columns]] = await self._getmany(None, timeout)
        if not self.flow_active:
            return
        batches = [(tp, columns) for tp, some in fetched.items() for columns in some if columns.epoch == self.epoch(tp)]
        if batches:
            tp = batches[0][0]
            yield tp, self._to_message(tp, [columns for _, columns in batches])

    def _to_message(self, tp: TP, record: list[Columns]) -> ConsumerMessage:
        first = record[0]
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=int(first.offsets[-1]),
            timestamp=float(first.log_times[-1]) / 1000,
            timestamp_type=1,
            headers=None,
            key=None,
            value=cast(Any, record),
            checksum=None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    # --- what Faust does and must not ------------------------------------------------------------------

    def track_message(self, message: Message) -> None:
        """Track nothing: the header in Redis says what is done."""

    def ack(self, message: Message) -> bool:
        """Ack nothing: Faust's offset can pass a message that is still being worked on."""
        message.acked = True
        return False

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit nothing: state and offset move together, in Redis."""
        return False

    def on_buffer_full(self, tp: TP) -> None:
        """Take no partition out of the fetch: its batches in flight are bounded."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing was taken out."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Check nothing: Faust's check rests on its acks and commits."""


class Producer(faust_driver.Producer):
    """Faust's producer with the application's TLS and SASL settings."""

    def _settings_auth(self) -> Mapping[str, Any]:
        return dict(hooks_of(self.app).security)


class Transport(faust_driver.Transport):
    """The transport behind the URL scheme ``batches``."""

    Consumer = Consumer
    Producer = Producer
