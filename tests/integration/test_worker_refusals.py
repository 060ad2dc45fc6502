"""A worker that must not start on its Redis, and one whose stop does not come to an end."""

from __future__ import annotations

import secrets
import signal
from pathlib import Path

import pytest
import redis

from load_tests.deployment import Deployment, WorkerProcess, wait_until
from tests.integration.redis_servers import needs_redis_server
from tests.integration.test_worker import BOUND_SECONDS, BROKER, COUNT, OwnRedis, needs_services, running

pytestmark = [pytest.mark.kafka, needs_services, needs_redis_server]


def test_worker_does_not_start_on_a_redis_that_evicts_or_is_away(tmp_path: Path) -> None:
    with OwnRedis(tmp_path / "redis") as server:
        deployment = Deployment(f"refusal-{secrets.token_hex(4)}", BROKER, server.url, COUNT)
        deployment.create()
        try:
            with redis.Redis.from_url(server.url, protocol=2) as client:
                client.config_set("maxmemory-policy", "volatile-lru")
            worker = WorkerProcess(deployment, tmp_path, "unfit")
            worker.start()
            wait_until("the worker ends", lambda: worker.status is not None, BOUND_SECONDS)
            assert worker.status == 1
            assert f"maxmemory-policy of 127.0.0.1:{server.port} is volatile-lru; CONFIG SET" in worker.log
            assert "Traceback" not in worker.log
            server.process.kill()
            server.process.wait()
            worker.start()
            wait_until("the worker ends", lambda: worker.status is not None, BOUND_SECONDS)
            assert worker.status == 1
            assert f"Redis at 127.0.0.1:{server.port} cannot be reached" in worker.log
            assert "Traceback" not in worker.log
            server.restart(signal.SIGKILL)
        finally:
            deployment.delete()


def test_stop_that_redis_holds_up_is_broken_off_in_its_time(tmp_path: Path) -> None:
    with OwnRedis(tmp_path / "redis") as server:
        deployment = Deployment(f"refusal-{secrets.token_hex(4)}", BROKER, server.url, COUNT)
        deployment.create()
        slow = {
            "worker__shutdown_seconds": "1.5",
            "worker__suspend_seconds": "60",
            "redis__answer_timeout_seconds": "60",
        }
        try:
            with running(deployment, tmp_path, **slow) as worker:
                server.process.send_signal(signal.SIGSTOP)
                # No voter has to be loaded for a reject, so its commit is what Redis does not answer.
                producer = deployment.producer()
                producer.send(deployment.topic("events"), b"no json", partition=0)
                producer.flush(30)
                producer.close()
                wait_until("it is processed", lambda: rejected(worker) == 1, BOUND_SECONDS)
                status, seconds = worker.end(signal.SIGTERM, 30)
                assert status == 1, worker.log
                assert 1 < seconds < 6
                assert "stopping took longer than worker.shutdown_seconds = 1.5" in worker.log
        finally:
            server.process.send_signal(signal.SIGCONT)
            deployment.delete()


def rejected(worker: WorkerProcess) -> float:
    """Return how many rows it has rejected."""
    lines = worker.page("/metrics")[1].splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("groundswell_rejects_total{"))
