from __future__ import annotations

import gc
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from stream.cli import main

COMMANDS = (
    *("worker", "topics", "check", "publish", "watch", "config", "voter", "verify", "init", "restore", "embedded"),
    *("demo", "snapshot", "keys", "model", "dataset", "train", "features"),
)
HEAVY = ("numba", "numpy", "faust", "kafka", "aiokafka", "redis", "pydantic", "rich")
NOWHERE = ("--kafka", "127.0.0.1:1", "--redis", "redis://127.0.0.1:1/0")


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    """Return exit status, standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["groundswell", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    status = ended.value.code
    assert isinstance(status, int)
    return status, captured.out, captured.err


def test_help_names_every_command() -> None:
    words = [sys.executable, "-m", "stream", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  ([a-z]+) ", done.stdout, re.MULTILINE)) == set(COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    look = f"import sys, stream.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version_is_the_distributions(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(capsys, monkeypatch, "--version") == (0, f"groundswell {version('groundswell')}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--set", "novalue", "check"),
        ("--no-such-flag",),
        ("publish",),
        ("watch", "--max", "0"),
        ("no-such-command",),
        ("config", "apply", "--first", "--end-trials"),
    ],
)
def test_wrong_usage_is_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    status, _, errors = run(capsys, monkeypatch, *arguments)
    assert status == 2
    assert "Error: " in errors


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--config", "absent.toml", "check"), "absent.toml"),
        (("--set", "topics.partitions=none", "check"), "flag: topics.partitions = 'none'"),
        (("--namespace", "No", "topics", "create"), "flag: namespace = 'No'"),
        ((*NOWHERE, "config", "apply", "absent"), "absent/models: no such directory"),
        ((*NOWHERE, "publish", "-", "--rate", "-1"), "rate is -1.0, expected a number above 0"),
        ((*NOWHERE, "voter", "show", ""), "expected 1 to 64"),
        ((*NOWHERE, "verify", "--from", "noon"), "'noon' is neither an offset nor a time"),
        (
            (*NOWHERE, "dataset", "--label", "social.poke within 1d", "--out", "rows.parquet"),
            "label 'social.poke within 1d': at character 1 there is 'social.poke'",
        ),
        ((*NOWHERE, "train", "fame"), "models/fame.toml: no such recipe, expected a file, or one of"),
        ((*NOWHERE, "train", "fame.toml"), "fame.toml cannot be read"),
        ((*NOWHERE, "init", "--from", "noon"), "'noon' is neither an offset nor a time"),
    ],
)
def test_error_is_one_clear_text_and_status_1(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, output, errors = run(capsys, monkeypatch, *arguments)
    assert (status, output) == (1, "")
    assert errors.startswith("groundswell: ")
    assert says in errors


@pytest.mark.parametrize(
    ("done", "says"), [(None, "something is active already, and is left as it is\n"), ("1 contents", "1 contents\n")]
)
def test_first_configuration_says_whether_it_was_applied(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, done: str | None, says: str
) -> None:
    monkeypatch.setattr("stream.commands.config.apply_first", lambda _settings, _directory: done)
    monkeypatch.setattr(sys, "argv", ["groundswell", "config", "apply", "--first"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in {0, None}
    assert capsys.readouterr().out == says


def test_worker_sets_up_the_interpreter_as_its_settings_say(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    thresholds: list[tuple[int, ...]] = []
    intervals: list[float] = []
    monkeypatch.setattr(gc, "set_threshold", lambda *given: thresholds.append(given))
    monkeypatch.setattr(sys, "setswitchinterval", intervals.append)
    flags = ("--set", "worker.garbage_objects=12345", "--set", "worker.switch_ms=2")
    assert run(capsys, monkeypatch, *flags, *NOWHERE, "worker")[0] == 1
    assert thresholds == [(12345, *gc.get_threshold()[1:])]
    assert intervals == [0.002]
