"""Where snapshots are kept, as this room sees it: whole files under names; and a twin of it in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from stream.errors import SnapshotStorageError


class SnapshotStorage(Protocol):
    """Files by name (``folder/folder/file``). Every method may block, and raises SnapshotStorageError alone."""

    @property
    def url(self) -> str:
        """Where it is, fit for messages: without credentials."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names of all files under a folder, at any depth, sorted; none where there is no such folder."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, None where there is no such file."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole, or not at all; when this returns it outlives the process."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all that is in it; do nothing where there is none."""
        ...


@dataclass(slots=True)
class MemorySnapshots:
    """Snapshots kept in memory: for tests and simulation."""

    files: dict[str, bytes] = field(default_factory=dict)
    room_bytes: int | None = None
    """How much fits in; None: without end."""
    is_away: bool = False
    """Whether every method fails, as where an object store cannot be reached."""

    @property
    def url(self) -> str:
        """Say that it is memory."""
        return "memory"

    def names(self, folder: str) -> list[str]:
        """Return the names of all files under a folder."""
        self._reach()
        return sorted(name for name in self.files if name.startswith(f"{folder}/"))

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, None where there is no such file."""
        self._reach()
        return self.files.get(name)

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole."""
        self._reach()
        if self.room_bytes is not None and sum(map(len, self.files.values())) + len(data) > self.room_bytes:
            message = f"{name} cannot be written: no room for {len(data)} bytes"
            raise SnapshotStorageError(message)
        self.files[name] = data

    def remove(self, name: str) -> None:
        """Remove a file or a folder."""
        self._reach()
        for found in [found for found in self.files if found == name or found.startswith(f"{name}/")]:
            del self.files[found]

    def _reach(self) -> None:
        if self.is_away:
            message = "the snapshots' storage cannot be reached"
            raise SnapshotStorageError(message)
