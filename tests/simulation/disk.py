"""Where snapshots are kept in the simulation: a file system that fsspec reaches, in memory, and what befalls it."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Callable
from typing import Any, Final, TypeVar

import fsspec
from fsspec import AbstractFileSystem

from stream.snapshots import Offload
from stream.snapshots.format import MANIFEST
from tests.simulation.processes import current_process

_Result = TypeVar("_Result")

PROTOCOL: Final = "simulated"
OFFLOAD_SECONDS: Final = 0.01
"""Longest time that a file takes, by default."""


class SimulatedDisk(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Files by path, of the disk named in ``simulated://NAME/``; a write may be torn, a move is one step."""

    protocol = PROTOCOL

    def __init__(self, name: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.name = name
        self.files: dict[str, bytes] = {}
        self.is_full = False
        """Whether a write ends half-way."""
        self.on_snapshot: Callable[[str], None] = lambda folder: None
        """Told of each folder whose manifest was just written."""

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, str]:
        return {"name": path.partition("://")[2].partition("/")[0]}

    def find(self, path: str, *_: Any, **__: Any) -> list[str]:
        return sorted(name for name in self.files if name.startswith(path))

    def cat_file(self, path: str, *_: Any, **__: Any) -> bytes:
        try:
            return self.files[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """There are no folders but in names."""

    def pipe_file(self, path: str, value: bytes, *_: Any, **__: Any) -> None:
        self.files[path] = value
        if self.is_full:
            self.files[path] = value[: len(value) // 2]
            raise OSError(errno.ENOSPC, "No space left on device")

    def mv(self, path1: str, path2: str, *_: Any, **__: Any) -> None:
        self.files[path2] = self.files.pop(path1)
        folder, name = path2.rsplit("/", 1)
        if name == MANIFEST:
            self.on_snapshot(folder)

    def rm(self, path: str, *_: Any, **__: Any) -> None:
        for name in [name for name in self.files if name == path or name.startswith(f"{path}/")]:
            del self.files[name]


fsspec.register_implementation(PROTOCOL, SimulatedDisk, clobber=True)


def new_disk(name: str) -> SimulatedDisk:
    """Return an empty disk, which ``simulated://NAME/`` then means; the disks before it are forgotten."""
    SimulatedDisk.clear_instance_cache()
    disk: SimulatedDisk = fsspec.filesystem(PROTOCOL, name=name)
    return disk


def threads(chance: random.Random) -> Offload:
    """Return what runs a file's work as a thread of the running process does: cancelled, it goes on all the same."""

    async def offload(work: Callable[[], _Result], /) -> _Result:
        loop, process = asyncio.get_running_loop(), current_process()
        done: asyncio.Future[_Result] = loop.create_future()

        def run() -> None:
            if process is not None and not process.alive:
                return
            if process is not None and process.paused:
                loop.call_later(OFFLOAD_SECONDS, run)
                return
            _settle(done, work)

        loop.call_later(OFFLOAD_SECONDS * chance.random(), run)
        return await done

    return offload


def _settle(done: asyncio.Future[_Result], work: Callable[[], _Result]) -> None:
    try:
        result = work()
    except Exception as error:
        if not done.done():
            done.set_exception(error)
    else:
        if not done.done():
            done.set_result(result)
