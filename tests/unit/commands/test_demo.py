"""The way into a running demo: a settings file that leads every command to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.commands.demo import settings_text, way_in
from stream.commands.keys import new
from stream.settings import Settings


def test_settings_file_of_a_demo_leads_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / 'it\'s "here", \\ ü'
    directory.mkdir()
    new("demo", directory / "keyring")
    environment = {
        "GROUNDSWELL_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:4711",
        "GROUNDSWELL_KAFKA__SESSION_TIMEOUT_SECONDS": "6",
        "GROUNDSWELL_REDIS__URL": "redis://127.0.0.1:4712/0",
        "GROUNDSWELL_CONFIGURATION_DIRECTORY": str(directory),
        "GROUNDSWELL_TOPICS__PARTITIONS": "4",
        "GROUNDSWELL_SECURITY__KEYS_FILE": str(directory / "keyring"),
    }
    file = directory / "groundswell.toml"
    file.write_text(settings_text(environment))
    monkeypatch.setenv("GROUNDSWELL_CONFIG", str(file))
    settings = Settings.load()
    assert settings.kafka.bootstrap_servers == "127.0.0.1:4711"
    assert (settings.kafka.session_timeout_seconds, settings.topics.partitions) == (6.0, 4)
    assert settings.redis.url == "redis://127.0.0.1:4712/0"
    assert settings.configuration == directory
    keyring = settings.keyring()
    assert keyring is not None
    assert keyring.ids == ["demo"]


def test_way_in_can_be_typed() -> None:
    assert way_in(Path("/srv/a demo/groundswell.toml"), 6066) == (
        "In a shell without other GROUNDSWELL_ variables this leads every command here:\n"
        "export GROUNDSWELL_CONFIG='/srv/a demo/groundswell.toml'\n"
        "Metrics: http://127.0.0.1:6066/metrics"
    )
