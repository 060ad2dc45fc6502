"""The worker as a process: how it starts, goes on, stops, and what it says meanwhile."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
import redis
from kafka import KafkaAdminClient

from load_tests.checker import check, read_partition, report
from load_tests.deployment import Content, Deployment, WorkerProcess, wait_until
from load_tests.traffic import configurations
from stream.embedded import EmbeddedServices
from stream.embedded.electorate import Electorate, Flaws
from stream.partitioning import partition_of
from tests.integration.redis_servers import free_ports, needs_redis_server

BROKER = os.environ.get("GROUNDSWELL_TEST_KAFKA", "")
REDIS = os.environ.get("GROUNDSWELL_TEST_REDIS", "")
COUNT = 2
BOUND_SECONDS = 60
START_SECONDS = 180
"""A first start on a machine compiles the kernels."""
START_MS = (int(time.time()) // 86_400 - 1) * 86_400_000 + 18 * 3_600_000
"""Yesterday evening: the electorate is awake."""

SHORT_SESSION = {"kafka__session_timeout_seconds": "6", "kafka__heartbeat_seconds": "1"}
"""The shortest that Apache Kafka grants: for so long the group waits for a worker that ended without leaving it."""

needs_services = pytest.mark.skipif(
    not BROKER or not REDIS, reason="GROUNDSWELL_TEST_KAFKA and GROUNDSWELL_TEST_REDIS are not set"
)


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    """Topics on the real broker."""
    made = Deployment(f"worker-{secrets.token_hex(4)}", BROKER, REDIS, COUNT)
    made.create()
    yield made
    made.delete()


@contextmanager
def running(deployment: Deployment, directory: Path, name: str = "worker", **settings: str) -> Iterator[WorkerProcess]:
    """A worker that has claimed its partitions; killed at the end of the block if it still runs."""
    variables = {f"GROUNDSWELL_{key.upper()}": value for key, value in settings.items()}
    worker = WorkerProcess(deployment, directory, name, {"GROUNDSWELL_WORKER__IDLE_COMMIT_SECONDS": "0.3", **variables})
    worker.start()
    try:
        wait_until("the worker becomes ready", lambda: worker.is_ready() or worker.status is not None, BOUND_SECONDS)
        assert worker.status is None, worker.log
        yield worker
    finally:
        worker.kill()


class OwnRedis:
    """A ``redis-server`` with an append-only file, as the deployment asks for, that can be taken down and up again."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.port = free_ports(1)[0]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = {"save": "", "appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._words = ["redis-server", "--port", str(self.port), "--dir", str(directory), *words]
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self._words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with redis.Redis.from_url(self.url, protocol=2) as client:

            def answers() -> bool:
                try:
                    return bool(client.ping())
                except redis.RedisError:
                    return False

            wait_until("Redis answers", answers, 20)
        return process

    def restart(self, end: signal.Signals) -> None:
        self.process.send_signal(end)
        self.process.wait()
        self.process = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


class Voters:
    """Publishes an electorate's events, piece by piece."""

    def __init__(self, deployment: Deployment, flaws: Flaws | None = None) -> None:
        self.deployment = deployment
        self.electorate = Electorate(5, START_MS, voters=400, flaws=flaws)

    def publish(self, count: int) -> int:
        """Publish about so many events, wait until all are acknowledged, and return how many there were."""
        producer = self.deployment.producer()
        topic = self.deployment.topic("events")
        events = self.electorate.until(self.electorate.now_ms + 600_000, count)
        for key, value in events:
            producer.send(topic, value, key=key, partition=partition_of(key, COUNT))
        producer.flush(30)
        producer.close()
        return len(events)


def write(deployment: Deployment, contents: Sequence[Content]) -> None:
    """Write contents without an activation."""
    producer = deployment.producer()
    for content in contents:
        producer.send(deployment.topic("config"), content.data, key=content.key, partition=0)
    producer.flush(30)
    producer.close()


