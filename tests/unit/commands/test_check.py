from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from stream.commands.check import _kernels, _misfits, is_fit, show
from stream.commands.topics import TopicFacts
from stream.records import ENGINE_VERSION, Header
from stream.stores.fitness import Finding

TOPIC = TopicFacts("engagement.events", "id-1", 2, (10, 0), (90, 50))


def header(**changes: object) -> Header:
    fields: dict[str, object] = {"topic_id": "id-1", "partition_count": 2, "owner": "", "start": 10, "offset": 50}
    return Header(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("offset", [10, 50, 90])
def test_state_within_its_log_fits(offset: int) -> None:
    assert list(_misfits(TOPIC, 0, header(offset=offset))) == []


def test_missing_state_fits_only_a_log_from_its_beginning() -> None:
    assert list(_misfits(TOPIC, 1, None)) == []
    (finding,) = _misfits(TOPIC, 0, None)
    assert finding.remedy.startswith("groundswell init --from 10 --partition 0")


@pytest.mark.parametrize(
    "changes",
    [
        {"topic_id": "id-2"},
        {"partition_count": 3},
        {"engine": ENGINE_VERSION + 1},
        {"offset": 9},
        {"offset": 91},
    ],
)
def test_state_that_does_not_fit_its_log_is_an_error(changes: dict[str, object]) -> None:
    (finding,) = _misfits(TOPIC, 0, header(**changes))
    assert finding.level == "error"
    assert finding.remedy


def test_only_an_error_is_unfit() -> None:
    levels = [Finding("a", level, "x") for level in ("ok", "note", "warning")]
    assert is_fit({"area": levels})
    assert not is_fit({"area": levels, "other": [Finding("b", "error", "y")]})


def test_remedies_stand_below_the_table_in_lines_that_can_be_copied() -> None:
    console = Console(file=io.StringIO(), width=60)
    command = "kafka-configs.sh " + "--long-option " * 10
    show(
        {"topics": [Finding("a topic", "error", "bad [red]setting", command.strip()), Finding("b", "ok", "good")]},
        console,
    )
    file = console.file
    assert isinstance(file, io.StringIO)
    lines = file.getvalue().splitlines()
    assert any(line.startswith("unfit") and "bad [red]setting" in line for line in lines)
    assert f"a topic: {command.strip()}" in lines
    assert lines[-1] == "not fit for a worker"


def test_kernels_are_kept_where_numba_has_written_some(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    assert _kernels(directory).level == "note"
    directory.mkdir()
    assert _kernels(directory).level == "note"
    (directory / "kernels.decay-1.py311.nbi").touch()
    assert _kernels(directory).level == "ok"
