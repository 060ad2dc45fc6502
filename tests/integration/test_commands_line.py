"""The command line as an operator uses it, on the embedded services."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from stream.cli import main
from stream.commands.topics import facts
from stream.embedded import EmbeddedServices
from stream.partitioning import partition_of
from stream.settings import Settings
from tests.integration.deployments import deployment, event, process, send

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def services() -> Iterator[EmbeddedServices]:
    with EmbeddedServices() as embedded:
        yield embedded


@pytest.fixture
def settings(services: EmbeddedServices, tmp_path: Path) -> Iterator[Settings]:
    with deployment(services.bootstrap_servers, services.redis_url, tmp_path) as settings:
        yield settings


def flags_of(settings: Settings) -> list[str]:
    flags = ["--kafka", settings.kafka.bootstrap_servers, "--redis", settings.redis.url]
    flags += ["--namespace", settings.namespace, "--set", "topics.partitions=3"]
    return [*flags, "--set", f"configuration_directory={settings.configuration}"]


@pytest.fixture
def run(settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["groundswell", *flags_of(settings), *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        status = ended.value.code
        assert isinstance(status, int)
        return status, captured.out, captured.err

    return run


def test_from_topics_to_a_voter_by_commands_alone(run: Run, settings: Settings, tmp_path: Path) -> None:
    status, _, errors = run("check")
    assert (status, errors) == (1, "")
    status, output, _ = run("topics", "create")
    assert (status, output.count("created ")) == (0, 4)
    status, output, _ = run("topics", "create")
    assert (status, output.count("created ")) == (0, 0)
    status, output, _ = run("check")
    assert (status, output.splitlines()[-1]) == (0, "fit for a worker")
    status, output, _ = run("config", "apply")
    assert (status, output.splitlines()[-1]) == (0, "2 contents activated in 3 partitions in one transaction")
    file = tmp_path / "events"
    file.write_bytes(event("1", "ada") + b"\n{\n")
    status, output, errors = run("publish", str(file))
    assert (status, output) == (1, "1 sent, 1 refused (1 not_json)\n")
    assert errors.startswith("line 2: not_json")
    file.write_bytes(event("2", "ada"))
    assert run("publish", str(file), "--rate", "100")[:2] == (0, "1 sent, 0 refused\n")
    assert run("voter", "show", "ada")[0] == 1
    asyncio.run(process(settings, facts(settings), partition_of(b"ada", 3)))
    status, output, _ = run("voter", "show", "ada")
    assert (status, "score.eager" in output, "social.like.decayed_7d" in output) == (0, True, False)
    assert "social.like.decayed_7d" in run("voter", "show", "ada", "--all")[1]
    status, output, _ = run("voter", "show", "ada", "--json")
    assert (status, orjson.loads(output)["last_event"]["id"]) == (0, "2")
    status, output, _ = run("config", "show")
    assert (status, output.count(f"active: in partitions {partition_of(b'ada', 3)}\n")) == (0, 2)
    assert "has state already" in run("init", "--from", "0")[2]


def test_watch_ends_in_peace_when_its_reader_has_gone(run: Run, settings: Settings) -> None:
    run("topics", "create")
    data = {"campaign": "c", "score_before": 0.0, "score_after": 1.0, "why": "because"}
    send(settings, "triggers", [event(str(number), "v", data=data) for number in range(3)])
    words = [sys.executable, "-m", "stream", *flags_of(settings), "watch", "--from-beginning"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        assert "because" in watching.stdout.readline()
        watching.stdout.close()
        # It notices with the next line that it writes.
        send(settings, "triggers", [event("more", "v", data=data)] * 3)
        assert watching.wait(30) == 0
        assert watching.stderr.read() == ""
