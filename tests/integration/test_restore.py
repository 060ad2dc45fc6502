"""State lost, altered or torn on the real Kafka and Redis, brought back by ``groundswell restore``."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, TopicPartition

from load_tests.checker import read_partition
from load_tests.deployment import GROUNDSWELL, Deployment, WorkerProcess, wait_until
from load_tests.traffic import configurations
from stream.embedded.electorate import Flaws
from stream.records import VOTER, Header
from stream.stores.endpoint import RedisEndpoint
from stream.stores.names import partition_prefix
from stream.stores.packing import packed, unpacked
from stream.stores.redis import RedisStore
from tests.integration.test_worker import (
    BOUND_SECONDS,
    BROKER,
    COUNT,
    REDIS,
    SHORT_SESSION,
    Voters,
    assert_nothing_personal,
    assert_right,
    drain,
    needs_services,
    running,
    stop,
)

pytestmark = [pytest.mark.kafka, needs_services]

QUICK = {**SHORT_SESSION, "worker__reclaim_seconds": "0.2"}
Rows = list[tuple[bytes | None, bytes | None]]
FLAWS = Flaws(duplicates=0.04, late=0.05, broken=0.01, misrouted=0.02)


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    """Topics on the real broker, with models and campaigns."""
    made = Deployment(f"restore-{secrets.token_hex(4)}", BROKER, REDIS, COUNT)
    made.create()
    made.activate(configurations()[0])
    yield made
    made.delete()


def run(deployment: Deployment, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as an operator's script does, without a terminal."""
    return subprocess.run(
        [*GROUNDSWELL, *words],
        env=deployment.environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=BOUND_SECONDS,
    )


def restore(deployment: Deployment, *words: str) -> None:
    done = run(deployment, "restore", "--yes", *words)
    assert done.returncode == 0, done.stderr
    assert_nothing_personal(done.stdout, done.stderr)


def sent(deployment: Deployment) -> list[Rows]:
    """Return what stands in each partition of triggers and rejects."""
    topics = [deployment.topic(kind) for kind in ("triggers", "rejects")]
    places = [(topic, number) for topic in topics for number in range(COUNT)]
    return [[(row.key, row.value) for row in read_partition(BROKER, *place)] for place in places]


def ends_with(worker: WorkerProcess, said: str) -> None:
    """The worker ends by itself, with status 1 and a text."""
    wait_until("the worker ends", lambda: worker.status is not None, BOUND_SECONDS)
    assert worker.status == 1, worker.log
    assert said in worker.log
    assert_nothing_personal(worker.log)


