"""Where compiled kernels are kept. Imports nothing that takes time: a second process may be wanted before Numba is."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).parent
_SHARED: Final = (
    *("compiled.py", "arithmetic.py", "partitioning.py", "records.py", "columns.py", "words.py", "xxh3.py"),
    *("layout.py", "prefetching.py", "signals.py", "details.py", "zones.py"),
)
_INLINED: Final = ("features/catalogue.py", "scoring/rules.py")


def cache_directory() -> Path:
    """Return where compiled kernels are kept: NUMBA_CACHE_DIR, else another place for each state of their sources.

    Numba looks only at the file of the kernel itself; one that inlines a constant or calls a kernel of another file
    would go on as it was compiled when that file changes.
    """
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(given)
    return _PACKAGE / "__pycache__" / f"kernels-{_digest()}"


def has_all() -> bool:
    """Return whether every kernel of these sources is kept, as far as ``note_all`` was told."""
    return _note().exists()


def note_all() -> None:
    """Note that every kernel is kept; where nothing can be, nothing is noted."""
    with suppress(OSError):
        _note().parent.mkdir(parents=True, exist_ok=True)
        _note().touch()


def _note() -> Path:
    return cache_directory() / f"all-{_digest()}"


@cache
def _digest() -> str:
    sources = [_PACKAGE / name for name in (*_SHARED, *_INLINED)] + sorted(_PACKAGE.glob("*/*kernels.py"))
    return sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:16]
