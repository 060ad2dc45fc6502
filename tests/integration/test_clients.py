"""The README's publishers and subscribers, run as they stand there, with a worker between them."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from kafka.admin import KafkaAdminClient

from stream.commands.config import apply
from stream.commands.demo_worker import DemoWorker
from stream.commands.topics import create
from stream.embedded import EmbeddedServices
from stream.embedded.services import free_port
from stream.settings import TOPIC_KINDS, Settings

README = (Path(__file__).parents[2] / "README.md").read_text()
PUBLISHERS = dict(re.findall(r"<!-- publish: (\S+) -->\n```python\n(.*?)```", README, re.DOTALL))
SUBSCRIBERS = re.findall(r"<!-- subscribe -->\n```python\n(.*?)```", README, re.DOTALL)
CLIENTS = ("kafka-python", "confluent-kafka", "cloudevents")
CAUSES = {"voter-1": "donation.started", "voter-2": "social.share", "voter-3": "signup.completed"}

SHORT_SESSIONS = {
    'group_id="': 'session_timeout_ms=6000, group_id="',
    '"group.id": "': '"session.timeout.ms": 6000, "group.id": "',
}
"""What is put into the examples for the embedded broker, where a group waits for half its session: 45 s by itself."""

MODEL = """
{"name": "eager", "kind": "linear", "bias": 0.0, "weights": {
  "donation.started.decayed_7d": 1.0, "social.share.decayed_1d": 1.0, "signup.completed.count": 1.0}}
"""
CAMPAIGN = """
name = "hello"
model = "eager"
direction = "up"
threshold = 0.5
rearm = 0.25
cooldown = "1d"
"""


@dataclass(frozen=True)
class Deployment:
    """A worker at work, and how its Kafka and topics are named."""

    settings: Settings
    directory: Path
    changes: Mapping[str, str]
    """What else is replaced in the README's examples, by what."""

    def fit(self, example: str) -> str:
        """Return a README's example with this deployment's address and topics."""
        assert "localhost:9092" in example
        assert '"engagement.' in example
        for text, other in self.changes.items():
            example = example.replace(text, other)
        example = example.replace("localhost:9092", self.settings.kafka.bootstrap_servers)
        return example.replace('"engagement.', f'"{self.settings.namespace}.engagement.')


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60, env=clean_environment()
    )


def clean_environment() -> dict[str, str]:
    # As a reader of the README would run it: no warning becomes an error, no setting of the tests reaches it.
    return {name: value for name, value in os.environ.items() if not name.startswith(("GROUNDSWELL_", "PYTHON"))}


@pytest.fixture(scope="module", params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("clients")
    for kind, name, text in (("models", "eager.json", MODEL), ("campaigns", "hello.toml", CAMPAIGN)):
        (directory / kind).mkdir()
        (directory / kind / name).write_text(text)
    if request.param == "embedded":
        with EmbeddedServices() as services:
            yield from work(services.settings(), directory, SHORT_SESSIONS)
    else:
        kafka, store = (os.environ.get(f"GROUNDSWELL_TEST_{name}") for name in ("KAFKA", "REDIS"))
        if kafka is None or store is None:
            pytest.skip("GROUNDSWELL_TEST_KAFKA and GROUNDSWELL_TEST_REDIS are not set")
        addresses = {"GROUNDSWELL_KAFKA__BOOTSTRAP_SERVERS": kafka, "GROUNDSWELL_REDIS__URL": store}
        yield from work(addresses, directory, {})


def work(addresses: dict[str, str], directory: Path, changes: Mapping[str, str]) -> Iterator[Deployment]:
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            **addresses,
            "GROUNDSWELL_NAMESPACE": f"clients-{uuid.uuid4().hex[:12]}",
            "GROUNDSWELL_CONFIGURATION_DIRECTORY": str(directory),
            "GROUNDSWELL_TOPICS__PARTITIONS": "3",
            "GROUNDSWELL_TOPICS__REPLICATION": "1",
            "GROUNDSWELL_WEB__HOST": "127.0.0.1",
            "GROUNDSWELL_WEB__PORT": str(port),
        }.items():
            patch.setenv(name, value)
        settings = Settings()
        create(settings)
        try:
            apply(settings)
            worker = DemoWorker(port, directory)
            try:
                # The embedded broker lets a group wait for half its session timeout: all wait while the worker starts.
                with subscribed(Deployment(settings, directory, changes)) as deployment:
                    until_ready(worker)
                    yield deployment
                assert asyncio.run(worker.stop()) == 0, worker.last_words()
            finally:
                worker.kill()
        finally:
            remove(settings)


@contextmanager
def subscribed(deployment: Deployment) -> Iterator[Deployment]:
    """Run the README's subscribers; each prints into a file named after its client."""
    processes = []
    try:
        for client, example in zip(CLIENTS, SUBSCRIBERS, strict=True):
            with (deployment.directory / f"{client}.out").open("wb") as output:
                command = [sys.executable, "-c", deployment.fit(example)]
                environment = clean_environment()
                processes.append(subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment))
        yield deployment
    finally:
        for process in processes:
            process.kill()
            process.wait()


def until_ready(worker: DemoWorker) -> None:
    deadline = time.monotonic() + 90
    while not asyncio.run(worker.is_ready()):
        assert worker.exit_status() is None, worker.last_words()
        assert time.monotonic() < deadline, worker.last_words()
        time.sleep(0.1)


def remove(settings: Settings) -> None:
    with KafkaAdminClient(**settings.kafka.kafka_python()) as admin:
        admin.delete_topics([settings.topic(kind) for kind in TOPIC_KINDS])
    with redis.Redis.from_url(settings.redis.url) as client:
        for key in client.scan_iter(match=f"{{{settings.namespace}:*"):
            client.delete(key)


@pytest.fixture(scope="module")
def published(deployment: Deployment) -> Deployment:
    for voter, example in PUBLISHERS.items():
        done = run(deployment.fit(example))
        assert done.returncode == 0, f"{voter}: {done.stderr}"
    return deployment


def lines_of(output: Path, count: int) -> list[str]:
    """Wait until a subscriber has printed ``count`` lines, and return all of them."""
    deadline = time.monotonic() + 60
    while output.read_text().count("\n") < count and time.monotonic() < deadline:
        time.sleep(0.05)
    return output.read_text().splitlines()


def test_there_is_an_example_of_each_client() -> None:
    assert list(PUBLISHERS) == list(CAUSES)
    assert len(SUBSCRIBERS) == len(CLIENTS)
    for examples in (list(PUBLISHERS.values()), SUBSCRIBERS):
        assert all(client.replace("-", "_").removesuffix("_python") in example
                   for client, example in zip(CLIENTS, examples, strict=True))  # fmt: skip


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_reads_a_trigger_for_what_each_client_published(published: Deployment, client: str) -> None:
    lines = lines_of(published.directory / f"{client}.out", len(CAUSES))
    assert sorted(lines) == [
        f"{voter} hello eager rose from 0.0000 to 1.0000 and crossed 0.5 after {cause}"
        for voter, cause in CAUSES.items()
    ]
