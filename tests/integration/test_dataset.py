"""``groundswell dataset`` as it is typed, on a broker and a Redis: the same rows as of the same log in memory."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
from kafka import KafkaProducer

from stream.commands import topics
from stream.commands.dataset import DatasetOptions, write_sources
from stream.commands.rows import read_metadata
from stream.embedded import EmbeddedServices
from stream.records import ContentId
from stream.settings import Settings
from tests.integration.deployments import deployment
from tests.logs import Generator, Log
from tests.simulation.topics import MemoryDeployment

COUNT = 3
OPTIONS = DatasetOptions("social.share within 12h", every="3h", negatives=0.5, check=2)


def log_of(seed: int, number: int) -> Log:
    """Return a log of some days whose time passes by ticks, as on a broker without append times."""
    generator = Generator(seed, (number, COUNT))
    generator.voters, generator.strangers = generator.draw_voters(12)
    generator.pace_ms, generator.append_times, generator.offset, generator.gaps = 1_200_000, "none", 0, 0.0
    return generator.run(250)


def write(settings: Settings, logs: list[Log]) -> None:
    with closing(KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)) as producer:
        for log in logs:
            for key, content in log.contents.items():
                producer.send(settings.topic("config"), content, ContentId(*key).key().encode())
            for row in log.rows:
                headers = [(name, text or b"") for name, text in row.headers]
                producer.send(settings.topic("events"), row.value or b"", row.key, headers, log.partition)
        producer.flush()


def test_command_writes_the_rows_of_the_log(tmp_path: Path) -> None:
    logs = [log_of(seed, number) for number, seed in enumerate((3, 4, 5))]
    out = tmp_path / "rows.parquet"
    with (
        EmbeddedServices() as services,
        deployment(services.bootstrap_servers, services.redis_url, tmp_path) as settings,
    ):
        topics.create(settings)
        write(settings, logs)
        words = ["--kafka", services.bootstrap_servers, "--redis", services.redis_url]
        words += ["--namespace", settings.namespace, "dataset"]
        words += ["--label", OPTIONS.label, "--out", str(out), "--every", OPTIONS.every]
        words += ["--negatives", str(OPTIONS.negatives), "--check", str(OPTIONS.check)]
        done = subprocess.run([sys.executable, "-m", "stream", *words], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rows know nothing of the future" in done.stdout
    twin = tmp_path / "twin.parquet"
    asyncio.run(write_sources(MemoryDeployment(logs).sources(), OPTIONS, twin))
    found = pq.read_table(out)
    assert found.num_rows > 200
    assert found.equals(pq.read_table(twin))
    assert read_metadata(out)["counts"] == read_metadata(twin)["counts"]
