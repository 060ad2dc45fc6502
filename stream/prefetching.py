"""Memory asked for before it is needed: what rows have here and there, a kernel would wait for one by one."""

from __future__ import annotations

from typing import Any, Final

import numba.core.cgutils
from llvmlite import ir
from numba import types
from numba.extending import lower_builtin, type_callable
from numpy.typing import NDArray

AHEAD = 8
"""How many rows before it is read memory is asked for."""

_LINE: Final = 64
"""Bytes that come at once, on x86-64 and most of ARM."""
_TO_READ_AND_KEEP: Final = (0, 3, 1)
"""As ``llvm.prefetch`` numbers it: for reading, into all levels of the cache, of data."""

_lowers: Any = lower_builtin
_tools: Any = numba.core.cgutils


def prefetch(array: NDArray[Any], place: int, first: int, stop: int) -> None:
    """Ask the processor for the bytes from ``first`` to before ``stop`` of ``array[place]``, and do not wait for them.

    It is a hint: it changes nothing, and a place that there is not, or one below 0, does no harm. For kernels: called
    from Python, it does nothing.
    """


@type_callable(prefetch)
def _typed(_context: Any) -> Any:
    return lambda _array, _place, _first, _stop: types.void


@_lowers(prefetch, types.Array, types.Integer, types.Integer, types.Integer)  # type: ignore[untyped-decorator]
def _lowered(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit ``llvm.prefetch`` (LLVM Language Reference Manual) for each line that the bytes lie in."""
    pointer, number, word = _tools.voidptr_t, _tools.int32_t, _tools.intp_t
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    place, first, stop = (
        context.cast(builder, value, kind, types.intp)
        for value, kind in zip(arguments[1:], signature.args[1:], strict=True)
    )
    stride = _tools.unpack_tuple(builder, array.strides)[0]
    item = builder.gep(builder.bitcast(array.data, pointer), [builder.mul(place, stride)])
    kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
    function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)

    def ask(offset: Any) -> None:
        builder.call(function, [builder.gep(item, [offset]), *map(number, _TO_READ_AND_KEEP)])

    with builder.if_then(builder.icmp_signed(">=", place, word(0))):
        with _tools.for_range_slice(builder, first, stop, word(_LINE), inc=True) as (offset, _):
            ask(offset)
        ask(builder.sub(stop, word(1)))
    return context.get_dummy_value()
