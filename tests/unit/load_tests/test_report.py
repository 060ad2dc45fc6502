"""Result rows: what holds, and what is written."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from load_tests import report
from load_tests.report import Row, compare, judge, spread, write


def test_a_ratio_at_its_goal_holds_and_one_below_does_not() -> None:
    assert judge("events/s", 70.0, 100.0, 0.7) == Row("events/s", 70.0, 100.0, 0.7, 0.7, True)
    assert judge("events/s", 69.0, 100.0, 0.7).holds is False


def test_of_less_is_better_the_most_is_the_goal() -> None:
    assert judge("seconds", 2.0, None, 2.0, "less").holds is True
    assert judge("seconds", 2.1, None, 2.0, "less").holds is False


def test_what_has_no_goal_neither_holds_nor_fails() -> None:
    assert compare("CPU us", 9.0, 12.0) == Row("CPU us", 9.0, 12.0, 0.75, None, None)


def test_median_and_range_are_told() -> None:
    assert spread([3000.0, 1000.0, 2000.0]) == "2,000  (1,000 to 3,000)"


def test_rows_are_written_as_every_benchmark_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    path = write("bench", [judge("events/s", 50.0, 100.0, 0.7)])
    assert path == tmp_path / "results" / "bench.json"
    expected = {"measure": "events/s", "ours": 50.0, "reference": 100.0, "ratio": 0.5, "goal": 0.7, "holds": False}
    assert orjson.loads(path.read_bytes()) == [expected]
