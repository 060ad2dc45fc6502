"""What ends a command from outside lets it clear up: rows hold voter ids, and nobody would look for what is left."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream.cli import app
from stream.commands import dataset
from stream.commands.dataset import DatasetOptions, write_sources
from stream.commands.labels import Label
from stream.commands.temporary import ended_in_order
from stream.settings import Settings
from tests.logs import Generator
from tests.simulation.topics import MemoryDeployment

TERMINATED = 128 + signal.SIGTERM


@pytest.mark.parametrize("passes", ["looking at", "taking rows of"])
def test_terminated_pass_leaves_no_rows(passes: str, tmp_path: Path) -> None:
    generator = Generator(1, (0, 1))
    generator.pace_ms = 1_200_000
    log = generator.run(60)

    def step(what: str, _partition: int, _done: int, _total: int) -> None:
        if what == passes:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    sources = MemoryDeployment([log]).sources()
    options = DatasetOptions("social.like within 1h", every="1h")
    with pytest.raises(SystemExit) as raised, ended_in_order():
        asyncio.run(write_sources(sources, options, tmp_path / "rows.parquet", step))
    assert raised.value.code == TERMINATED
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before


WORDS = [
    ["dataset", "--label", "social.like within 1d", "--out", "rows.parquet"],
    ["train", "persuadable"],
]


@pytest.mark.parametrize("words", WORDS)
def test_terminated_command_leaves_no_temporary_files(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def write(
        _settings: Settings,
        _options: DatasetOptions,
        file: Path,
        *,
        labels: Sequence[Label] = (),
        complete: bool = False,
    ) -> None:
        if file.is_absolute():
            file.write_text("rows")
        asked.extend(label.text for label in labels)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(dataset, "write_dataset", write)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("GROUNDSWELL_CONFIG", str(Path("configs/groundswell.toml").absolute()))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == TERMINATED, done.output
    assert list(tmp_path.iterdir()) == []
    # Names in the treatment's label are looked up before the first rows are taken.
    assert asked == (["message.delivered where campaign=letter within 7d"] if "train" in words else [])
