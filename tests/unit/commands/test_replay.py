"""Records that a replay keeps in a file: found by voter, and read in the version of this build."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stream.commands.replay import RecordFile
from stream.errors import StateMismatchError, TemporaryStorageError
from stream.migration import migrated
from stream.records import RECORD_VERSION, VOTER
from tests.migration.fixtures import written_by_version_1


@pytest.fixture
def records() -> Iterator[RecordFile]:
    made = RecordFile()
    yield made
    made.close()


def record(offset: int, version: int = RECORD_VERSION) -> bytes:
    made = np.zeros(1, VOTER)
    made["version"], made["last_offset"] = version, offset
    return made.tobytes()


def test_voters_are_given_in_the_order_in_which_they_came(records: RecordFile) -> None:
    records.put([("b", record(1)), ("a", record(2))])
    assert records.since(0) == ["b", "a"]
    records.put([("a", record(3)), ("c", record(4))])
    assert records.since(2) == ["c"]
    assert records.since(3) == []


def full(_descriptor: int, data: bytes, _at: int) -> int:
    if len(data) % 2:
        raise OSError(errno.ENOSPC, "No space left on device")
    return 100


@pytest.mark.parametrize("size", [767, 768])
def test_full_disk_is_said_with_its_directory(
    records: RecordFile, size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(
        TemporaryStorageError, match=f"temporary files in {tmp_path} cannot be written: .*No space left"
    ):
        records.put([("a", bytes(size))])


def test_temporary_directory_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(TemporaryStorageError, match=f"temporary files in {tmp_path / 'none'} cannot be written"):
        RecordFile()


def test_records_are_read_in_the_order_that_is_asked_for(records: RecordFile) -> None:
    records.put([("b", record(1)), ("a", record(2)), ("a", record(3))])
    assert records.read(["a", "b"])["last_offset"].tolist() == [3, 1]
    assert len(records.read([])) == 0


def test_record_of_an_older_version_is_migrated(records: RecordFile) -> None:
    older = written_by_version_1()[-1].records[0]
    records.put([("new", record(7)), ("old", older)])
    found = records.read(["old", "new"])
    assert found["version"].tolist() == [RECORD_VERSION] * 2
    assert found[0].tobytes() == migrated(older)
    assert found["last_offset"][1] == 7


def test_record_that_nothing_migrates_is_refused(records: RecordFile) -> None:
    records.put([("odd", record(5, RECORD_VERSION + 1))])
    with pytest.raises(StateMismatchError, match=f"has version {RECORD_VERSION + 1}"):
        records.read(["odd"])
