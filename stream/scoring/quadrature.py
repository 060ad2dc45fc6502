"""Gauss-Legendre quadrature, by additions, multiplications and divisions alone: the same bits on any machine."""

from __future__ import annotations

from functools import cache
from math import pi
from typing import Final

import numpy as np
from numpy.typing import NDArray

_STEPS: Final = 10
"""Of Newton's method; from these starts the fifth changes nothing but the last bit."""


@cache
def gauss_legendre(count: int) -> NDArray[np.float64]:
    """Return float64[2, count]: places between 0 and 1, ascending, and their weights, which add up to 1.

    Exact for polynomials of degrees up to 2 ``count`` - 1 (Abramowitz and Stegun, 25.4.30); ``count`` is at least 1.
    """
    points = np.empty((2, count))
    for k in range((count + 1) // 2):
        x = 0.0 if 2 * k + 1 == count else _cosine(pi * (4 * k + 3) / (4 * count + 2))
        for _ in range(_STEPS):
            value, slope = _legendre(count, x)
            x -= value / slope
        _, slope = _legendre(count, x)
        points[0, [k, count - 1 - k]] = (1.0 - x) / 2.0, (1.0 + x) / 2.0
        points[1, [k, count - 1 - k]] = 1.0 / ((1.0 - x * x) * slope * slope)
    return points


def _cosine(angle: float) -> float:
    """Return a cosine to 0.002 (Bhaskara), for angles from 0 to half of pi: near enough to a root to begin with."""
    return (pi * pi - 4.0 * angle * angle) / (pi * pi + angle * angle)


def _legendre(degree: int, x: float) -> tuple[float, float]:
    """Return a Legendre polynomial's value and slope, for x between -1 and 1."""
    before, value = 1.0, x
    for n in range(2, degree + 1):
        before, value = value, ((2 * n - 1) * x * value - (n - 1) * before) / n
    return value, degree * (x * value - before) / (x * x - 1.0)
