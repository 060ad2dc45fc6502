"""The batch transport on the embedded broker, which knows neither append times nor transactions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stream.columns import Columns
from stream.embedded import EmbeddedServices
from tests.integration.batch_apps import Worker, fill, keep, running
from tests.integration.outputs import new_topic, until


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with EmbeddedServices() as services:
        yield services.bootstrap_servers


async def test_rows_come_once_without_a_time_and_the_logs_end_is_told(broker: str) -> None:
    topic, times = new_topic(2, broker), set()

    async def process(worker: Worker, columns: Columns) -> None:
        times.update(columns.log_times.tolist())
        await keep(worker, columns)

    await fill(topic, 250, 2, broker=broker)
    async with running(Worker(topic, process), broker=broker) as worker:
        await until(lambda: len(worker.rows) == 500)
        ranges = await worker.consumer.log_ranges([worker.tp(0), worker.tp(1)])
        ends = await worker.consumer.log_ends()
        await worker.consumer.reseek({worker.tp(1): 100})
        await until(lambda: len(worker.rows) == 650)
        await worker.consumer.publish_offsets({worker.tp(0): 250})
        assert worker.failures == []
    assert sorted(worker.rows[:500]) == sorted([*range(250), *range(250)])
    assert worker.rows[500:] == list(range(100, 250))
    assert times == {0}
    # Its own answer for the latest offset is 201: that of the last batch's first record, plus 1.
    assert ranges == {worker.tp(0): (0, 250), worker.tp(1): (0, 250)}
    assert ends == {worker.tp(0): 250, worker.tp(1): 250}
