"""What the benchmark of snapshots reads off a worker's account of its batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from load_tests.rig import BenchmarkError
from load_tests.snapshot import VOTER_BYTES, Measured, Memory, report, span
from load_tests.watched import BATCH, SNAPSHOT, Done, read

DONE = [
    Done(BATCH, 10.0, 0.5, 100, 0.0, 10),
    Done(BATCH, 11.0, 0.5, 200, 0.25, 20),
    Done(SNAPSHOT, 11.5, 1.5, 1000, 0.25),
    Done(BATCH, 13.0, 1.0, 300, 0.75, 30),
    Done(BATCH, 20.0, 1.0, 400, 0.75, 40),
]


def memory() -> Memory:
    made = Memory(cast(Any, None))
    made._samples = [(9.0, 9_000_000), (11.0, 2_000_000), (12.0, 3_000_000), (20.0, 8_000_000)]
    return made


def test_standstill_counts_where_it_ends_and_less_what_others_took_of_the_processors() -> None:
    found = span(DONE, memory(), 10.5, 14.0)
    assert found.rows == 500
    assert found.rate == pytest.approx(500 / 3.5)
    assert found.batches == (0.5, 1.0)
    assert found.standstills == (1.0, 2.0)
    assert found.undisturbed == (0.75, 1.5)
    assert found.memory_bytes == 3_000_000 - 30 * VOTER_BYTES


def test_time_without_a_batch_is_no_figure() -> None:
    with pytest.raises(BenchmarkError, match="no batch in"):
        span(DONE, memory(), 14.0, 15.0)


def test_account_is_read_back_but_for_a_line_that_is_half_written(tmp_path: Path) -> None:
    told = tmp_path / "told"
    told.write_bytes(b"".join(done.line() for done in DONE) + b"batch 21.0 0")
    assert read(told) == DONE


def test_pause_is_what_a_snapshot_adds_to_the_longest_standstill_beside_the_time_of_a_batch() -> None:
    quiet, busy = span(DONE, memory(), 9.0, 12.0), span(DONE, memory(), 12.0, 14.0)
    pause, seconds, *_ = report([Measured(quiet, busy, 500, 0.1)], 1000)
    assert pause.ours == pytest.approx(750.0)
    assert pause.reference == pytest.approx(750.0)
    assert pause.holds
    assert seconds.ours == 2.0
