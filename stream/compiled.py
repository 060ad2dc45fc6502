"""How every kernel is compiled: cached on disk, without the interpreter's lock, with IEEE arithmetic as written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.extending import register_jitable

from stream.caching import cache_directory

_NEEDLESS: Final = (
    *("with_lifting", "inline_closure_likes", "make_function_op_code_to_jit_function", "inline_inlinables"),
    *("inline_overloads", "dead_branch_prune", "find_literally", "literal_unroll", "nopython_rewrites"),
)
"""Steps of Numba's for closures, ``with``, inlining of its own, arguments of literal types and array expressions."""

_Function = TypeVar("_Function", bound=Callable[..., Any])

_config: Any = numba.config
if not _config.CACHE_DIR:
    _config.CACHE_DIR = str(cache_directory())


def kernel(function: _Function) -> _Function:
    """Compile ``function`` with Numba at its first call for each set of argument types.

    No fastmath, no parallel reduction: the same bits everywhere. The plain Python function stays at ``.py_func``.
    """
    # Nothing takes its address, so there is no wrapper for C to compile.
    compiler: Any = numba.njit
    return cast("_Function", compiler(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True)(function))


class _PartLibrary(JITCodeLibrary):
    """LLVM's code of a part, which the kernels that it goes into optimize and compile: by itself nothing runs it."""

    @property
    def codegen(self) -> Any:
        """Return what Numba hands the part's environment to once it is machine code, which it never is."""
        return self

    def set_env(self, name: str, environment: Any) -> None:
        """Keep nothing."""

    def _optimize_functions(self, ll_module: Any) -> None:
        """Leave it to the kernels; only say for which machine the code is."""
        ll_module.data_layout = self._codegen._data_layout  # noqa: SLF001 (as Numba's own)

    def _optimize_final_module(self) -> None:
        """Leave it to the kernels."""

    def _finalize_final_module(self) -> None:
        self._finalized = True


class _PartCompiler(Compiler):
    """Numba's compiler as far as a part needs it: to LLVM's code, without what only closures and the like need."""

    def compile_extra(self, func: Any) -> Any:
        """Compile ``func`` into a library of its own kind."""
        library: Any = _PartLibrary
        self.state.library = library(self.state.targetctx.codegen(), func.__qualname__)
        numbas: Any = super()
        return numbas.compile_extra(func)

    def define_pipelines(self) -> Any:
        """Return Numba's steps but those that find nothing to do in a part."""
        numbas: Any = super()
        (pipeline,) = numbas.define_pipelines()
        pipeline.passes = [step for step in pipeline.passes if step[0].name() not in _NEEDLESS]
        pipeline.finalize()
        return [pipeline]


def kernel_part(function: _Function) -> _Function:
    """Have ``function`` compiled into the kernels that call it; called from Python, it is plain Python.

    It allocates nothing and keeps no array, so it counts no references: those atomic counts, two or more for each
    array and call, cost more than passing a short text. It has no way in from Python or C and no file of its own in
    the cache, and LLVM optimizes it in the kernels alone, not once more at each level of calls.
    """
    options = {"error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True, "pipeline_class": _PartCompiler}
    return register_jitable(**options)(function)
