"""The embedded broker and Redis: they answer, and leave nothing behind however they end."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from aiokafka import AIOKafkaProducer
from kafka.admin import KafkaAdminClient

from stream.agents.closing import discard
from stream.agents.fence import Fence, FenceUnsupportedError
from stream.embedded import services
from stream.embedded.services import EmbeddedServices
from stream.errors import ConfigurationError

_HOLDER = """
import signal, sys
from stream.embedded import EmbeddedServices
# A shell starts what runs in the background with SIGINT ignored, and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
with EmbeddedServices() as services:
    pids = " ".join(str(server.pid) for server in services._servers)
    print(services.directory, pids, flush=True)
    sys.stdin.read()
"""


def _until(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    # A server whose parent was killed is waited for by init, which some containers have none of.
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_both_answer_their_own_clients() -> None:
    with EmbeddedServices() as running:
        assert running.running()
        admin = KafkaAdminClient(bootstrap_servers=running.bootstrap_servers)
        assert "engagement.events" not in admin.list_topics()
        admin.close()
        client = redis.Redis.from_url(running.redis_url)
        assert client.ping()
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        client.close()


async def test_broker_is_told_from_one_whose_refusal_may_pass() -> None:
    """A demo's first trigger would wait some seconds for a fence that never comes."""
    with EmbeddedServices() as running:
        producer = AIOKafkaProducer(bootstrap_servers=running.bootstrap_servers, enable_idempotence=True)
        fence = Fence(producer, "triggers-0", "triggers", 0)
        try:
            with pytest.raises(FenceUnsupportedError):
                await fence.probe()
            assert fence._is_alone()
        finally:
            await discard(producer)


def test_two_run_beside_each_other() -> None:
    with EmbeddedServices() as one, EmbeddedServices() as other:
        assert one.bootstrap_servers != other.bootstrap_servers
        assert one.redis_url != other.redis_url
        assert one.directory != other.directory


def test_stopping_frees_ports_and_directory() -> None:
    with EmbeddedServices() as running:
        directory = running.directory
        host, _, port = running.bootstrap_servers.partition(":")
    assert directory is not None
    assert not directory.exists()
    assert not running.running()
    with pytest.raises(ConnectionRefusedError), socket.create_connection((host, int(port)), timeout=1):
        pass
    running.stop()


def test_failing_block_stops_them_too() -> None:
    running = EmbeddedServices()
    directory = None

    def fail_inside() -> None:
        nonlocal directory
        with running:
            directory = running.directory
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert isinstance(directory, Path)
    assert not directory.exists()
    assert not running.running()


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_owner_leaves_neither_process_nor_directory(sent: signal.Signals) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert holder.stdout is not None
    directory, *pids = holder.stdout.readline().decode().split()
    assert len(pids) == 2
    assert Path(directory).is_dir()
    holder.send_signal(sent)
    holder.communicate()
    assert holder.returncode != 0
    assert _until(lambda: not any(_alive(int(pid)) for pid in pids))
    assert _until(lambda: not Path(directory).exists())


def test_taken_port_leads_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    real = services.free_port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        offered = iter([port, real(), port, real()])
        monkeypatch.setattr(services, "free_port", lambda: next(offered))
        with EmbeddedServices() as running:
            assert running.running()
            assert running.bootstrap_servers != f"127.0.0.1:{port}"
            assert not running.redis_url.endswith(f":{port}/0")


def test_program_that_ends_is_named_with_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho no room at all\nexit 3\n")
    program.chmod(0o700)
    monkeypatch.setattr(services, "redis_program", lambda _directory: program)
    with pytest.raises(ConfigurationError, match=r"(?s)embedded redis .*broken.* did not start.*no room at all"):
        EmbeddedServices().start()
    assert list(tmp_path.iterdir()) == [program]


def test_packaged_program_without_its_mode_bit_runs_from_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.embedded.binaries.os.access", lambda _path, _mode: False)
    with EmbeddedServices() as running:
        assert running.directory is not None
        assert {"tansu", "valkey-server"} <= {path.name for path in running.directory.iterdir()}
