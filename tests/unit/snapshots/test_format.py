"""A snapshot's bytes: what is written is read back, and whatever is torn, altered or foreign is refused in words."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import orjson
import pytest

from stream.errors import SnapshotFailedError, SnapshotRefusedError
from stream.records import ENGINE_VERSION, RECORD_VERSION, VOTER
from stream.snapshots import FORMAT, Manifest, MemorySnapshots
from stream.snapshots.format import SnapshotName, pack_records, pack_rows, unpack_records, unpack_rows
from stream.snapshots.reading import UNREADABLE
from tests.unit.snapshots import kept


def test_records_and_rows_are_read_back_as_they_were() -> None:
    voters, records = ["ada", "zoë", "x" * 64], [kept.record(offset) for offset in (1, 2, 3)]
    assert unpack_records(pack_records(voters, records)) == list(zip(voters, records, strict=True))
    assert unpack_records(pack_records([], [])) == []
    rows = [kept.row(1), kept.row(2).tombstone(), kept.row(3, b"", b"")]
    assert unpack_rows(pack_rows(rows)) == rows
    assert unpack_rows(pack_rows([])) == []


@pytest.mark.parametrize(("voter", "data"), [("a\nb", kept.record(1)), ("ada", kept.record(1)[:-1])])
def test_what_could_not_be_read_back_is_not_written(voter: str, data: bytes) -> None:
    with pytest.raises(SnapshotFailedError):
        pack_records(["first", voter], [kept.record(1), data])


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_cut_data_raises_and_gives_nothing(cut: int) -> None:
    for data, unpack in (
        (pack_records(["ada"], [kept.record(1)]), unpack_records),
        (pack_rows([kept.row(1)]), unpack_rows),
    ):
        with pytest.raises(UNREADABLE):
            unpack(data[:cut])


@pytest.mark.parametrize("created_ms", [0, 1_795_000_000_123, 1_795_000_000_007])
def test_name_is_read_back_and_sorts_by_time(created_ms: int) -> None:
    name = SnapshotName.make(created_ms, 18342, "1a2b3c4d")
    assert SnapshotName.parse(name.text) == name
    assert name.text < SnapshotName.make(created_ms + 1, 0, "0").text


@pytest.mark.parametrize(
    "text", ["", "x", "20261125T010203123Z-5", "20261325T010203123Z-5-a", "a/20261125T010203123Z-5-a"]
)
def test_what_is_no_name_is_none(text: str) -> None:
    assert SnapshotName.parse(text) is None


# --- manifests -------------------------------------------------------------------------------------------


async def manifest() -> Manifest:
    storage = MemorySnapshots()
    name = await kept.snapshot(storage, kept.server(kept.header(5), {"ada": kept.record(4)}))
    return (await kept.content(storage, name)).manifest


def signed(body: dict[str, object]) -> bytes:
    """Return a manifest's bytes of any content, under the checksum that fits."""
    data = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return b'{"sha256":"%b","manifest":%b}' % (hashlib.sha256(data).hexdigest().encode(), data)


async def test_manifest_is_read_back_and_says_what_it_is_of() -> None:
    found = await manifest()
    assert Manifest.from_bytes(found.to_bytes(), "it") == found
    assert (found.offset, found.partition, found.partition_count, found.topic_id) == (5, 0, 1, "topic-1")
    assert (found.engine, found.record_version, found.record_bytes) == (ENGINE_VERSION, RECORD_VERSION, VOTER.itemsize)
    assert (found.records, found.format, found.created_ms) == (1, FORMAT, kept.CREATED_MS)
    assert found.state() == replace(kept.header(5), owner="")


async def test_manifest_cut_anywhere_is_refused_as_torn() -> None:
    data = (await manifest()).to_bytes()
    for length in range(0, len(data), 7):
        with pytest.raises(
            SnapshotRefusedError, match=f"the snapshot x is torn: its manifest of {length} bytes is none"
        ):
            Manifest.from_bytes(data[:length], "the snapshot x")


async def test_altered_manifest_is_refused_with_both_checksums() -> None:
    data = (await manifest()).to_bytes().replace(b'"offset":5', b'"offset":4')
    with pytest.raises(SnapshotRefusedError, match=r"x was altered: its manifest has SHA-256 [0-9a-f]{64}, and says '"):
        Manifest.from_bytes(data, "x")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": 2}, "x has format 2, and this build reads up to 1: use the build that wrote it"),
        ({"format": 2, "files": None}, "x has format 2"),
        ({"format": "1"}, "x has format '1', expected 1"),
        ({"files": 5}, "x is damaged: its manifest has not the fields of one"),
        ({"surprise": 5}, "x is damaged: its manifest has not the fields of one"),
        ({"header": "{}"}, "x is damaged: its manifest has not the fields of one"),
        ({"offset": 4}, "x is damaged: its manifest and the header in it do not say the same"),
    ],
)
async def test_manifest_that_is_not_of_this_format_is_refused(changes: dict[str, object], says: str) -> None:
    body = orjson.loads((await manifest()).to_bytes())["manifest"]
    with pytest.raises(SnapshotRefusedError, match=re.escape(says)):
        Manifest.from_bytes(signed({**body, **changes}), "x")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"engine": ENGINE_VERSION + 1}, f"by engine {ENGINE_VERSION + 1}, and this build is engine {ENGINE_VERSION}"),
        ({"record_version": RECORD_VERSION + 1}, f"records of version {RECORD_VERSION + 1} with 768 bytes"),
        ({"record_bytes": 800}, "with 800 bytes, and this build reads up to version 2 with 768"),
    ],
)
async def test_snapshot_of_another_engine_or_record_is_refused(changes: dict[str, int], says: str) -> None:
    with pytest.raises(SnapshotRefusedError, match=re.escape(says)):
        replace(await manifest(), **changes).refuse_unusable("x")  # type: ignore[arg-type]
