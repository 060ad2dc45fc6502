"""A model file and its card, written so that whatever stands under their names is whole and belongs together."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from stream.errors import ConfigurationError

CARD_SUFFIX: Final = ".card"
"""Of the directory beside a model file that holds its card."""


def places(out: Path, name: str) -> tuple[Path, Path]:
    """Return the paths of a model's file and of its card's directory."""
    return out / f"{name}.json", out / f"{name}{CARD_SUFFIX}"


def require_writable(out: Path, name: str) -> None:
    """Raise ConfigurationError where a model's file and card cannot be written; ``out`` is made if it is not there."""
    model, card = places(out, name)
    with _readable_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    for path, is_wrong, expected in (
        (model, model.is_dir(), "the path of a file to write"),
        (card, card.is_symlink() or (card.exists() and not card.is_dir()), "the path of a directory to write"),
    ):
        if is_wrong:
            found = "a symbolic link" if path.is_symlink() else "a directory" if path.is_dir() else "a file"
            message = f"{path} is {found}, expected {expected}"
            raise ConfigurationError(message)


def write_model(out: Path, name: str, content: bytes, card: Mapping[str, bytes]) -> Path:
    """Write a model file and its card, files by name, in the place of former ones; return the model file's path.

    All is written under other names first. Then the former card goes, the model file takes its place and the new card
    its own: wherever that is broken off, no model stands beside another one's card. Of several that write there one
    writes at a time. Raises ConfigurationError where something cannot be written.
    """
    model, directory = places(out, name)
    waiting, former = (out / f".{name}{CARD_SUFFIX}.{word}" for word in ("partial", "former"))
    file = out / f".{model.name}.partial"

    def bring_back() -> None:
        # The former model still has its name.
        if former.exists() and file.exists() and not directory.exists():
            former.rename(directory)

    with _readable_errors(out), _alone(out):
        # Of a run that was broken off.
        bring_back()
        for left in (waiting, former):
            shutil.rmtree(left, ignore_errors=True)
        try:
            waiting.mkdir(parents=True)
            for title, data in card.items():
                (waiting / title).write_bytes(data)
            file.write_bytes(content)
            if directory.exists():
                directory.rename(former)
            file.replace(model)
            waiting.rename(directory)
        except BaseException:
            bring_back()
            raise
        finally:
            file.unlink(missing_ok=True)
            for left in (waiting, former):
                shutil.rmtree(left, ignore_errors=True)
    return model


@contextmanager
def _readable_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{out} cannot be written: {error}"
        raise ConfigurationError(message) from error


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Wait until nobody else writes to ``out``: what another run has begun must not be taken for what one left."""
    descriptor = os.open(out, os.O_RDONLY)
    try:
        # Some file systems over a network have no such lock.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
