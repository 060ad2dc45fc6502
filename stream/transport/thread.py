"""The consumer's thread: what aiokafka has fetched, as columns, with the places they were read from."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import ConsumerStoppedError, OffsetOutOfRangeError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as faust_driver
from faust.types import TP

from stream.columns import Columns, columns_of
from stream.continuity import ANEW
from stream.errors import StateMismatchError
from stream.transport import aiokafka_fetcher
from stream.transport.hooks import hooks_of
from stream.transport.places import Places

LOG_APPEND_TIME = 1
_PROBE_MS = 10
PREFETCH_BACKOFF_SECONDS = 0.005
"""How long a partition whose rows wait to be taken holds back the fetch of others (aiokafka's own: 0.1)."""
LINGER_BYTES = 256 * 1024
"""With so many collected, of all partitions together, Kafka answers at once."""
_LULL_SECONDS = 0.05
_ROUNDS = 4


class ConsumerThread(faust_driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, except in how it fetches and seeks."""

    def __post_init__(self) -> None:
        """Take the place of Faust's own constructor's end."""
        super().__post_init__()
        self.hooks = hooks_of(self.app)
        self.places = Places(self.hooks.in_flight_limit, self.wake)
        self._waiting: asyncio.Future[None] | None = None

    async def on_start(self) -> None:
        """Start aiokafka's consumer."""
        # Faust leaves these at DEBUG whatever its own level is, and aiokafka logs several lines for each fetch.
        logging.getLogger("aiokafka").setLevel(logging.WARNING)
        await super().on_start()
        fetcher = self._ensure_consumer()._fetcher  # noqa: SLF001
        fetcher._prefetch_backoff = PREFETCH_BACKOFF_SECONDS  # noqa: SLF001
        if not self.hooks.reference:
            aiokafka_fetcher.install(fetcher, self.hooks.max_records)

    def _create_worker_consumer(self, transport: faust_driver.Transport) -> AIOKafkaConsumer:
        conf, hooks = self.app.conf, self.hooks
        self._assignor = RoundRobinPartitionAssignor
        return AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=faust_driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            # Any policy silently reads from another place where the offset is out of range.
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_poll_records=hooks.max_records,
            max_poll_interval_ms=int((conf.broker_max_poll_interval or 0) * 1000),
            max_partition_fetch_bytes=hooks.fetch_max_bytes,
            fetch_max_wait_ms=hooks.fetch_max_wait_ms,
            check_crcs=conf.broker_check_crcs,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
            **hooks.security,
        )

    # --- fetching --------------------------------------------------------------------------------------

    async def getmany(self, active_partitions: set[TP] | None, timeout: float) -> dict[TP, list[Columns]]:
        """Fetch for the main thread; not by Faust's queue of calls, which makes several tasks for each of them."""
        fetching = self._fetch_records(self._ensure_consumer(), active_partitions, timeout, self.hooks.max_records)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(fetching, self.thread_loop))

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP] | None,
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> dict[TP, list[Columns]]:
        """Return a few batches for each partition that has room; wait up to ``timeout`` seconds for the first."""
        fetcher = consumer._fetcher  # noqa: SLF001
        deadline = self.thread_loop.time() + (timeout or 0.0)
        with consumer._subscription.fetch_context():  # noqa: SLF001
            while self.consumer.flow_active:
                if consumer._closed or fetcher._closed:  # noqa: SLF001
                    raise ConsumerStoppedError
                batches = await self._take(consumer, max_records)
                if batches:
                    self._linger(fetcher, rows_come=True)
                    return batches
                remaining = deadline - self.thread_loop.time()
                if remaining <= 0:
                    break
                await self._wait(fetcher, min(remaining, _LULL_SECONDS))
                self._linger(fetcher, rows_come=bool(fetcher._records))  # noqa: SLF001
        return {}

    def _linger(self, fetcher: Any, *, rows_come: bool) -> None:
        """Have the broker collect more rows for an answer while rows come, and answer at the first one after a lull.

        Each answer costs the worker some ms, however few rows are in it.
        """
        linger_ms = self.hooks.linger_ms if rows_come else 0
        fetcher._fetch_min_bytes = LINGER_BYTES if linger_ms else 1  # noqa: SLF001
        fetcher._fetch_max_wait_ms = linger_ms or self.hooks.fetch_max_wait_ms  # noqa: SLF001

    async def _take(self, consumer: AIOKafkaConsumer, max_records: int | None) -> dict[TP, list[Columns]]:
        """Return what is fetched, without waiting: a few batches of each partition.

        Partition by partition, so that each comes with batches of its own size and none starves another; not one by
        one, since the next are asked for only when the main thread has its turn again.
        """
        subscriptions, fetcher = consumer._subscription, consumer._fetcher  # noqa: SLF001
        subscription = subscriptions.subscription
        if subscription is None or subscriptions.reassignment_in_progress:
            return {}
        assignment = subscription.assignment
        batches: dict[TP, list[Columns]] = {}
        for _ in range(_ROUNDS):
            taken = False
            for tp in self.places.ready(assignment):
                partition = TopicPartition(tp.topic, tp.partition)
                try:
                    fetched = await aiokafka_fetcher.take(fetcher, partition, max_records)
                except OffsetOutOfRangeError as error:
                    raise await self._out_of_range(consumer, tp) from error
                if fetched:
                    taken = True
                    state = assignment.state_value(partition)
                    columns = self._columns(tp, fetched, state.position)
                    # The last stable offset; brokers before Kafka 0.11 tell none.
                    columns.is_followed = state.lso is not None and state.lso > state.position
                    batches.setdefault(tp, []).append(columns)
            if not taken:
                break
        return batches

    def _columns(self, tp: TP, fetched: list[Any], next_offset: int) -> Columns:
        """Return one batch with the place that it was read from."""
        epoch, start = self.places.take(tp, next_offset)
        first = fetched[0]
        if isinstance(first, Columns):
            first.epoch, first.start, first.next = epoch, start, next_offset
            return first
        return columns_of(
            tp.partition,
            [record.offset for record in fetched],
            [record.timestamp if record.timestamp_type == LOG_APPEND_TIME else 0 for record in fetched],
            [record.key for record in fetched],
            [record.value for record in fetched],
            [record.headers for record in fetched],
            epoch=epoch,
            start=start,
            next_offset=next_offset,
        )

    async def _wait(self, fetcher: Any, seconds: float) -> None:
        """Wait until something is fetched, a full partition has room again, or the time is over."""
        waiting = self._waiting = fetcher._create_fetch_waiter()  # noqa: SLF001
        await asyncio.wait((waiting,), timeout=seconds)
        if waiting.done():
            # aiokafka tells waiters so that the group may not be joined or a topic not be read.
            waiting.result()
        else:
            waiting.cancel()

    def wake(self) -> None:
        """Look again for what may be fetched; from any thread."""
        # Once the loop is closed there is nothing to wake.
        with suppress(RuntimeError):
            self.thread_loop.call_soon_threadsafe(self._woken)

    def _woken(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _out_of_range(self, consumer: AIOKafkaConsumer, tp: TP) -> StateMismatchError:
        start, end = (await self._ranges(consumer, frozenset((tp,))))[tp]
        return StateMismatchError(
            f"{tp.topic} partition {tp.partition} is to be read from offset {self.places.next(tp)}, but its log holds "
            f"{start} up to {end}: run `groundswell restore` to bring back state that fits, or {ANEW}"
        )

    # --- seeking ---------------------------------------------------------------------------------------

    async def reseek(self, offsets: Mapping[TP, int]) -> dict[TP, int]:
        """Read each partition from its offset on; return the new epoch of each that is still assigned."""
        epochs: dict[TP, int] = await self.call_thread(self._reseek, self._ensure_consumer(), dict(offsets))
        return epochs

    async def _reseek(self, consumer: AIOKafkaConsumer, offsets: dict[TP, int]) -> dict[TP, int]:
        subscriptions = consumer._subscription  # noqa: SLF001
        if subscriptions.subscription is None or subscriptions.reassignment_in_progress:
            return {}
        assignment = subscriptions.subscription.assignment
        epochs = {}
        for tp, offset in offsets.items():
            if assignment is not None and tp in assignment.tps:
                consumer.seek(TopicPartition(tp.topic, tp.partition), offset)
                epochs[tp] = self.places.open(tp, assignment, offset)
        self._woken()
        return epochs

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stop fetching at once, then let the main thread finish what it has in hand."""
        self.places.close()
        await super().on_partitions_revoked(revoked)

    # --- the group's offsets, and the log's ends -------------------------------------------------------

    async def publish(self, offsets: Mapping[TP, int]) -> None:
        """Write offsets into the group; raise what aiokafka raises."""
        await self.call_thread(self._publish, self._ensure_consumer(), dict(offsets))

    async def _publish(self, consumer: AIOKafkaConsumer, offsets: dict[TP, int]) -> None:
        assigned = consumer.assignment()
        kept = {TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items() if tp in assigned}
        if kept:
            await consumer.commit(kept)

    async def ranges(self, tps: frozenset[TP]) -> dict[TP, tuple[int, int]]:
        """Return by partition its first offset and the one after the last that may be read, as the broker says."""
        ranges: dict[TP, tuple[int, int]] = await self.call_thread(self._ranges, self._ensure_consumer(), tps)
        return ranges

    async def _ranges(self, consumer: AIOKafkaConsumer, tps: frozenset[TP]) -> dict[TP, tuple[int, int]]:
        partitions = [TopicPartition(tp.topic, tp.partition) for tp in tps]
        starts, latest = await asyncio.gather(consumer.beginning_offsets(partitions), consumer.end_offsets(partitions))
        ends = await asyncio.gather(*(self._end(consumer, partition, latest[partition]) for partition in partitions))
        return {TP(*partition): (starts[partition], end) for partition, end in zip(partitions, ends, strict=True)}

    async def _end(self, consumer: AIOKafkaConsumer, partition: TopicPartition, latest: int) -> int:
        """Return the last stable offset as a fetch gives it.

        Asked for its latest offset, the embedded broker gives that of the last record batch's first record, plus 1.
        """
        client = consumer._client  # noqa: SLF001
        node = client.cluster.leader_for_partition(partition)
        if node is None or node < 0:
            return latest
        wanted = [(partition.topic, [(partition.partition, latest, 1)])]
        # Given no time at all, that broker answers with nothing.
        response = await client.send(node, FetchRequest(_PROBE_MS, 0, 1, READ_COMMITTED, wanted))
        for _, [(_, error_code, _, stable, *_)] in response.topics:
            if not error_code:
                return max(latest, int(stable))
        return latest

    def fetched_through(self, tp: TP) -> int | None:
        """Return where aiokafka stands in a partition; None before its first seek. From any thread."""
        subscription = self._ensure_consumer()._subscription.subscription  # noqa: SLF001
        assignment = subscription.assignment if subscription else None
        state = assignment.state_value(TopicPartition(tp.topic, tp.partition)) if assignment else None
        return state.position if state is not None and state.has_valid_position else None
