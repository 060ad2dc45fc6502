"""What explaining a forest takes besides what scoring does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.scoring.forest import Forest
from stream.scoring.quadrature import gauss_legendre
from stream.scoring.shapley_kernels import lay_shares

MOST_WORK: Final = 1_500_000
"""Of a model that triggers explain: a unit takes some 13 ns, and the event loop is to stand still for 20 ms at most."""


@dataclass(frozen=True, slots=True)
class Shapley:
    """A forest's cover as ``explain_forest`` takes it."""

    shares: NDArray[np.float64]
    """float64[s]: what part of each split's cover goes to the left."""
    points: NDArray[np.float64]
    """float64[2, q]: places and weights of the quadrature."""
    levels: int
    """The splits that a path has at most."""
    scale: float
    """What the sum over all trees is multiplied by before the link: the calibration's slope over the divisor."""
    expected: float
    """What the forest gives on average before the link, with base and calibration."""

    @property
    def work(self) -> int:
        """What explaining a row takes, in splits times points of the quadrature."""
        return len(self.shares) * len(self.points[0])


def compile_shapley(forest: Forest, calibration: tuple[float, float]) -> Shapley | None:
    """Return what explaining takes; None where the forest does not say its cover."""
    if forest.cover is None:
        return None
    shares = np.empty(len(forest.features))
    levels, width, expected = lay_shares(
        forest.leaves, forest.lefts, forest.features, forest.values, forest.cover, shares
    )
    slope, intercept = calibration
    return Shapley(
        shares,
        gauss_legendre(max(1, (width + 1) // 2)),
        levels,
        slope / forest.divisor,
        slope * (expected / forest.divisor + forest.base) + intercept,
    )
