"""How every kernel is compiled: cached on disk, without the interpreter's lock, with IEEE arithmetic as written."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """Compile ``function`` with Numba at its first call for each set of argument types.

    No fastmath, no parallel reduction: the same bits everywhere. The plain Python function stays at ``.py_func``.
    """
    return cast("_Function", numba.njit(cache=True, nogil=True, error_model="numpy")(function))
