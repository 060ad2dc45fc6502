"""What leaves an agent, or stops the fetching, ends the process: non-zero, with a clear last line."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from stream.agents.engagement import EX_DEFECT, EX_STATE
from stream.columns import Columns
from stream.transport import thread
from tests.integration.batch_apps import Worker, fill, keep, running
from tests.integration.outputs import BROKER, needs_kafka, new_topic, until

pytestmark = [pytest.mark.kafka, needs_kafka]

SMALL = {"max_records": 10}


def failing(error: BaseException) -> tuple[list[int], Worker]:
    """Return a worker that fails once, on the batch that begins at row 10."""
    tried: list[int] = []

    async def process(worker: Worker, columns: Columns) -> None:
        tried.append(int(columns.offsets[0]))
        if columns.offsets[0] == 10 and tried.count(10) == 1:
            raise error
        await keep(worker, columns)

    return tried, Worker(new_topic(), process, **SMALL)


@pytest.mark.parametrize("error", [ValueError("defect"), asyncio.CancelledError()])
async def test_whatever_leaves_an_agent_is_told_before_another_batch_is_taken(error: BaseException) -> None:
    tried, worker = failing(error)
    seen: list[list[int]] = []

    def failed(reason: BaseException) -> None:
        worker.failures.append(reason)
        seen.append(list(tried))

    worker.hooks["failed"] = failed
    await fill(worker.topic, 100)
    async with running(worker):
        await until(lambda: bool(worker.failures))
    assert worker.failures[0] is error
    assert seen[0] == [0, 10]


async def test_trap_fausts_supervisor_skips_the_batch_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread, "_ROUNDS", 1)
    _, worker = failing(ValueError("defect"))
    await fill(worker.topic, 100)
    async with running(worker, agent_supervisor="mode.OneForOneSupervisor"):
        await until(lambda: 99 in worker.rows)
    assert worker.rows == [*range(10), *range(20, 100)]
    assert worker.failures == []


async def test_failed_claim_is_told() -> None:
    worker, error = Worker(new_topic(), keep), ValueError("claim")

    async def positions(_: object) -> dict[object, int]:
        raise error

    worker.hooks["positions"] = positions
    async with running(worker):
        await until(lambda: bool(worker.failures))
    assert worker.failures == [error]


async def test_claim_that_names_no_offset_for_a_partition_is_told() -> None:
    worker = Worker(new_topic(2), keep)

    async def positions(_: object) -> dict[object, int]:
        return {worker.tp(0): 0}

    worker.hooks["positions"] = positions
    async with running(worker):
        await until(lambda: bool(worker.failures))
    assert f"topic='{worker.topic}', partition=1" in str(worker.failures[0])


@contextmanager
def process(topic: str, start: int = 0) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.integration.batch_worker", topic, str(start)]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as worker:
        try:
            yield worker
        finally:
            worker.kill()


async def poisoned() -> str:
    """Return a topic of 100 rows and one more on which the worker's agent fails."""
    topic = new_topic()
    await fill(topic, 100)
    producer = AIOKafkaProducer(bootstrap_servers=BROKER)
    await producer.start()
    await producer.send_and_wait(topic, b"poison")
    await producer.stop()
    return topic


async def test_process_ends_non_zero_with_an_agents_exception() -> None:
    topic = await poisoned()
    with process(topic) as worker:
        output, _ = worker.communicate(timeout=30)
    assert worker.returncode == EX_DEFECT
    assert output.count("rows [0,") == 1
    assert "poison in rows [100]" in output


async def test_process_ends_non_zero_with_an_offset_out_of_range() -> None:
    topic = new_topic()
    await fill(topic, 10)
    with process(topic, 11) as worker:
        output, _ = worker.communicate(timeout=30)
    assert worker.returncode == EX_STATE
    assert "is to be read from offset 11, but its log holds 0 up to 10" in output


async def test_terminated_process_leaves_within_five_seconds() -> None:
    topic = new_topic()
    await fill(topic, 10)
    with process(topic) as worker:
        assert worker.stdout is not None
        while "rows [" not in worker.stdout.readline():
            assert worker.poll() is None
        started = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=30)
        assert time.monotonic() - started < 5.0
    assert worker.returncode == 0
