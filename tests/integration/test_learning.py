"""Weeks of the electorate on a live broker: what the commands make of its log, and that it is what its log says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from load_tests.learning.commands import learn_by_command, take_in
from load_tests.learning.deployment import CommandFailedError, Deployment
from load_tests.learning.table import recipes
from load_tests.learning.world import Scale, World, live
from stream.commands.rows import COLUMNS, read_metadata
from stream.commands.training.training import options_of
from stream.features import FEATURES

FEW = Scale(voters=400, days=24, events_a_day=2.0, seed=4)


def weeks_in(world: World) -> Iterator[tuple[int, list[tuple[bytes, bytes]]]]:
    """Give a world's events by the time at which they came, without what the commands write themselves."""
    events = [record for record in world.records if record.key is not None]
    for time_ms, came in groupby(events, key=lambda record: record.append_time_ms):
        yield time_ms, [(record.key or b"", record.value or b"") for record in came]


def sorted_rows(file: Path) -> pa.Table:
    return pq.read_table(file).sort_by([("voter", "ascending"), ("time_ms", "ascending")])


def test_commands_make_the_rows_and_a_model_of_weeks_on_a_live_broker(
    services: tuple[str, str], tmp_path: Path
) -> None:
    world, [recipe], out = live(FEW), recipes(["gives_online"]), tmp_path / "out"
    world.write(options_of(recipe), tmp_path / "memory.parquet")
    with Deployment(*services, partitions=3) as deployment:
        published = deployment.publish(weeks_in(world))
        done = learn_by_command(deployment, world.electorate, recipe, out)
        rows = deployment.directory / "gives_online.parquet"
        expected = sorted_rows(tmp_path / "memory.parquet")
        assert expected.num_rows > 900
        assert sorted_rows(rows).equals(expected)
        assert expected.column_names == [*COLUMNS, *FEATURES]
        period = ("begin_ms", "end_ms", "complete_until_ms", "counts")
        found, wanted = read_metadata(rows), read_metadata(tmp_path / "memory.parquet")
        assert [found[key] for key in period] == [wanted[key] for key in period]
        said = take_in(deployment, "gives_online", out)
    assert published == len([record for record in world.records if record.key is not None])
    assert 0 < done.line.positives < done.line.rows
    assert done.line.model > 0.7
    assert done.line.truth > 0.8
    assert (out / "gives_online.card" / "card.html").exists()
    assert done.train.output.startswith(f"taken from the log (rows): {expected.num_rows} rows of 400 voters")
    assert "AUC" in done.train.output
    assert "parquet" not in done.train.output
    assert all(ran.peak > 100_000_000 and ran.processor > 0 for ran in (done.dataset, done.train))
    assert "is shadow: in 3 partitions" in said


def test_command_on_a_log_without_voters_says_so(services: tuple[str, str], tmp_path: Path) -> None:
    with Deployment(*services, partitions=1) as deployment:
        assert deployment.publish(()) == 0
        out = tmp_path / "rows.parquet"
        with pytest.raises(CommandFailedError, match="there are no rows: the log goes from 2026-09-01T00:00:00"):
            deployment.run("dataset", "--label", "social.like within 1d", "--out", str(out))
        assert not out.exists()
