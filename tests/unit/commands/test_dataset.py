"""Rows for training are what plain Python makes of the log, and know nothing of the future."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from rich.text import Text

from stream.commands import dataset
from stream.commands.broker import readable_errors
from stream.commands.dataset import DatasetOptions, Written, write_sources
from stream.commands.outcomes import Collector, Cuts
from stream.commands.replay import RecordFile
from stream.commands.rows import COLUMNS, RowFile, read_metadata
from stream.commands.sampling import Rows, Sampler
from stream.errors import ConfigurationError, LeakFoundError, StateMismatchError, TemporaryStorageError
from stream.features import FEATURES, read_rows
from stream.records import VOTER
from stream.settings import Settings
from stream.snapshots import MemorySnapshots
from tests.logs import BEGIN_MS, HOUR_MS, Generator, Log, told
from tests.oracle_events import format_time
from tests.oracle_rows import Asked, Expected, rows_of
from tests.simulation.topics import MemoryDeployment, MemoryReader, work
from tests.unit.snapshots import kept

DAY_MS = 24 * HOUR_MS


def log_of(seed: int, place: tuple[int, int] = (0, 1), length: int = 260) -> Log:
    """Return a log of some days and of some voters: most generated ones are of seconds."""
    generator = Generator(seed, place)
    generator.voters, generator.strangers = generator.draw_voters(12)
    generator.pace_ms = 1_200_000
    return generator.run(length)


async def written(logs: list[Log], options: DatasetOptions, out: Path) -> Written:
    return await write_sources(MemoryDeployment(logs).sources(), options, out)


def features_of(record: bytes, moment: int) -> list[float]:
    """Return the features of an oracle's record at a moment."""
    records = np.frombuffer(bytearray(record), VOTER)
    rows = np.empty((1, len(FEATURES)))
    read_rows(records, moment, 0, 1, np.arange(len(FEATURES)), rows)
    found: list[float] = rows[0].astype(np.float32).tolist()
    return found


def require_equal(out: Path, expected: Mapping[tuple[str, int], Expected]) -> None:
    """Compare a file with the oracle's rows."""
    table = pq.read_table(out)
    assert table.column_names == [*COLUMNS, *FEATURES]
    rows = table.to_pylist()
    found = {(row["voter"], row["time_ms"]): row for row in rows}
    assert len(found) == len(rows)
    assert set(found) == set(expected)
    for key, row in found.items():
        want = expected[key]
        assert (row["label"], row["censored"], row["split"]) == (want.label, want.label is None, want.split), key
        assert row["weight"] == np.float32(want.weight)
        assert [row[name] for name in FEATURES] == features_of(want.record, key[1]), key


CASES = [
    (
        DatasetOptions("donation.completed within 2d", every="6h"),
        Asked("donation.completed", 2 * DAY_MS, 6 * HOUR_MS),
    ),
    (
        DatasetOptions("donation.completed where amount>=5 and currency=USD within 1d", every="50m", seed=3),
        Asked(
            "donation.completed",
            DAY_MS,
            50 * 60_000,
            lambda data: data["amount"] >= 5 and data["currency"] == "USD",
            seed=3,
        ),
    ),
    (
        DatasetOptions("site.page_view where device=other within 18h", "5h", 0.3, "time", 0.4, -7),
        Asked(
            "site.page_view",
            18 * HOUR_MS,
            5 * HOUR_MS,
            # Without a taxonomy no device is known.
            lambda data: data.get("device") is not None,
            negatives=0.3,
            test=0.4,
            by_time=True,
            seed=-7,
        ),
    ),
    (
        DatasetOptions("canvass.contacted where support>=3 among support within 3d", "7h", 0.5, "voter", 0.5),
        Asked(
            "canvass.contacted",
            3 * DAY_MS,
            7 * HOUR_MS,
            lambda data: data["support"] >= 3,
            lambda data: "support" in data,
            negatives=0.5,
            test=0.5,
        ),
    ),
    (
        DatasetOptions("message.* or event.rsvp where channel=text within 1d", every="6h", negatives=0.9),
        Asked("message. event.rsvp", DAY_MS, 6 * HOUR_MS, lambda data: data.get("channel") == "text", negatives=0.9),
    ),
    (
        DatasetOptions("profile.updated where region within 1w", every="1d"),
        Asked("profile.updated", 7 * DAY_MS, DAY_MS, lambda data: "region" in data),
    ),
    (
        DatasetOptions("message.* where channel=mail within 1d", every="6h", seed=2),
        Asked("message.", DAY_MS, 6 * HOUR_MS, lambda data: data["channel"] == "mail", seed=2),
    ),
]


