"""The life of a model by commands alone, on the embedded services: ten changes, and a replay that gives the same."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from stream.cli import main
from stream.commands import topics
from stream.commands.verify import verify
from stream.embedded import EmbeddedServices
from stream.settings import Settings
from tests.integration.deployments import MODEL, deployment, event, process

PARTITIONS = 3
VOTERS = [f"voter-{number}" for number in range(30)]
Run = Callable[..., str]


@pytest.fixture(scope="module")
def services() -> Iterator[EmbeddedServices]:
    with EmbeddedServices() as embedded:
        yield embedded


@pytest.fixture
def settings(services: EmbeddedServices, tmp_path: Path) -> Iterator[Settings]:
    with deployment(services.bootstrap_servers, services.redis_url, tmp_path) as settings:
        topics.create(settings)
        yield settings


@pytest.fixture
def run(settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    flags = ["--kafka", settings.kafka.bootstrap_servers, "--redis", settings.redis.url]
    flags += ["--namespace", settings.namespace, "--set", f"topics.partitions={PARTITIONS}"]
    flags += ["--set", f"configuration_directory={settings.configuration}"]

    def run(*arguments: str, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["groundswell", *flags, *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert ended.value.code == status, captured
        return captured.out if status == 0 else captured.err

    return run


def roles_of(run: Run) -> dict[str, str]:
    """Return by role the bias of the version of ``eager`` that has it in every partition."""
    rows: list[dict[str, Any]] = orjson.loads(run("model", "list", "--json"))
    return {row["role"]: row["description"] for row in rows if row["role"] and len(row["partitions"]) == PARTITIONS}


def like_all(run: Run, settings: Settings, tmp_path: Path, name: str) -> None:
    """Publish an event of each voter, and have every partition take what its log holds."""
    file = tmp_path / "events"
    # This broker gives no append time, by which alone the log would know when it was.
    file.write_bytes(b"\n".join(event(f"{name}-{voter}", voter, time="2026-09-21T10:00:00Z") for voter in VOTERS))
    run("publish", str(file))
    topic = topics.facts(settings)
    for partition in range(PARTITIONS):
        asyncio.run(process(settings, topic, partition))


def version(tmp_path: Path, bias: str) -> Path:
    file = tmp_path / f"eager-{bias}.json"
    fields = orjson.loads(MODEL) | {"bias": float(bias), "description": bias}
    file.write_bytes(orjson.dumps(fields))
    return file


def test_model_comes_is_tried_promoted_taken_back_and_retired(run: Run, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "models" / "eager.json").write_bytes(version(tmp_path, "0.1").read_bytes())
    run("config", "apply")
    assert "is shadow" in run("model", "shadow", "eager", str(version(tmp_path, "0.2")))
    # Before any worker has met the first two: what the log says counts, not what Redis has.
    assert "is canary for 0.5 of the voters" in run(
        "model", "canary", "eager", str(version(tmp_path, "0.3")), "--share", "0.5"
    )
    like_all(run, settings, tmp_path, "a")
    assert roles_of(run) == {"active": "0.1", "shadow": "0.2", "canary": "0.3"}
    run("model", "activate", "eager")
    like_all(run, settings, tmp_path, "b")
    assert roles_of(run) == {"active": "0.3", "shadow": "0.2", "previous": "0.1"}
    assert "rank correlation" in run("model", "compare", "eager")
    figures = orjson.loads(run("model", "compare", "eager", "--json"))
    assert figures["voters"] == len(VOTERS)
    mean = figures["figures"]["mean"]
    assert mean["version"] - mean["against"] == pytest.approx(-0.1)
    run("model", "rollback", "eager")
    like_all(run, settings, tmp_path, "c")
    assert roles_of(run) == {"active": "0.1", "shadow": "0.2", "previous": "0.3"}
    assert "'hello'" in run("model", "retire", "eager", status=1)
    listed = orjson.loads(run("model", "list", "--json"))
    shadow = next(row["version"] for row in listed if row["role"] == "shadow")
    run("model", "canary", "eager", "--version", shadow[:8], "--share", "0.2")
    assert "is active already" in run("model", "activate", "eager", "--version", listed[0]["version"], status=1)
    like_all(run, settings, tmp_path, "d")
    assert roles_of(run) == {"active": "0.1", "canary": "0.2", "previous": "0.3"}
    assert "canary  model eager" in run("config", "apply")
    run("model", "retire", "eager", "--version", shadow)
    (tmp_path / "campaigns" / "hello.toml").unlink()
    run("config", "apply")
    run("model", "retire", "eager")
    like_all(run, settings, tmp_path, "e")
    assert roles_of(run) == {"previous": "0.1"}
    run("model", "rollback", "eager")
    like_all(run, settings, tmp_path, "f")
    assert roles_of(run) == {"active": "0.1"}
    report = verify(settings, None, None, None)
    assert report.exit_status == 0, str(report)
