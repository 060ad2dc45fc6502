"""Snapshots on the real Kafka and Redis: Redis lost under load, the log's head gone, and nothing twice afterwards."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, TopicPartition

from load_tests.checker import read_partition
from load_tests.deployment import Deployment, WorkerProcess, wait_until
from load_tests.traffic import configurations
from stream.commands.snapshot import list_snapshots
from stream.records import SEQUENCE_HEADER
from stream.snapshots import Catalogue, FileSnapshots, Manifest, Place, in_thread
from tests.integration.test_restore import FLAWS, flush, run, sent
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

QUICK = {**SHORT_SESSION, "worker__reclaim_seconds": "0.2", "snapshot__interval_minutes": "0.05"}
NEVER = {**SHORT_SESSION, "worker__reclaim_seconds": "0.2", "snapshot__interval_minutes": "10000"}


class Snapshotting(Deployment):
    """A deployment whose commands and workers know where snapshots are."""

    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "GROUNDSWELL_SNAPSHOT__URL": f"file://{self.directory}"}

    def taken(self, number: int) -> list[Manifest]:
        """Return a partition's snapshots that can be used, newest first."""
        catalogue = Catalogue(FileSnapshots(str(self.directory)), Place(self.namespace, number), in_thread)
        found = asyncio.run(list_snapshots([catalogue]))
        return [listed.manifest for listed in found if listed.manifest is not None]

    def holds_voters(self, number: int) -> bool:
        """Return whether a partition's newest snapshot has records: the first may be taken before any event came."""
        return any(manifest.records for manifest in self.taken(number)[:1])

    def behead(self, offsets: dict[int, int]) -> None:
        """Delete events before an offset in each partition, as retention does."""
        with closing(KafkaAdminClient(bootstrap_servers=BROKER)) as admin:
            admin.delete_records(
                {TopicPartition(self.topic("events"), number): offset for number, offset in offsets.items()}
            )


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Snapshotting]:
    made = Snapshotting(f"snapshot-{secrets.token_hex(4)}", BROKER, REDIS, COUNT)
    made.directory = tmp_path / "snapshots"
    made.create()
    made.activate(configurations()[0])
    yield made
    made.delete()