@pytest.mark.parametrize("seed", [1, 2, 5, 6, 9, 12])
@pytest.mark.parametrize("case", range(len(CASES)))
async def test_rows_are_what_plain_python_makes_of_the_log(seed: int, case: int, tmp_path: Path) -> None:
    options, asked = CASES[case]
    log = log_of(seed)
    expected = rows_of([log], asked)
    done = await written([log], options, tmp_path / "rows.parquet")
    require_equal(tmp_path / "rows.parquet", expected)
    counts = done.metadata["counts"]
    assert counts["rows"] == len(expected) > 0
    assert counts["positives"] == sum(row.label == 1 for row in expected.values())
    assert counts["negatives"] == sum(row.label == 0 for row in expected.values())
    assert counts["censored"] == sum(row.label is None for row in expected.values())
    for split in ("train", "test", "embargo"):
        assert counts[split] == sum(row.split == split for row in expected.values())


def test_cases_have_rows_of_every_sort() -> None:
    found = [row for _, asked in CASES for row in rows_of([log_of(1)], asked).values()]
    assert {row.label for row in found} == {0, 1, None}
    assert {row.split for row in found} == {"train", "test", "embargo"}


async def test_every_partition_gives_its_rows(tmp_path: Path) -> None:
    logs = [log_of(seed, (number, 2)) for number, seed in enumerate((3, 4))]
    for log in logs:
        log.count = 2
    options, asked = CASES[2]
    done = await written(logs, options, tmp_path / "rows.parquet")
    require_equal(tmp_path / "rows.parquet", rows_of(logs, asked))
    assert [one["partition"] for one in done.metadata["partitions"]] == [0, 1]
    assert all(one["begun"] == "where the deployment began" for one in done.metadata["partitions"])


async def test_both_passes_say_how_far_they_are(tmp_path: Path) -> None:
    told: dict[str, list[tuple[int, int]]] = {}

    def step(what: str, partition: int, done: int, total: int) -> None:
        assert partition == 0
        told.setdefault(what, []).append((done, total))

    log = log_of(6)
    await write_sources(MemoryDeployment([log]).sources(), CASES[1][0], tmp_path / "rows.parquet", step)
    total = log.rows[-1].offset + 1 - log.start
    assert list(told) == ["looking at", "taking rows of"]
    for steps in told.values():
        assert steps == sorted(steps)
        assert {of for _, of in steps} == {total}
    assert told["looking at"][-1] == (total, total)
    assert told["taking rows of"][-1] == (total, total)
    assert len(told["taking rows of"]) > 10


def test_bars_are_one_for_each_pass_however_many_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = StringIO()
    monkeypatch.setattr(dataset, "Console", lambda **_given: Console(file=screen, force_terminal=True, width=80))
    with dataset._progress_bar(shown=True) as step:
        for what in ("looking at", "taking rows of"):
            for partition in range(40):
                step(what, partition, 5, 20)
                step(what, partition, 20, 20)
    last = Text.from_ansi(screen.getvalue()).plain.split("looking at")[-1]
    assert re.findall(r"partition \d+", last) == ["partition 39"] * 2
    assert last.count("20 events") == 2


