"""The dataset's benchmark: as `make bench PARTS=dataset ROUNDS=1` calls it, and what several runs count as."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from load_tests import dataset, report
from load_tests.dataset import Taken, peak_at, taken_together


def test_benchmark_takes_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def run(words: list[str], **_options: Any) -> subprocess.CompletedProcess[bytes]:
        ran.append(words)
        one = Taken(int(words[-1]), 10, 1_000 * len(ran), 2.0, 1.0, 10)
        return subprocess.CompletedProcess(words, 0, json.dumps(asdict(one)).encode())

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    assert dataset.main(["--rounds", "2", "--events", "100", "200"]) == 0
    assert [words[-1] for words in ran] == ["100", "100", "200", "200"]
    assert ran[0][:-1] == [sys.executable, "-m", "load_tests.dataset", "--take"]
    rows = {row["measure"]: row["ours"] for row in json.loads((tmp_path / "dataset.json").read_bytes())}
    assert rows["peak memory with 200 events, bytes"] == 4_000
    with pytest.raises(SystemExit):
        dataset.main(["--rounds", "0"])


def test_runs_of_one_size_are_one_by_largest_peak_and_least_time() -> None:
    runs = [Taken(100, 10, 500, 4.0, 3.0, 10), Taken(100, 10, 700, 5.0, 2.0, 10)]
    assert taken_together(runs) == Taken(100, 10, 700, 4.0, 2.0, 10)


def test_peak_of_more_events_lies_on_the_line_through_the_two_largest() -> None:
    runs = [Taken(count, 10, 100 + count, 1.0, 1.0, 10) for count in (100, 10, 200)]
    assert peak_at(1_000, runs) == 1_100
    assert peak_at(200, runs) == 300
