"""Logs that give no row, or none to train on: what is said of them, and that no file is left."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stream.commands.dataset import DatasetOptions, write_sources
from stream.errors import ConfigurationError
from tests.logs import told
from tests.simulation.topics import MemoryDeployment, MemoryTopic

LIKED = DatasetOptions("social.like within 1d", every="1h")


@pytest.mark.parametrize(
    ("options", "events", "words"),
    [
        (
            replace(LIKED, check=3),
            [(0, "v", "social.like", None)],
            "no voter who had done something came to be looked at",
        ),
        (
            replace(LIKED, every="52w"),
            [(0, "v", "social.like", None), (50, "v", "social.like", None)],
            "+00:00, and no voter who had done something came to be looked at, once in every 52w",
        ),
        (
            LIKED,
            [(0, "v", "social.like", None), (50, "v", "privacy.erased", None)],
            "all 1 voters were erased or are without consent",
        ),
        (
            replace(LIKED, negatives=1e-9),
            [(0, "v", "social.like", None), (30, "v", "social.share", None)],
            "of 30, 0 are left out without an answer within the horizon, 0 without consent or before the voter had "
            "done anything, the others by --negatives",
        ),
        (
            LIKED,
            [(0, "v", "consent.granted", None), (30, "v", "consent.granted", None)],
            "30 without consent or before the voter had done anything",
        ),
    ],
)
async def test_log_that_gives_no_row_is_refused_with_the_reason(
    options: DatasetOptions, events: list[tuple[int, str, str, dict[str, Any] | None]], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        await write_sources(MemoryDeployment([told(*events)]).sources(), options, tmp_path / "rows.parquet")
    assert list(tmp_path.iterdir()) == []


async def test_empty_log_is_refused(tmp_path: Path) -> None:
    made = MemoryDeployment([told((0, "v", "social.like", None))])
    made.topics["events", 0] = MemoryTopic()
    with pytest.raises(ConfigurationError, match="is empty: there is nothing to take rows from"):
        await write_sources(made.sources(), LIKED, tmp_path / "rows.parquet")


async def test_log_without_a_time_is_refused(tmp_path: Path) -> None:
    log = told((0, "v", "social.like", None), (1, "v", "social.like", None))
    log.rows[:] = [replace(row, append_time=None) for row in log.rows]
    with pytest.raises(ConfigurationError, match=r"holds 2 records and no log time yet: .* ticks have not come"):
        await write_sources(MemoryDeployment([log]).sources(), LIKED, tmp_path / "rows.parquet")


async def test_rows_whose_labels_are_all_open_are_said_to_be_so_and_refused_to_who_trains(tmp_path: Path) -> None:
    log, out = told((0, "v", "social.like", None), (20, "v", "social.like", None)), tmp_path / "rows.parquet"
    done = await write_sources(MemoryDeployment([log]).sources(), LIKED, out)
    assert "no row's label is complete, so none trains" in str(done)
    before = out.read_bytes()
    with pytest.raises(ConfigurationError, match=r"expected more than the horizon of label 'social.like within 1d'"):
        await write_sources(MemoryDeployment([log]).sources(), replace(LIKED, check=9), out, complete=True)
    assert out.read_bytes() == before
    longer = told((0, "v", "social.like", None), (25, "v", "social.like", None))
    assert "none trains" not in str(
        await write_sources(MemoryDeployment([longer]).sources(), LIKED, out, complete=True)
    )