def command(deployment: Deployment, *words: str) -> str:
    done = run(deployment, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_nothing_personal(done.stdout, done.stderr)
    return done.stdout


def caught_up(deployment: Deployment, worker: WorkerProcess) -> None:
    """Wait until all is committed and sent; a worker that met what it must not go on with is started again."""

    def drained() -> bool:
        if worker.status is not None:
            assert "groundswell restore" in worker.log, worker.log
            worker.start()
        return deployment.is_drained()

    wait_until("everything is committed and sent", drained, BOUND_SECONDS)


def test_redis_lost_under_load_comes_back_though_the_logs_head_is_gone_and_no_trigger_is_sent_twice(
    deployment: Snapshotting, tmp_path: Path
) -> None:
    with running(deployment, tmp_path, **QUICK) as worker:
        voters = Voters(deployment, FLAWS)
        voters.publish(1200)
        wait_until("snapshots that hold voters", lambda: all(map(deployment.holds_voters, range(COUNT))), BOUND_SECONDS)
        voters.publish(1200)
        reached = {number: deployment.taken(number)[0].offset for number in range(COUNT)}
        deployment.behead(reached)
        voters.publish(600)
        flush(deployment)
        voters.publish(600)
        wait_until("the worker meets the loss", lambda: worker.status is not None, BOUND_SECONDS)
        assert "groundswell restore" in worker.log
        before = sent(deployment)
        newest = {number: deployment.taken(number)[0].offset for number in range(COUNT)}
        assert all(0 < reached[number] <= newest[number] for number in range(COUNT))
        told = command(deployment, "restore", "--yes")
        for number in range(COUNT):
            assert re.search(rf"partition {number}: .*the snapshot \S+ is loaded, and its log is replayed", told)
            assert re.search(
                rf"partition {number}: \d+ keys deleted, [1-9]\d* records .* at offset {newest[number]}", told
            )
        worker.start()
        caught_up(deployment, worker)
        voters.publish(600)
        drain(deployment, worker)
        stop(worker)
    after = sent(deployment)
    assert [rows[: len(old)] for rows, old in zip(after, before, strict=True)] == before
    report = command(deployment, "verify")
    assert len(re.findall(r"are what the snapshot \S+, taken at offset \d+, and the log", report)) == COUNT
    assert "not compared" not in report
    assert sum(map(len, after)) > 50
    for rows in sequences(deployment):
        assert rows == list(range(1, len(rows) + 1))


def sequences(deployment: Deployment) -> list[list[int]]:
    """Return the sequences that stand in each partition of the triggers, as they follow each other."""
    places = [(deployment.topic("triggers"), number) for number in range(COUNT)]
    return [[int(dict(row.headers)[SEQUENCE_HEADER]) for row in read_partition(BROKER, *place)] for place in places]


def test_snapshot_is_taken_on_demand_under_load_and_state_restored_from_it_is_right(
    deployment: Snapshotting, tmp_path: Path
) -> None:
    with running(deployment, tmp_path, **NEVER) as worker:
        voters = Voters(deployment, FLAWS)
        voters.publish(800)
        told = command(deployment, "snapshot")
        assert len(re.findall(r"partition \d: taken at offset \d+, by its worker", told)) == COUNT
        voters.publish(800)
        drain(deployment, worker)
        stop(worker)
        # Of a state that no worker is at work on, the command itself takes it.
        told = command(deployment, "snapshot", "--partition", "1")
        assert re.fullmatch(r"partition 1: taken at offset \d+, from Redis: no worker is at work\n", told)
        assert deployment.taken(1)[0].offset == (deployment.header(1) or {})["offset"]
        assert len(command(deployment, "snapshot", "--list").splitlines()) == COUNT + 1
        before = sent(deployment)
        flush(deployment)
        command(deployment, "restore", "--yes")
        worker.start()
        drain(deployment, worker)
        assert sent(deployment) == before
        stop(worker)
    assert assert_right(deployment)["triggers"] > 20
    assert "snapshot" not in command(deployment, "verify")


def test_snapshots_that_cannot_be_used_are_named_and_the_log_alone_brings_the_state_back(
    deployment: Snapshotting, tmp_path: Path
) -> None:
    with running(deployment, tmp_path, **NEVER) as worker:
        Voters(deployment, FLAWS).publish(600)
        drain(deployment, worker)
        command(deployment, "snapshot")
        stop(worker)
    for file in deployment.directory.rglob("voters-*.zst"):
        file.write_bytes(file.read_bytes()[:-1])
    refused = run(deployment, "restore", "--yes", "--at", "2020-01-01T00:00:00Z")
    assert refused.returncode == 1
    assert "partition 0 has no snapshot of that time or before that can be used" in refused.stderr
    told = command(deployment, "restore", "--yes")
    assert len(re.findall(r"not used: the snapshot \S+ under file://\S+ is torn: voters-00000\.zst has", told)) == COUNT
    assert (deployment.header(0) or {})["offset"] == 0
    shutil.rmtree(deployment.directory)
    with running(deployment, tmp_path, **NEVER) as worker:
        drain(deployment, worker)
        stop(worker)
    assert "snapshot" not in command(deployment, "verify")


def test_full_or_missing_storage_stops_no_work_and_is_counted(deployment: Snapshotting, tmp_path: Path) -> None:
    deployment.directory.write_text("a file where the directory should be")
    with running(deployment, tmp_path, **QUICK) as worker:
        voters = Voters(deployment, FLAWS)
        voters.publish(300)
        counted = r"^groundswell_snapshots_failed_total [1-9]"
        wait_until(
            "a failure is counted",
            lambda: re.search(counted, worker.page("/metrics")[1], re.M) is not None,
            BOUND_SECONDS,
        )
        assert "no snapshot: cannot write" in worker.log
        refused = run(deployment, "snapshot", "--partition", "0")
        assert refused.returncode == 1
        assert "partition 0: no snapshot: cannot write" in refused.stderr
        voters.publish(300)
        drain(deployment, worker)
        stop(worker)
    assert assert_right(deployment)["triggers"] > 5
