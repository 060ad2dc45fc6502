"""How every kernel is compiled: cached on disk, without the interpreter's lock, with IEEE arithmetic as written."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
from numba.extending import register_jitable

_Function = TypeVar("_Function", bound=Callable[..., Any])

_PACKAGE: Final = Path(__file__).parent
_SHARED: Final = (
    *("compiled.py", "arithmetic.py", "partitioning.py", "records.py", "columns.py", "words.py", "xxh3.py"),
    *("layout.py", "signals.py", "zones.py", "details.py"),
)
_INLINED: Final = ("features/catalogue.py", "scoring/rules.py")


def _cache_directory() -> Path:
    """Return where compiled kernels are kept: another place for each state of their sources.

    Numba looks only at the file of the kernel itself; one that inlines a constant or calls a kernel of another file
    would go on as it was compiled when that file changes.
    """
    sources = [_PACKAGE / name for name in (*_SHARED, *_INLINED)] + sorted(_PACKAGE.glob("*/*kernels.py"))
    digest = sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()
    return _PACKAGE / "__pycache__" / f"kernels-{digest[:16]}"


_config: Any = numba.config
if not _config.CACHE_DIR:
    _config.CACHE_DIR = str(_cache_directory())


def has_cache() -> bool:
    """Return whether any kernel was kept yet: in the state that the sources are in, or in NUMBA_CACHE_DIR."""
    return any(Path(_config.CACHE_DIR).glob("*/*.nbi"))


def kernel(function: _Function) -> _Function:
    """Compile ``function`` with Numba at its first call for each set of argument types.

    No fastmath, no parallel reduction: the same bits everywhere. The plain Python function stays at ``.py_func``.
    """
    # Nothing takes its address, so there is no wrapper for C to compile.
    compiler: Any = numba.njit
    return cast("_Function", compiler(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True)(function))


def kernel_part(function: _Function) -> _Function:
    """Have ``function`` compiled into the kernels that call it; called from Python, it is plain Python.

    It allocates nothing and keeps no array, so it counts no references: those atomic counts, two or more for each
    array and call, cost more than passing a short text. Without a way in from Python, and a file of its own in the
    cache, it takes a third less time to compile.
    """
    return register_jitable(nogil=True, error_model="numpy", _nrt=False)(function)
