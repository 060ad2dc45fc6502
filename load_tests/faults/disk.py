"""A small disk of its own for snapshots, which can be filled up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_MARK: Final = "GROUNDSWELL_OWN_MOUNTS"
_BLOCK: Final = bytes(1 << 16)


def enter_own_mounts(words: Sequence[str]) -> None:
    """Go on as ``python -m`` of these words where mounts are this process' and its children's alone, if not there yet.

    Whoever is not root becomes it there, by a user namespace, and nowhere else.
    """
    if _MARK in os.environ:
        return
    mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--mount", *mapped, sys.executable, "-m", *words]
    os.execvpe("unshare", command, {**os.environ, _MARK: "1"})  # noqa: S606 (fixed words)


class SmallDisk:
    """A file system in memory, of a fixed size."""

    def __init__(self, directory: Path, megabytes: int) -> None:
        """Nothing is mounted yet."""
        self.directory = directory
        self._megabytes = megabytes
        self._filler = directory / "filler"

    def mount(self) -> None:
        """Mount it on its directory; it goes with the last process that sees it."""
        self.directory.mkdir()
        size = f"size={self._megabytes}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self.directory)], check=True)

    def fill(self) -> None:
        """Write until nothing more fits."""
        with self._filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(_BLOCK)
            except OSError:
                pass

    def free(self) -> None:
        """Make room again."""
        self._filler.unlink(missing_ok=True)

    def unmount(self) -> None:
        """Take it away, and all that is on it, if it is there."""
        if self.directory.is_mount():
            subprocess.run(["umount", "--lazy", str(self.directory)], check=True)
