"""Snapshots in a directory or an object store: whatever fsspec reaches."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from stream.errors import ConfigurationError, GroundswellError, SnapshotStorageError, not_installed

_PARTIAL: Final = ".partial"
_FILE_MODE: Final = 0o640
_FOLDER_MODE: Final = 0o750
_ATOMIC: Final = frozenset(("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "memory"))
"""Protocols whose files appear whole, by one put."""
_S3: Final = ("s3", "s3fs")
_GCS: Final = ("gcs", "gcsfs")
_AZURE: Final = ("azure", "adlfs")
_EXTRAS: Final = {"s3": _S3, "s3a": _S3, "gs": _GCS, "gcs": _GCS, "az": _AZURE, "abfs": _AZURE, "abfss": _AZURE}
"""By protocol, the optional dependencies that bring its library, and the library."""
_WITHOUT_SLASHES: Final = re.compile(r"(?!file:|local:)[A-Za-z][A-Za-z0-9+.-]*:(?!//)")


class FileSnapshots:
    """A SnapshotStorage under a URL (``file:///var/lib/groundswell``, ``s3://bucket/prefix``, a plain path).

    Credentials are found where the object store's own library looks for them (environment, instance role).
    """

    def __init__(self, url: str) -> None:
        """Raise ConfigurationError for a URL that no library here can serve; nothing is reached yet."""
        self.url = _without_credentials(url)
        protocol = url.partition("://")[0] if "://" in url else "file"
        try:
            # fsspec would take both for names in the working directory.
            if not url or _WITHOUT_SLASHES.match(url):
                message = "nothing is said" if not url else "`//` is missing"
                raise ValueError(message)
            found: tuple[Any, str] = url_to_fs(url)
        except ImportError as error:
            message = f"snapshot.url is {self.url!r}, and {_missing(protocol, error)}"
            raise ConfigurationError(message) from error
        except Exception as error:
            message = f"snapshot.url is {self.url!r}, expected a URL such as file:///var/lib/groundswell ({error})"
            raise ConfigurationError(message) from error
        self._system, root = found
        self._root = root.rstrip("/")
        self._is_local = isinstance(self._system, LocalFileSystem)
        self._is_atomic = protocol in _ATOMIC

    def names(self, folder: str) -> list[str]:
        """Return the names of all files under a folder, at any depth."""
        start = f"{self._path(folder)}/"
        with self._speaking("list", folder):
            if self._is_local:
                found = _found(start)
            else:
                # Others write here too: what was listed before is no longer true.
                self._system.invalidate_cache()
                found = [self._system._strip_protocol(path) for path in self._system.find(start)]  # noqa: SLF001 (no other way)
        return sorted(f"{folder}/{path[len(start) :]}" for path in found if path.startswith(start))

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, None where there is no such file."""
        with self._speaking("read", name), suppress(FileNotFoundError):
            data: bytes = self._system.cat_file(self._path(name))
            return data
        return None

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole, or not at all."""
        path = self._path(name)
        with self._speaking("write", name):
            if self._is_local:
                _write_durably(Path(path), data)
            elif self._is_atomic:
                self._system.pipe_file(path, data)
            else:
                self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
                self._system.pipe_file(path + _PARTIAL, data)
                self._system.mv(path + _PARTIAL, path)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all that is in it."""
        with self._speaking("remove", name), suppress(FileNotFoundError):
            self._system.invalidate_cache()
            self._system.rm(self._path(name), recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _speaking(self, verb: str, name: str) -> Iterator[None]:
        """Turn whatever a file system's library raises into SnapshotStorageError."""
        try:
            yield
        except GroundswellError:
            raise
        except Exception as error:
            message = f"cannot {verb} {name} under {self.url}: {type(error).__name__}: {error}"
            raise SnapshotStorageError(message) from error


def _missing(protocol: str, error: ImportError) -> str:
    if protocol not in _EXTRAS:
        return f"no library for {protocol!r} is installed: install what fsspec needs for it ({error})"
    extra, library = _EXTRAS[protocol]
    return not_installed(library, extra)


def _open_private(path: str, flags: int) -> int:
    """Open a file that holds voters' records: for its owner, and to be read by its group (an operator restores)."""
    return os.open(path, flags, _FILE_MODE)


def _found(folder: str) -> list[str]:
    """Return the paths of all files under a folder; raise OSError where one that is there cannot be looked into.

    fsspec would leave that one out, and a restoration would go on without its snapshots.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    return [os.path.join(place, name) for place, _, names in os.walk(folder, onerror=refuse) for name in names]


def _write_durably(path: Path, data: bytes) -> None:
    """Write beside the place, flush to the disk, and move into the place."""
    path.parent.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
    partial = path.with_name(path.name + _PARTIAL)
    try:
        with open(partial, "wb", opener=_open_private) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _without_credentials(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}" if separator else url