def drain(deployment: Deployment, worker: WorkerProcess) -> None:
    def drained() -> bool:
        assert worker.status is None, worker.log
        return deployment.is_drained()

    wait_until("everything is committed and sent", drained, BOUND_SECONDS)


def stop(worker: WorkerProcess) -> float:
    status, seconds = worker.end(signal.SIGTERM, 30)
    assert status == 0, worker.log
    return seconds


def assert_right(deployment: Deployment) -> dict[str, int]:
    """Everything is as the outside checker decides it anew; return what was compared."""
    held = {number: deployment.held(number) for number in range(deployment.partitions)}
    findings = check(deployment.bootstrap, deployment.namespace, deployment.partitions, held)
    assert findings.is_clean, report(findings)
    return findings.compared


def assert_nothing_personal(*texts: str) -> None:
    """No voter id, and no word of a comment, stands in what is logged or measured."""
    for text in texts:
        assert "voter-0" not in text
        assert "device-" not in text
        assert "ada-for-senate" not in text
        assert "town-hall" not in text


def folded(deployment: Deployment) -> int:
    """Return how many events all partitions have folded and committed."""
    headers = [deployment.header(number) for number in range(COUNT)]
    return sum(header["totals"]["folded"] for header in headers if header)


# --- stopping and starting ------------------------------------------------------------------------------