@pytest.mark.parametrize("page", [1, 7, 1000])
async def test_rows_are_the_same_however_the_log_is_fetched(page: int, tmp_path: Path) -> None:
    made = MemoryDeployment([log_of(6)])
    sources = made.sources()
    options = CASES[1][0]
    await write_sources(sources, options, tmp_path / "rows.parquet")

    def reader(name: str, partition: int) -> MemoryReader:
        return MemoryReader(made.topic(name, partition), page)

    await write_sources(replace(sources, reader=reader), options, tmp_path / "others.parquet")
    tables = [pq.read_table(tmp_path / f"{name}.parquet") for name in ("rows", "others")]
    assert tables[0].num_rows > 100
    assert tables[0].equals(tables[1])


async def test_what_comes_later_changes_no_feature(tmp_path: Path) -> None:
    log = log_of(9)
    half = len(log.rows) // 2
    before, after = log.rows[:half], log.rows[half:]
    options = DatasetOptions("donation.completed within 1d", every="3h")
    await written([log], options, tmp_path / "rows.parquet")
    # Each voter's later events become another's, a day on.
    changed = [replace(row, value=after[-1 - place].value, key=None) for place, row in enumerate(after)]
    await written([replace(log, rows=[*before, *changed])], options, tmp_path / "changed.parquet")
    now = max(row.append_time or 0 for row in before)
    assert now > BEGIN_MS
    found = [
        {
            (row["voter"], row["time_ms"]): [row[name] for name in FEATURES]
            for row in pq.read_table(tmp_path / f"{name}.parquet").to_pylist()
            if row["time_ms"] <= now
        }
        for name in ("rows", "changed")
    ]
    both = set(found[0]) & set(found[1])
    assert len(both) > 20
    assert {key: found[0][key] for key in both} == {key: found[1][key] for key in both}


# --- consent ----------------------------------------------------------------------------------------------


