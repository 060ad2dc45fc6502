"""The engine's own arithmetic: the same bits on every machine.

Only additions, multiplications and comparisons of IEEE 754 doubles in a fixed order, with no libm,
no fused multiply-add and no reassociation, because a score must come out bit for bit on replay.
"""

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel, kernel_part

# ln 2, and log2 e.
_LN2 = 0.6931471805599453
_LOG2E = 1.4426950408889634

_LEAST = 1075


def _series() -> tuple[float, ...]:
    """Return ``(ln 2)**k / k!`` by k."""
    terms = [1.0]
    for k in range(1, 14):
        terms.append(terms[-1] * _LN2 / k)
    return tuple(terms)


_SERIES = _series()
_HALVES: NDArray[np.float64] = np.ldexp(1.0, -np.arange(_LEAST))


@kernel
def exp2(x: float) -> float:
    """Return 2 to the power ``x``, within 2e-15 of the true value relative to it.

    The exponent is split into an integer n and a fraction f in [-1/2, 1/2]; 2**f is the Taylor series
    of exp(f ln 2) to the term of degree 13 by Horner's rule; 2**n is made by squaring and multiplying
    powers of two, each exact. ``x`` below -1021 gives 0.0, above 1023 gives inf, NaN gives NaN.
    """
    if x != x:
        return x
    if x < -1021.0:
        return 0.0
    if x > 1023.0:
        return np.inf
    n = np.int64(x)
    f = x - n
    if f > 0.5:
        n += 1
        f -= 1.0
    elif f < -0.5:
        n -= 1
        f += 1.0
    t = f * _LN2
    s = 1.0
    for k in range(13, 0, -1):
        s = 1.0 + s * t / k
    base = 2.0
    if n < 0:
        base = 0.5
        n = -n
    while n > 0:
        if n & 1:
            s = s * base
        base = base * base
        n >>= 1
    return s


@kernel
def exp(x: float) -> float:
    """Return e to the power ``x`` as ``exp2(x * log2 e)``: within 1e-15 * (1 + |x|) relative."""
    return exp2(x * _LOG2E)


@kernel
def logistic(x: float) -> float:
    """Return ``1 / (1 + exp(-x))``, in [0, 1]."""
    return 1.0 / (1.0 + exp(-x))


@kernel_part
def power(f: float) -> float:
    """Return 2 to the power ``f``, which lies in [-1, 1], within 4e-16 of the true value relative to it.

    The Taylor series of exp(f ln 2) to the term of degree 13 for a fraction in [-1/2, 1/2], by Horner's rule: no
    division, since this is met for each counter of each event.
    """
    scale = 1.0
    if f > 0.5:
        f -= 1.0
        scale = 2.0
    elif f < -0.5:
        f += 1.0
        scale = 0.5
    s = _SERIES[13]
    for k in range(12, -1, -1):
        s = s * f + _SERIES[k]
    return s * scale


@kernel_part
def halved(x: float, times: int) -> float:
    """Return ``x`` halved so many times, exactly while it is no subnormal number; ``x`` itself for none or fewer."""
    if times <= 0:
        return x
    if times >= _LEAST:
        return 0.0
    return x * _HALVES[times]