@pytest.mark.kafka
@needs_services
def test_sigterm_commits_and_leaves_the_group_so_that_the_next_worker_need_not_wait(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.activate(configurations()[0])
    voters = Voters(deployment)
    # A successor that had to wait for the session's end would wait two minutes.
    patient = {"kafka__session_timeout_seconds": "120", "kafka__heartbeat_seconds": "1"}
    with running(deployment, tmp_path, "first", **patient) as first:
        voters.publish(4000)
        assert stop(first) < 5
    admin = KafkaAdminClient(bootstrap_servers=BROKER)
    group = f"{deployment.namespace}.groundswell"
    assert not admin.describe_groups([group])[group]["members"]
    admin.close()
    with running(deployment, tmp_path, "second", **patient) as second:
        voters.publish(1000)
        drain(deployment, second)
        assert_nothing_personal(second.page("/metrics")[1])
        assert stop(second) < 5
    assert assert_right(deployment)["triggers"] > 50
    assert_nothing_personal(first.log, second.log)


def test_worker_on_the_embedded_pair_folds_all_and_ends_in_order(tmp_path: Path) -> None:
    with EmbeddedServices() as services:
        deployment = Deployment(f"worker-{secrets.token_hex(4)}", services.bootstrap_servers, services.redis_url, COUNT)
        deployment.create()
        with running(deployment, tmp_path, kafka__session_timeout_seconds="6", kafka__heartbeat_seconds="1") as worker:
            # Who withdrew or was erased is folded no more.
            sent = Voters(deployment, Flaws(0, 0, 0, 0)).publish(2000)
            wait_until("most is folded", lambda: folded(deployment) > 0.9 * sent > 900, BOUND_SECONDS)
            assert worker.page("/healthz") == (200, "ok\n")
            assert stop(worker) < 5
        headers = [deployment.header(number) or {} for number in range(COUNT)]
        assert sum(header["totals"]["rejected"] for header in headers) == 0


@pytest.mark.kafka
@needs_services
def test_sigterm_before_the_group_is_joined_ends_in_order(deployment: Deployment, tmp_path: Path) -> None:
    worker = WorkerProcess(deployment, tmp_path, "early")
    worker.start()
    try:
        wait_until("kernels are being loaded", lambda: "loading kernels" in worker.log, BOUND_SECONDS)
        status, _ = worker.end(signal.SIGTERM, 30)
        assert status == 0, worker.log
        assert "Traceback" not in worker.log
    finally:
        worker.kill()


# --- what it says ---------------------------------------------------------------------------------------


@pytest.mark.kafka
@needs_services
def test_pages_and_logs_say_how_it_stands_and_name_nobody(deployment: Deployment, tmp_path: Path) -> None:
    deployment.activate(configurations()[0])
    with running(deployment, tmp_path, log__level="debug") as worker:
        assert worker.page("/healthz") == (200, "ok\n")
        assert worker.page("/readyz") == (200, "ready\n")
        Voters(deployment, Flaws(duplicates=0.05, broken=0.1, misrouted=0.05)).publish(4000)
        drain(deployment, worker)
        status, metrics = worker.page("/metrics")
        assert status == 200
        stop(worker)
    compared = assert_right(deployment)
    assert compared["rejects"] > 100
    figures = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert float(figures["groundswell_folded_total"]) == compared["folded"]
    assert (
        sum(float(v) for k, v in figures.items() if k.startswith("groundswell_triggers_total")) == compared["triggers"]
    )
    assert sum(float(v) for k, v in figures.items() if k.startswith("groundswell_rejects_total")) == compared["rejects"]
    assert float(figures["groundswell_duplicates_total"]) > 100
    assert float(figures["groundswell_forwards_total"]) > 20
    assert_nothing_personal(worker.log, metrics)


@pytest.mark.kafka
@needs_services
@needs_redis_server
def test_worker_whose_redis_hangs_is_not_ready_until_it_answers_again(tmp_path: Path) -> None:
    with OwnRedis(tmp_path / "redis") as server:
        deployment = Deployment(f"worker-{secrets.token_hex(4)}", BROKER, server.url, COUNT)
        deployment.create()
        voters = Voters(deployment)
        short = {"worker__stalled_seconds": "2", "redis__answer_timeout_seconds": "1"}
        with running(deployment, tmp_path, **short) as worker:
            voters.publish(500)
            drain(deployment, worker)
            server.process.send_signal(signal.SIGSTOP)
            voters.publish(500)
            wait_until("the worker is not ready", lambda: worker.page("/readyz")[0] == 503, 20)
            assert "partition" in worker.page("/readyz")[1]
            assert worker.page("/healthz")[0] == 200
            server.process.send_signal(signal.SIGCONT)
            wait_until("the worker is ready again", worker.is_ready, 20)
            drain(deployment, worker)
            stop(worker)
        assert_right(deployment)
        deployment.delete()


# --- state that does not fit ----------------------------------------------------------------------------


@pytest.mark.kafka
@needs_services
@pytest.mark.parametrize("while_it_runs", [False, True])
def test_missing_header_beside_voters_ends_the_worker_with_the_remedy(
    deployment: Deployment, tmp_path: Path, while_it_runs: bool
) -> None:
    voters = Voters(deployment)
    with running(deployment, tmp_path, worker__reclaim_seconds="0.2") as worker:
        voters.publish(500)
        drain(deployment, worker)
        if not while_it_runs:
            stop(worker)
        with deployment.keys() as client:
            assert client.delete(f"{{{deployment.namespace}:0}}:header") == 1
        if while_it_runs:
            voters.publish(200)
        else:
            worker.start()
        wait_until("the worker ends", lambda: worker.status is not None, BOUND_SECONDS)
        assert worker.status == 1
    assert "groundswell restore" in worker.log
    assert_nothing_personal(worker.log)


@pytest.mark.kafka
@needs_services
def test_topic_made_anew_ends_the_worker(deployment: Deployment, tmp_path: Path) -> None:
    with running(deployment, tmp_path) as worker:
        Voters(deployment).publish(500)
        drain(deployment, worker)
        stop(worker)
        admin = KafkaAdminClient(bootstrap_servers=BROKER)
        admin.delete_topics([deployment.topic("events")])
        gone = deployment.topic("events")
        wait_until("the topic is gone", lambda: gone not in admin.list_topics(), BOUND_SECONDS)
        admin.close()
        deployment.create()
        Voters(deployment).publish(800)
        worker.start()
        wait_until("the worker ends", lambda: worker.status is not None, BOUND_SECONDS)
        assert worker.status == 1
    assert "a topic made anew" in worker.log


# --- decisions on the way -------------------------------------------------------------------------------


@pytest.mark.kafka
@needs_services
def test_event_in_the_wrong_partition_is_folded_once_in_its_own(deployment: Deployment, tmp_path: Path) -> None:
    voter = b"voter-000042"
    home = partition_of(voter, COUNT)
    event = b'{"specversion":"1.0","id":"1","source":"/test","type":"social.like","subject":"%b","data":{}}' % voter
    with running(deployment, tmp_path) as worker:
        producer = deployment.producer()
        producer.send(deployment.topic("events"), event, key=b"device", partition=1 - home)
        producer.flush()
        producer.close()
        wait_until("it is folded", lambda: bool(deployment.held(home).records), BOUND_SECONDS)
        drain(deployment, worker)
        stop(worker)
    assert set(deployment.held(home).records) == {voter.decode()}
    assert not deployment.held(1 - home).records
    totals = [(deployment.header(number) or {})["totals"]["folded"] for number in (home, 1 - home)]
    assert totals == [1, 0]
    assert_right(deployment)


@pytest.mark.kafka
@needs_services
def test_activation_of_missing_content_waits_and_goes_on_once_it_is_written(
    deployment: Deployment, tmp_path: Path
) -> None:
    first, _ = configurations()
    with running(deployment, tmp_path) as worker:
        deployment.activate(first, write=[])
        voters = Voters(deployment)
        voters.publish(1000)
        wait_until(
            "it says what it waits for", lambda: f"waiting for {len(first)} contents" in worker.log, BOUND_SECONDS
        )
        standing = [deployment.header(number) for number in range(COUNT)]
        assert all(header is None or header["totals"]["folded"] == 0 for header in standing)
        write(deployment, first)
        drain(deployment, worker)
        stop(worker)
    assert assert_right(deployment)["triggers"] > 10


@pytest.mark.kafka
@needs_services
def test_configuration_changes_at_its_place_in_the_log(deployment: Deployment, tmp_path: Path) -> None:
    first, second = configurations()
    voters = Voters(deployment)
    with running(deployment, tmp_path) as worker:
        deployment.activate(first)
        voters.publish(1500)
        deployment.activate(second)
        voters.publish(1500)
        drain(deployment, worker)
        stop(worker)
    assert_right(deployment)
    for number in range(COUNT):
        log = read_partition(BROKER, deployment.topic("events"), number, committed=True)
        places = [record.offset for record in log if b"config.activated" in record.value]
        sent = read_partition(BROKER, deployment.topic("triggers"), number)
        events = [json.loads(record.value)["data"] for record in sent if record.value]
        early, late = first[1].sha256, second[1].sha256
        for data in events:
            assert data["models"]["mood"] == (early if data["cause"]["offset"] < places[1] else late)
        assert {data["models"]["mood"] for data in events} == {early, late}


@pytest.mark.kafka
@needs_services
@needs_redis_server
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_worker_goes_on_when_redis_restarts_under_load(tmp_path: Path, end: signal.Signals) -> None:
    with OwnRedis(tmp_path / "redis") as server:
        deployment = Deployment(f"worker-{secrets.token_hex(4)}", BROKER, server.url, COUNT)
        deployment.create()
        deployment.activate(configurations()[0])
        voters = Voters(deployment)
        with running(deployment, tmp_path, worker__reclaim_seconds="0.2") as worker:
            for _ in range(2):
                voters.publish(1500)
                # While it works on these; a killed server has lost up to its last second.
                server.restart(end)
                voters.publish(1500)
            drain(deployment, worker)
            assert worker.starts == 1
            stop(worker)
        assert assert_right(deployment)["triggers"] > 50
        assert_nothing_personal(worker.log)
        deployment.delete()
