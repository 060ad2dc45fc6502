"""The names of Faust and aiokafka that the transport rests on and that neither promises to keep.

A new version that moves one of them fails here, and not at night.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import fetcher, subscription_state
from aiokafka.protocol.fetch import FetchRequest
from faust.agents.agent import Agent
from faust.app.base import App
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as faust_driver
from mode.supervisors import SupervisorStrategy
from mode.threads import QueueServiceThread, ServiceThread
from mode.worker import Worker

from stream.transport.driver import Consumer, Producer, Transport
from stream.transport.startup import FAUST_SETTINGS, EndOfProcess, NoTables, Process
from stream.transport.thread import ConsumerThread


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (fetcher.Fetcher.fetched_records, ["self", "partitions", "timeout", "max_records"]),
        (fetcher.Fetcher._create_fetch_waiter, ["self"]),
        (fetcher.Fetcher.seek_to, ["self", "tp", "offset"]),
        (fetcher.FetchResult.has_more, ["self"]),
        (fetcher.PartitionRecords._consumer_record, ["self", "tp", "record"]),
        (subscription_state.Assignment.state_value, ["self", "tp"]),
        (subscription_state.SubscriptionState.fetch_context, ["self"]),
        (FetchRequest.__init__, [
            "self", "max_wait_time", "min_bytes", "max_bytes", "isolation_level", "topics", "rack_id",
        ]),
        (faust_driver.AIOKafkaConsumerThread._fetch_records, [
            "self", "consumer", "active_partitions", "timeout", "max_records",
        ]),
        (faust_driver.AIOKafkaConsumerThread._create_worker_consumer, ["self", "transport"]),
        (faust_driver.AIOKafkaConsumerThread._ensure_consumer, ["self"]),
        (faust_driver.AIOKafkaConsumerThread.__post_init__, ["self"]),
        (faust_driver.Consumer._new_consumer_thread, ["self"]),
        (faust_driver.Consumer._to_message, ["self", "tp", "record"]),
        (faust_driver.Producer._settings_auth, ["self"]),
        (faust_consumer.ThreadDelegateConsumer._getmany, ["self", "active_partitions", "timeout"]),
        (faust_consumer.ConsumerThread.on_partitions_revoked, ["self", "revoked"]),
        (faust_consumer.Consumer.on_partitions_revoked, ["self", "revoked"]),
        (faust_consumer.Consumer.perform_seek, ["self"]),
        (faust_consumer.Consumer._drain_messages, ["self", "fetcher"]),
        (faust_consumer.Consumer.getmany, ["self", "timeout"]),
        (faust_driver.AIOKafkaConsumerThread.getmany, ["self", "active_partitions", "timeout"]),
        (faust_consumer.Consumer.commit, ["self", "topics", "start_new_transaction"]),
        (faust_consumer.Consumer.ack, ["self", "message"]),
        (faust_consumer.Consumer.track_message, ["self", "message"]),
        (faust_consumer.Consumer.stop_flow, ["self"]),
        (QueueServiceThread.call_thread, ["self", "fun", "args", "kwargs"]),
        (TableManager._update_channels, ["self"]),
        (SupervisorStrategy.wakeup, ["self"]),
    ],
)  # fmt: skip
def test_signatures_are_those_that_the_transport_was_written_against(function: Any, parameters: list[str]) -> None:
    assert list(inspect.signature(function).parameters) == parameters


@pytest.mark.parametrize(
    ("function", "words"),
    [
        # aiokafka: what is read of it, and what is put in the place of its own.
        (AIOKafkaConsumer.__init__, ["self._client", "self._subscription", "self._closed"]),
        (AIOKafkaConsumer.start, ["self._fetcher = Fetcher("]),
        (fetcher.Fetcher.__init__, ["self._records", "self._closed", "self._prefetch_backoff"]),
        (fetcher.Fetcher._proc_fetch_request, ["FetchResult(", "PartitionRecords("]),
        (fetcher.PartitionRecords._unpack_records, ["self._consumer_record(tp, record)"]),
        (fetcher.Fetcher._get_actions_per_node, ["self._fetch_max_wait_ms", "self._fetch_min_bytes"]),
        # One fetch without waiting has no await between what it takes and the position it leaves.
        (fetcher.Fetcher.fetched_records, ["if drained or not timeout:"]),
        # Faust: the order of things that the overrides count on.
        (Recovery._resume_streams, ["consumer.perform_seek()", "consumer.resume_flow()"]),
        (App._on_partitions_revoked, ["T(consumer.stop_flow)()", "T(self.flow_control.clear)()"]),
        (Agent._execute_actor, ["await aref.crash(exc)", "self.supervisor.wakeup()"]),
        (faust_consumer.Fetcher._fetcher.fun, ["await consumer._drain_messages(self)"]),
        (TableManager.on_start, ["self.sleep(1.0)", "self._update_channels()", "self.recovery.start()"]),
        (ServiceThread.__init__, ["self.thread_loop"]),
        (Worker._shutdown_loop, ["self._sentinel_task()"]),
        (Worker._sentinel_task, ["await asyncio.sleep(1.0)"]),
        (SupervisorStrategy.__init__, ["self._services"]),
    ],
)
def test_sources_still_do_what_the_transport_counts_on(function: Any, words: list[str]) -> None:
    source = inspect.getsource(function)
    assert [word for word in words if word not in source] == []


ADDED: dict[type, set[str]] = {
    Consumer: {
        "reseek",
        "epoch",
        "release",
        "is_assigned",
        "log_ranges",
        "log_ends",
        "publish_offsets",
        "_claim_and_seek",
        "_end_claim",
    },
    ConsumerThread: {
        "wake",
        "_woken",
        "_take",
        "_linger",
        "_columns",
        "_wait",
        "_out_of_range",
        "reseek",
        "_reseek",
        "publish",
        "_publish",
        "ranges",
        "_ranges",
        "_end",
        "fetched_through",
    },
}
"""What is not an override but its own, by class."""


@pytest.mark.parametrize(
    ("ours", "base"),
    [
        (Consumer, faust_driver.Consumer),
        (ConsumerThread, faust_driver.AIOKafkaConsumerThread),
        (Producer, faust_driver.Producer),
        (Transport, faust_driver.Transport),
        (NoTables, TableManager),
        (EndOfProcess, SupervisorStrategy),
        (Process, Worker),
    ],
)
def test_every_override_overrides_something(ours: type, base: type) -> None:
    added: set[str] = ADDED.get(ours, set())
    own = {name for name, member in vars(ours).items() if inspect.isfunction(member)}
    assert own - added - {name for name in own if hasattr(base, name)} == set()
    assert {name for name in added if hasattr(base, name)} == set()


def test_faust_knows_every_setting() -> None:
    app: Any = App("settings", **FAUST_SETTINGS)
    assert app.conf.stream_wait_empty is False
    assert app.conf.TableManager is NoTables
    assert app.conf.agent_supervisor is EndOfProcess
    assert app.conf.stream_recovery_delay == 0.0


async def test_process_waits_at_its_end_for_what_was_cancelled_and_for_nothing_else() -> None:
    ended = asyncio.Event()

    async def end_slowly() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            ended.set()

    process: Any = Process.__new__(Process)
    cancelled = asyncio.create_task(end_slowly())
    await asyncio.sleep(0)
    cancelled.cancel()
    await process._sentinel_task()
    assert ended.is_set()
    async with asyncio.timeout(0.5):
        await process._sentinel_task()
