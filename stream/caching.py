"""Where compiled kernels are kept. Imports nothing that takes time: a second process may be wanted before Numba is."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).parent
_SHARED: Final = (
    *("compiled.py", "arithmetic.py", "partitioning.py", "records.py", "columns.py", "words.py", "xxh3.py"),
    *("layout.py", "signals.py", "details.py", "zones.py"),
)
_INLINED: Final = ("features/catalogue.py", "scoring/rules.py")


def cache_directory() -> Path:
    """Return where compiled kernels are kept: NUMBA_CACHE_DIR, else another place for each state of their sources.

    Numba looks only at the file of the kernel itself; one that inlines a constant or calls a kernel of another file
    would go on as it was compiled when that file changes.
    """
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(given)
    sources = [_PACKAGE / name for name in (*_SHARED, *_INLINED)] + sorted(_PACKAGE.glob("*/*kernels.py"))
    digest = sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()
    return _PACKAGE / "__pycache__" / f"kernels-{digest[:16]}"


def has_cache() -> bool:
    """Return whether any kernel was kept yet: in the state that the sources are in, or in NUMBA_CACHE_DIR."""
    return any(cache_directory().glob("*/*.nbi"))