async def voters_in(log: Log, out: Path, every: str = "1h") -> dict[str, list[int]]:
    """Return each voter's moments, in whole hours since the log's beginning."""
    await written([log], DatasetOptions("social.like within 2h", every=every), out)
    found: dict[str, list[int]] = {}
    for row in pq.read_table(out).to_pylist():
        found.setdefault(row["voter"], []).append((row["time_ms"] - BEGIN_MS) // HOUR_MS)
    return found


async def test_consent_gates_rows(tmp_path: Path) -> None:
    log = told(
        (0, "kept", "social.like", None),
        (0, "erased", "social.like", None),
        (0, "left", "social.like", None),
        (0, "returned", "social.like", None),
        (5, "erased", "privacy.erased", None),
        (5, "left", "consent.withdrawn", None),
        (5, "returned", "consent.withdrawn", None),
        (10, "returned", "consent.granted", None),
        (20, "kept", "social.like", None),
    )
    found = await voters_in(log, tmp_path / "rows.parquet")
    assert set(found) == {"kept", "returned"}
    assert len(found["kept"]) == 20
    assert len(found["returned"]) == 15
    assert not set(found["returned"]) & set(range(5, 10))
    metadata = read_metadata(tmp_path / "rows.parquet")
    assert (metadata["counts"]["voters"], metadata["counts"]["barred"]) == (4, 2)


async def labels_of(log: Log, options: DatasetOptions, out: Path) -> dict[tuple[str, int], int | None]:
    """Return the labels by voter and whole hours since the log's beginning."""
    await written([log], options, out)
    rows = pq.read_table(out).to_pylist()
    return {(row["voter"], (row["time_ms"] - BEGIN_MS) // HOUR_MS): row["label"] for row in rows}


async def test_label_is_censored_where_consent_ends_within_its_horizon(tmp_path: Path) -> None:
    log = told(
        (0, "left", "social.share", None),
        (0, "liked", "social.share", None),
        (5, "left", "consent.withdrawn", None),
        (6, "left", "social.like", None),
        (6, "liked", "social.like", None),
        (7, "liked", "consent.withdrawn", None),
        (9, "left", "consent.granted", None),
        (9, "liked", "consent.granted", None),
        (9, "left", "social.like", None),
        (30, "left", "social.share", None),
    )
    found = await labels_of(log, DatasetOptions("social.like within 3h", every="1h"), tmp_path / "rows.parquet")
    # What came after the withdrawal decides nothing, not even once it is granted again: some was not used.
    assert [found["left", hour] for hour in (1, 2, 3, 4, 10)] == [0, None, None, None, 0]
    # Nor does what came before it: of those who withdrew only such as liked would be left.
    assert [found["liked", hour] for hour in (1, 2, 3, 4, 5, 6)] == [0, 0, 1, None, None, None]
    counts = read_metadata(tmp_path / "rows.parquet")["counts"]
    assert counts["censored"] == sum(label is None for label in found.values()) == 3 + 3 + 2 * 3


async def test_event_that_was_not_used_decides_no_label(tmp_path: Path) -> None:
    twice = told((0, "v", "social.like", None), (3, "v", "social.share", None), (9, "v", "social.share", None))
    twice.rows.insert(2, replace(twice.rows[0], offset=2, append_time=BEGIN_MS + 5 * HOUR_MS))
    twice.rows[3] = replace(twice.rows[3], offset=3)
    await voters_in(twice, tmp_path / "rows.parquet")
    assert read_metadata(tmp_path / "rows.parquet")["counts"]["positives"] == 0


async def test_event_that_happened_before_the_moment_and_came_late_decides_nothing(tmp_path: Path) -> None:
    log = told((0, "v", "social.share", None), (6, "v", "social.like", None), (20, "v", "social.share", None))
    late = format_time(BEGIN_MS + 5 * HOUR_MS).encode()
    log.rows[1] = replace(log.rows[1], value=(log.rows[1].value or b"")[:-1] + b', "time": "' + late + b'"}')
    await voters_in(log, tmp_path / "rows.parquet")
    rows = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [(row["time_ms"] - BEGIN_MS) // HOUR_MS for row in rows if row["label"]] == [4]


# --- the future -------------------------------------------------------------------------------------------


async def test_rows_are_proved_to_know_nothing_of_the_future(tmp_path: Path) -> None:
    logs = [log_of(seed, (number, 2)) for number, seed in enumerate((3, 4))]
    done = await written(logs, replace(CASES[0][0], check=6), tmp_path / "rows.parquet")
    assert done.checked > 6
    assert f"checked: {done.checked} rows know nothing of the future" in str(done)


CHECKED = DatasetOptions("social.share within 12h", every="3h", check=40)
HONEST = Sampler.rows


def label_as_feature(sampler: Sampler, rows: Rows) -> None:
    rows.features[:, 7] += 0.25 * rows.labels


def next_event_as_feature(sampler: Sampler, rows: Rows) -> None:
    for row, voter in enumerate(rows.voters):
        number = sampler._names.index(voter)
        place = sampler._places[number]
        if place < sampler._stops[number]:
            rows.features[row, 7] = sampler._outcomes._now[place] - rows.moment_ms


def rest_of_the_log_as_feature(sampler: Sampler, rows: Rows) -> None:
    rows.features[:, 7] = sampler._end_ms - rows.moment_ms


@pytest.mark.parametrize("leak", [label_as_feature, next_event_as_feature, rest_of_the_log_as_feature])
async def test_feature_that_reads_the_future_is_caught(
    leak: Callable[[Sampler, Rows], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaky(self: Sampler, moment_ms: int, records: RecordFile) -> Rows | None:
        rows = HONEST(self, moment_ms, records)
        if rows is not None:
            leak(self, rows)
        return rows

    monkeypatch.setattr(Sampler, "rows", leaky)
    with pytest.raises(LeakFoundError) as raised:
        await written([log_of(9)], CHECKED, tmp_path / "rows.parquet")
    assert f"feature {FEATURES[7]!r} of voter " in str(raised.value)
    assert "it knows the future" in str(raised.value)
    assert list(tmp_path.iterdir()) == []


async def test_row_of_a_voter_who_was_not_seen_yet_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(9)
    first: dict[str, int] = {}
    for voter, moment in rows_of([log], Asked("social.share", DAY_MS, HOUR_MS)):
        first[voter] = min(moment, first.get(voter, moment))
    last = max(first, key=lambda voter: first[voter])

    def leaky(self: Sampler, moment_ms: int, records: RecordFile) -> Rows | None:
        rows = HONEST(self, moment_ms, records)
        # The first pass's voters are those that have an outcome.
        if rows is not None and len(self._outcomes) and last not in rows.voters:
            rows.voters[0] = last
        return rows

    monkeypatch.setattr(Sampler, "rows", leaky)
    with pytest.raises(LeakFoundError, match="the log before that knows nothing of this voter"):
        await written([log], CHECKED, tmp_path / "rows.parquet")


async def test_rows_that_are_taken_too_late_in_the_log_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Collector.cuts

    def late(self: Collector) -> Cuts:
        cuts = honest(self)
        return Cuts(cuts.moments, cuts.offsets + 1)

    monkeypatch.setattr(Collector, "cuts", late)
    with pytest.raises(StateMismatchError, match="its rows would know the future"):
        await written([log_of(9)], replace(CHECKED, check=0), tmp_path / "rows.parquet")


# --- where a log begins -----------------------------------------------------------------------------------


async def test_log_without_its_beginning_is_refused_unless_a_snapshot_stands_in_for_it(tmp_path: Path) -> None:
    log = log_of(6)
    made, storage = MemoryDeployment([log]), MemorySnapshots()
    offset = made.topic("events", 0).records[90].offset
    await work(made.sources(), 0, made.store(0), until=offset)
    await kept.snapshot(storage, made.server, kept.CREATED_MS)
    await work(made.sources(), 0, made.store(0))
    options, asked = CASES[0]
    await write_sources(made.sources(), options, tmp_path / "whole.parquet")
    require_equal(tmp_path / "whole.parquet", rows_of([log], asked))
    made.topic("events", 0).drop_before(offset)
    with pytest.raises(StateMismatchError, match=f"its log begins at offset {offset} now"):
        await write_sources(made.sources(), options, tmp_path / "none.parquet")
    sources = replace(made.sources(), snapshots=lambda _number: kept.catalogue(storage))
    done = await write_sources(sources, replace(options, check=3), tmp_path / "rest.parquet")
    assert done.metadata["partitions"][0]["begun"].startswith("the snapshot ")
    whole, rest = (pq.read_table(tmp_path / f"{name}.parquet").to_pylist() for name in ("whole", "rest"))
    begin_ms = done.metadata["partitions"][0]["begin_ms"]
    assert rest
    assert rest == [row for row in whole if row["time_ms"] > begin_ms]


# --- options and files ------------------------------------------------------------------------------------


async def test_file_says_what_it_is(tmp_path: Path) -> None:
    out = tmp_path / "rows.parquet"
    options = DatasetOptions('donation.completed where form="a b" within 1d', negatives=0.5)
    done = await written([log_of(1)], options, out)
    metadata = read_metadata(out)
    assert metadata == done.metadata
    assert metadata["command"] == (
        """groundswell dataset --label 'donation.completed where form="a b" within 1d' """
        f"--out {out} --negatives 0.5"
    )
    assert metadata["label"]["where"] == 'form="a b"'
    assert metadata["features"] == list(FEATURES)
    assert metadata["complete_until_ms"] == metadata["end_ms"] - DAY_MS
    assert str(done).startswith(f"{out}: {metadata['counts']['rows']} rows of ")
    types = {field.name: field.type for field in pq.read_schema(out)}
    assert [types[name] for name in COLUMNS] == [
        *(pa.string(), pa.int64(), pa.int8(), pa.float32(), pa.bool_(), pa.string())
    ]
    assert {types[name] for name in FEATURES} == {pa.float32()}


async def test_file_is_its_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, modes = tmp_path / "rows.parquet", list[int]()
    for left in (out, tmp_path / ".rows.parquet.partial"):
        left.write_text("of a run before")
    finish = RowFile.finish

    def noted(self: RowFile, metadata: Mapping[str, Any]) -> None:
        modes.append(self.partial.stat().st_mode & 0o777)
        finish(self, metadata)

    monkeypatch.setattr(RowFile, "finish", noted)
    await written([log_of(1)], CHECKED, out)
    assert [*modes, out.stat().st_mode & 0o777] == [0o600, 0o600]


async def test_log_shorter_than_the_horizon_is_not_split_by_time(tmp_path: Path) -> None:
    log = told((0, "v", "social.like", None), (5, "v", "social.like", None))
    with pytest.raises(ConfigurationError, match="no longer than the horizon of label"):
        await written([log], DatasetOptions("social.like within 1d", split="time"), tmp_path / "rows.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": "30s"}, "--every is '30s', expected a duration of a minute or more"),
        ({"every": "often"}, "--every is 'often'"),
        ({"negatives": 0.0}, "--negatives is 0.0, expected a share above 0 and at most 1"),
        ({"negatives": float("nan")}, "--negatives is nan"),
        ({"negatives": 1.5}, "--negatives is 1.5"),
        ({"test": 1.0}, "--test is 1.0, expected a share from 0 to below 1"),
        ({"split": "region"}, "--split is 'region', expected voter or time"),
        ({"label": "social.poke within 1d"}, "label 'social.poke within 1d': at character 1"),
    ],
)
def test_unusable_option_is_quoted(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        DatasetOptions(**{"label": "social.like within 1d", **options}).design()
    assert words in str(raised.value)


async def test_place_that_cannot_be_written_is_said_before_the_log_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written"):
        await written([log_of(1)], CHECKED, tmp_path / "nowhere" / "rows.parquet")


async def test_missing_pyarrow_is_said_with_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigurationError, match=r"pyarrow is not installed: .*`uv sync --inexact --extra train`"):
        await written([log_of(1)], CHECKED, tmp_path / "rows.parquet")


async def test_full_temporary_disk_is_not_taken_for_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _data: bytes, _at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with (
        pytest.raises(TemporaryStorageError, match=r"temporary files in .* cannot be written: .*No space left"),
        readable_errors(Settings(), "reading the log"),
    ):
        await written([log_of(1)], CHECKED, tmp_path / "rows.parquet")
    assert list(tmp_path.iterdir()) == []


async def test_full_disk_under_the_file_is_said_with_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close = pq.ParquetWriter.close

    def write(_self: pq.ParquetWriter, *_given: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def full(_self: pq.ParquetWriter, *_given: object, **_named: object) -> None:
        # Later, room has been made: the writer closes itself once more.
        monkeypatch.setattr(pq.ParquetWriter, "close", close)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "close", full)
    monkeypatch.setattr(pq.ParquetWriter, "write_table", write)
    out = tmp_path / "rows.parquet"
    with (
        pytest.raises(ConfigurationError, match=re.escape(f"{out} cannot be written: [Errno 28]")),
        readable_errors(Settings(), "reading the log"),
    ):
        await written([log_of(1)], CHECKED, out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [".", "..", "there"])
def test_directory_is_not_taken_for_a_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=re.escape(f"'{name}' is a directory, expected the path of a file")):
        RowFile(Path(name))


def test_other_file_is_not_taken_for_rows(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no rows")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "plain.parquet")
    for name in ("text", "plain.parquet", "missing"):
        with pytest.raises(ConfigurationError, match="is no file of `groundswell dataset`"):
            read_metadata(tmp_path / name)
