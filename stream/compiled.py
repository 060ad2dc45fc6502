"""How every kernel is compiled: cached on disk, without the interpreter's lock, with IEEE arithmetic as written."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])

_PACKAGE: Final = Path(__file__).parent
_SHARED: Final = ("compiled.py", "arithmetic.py", "partitioning.py", "records.py", "columns.py", "words.py")


def _cache_directory() -> Path:
    """Return where compiled kernels are kept: another place for each state of their sources.

    Numba looks only at the file of the kernel itself; one that inlines a constant or calls a kernel of another file
    would go on as it was compiled when that file changes.
    """
    sources = [_PACKAGE / name for name in _SHARED] + sorted(_PACKAGE.glob("*/*kernels.py"))
    digest = sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()
    return _PACKAGE / "__pycache__" / f"kernels-{digest[:16]}"


_config: Any = numba.config
if not _config.CACHE_DIR:
    _config.CACHE_DIR = str(_cache_directory())


def kernel(function: _Function) -> _Function:
    """Compile ``function`` with Numba at its first call for each set of argument types.

    No fastmath, no parallel reduction: the same bits everywhere. The plain Python function stays at ``.py_func``.
    """
    return cast("_Function", numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def kernel_part(function: _Function) -> _Function:
    """Compile what kernels call many times for each row, as ``kernel`` does.

    It allocates nothing and keeps no array, so it counts no references: those atomic counts, two or more for each
    array and call, cost more than passing a short text.
    """
    # An option that Numba knows and its type stubs do not.
    compiler: Any = numba.njit
    return cast("_Function", compiler(cache=True, nogil=True, error_model="numpy", _nrt=False)(function))
