"""``groundswell embedded`` runs in the foreground, says how to reach it, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "stream", "embedded"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def read_settings(process: subprocess.Popen[str]) -> dict[str, str]:
    """Return the settings that it prints, once it has printed all."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            break
    return dict(re.findall(r"export (\w+)=(\S+)", "".join(lines)))


@pytest.mark.parametrize("sent", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGTERM, signal.SIGINT, signal.SIGTERM]])
def test_signal_ends_it_and_leaves_nothing(
    embedded: subprocess.Popen[str], tmp_path: Path, sent: list[signal.Signals]
) -> None:
    settings = read_settings(embedded)
    with redis.Redis.from_url(settings["GROUNDSWELL_REDIS__URL"]) as client:
        assert client.ping()
    assert ":" in settings["GROUNDSWELL_KAFKA__BOOTSTRAP_SERVERS"]
    assert list(tmp_path.iterdir())
    for one in sent:
        embedded.send_signal(one)
    _, errors = embedded.communicate(timeout=20)
    assert (embedded.returncode, errors) == (0, "")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(redis.ConnectionError), redis.Redis.from_url(settings["GROUNDSWELL_REDIS__URL"]) as client:
        client.ping()


def test_service_that_ends_by_itself_ends_it_with_a_reason(embedded: subprocess.Popen[str], tmp_path: Path) -> None:
    settings = read_settings(embedded)
    with redis.Redis.from_url(settings["GROUNDSWELL_REDIS__URL"]) as client:
        client.shutdown(nosave=True, now=True)
    _, errors = embedded.communicate(timeout=20)
    assert embedded.returncode == 1
    assert "ended by itself" in errors
    assert list(tmp_path.iterdir()) == []
