"""What every storage of snapshots promises: memory, a directory, and a file system that fsspec reaches by its port."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from stream.errors import ConfigurationError, SnapshotStorageError
from stream.snapshots import FileSnapshots, MemorySnapshots, SnapshotStorage


@pytest.fixture(params=["memory", "directory", "fsspec", "two steps"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> SnapshotStorage:
    if request.param == "memory":
        return MemorySnapshots()
    if request.param == "directory":
        return FileSnapshots(f"file://{tmp_path}/not/made/yet")
    made = FileSnapshots(f"memory://{secrets.token_hex(6)}/below")
    # A file system that does not put a file in one step is written beside the place first.
    made._is_atomic = request.param == "fsspec"
    return made


def test_what_was_written_is_read_back(storage: SnapshotStorage) -> None:
    storage.write("ns/3/first/data.zst", b"some")
    storage.write("ns/3/first/empty", b"")
    assert storage.read("ns/3/first/data.zst") == b"some"
    assert storage.read("ns/3/first/empty") == b""


def test_file_is_overwritten_whole(storage: SnapshotStorage) -> None:
    storage.write("ns/3/first/data", b"longer than the next")
    storage.write("ns/3/first/data", b"next")
    assert storage.read("ns/3/first/data") == b"next"
    assert storage.names("ns") == ["ns/3/first/data"]


def test_missing_file_is_none_and_missing_folder_is_empty(storage: SnapshotStorage) -> None:
    assert storage.read("ns/3/first/data") is None
    assert storage.names("ns/3") == []


def test_names_are_those_under_the_folder_alone_at_any_depth(storage: SnapshotStorage) -> None:
    for name in ("ns/3/b/data", "ns/3/a/data", "ns/3/a/manifest", "ns/31/a/data", "other/3/a/data"):
        storage.write(name, b"x")
    assert storage.names("ns/3") == ["ns/3/a/data", "ns/3/a/manifest", "ns/3/b/data"]
    assert storage.names("ns") == ["ns/3/a/data", "ns/3/a/manifest", "ns/3/b/data", "ns/31/a/data"]


def test_file_or_folder_is_removed_and_twice_is_harmless(storage: SnapshotStorage) -> None:
    for name in ("ns/3/a/data", "ns/3/a/manifest", "ns/3/ab/data"):
        storage.write(name, b"x")
    for _ in range(2):
        storage.remove("ns/3/a/manifest")
        assert storage.names("ns/3") == ["ns/3/a/data", "ns/3/ab/data"]
    for _ in range(2):
        storage.remove("ns/3/a")
        assert storage.names("ns/3") == ["ns/3/ab/data"]


def test_written_by_one_is_seen_by_another(tmp_path: Path) -> None:
    first, second = (FileSnapshots(str(tmp_path)) for _ in range(2))
    assert second.names("ns") == []
    first.write("ns/0/a/data", b"x")
    assert second.names("ns") == ["ns/0/a/data"]
    assert second.read("ns/0/a/data") == b"x"


def test_directory_that_is_full_keeps_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = FileSnapshots(str(tmp_path))
    storage.write("ns/0/a/data", b"before")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("stream.snapshots.filesystems.os.fsync", full)
    with pytest.raises(SnapshotStorageError, match=r"cannot write ns/0/a/data under .*No space left on device"):
        storage.write("ns/0/a/data", b"after")
    assert storage.names("ns") == ["ns/0/a/data"]
    assert storage.read("ns/0/a/data") == b"before"


@pytest.mark.parametrize(
    "ask",
    [lambda s: s.write("ns/a", b""), lambda s: s.read("ns/a"), lambda s: s.names("ns"), lambda s: s.remove("ns/a")],
)
def test_storage_that_is_away_raises_its_one_error(
    ask: Callable[[SnapshotStorage], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_arguments: object, **_named: object) -> None:
        message = "no route to host"
        raise TimeoutError(message)

    system = FileSnapshots(f"memory://{tmp_path}")
    for name in ("pipe_file", "cat_file", "find", "rm"):
        monkeypatch.setattr(type(system._system), name, away)
    for storage in (system, MemorySnapshots(is_away=True)):
        with pytest.raises(SnapshotStorageError):
            ask(storage)


def test_file_in_the_way_of_a_directory_is_one_error_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    storage = FileSnapshots(f"{tmp_path}/file")
    with pytest.raises(SnapshotStorageError, match=r"cannot write ns/a under .*: NotADirectoryError"):
        storage.write("ns/a", b"")
    with pytest.raises(SnapshotStorageError, match=r"cannot list ns under .*: NotADirectoryError"):
        storage.names("ns")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may do less")
def test_directory_of_another_user_is_one_line_whether_written_or_listed(tmp_path: Path) -> None:
    storage = FileSnapshots(f"{tmp_path}/kept")
    storage.write("ns/0/a/data", b"x")
    os.seteuid(65_534)
    try:
        for ask in (lambda: storage.write("ns/0/b/data", b"x"), lambda: storage.names("ns")):
            with pytest.raises(SnapshotStorageError, match=r"cannot (write|list) .*Permission denied"):
                ask()
    finally:
        os.seteuid(0)


def test_full_memory_refuses() -> None:
    storage = MemorySnapshots(room_bytes=3)
    storage.write("ns/a", b"abc")
    with pytest.raises(SnapshotStorageError, match="no room for 1 bytes"):
        storage.write("ns/b", b"d")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (
            "s3://bucket/prefix",
            r"^snapshot\.url is 's3://bucket/prefix', and s3fs is not installed: "
            r"in a checkout run `uv sync --inexact --extra s3`, and for an image `docker build .*--extra s3\" .*`$",
        ),
        ("gs://bucket", r"and gcsfs is not installed: .*--extra gcs`"),
        ("abfs://box@account/x", r"and adlfs is not installed: .*--extra azure`"),
        ("sftp://host/x", r"no library for 'sftp' is installed: install what fsspec needs for it \(.*paramiko"),
        ("", r"snapshot\.url is '', expected a URL such as .*nothing is said"),
        ("s3:/bucket", r"'s3:/bucket', expected a URL .*`//` is missing"),
        ("s3:bucket", r"'s3:bucket', expected a URL .*`//` is missing"),
        ("carrier-pigeon://loft", r"'carrier-pigeon://loft', expected a URL such as file:///var/lib/groundswell"),
    ],
)
def test_url_that_nothing_here_serves_is_quoted_with_what_to_install(
    url: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("s3fs", "gcsfs", "adlfs", "paramiko"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(ConfigurationError, match=says):
        FileSnapshots(url)


def test_credentials_in_a_url_are_not_shown() -> None:
    assert FileSnapshots("memory://user:secret@host/path").url == "memory://host/path"
