"""Which snapshots count, which are kept, and what is refused when one is read."""

from __future__ import annotations

import pytest

from stream.errors import SnapshotRefusedError, SnapshotStorageError
from stream.snapshots import MemorySnapshots, Place
from stream.snapshots.catalogue import Retention
from stream.snapshots.format import MANIFEST, SnapshotName
from stream.stores.memory import MemoryServer
from tests.unit.snapshots import kept

HOUR = 3_600_000
NOW = kept.CREATED_MS
RETENTION = Retention(count=3, age_ms=10 * HOUR)


def server() -> MemoryServer:
    rows = {"triggers": [kept.row(1), kept.row(2)]}
    return kept.server(kept.header(5, triggers=2), {"ada": kept.record(4), "bob": kept.record(1)}, rows)


async def taken(storage: MemorySnapshots, *hours_ago: float) -> list[SnapshotName]:
    return [await kept.snapshot(storage, server(), NOW - int(hours * HOUR)) for hours in hours_ago]


async def test_newest_comes_first_and_one_without_a_manifest_does_not_count() -> None:
    storage = MemorySnapshots()
    old, new, torn = await taken(storage, 2, 1, 0.5)
    del storage.files[f"_/0/{torn.text}/{MANIFEST}"]
    storage.files["_/0/something else/manifest.json"] = b"{}"
    assert await kept.catalogue(storage).complete() == [new, old]
    assert await kept.catalogue(storage, Place("", 1)).complete() == []
    assert await kept.catalogue(storage, Place("0", 0)).complete() == []


@pytest.mark.parametrize(
    ("hours_ago", "left"),
    [
        ((5, 4, 3, 2, 1), (3, 2, 1)),
        ((12, 11, 1), (1,)),
        ((30, 20), (20,)),
        ((9,), (9,)),
        ((), ()),
    ],
)
async def test_only_so_many_and_so_young_are_kept_but_always_the_newest(
    hours_ago: tuple[int, ...], left: tuple[int, ...]
) -> None:
    storage = MemorySnapshots()
    names = dict(zip(hours_ago, await taken(storage, *hours_ago), strict=True))
    await kept.catalogue(storage).clear_away(RETENTION, NOW)
    assert await kept.catalogue(storage).complete() == [names[hours] for hours in sorted(left)]
    for hours in left:
        assert (await kept.content(storage, names[hours])).records.keys() == {"ada", "bob"}
    assert all(any(names[hours].text in file for hours in left) for file in storage.files)


async def test_snapshot_taken_after_the_clock_was_set_back_is_kept() -> None:
    storage = MemorySnapshots()
    former = await taken(storage, 3, 2, 1)
    further = kept.server(kept.header(9, triggers=2), {"ada": kept.record(8)})
    last = await kept.snapshot(storage, further, NOW - 4 * HOUR)
    await kept.catalogue(storage).clear_away(RETENTION, NOW - 4 * HOUR)
    assert await kept.catalogue(storage).complete() == [*reversed(former), last]
    latest = await kept.snapshot(storage, kept.server(kept.header(11)), NOW - int(3.5 * HOUR))
    await kept.catalogue(storage).clear_away(RETENTION, NOW - 4 * HOUR)
    assert await kept.catalogue(storage).complete() == [*reversed(former), latest]


async def test_unfinished_folder_goes_once_nobody_can_be_at_it_any_more() -> None:
    storage = MemorySnapshots()
    abandoned, current, whole = await taken(storage, 7, 5, 1)
    for name in (abandoned, current):
        del storage.files[f"_/0/{name.text}/{MANIFEST}"]
    await kept.catalogue(storage).clear_away(RETENTION, NOW)
    assert not any(abandoned.text in file for file in storage.files)
    assert any(current.text in file for file in storage.files)
    assert await kept.catalogue(storage).complete() == [whole]


async def test_removal_that_is_cut_off_leaves_no_snapshot_without_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = MemorySnapshots()
    old, *_ = await taken(storage, 20, 1)
    remove = MemorySnapshots.remove

    def cut_off(self: MemorySnapshots, name: str) -> None:
        if not name.endswith(MANIFEST):
            message = "away"
            raise SnapshotStorageError(message)
        remove(self, name)

    monkeypatch.setattr(MemorySnapshots, "remove", cut_off)
    with pytest.raises(SnapshotStorageError):
        await kept.catalogue(storage).clear_away(RETENTION, NOW)
    assert old not in await kept.catalogue(storage).complete()
    with pytest.raises(SnapshotRefusedError, match="is torn: it has no manifest, so it was never finished"):
        await kept.content(storage, old)


# --- refusals --------------------------------------------------------------------------------------------


def files(storage: MemorySnapshots) -> list[str]:
    return [name for name in storage.files if not name.endswith(MANIFEST)]


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (None, "is torn: {} is missing"),
        (lambda data: data[:-1], "is torn: {} has"),
        (lambda data: data[:9] + bytes([data[9] ^ 1]) + data[10:], "was altered: {} has SHA-256"),
    ],
)
async def test_missing_short_or_altered_file_is_refused_before_and_while_it_is_used(
    place: int, change: object, says: str
) -> None:
    storage = MemorySnapshots()
    (name,) = await taken(storage, 1)
    reader = kept.catalogue(storage).reader(name)
    manifest = await reader.manifest()
    file = files(storage)[place]
    if change is None:
        del storage.files[file]
    else:
        storage.files[file] = change(storage.files[file])  # type: ignore[operator]
    says = says.format(file.rpartition("/")[2])
    with pytest.raises(SnapshotRefusedError, match=f"the snapshot _/0/{name.text} under memory {says}"):
        _ = [size async for size in reader.check(manifest)]
    with pytest.raises(SnapshotRefusedError, match=says):
        _ = [pairs async for pairs in reader.records(manifest)] + [rows async for rows in reader.rows(manifest)]


@pytest.mark.parametrize("data", [b"no zstd", b"\x28\xb5\x2f\xfd\x20\x01\x09\x00\x00x"])
async def test_file_that_fits_its_checksum_and_is_none_is_refused_without_quoting_it(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.snapshots.writing.pack_records", lambda *_: data)
    storage = MemorySnapshots()
    (name,) = await taken(storage, 1)
    with pytest.raises(SnapshotRefusedError, match=r"is damaged: voters-00000\.zst cannot be read \(\w+\)$"):
        await kept.content(storage, name)


async def test_file_of_an_unknown_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.snapshots.writing.VOTERS", "timers")
    storage = MemorySnapshots()
    (name,) = await taken(storage, 1)
    with pytest.raises(SnapshotRefusedError, match="has files of the kind 'timers', expected one of voters, triggers"):
        await kept.content(storage, name)