def assert_caught_up(deployment: Deployment, worker: WorkerProcess, before: list[Rows]) -> None:
    """A worker goes on after a restoration: new events are decided, and nothing that was sent is sent again."""
    worker.kill()
    worker.start()
    drain(deployment, worker)
    # The replay has put out, and the relays have looked at, all that was sent before.
    assert sent(deployment) == before
    Voters(deployment, FLAWS).publish(600)
    drain(deployment, worker)
    stop(worker)
    after = sent(deployment)
    assert [rows[: len(old)] for rows, old in zip(after, before, strict=True)] == before
    assert assert_right(deployment)["triggers"] > 50
    verified = run(deployment, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def lose_one_header_and_tear_the_other(deployment: Deployment) -> None:
    with deployment.keys() as client:
        assert client.delete(f"{{{deployment.namespace}:0}}:header") == 1
        client.setrange(f"{{{deployment.namespace}:1}}:header", 0, "torn")


def alter_a_header_and_leave_a_partition_half_restored(deployment: Deployment) -> None:
    header = deployment.header(1)
    assert header is not None
    with deployment.keys() as client:
        client.set(f"{{{deployment.namespace}:1}}:header", json.dumps({**header, "offset": header["offset"] + 10**9}))

    async def begin() -> None:
        store = RedisStore(RedisEndpoint.from_url(REDIS), partition_prefix(deployment.namespace, 0))
        header = await store.read_header()
        assert header is not None
        fresh = Header(header.topic_id, header.partition_count, "killed", header.start, header.start)
        await store.begin_restore(replace(fresh, restoring=True))
        await anext(store.clear("killed"))
        await store.close()

    asyncio.run(begin())


@pytest.mark.parametrize(
    "damage", [lose_one_header_and_tear_the_other, alter_a_header_and_leave_a_partition_half_restored]
)
def test_damage_ends_the_worker_and_restoring_brings_it_back_with_no_trigger_twice(
    deployment: Deployment, tmp_path: Path, damage: Callable[[Deployment], None]
) -> None:
    with running(deployment, tmp_path, **QUICK) as worker:
        Voters(deployment, FLAWS).publish(1200)
        drain(deployment, worker)
        stop(worker)
        before = sent(deployment)
        damage(deployment)
        worker.start()
        ends_with(worker, "groundswell restore")
        refused = run(deployment, "restore")
        assert refused.returncode == 1
        assert "say --yes" in refused.stderr
        restore(deployment)
        assert_caught_up(deployment, worker, before)


def alter_records(deployment: Deployment) -> None:
    with deployment.keys() as client:
        for key in client.scan_iter(f"{{{deployment.namespace}:0}}:v:*", count=10_000):
            fields = VOTER.fields
            assert fields is not None
            value: Any = client.get(key)
            record = bytearray(unpacked(value))
            record[fields["score"][1]] = 1
            client.set(key, packed(bytes(record)))


def flush(deployment: Deployment) -> None:
    """Lose all keys at one moment, as FLUSHALL does: a worker that goes on meanwhile finds all of them or none."""
    with deployment.keys() as client:
        client.delete(*client.scan_iter(f"{{{deployment.namespace}:*", count=10_000))


@pytest.mark.parametrize(("damage", "words"), [(alter_records, ("--partition", "0")), (flush, ())])
def test_damage_that_ends_no_worker_is_restored_too(
    deployment: Deployment, tmp_path: Path, damage: Callable[[Deployment], None], words: tuple[str, ...]
) -> None:
    with running(deployment, tmp_path, **QUICK) as worker:
        Voters(deployment, FLAWS).publish(1200)
        drain(deployment, worker)
        stop(worker)
        before = sent(deployment)
        untouched = deployment.header(1)
        damage(deployment)
        if damage is alter_records:
            assert run(deployment, "verify").returncode == 1
        restore(deployment, *words)
        if words:
            assert deployment.header(1) == untouched
        assert_caught_up(deployment, worker, before)


def test_worker_under_load_gives_way_to_a_restoration_and_catches_up(deployment: Deployment, tmp_path: Path) -> None:
    with running(deployment, tmp_path, **QUICK) as worker:
        voters = Voters(deployment, FLAWS)
        voters.publish(1500)
        restore(deployment)
        voters.publish(500)

        def caught_up() -> bool:
            if worker.status is not None:
                # It met the restoration half-way; whoever started it starts it again.
                assert "being restored" in worker.log
                worker.start()
            return deployment.is_drained()

        wait_until("everything is committed and sent", caught_up, BOUND_SECONDS)
        stop(worker)
    assert assert_right(deployment)["triggers"] > 50
    assert run(deployment, "verify").returncode == 0


def test_terminal_is_asked_before_anything_is_deleted(deployment: Deployment) -> None:
    for answer, status in ((b"n", 1), (b"y", 0)):
        master, terminal = os.openpty()
        try:
            os.write(master, answer + b"\n")
            words = [*GROUNDSWELL, "restore"]
            done = subprocess.run(
                words, env=deployment.environment, stdin=terminal, capture_output=True, check=False, timeout=60
            )
        finally:
            os.close(master)
            os.close(terminal)
        assert done.returncode == status, done.stderr
        assert b"Delete all that these partitions have in Redis?" in done.stdout + done.stderr
        assert (deployment.header(0) is not None) == (status == 0)


def test_log_that_does_not_reach_back_any_more_is_refused_and_nothing_is_touched(
    deployment: Deployment, tmp_path: Path
) -> None:
    with running(deployment, tmp_path, **QUICK) as worker:
        Voters(deployment, FLAWS).publish(400)
        drain(deployment, worker)
        stop(worker)
    before = [deployment.held(number) for number in range(COUNT)]
    with closing(KafkaAdminClient(bootstrap_servers=BROKER)) as admin:
        admin.delete_records({TopicPartition(deployment.topic("events"), 1): 5})
    refused = run(deployment, "restore", "--yes")
    assert refused.returncode == 1
    assert "partition 1 cannot be restored from its log: the deployment began at offset 0, but" in refused.stderr
    assert "under another namespace, with topics of its own" in refused.stderr
    assert [deployment.held(number) for number in range(COUNT)] == before
    restore(deployment, "--partition", "0")
    assert (deployment.header(0) or {})["offset"] == 0
