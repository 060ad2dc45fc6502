"""What treelite's parsers, written in C++, make of hostile files stays in a process that bounds itself."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import orjson
import pytest

from stream.commands import imports
from stream.commands.imports import import_model
from stream.commands.treelite_import import BYTES, REFUSED, SECONDS, limit, print_trees
from stream.errors import ConfigurationError
from stream.features import FEATURES
from stream.scoring import read_model
from tests.contracts.hostile_models import NAMES, Hostile, hostile, sound

SUFFIXES = {"xgboost-json": "json", "xgboost-ubj": "ubj", "treelite": "tl"}
PARTS = 8
"""Most of their time is what a file may take before its process is ended, so they are shared out."""


def attempt(kind: str, file: str, output: str, reason: str) -> None:
    """Read a file in this process, which ends as the command's does."""
    for number, path in ((1, output), (2, reason)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    status = print_trees(kind, file, NAMES)
    sys.stdout.flush()
    sys.stderr.flush()
    # To take everything imported apart would take longer than all else.
    os._exit(status)


def show_limits(file: str) -> None:
    """Write what this process may take once it has bounded itself."""
    limit()
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_CORE)
    Path(file).write_bytes(orjson.dumps([resource.getrlimit(kind) for kind in kinds]))


def forking() -> Any:
    """Return processes that begin where everything is imported: each alone would import for a second."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["stream.commands.treelite_import", "treelite", __name__])
    return context


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Hostile]:
    return list(hostile(sound(tmp_path_factory.mktemp("sound"))))


@pytest.mark.parametrize("part", range(PARTS))
def test_every_hostile_file_is_refused_with_a_reason_or_ends_its_process_alone(
    part: int, files: list[Hostile], tmp_path: Path
) -> None:
    context = forking()
    broken: list[tuple[str, str, int, list[str]]] = []
    ends: set[int] = set()
    for number, (what, kind, data) in enumerate(files[part::PARTS]):
        file, output, reason = (tmp_path / f"{number}.{end}" for end in (SUFFIXES[kind], "out", "err"))
        file.write_bytes(data)
        process = context.Process(target=attempt, args=(kind, str(file), str(output), str(reason)))
        process.start()
        process.join()
        status, lines = process.exitcode, reason.read_text(errors="replace").splitlines()
        ends.add(status)
        if status == 0:
            trees = orjson.loads(output.read_bytes())["forest"]
            read_model(orjson.dumps({"name": "m", "kind": "trees", **trees}), FEATURES)
        elif status > 0 and (status != REFUSED or not lines or not 0 < len(lines[-1]) < 1000):
            broken.append((what, kind, status, lines[-1:]))
        file.unlink()
    assert not broken
    assert REFUSED in ends


def test_process_that_reads_a_file_has_five_seconds_and_a_gigabyte(tmp_path: Path) -> None:
    process = forking().Process(target=show_limits, args=(str(tmp_path / "limits"),))
    process.start()
    process.join()
    memory, seconds, core = orjson.loads((tmp_path / "limits").read_bytes())
    assert memory[0] == memory[1]
    assert BYTES == 1 << 30 < memory[0] < BYTES + (1 << 34)
    assert SECONDS == 5
    assert seconds[0] == seconds[1]
    assert core == [0, 0]


@pytest.mark.parametrize(
    ("status", "errors", "message"),
    [
        (-11, b"", "not read by treelite within 5 s and 1073741824 bytes: it ended with -11"),
        (-24, b"half a line", "it ended with -24"),
        (1, b"Traceback\nValueError: x\n", "within 5 s and 1073741824 bytes: ValueError: x"),
        (REFUSED, b"a warning\nmodel.ubj: tree 0: split 1 is not there\n", "^model.ubj: tree 0: split 1 is not there$"),
        (REFUSED, b"x" * 10_000, "^x{1000}$"),
    ],
)
def test_however_that_process_ends_the_file_is_refused(
    status: int, errors: bytes, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, names = tmp_path / "model.ubj", tmp_path / "names.txt"
    file.write_bytes(b"{")
    names.write_text("\n".join(NAMES))

    def run(command: Any, **given: Any) -> subprocess.CompletedProcess[bytes]:
        assert command[-2:] == ["xgboost-ubj", str(file)]
        assert given["timeout"] == 60
        return subprocess.CompletedProcess(command, status, b"", errors)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ConfigurationError, match=message):
        import_model(file, "m", features=names)


def test_process_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(b"{}")
    monkeypatch.setattr(imports, "_WAIT_SECONDS", 0.001)
    with pytest.raises(ConfigurationError, match=r"was not read within 0\.001 s"):
        import_model(tmp_path / "model.json", "m")
