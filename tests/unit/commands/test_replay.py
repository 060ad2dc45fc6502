"""Records that a replay keeps in a file: found by voter, and read in the version of this build."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from stream.commands.replay import RecordFile
from stream.errors import StateMismatchError
from stream.records import RECORD_VERSION, VOTER
from stream.stores import table


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


def test_records_are_read_in_the_order_that_is_asked_for(records: RecordFile) -> None:
    records.put([("b", record(1)), ("a", record(2)), ("a", record(3))])
    assert records.read(["a", "b"])["last_offset"].tolist() == [3, 1]
    assert len(records.read([])) == 0


def test_record_of_an_older_version_is_migrated(records: RecordFile, monkeypatch: pytest.MonkeyPatch) -> None:
    older = RECORD_VERSION - 1
    records.put([("new", record(7)), ("old", record(5, older))])
    monkeypatch.setitem(table.MIGRATIONS, older, lambda data: record(50) if data == record(5, older) else b"")
    found = records.read(["old", "new"])
    assert found["version"].tolist() == [RECORD_VERSION] * 2
    # Of its migration it is, and not as it stood in the file.
    assert found["last_offset"].tolist() == [50, 7]


def test_record_that_nothing_migrates_is_refused(records: RecordFile) -> None:
    records.put([("odd", record(5, RECORD_VERSION + 1))])
    with pytest.raises(StateMismatchError, match=f"has version {RECORD_VERSION + 1}"):
        records.read(["odd"])
