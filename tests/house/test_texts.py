"""The project's text speaks of itself alone, and nothing promised is left open."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Assembled, so that this file does not hold what it forbids.
MACHINE_PATHS = re.compile(r"(?<![\w.])/" + "work/")
UNFINISHED = re.compile(r"\b(" + "TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|raise Not" + "ImplementedError")


def texts() -> dict[str, str]:
    """Return every text file of the project, by name."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    found = {}
    for name in names:
        try:
            found[name] = (ROOT / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
    return found


@pytest.fixture(scope="module")
def project() -> dict[str, str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: no list of the project's own files")
    return texts()


def places(project: dict[str, str], pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in project.items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_text_names_a_path_of_one_machine(project: dict[str, str]) -> None:
    assert project
    assert places(project, MACHINE_PATHS) == []


def test_nothing_is_left_open(project: dict[str, str]) -> None:
    source = {name: text for name, text in project.items() if name.endswith(".py")}
    assert source
    assert places(source, UNFINISHED) == []


def test_extra_that_an_error_names_is_one_of_the_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    calls = [
        call
        for file in (ROOT / "stream").rglob("*.py")
        for call in re.findall(r'not_installed\("(\w+)", "(\w+)"\)', file.read_text())
    ]
    assert {extra for _, extra in calls} == {"models", "train"}
    assert [name for name, extra in calls if not any(line.startswith(name) for line in extras[extra])] == []
