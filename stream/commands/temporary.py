"""Temporary files: errors say where they lie (a full disk is not what was being read), and SIGTERM leaves none."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from stream.errors import TemporaryStorageError


@contextmanager
def temporary_storage() -> Iterator[None]:
    """Turn the operating system's errors into TemporaryStorageError, which names the temporary directory."""
    try:
        yield
    except OSError as error:
        # Where no directory is usable, the error names all that were tried.
        where = f" in {tempfile.tempdir}" if tempfile.tempdir else ""
        message = (
            f"temporary files{where} cannot be written: {error}; make room there, or set TMPDIR to a directory that "
            "has it"
        )
        raise TemporaryStorageError(message) from error


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Make a directory for the ``with`` block."""
    with temporary_storage():
        directory = tempfile.TemporaryDirectory(prefix="groundswell-")
    with directory as place:
        yield Path(place)


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Let SIGTERM raise SystemExit (status 143) in the ``with`` block, so that whoever has begun a file removes it.

    Call it in the main thread.
    """

    def leave(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
