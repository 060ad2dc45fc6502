"""What explaining a forest takes besides what scoring does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.scoring.forest import Forest
from stream.scoring.quadrature import gauss_legendre
from stream.scoring.share_kernels import lay_shares

MOST_WORK: Final = 1_000_000
"""Of a model that triggers explain: the event loop is to stand still for 20 ms at most for a trigger.

A unit takes some 16 ns in a row alone, and where a hundred rows go together some 0.6 ns in each. A batch with very many
triggers of a deep model takes longer: as many times that as it has triggers that do not go together.
"""


@dataclass(frozen=True, slots=True)
class Shapley:
    """A forest's cover as ``explain_forest`` takes it."""

    shares: NDArray[np.float64]
    """float64[s]: what part of each split's cover goes to the left."""
    priors: NDArray[np.int64]
    """int64[s]: where the path asked for each split's feature before, as ``lay_shares`` has it."""
    points: NDArray[np.float64]
    """float64[2, p]: places and weights of the quadratures, one behind another."""
    quadratures: NDArray[np.int64]
    """int64[t, 2]: where each tree's begins there, and how many points it has."""
    scale: float
    """What the sum over all trees is multiplied by before the link: the calibration's slope over the divisor."""
    expected: float
    """What the forest gives on average before the link, with base and calibration."""
    work: int
    """What explaining a row takes, in splits times points of the quadrature."""


def compile_shapley(forest: Forest, calibration: tuple[float, float]) -> Shapley | None:
    """Return what explaining takes; None where the forest does not say its cover."""
    if forest.cover is None:
        return None
    splits = len(forest.features)
    shares, priors, widths = np.empty(splits), np.empty(splits, np.int64), np.empty(len(forest.leaves), np.int64)
    expected = lay_shares(
        forest.leaves, forest.lefts, forest.features, forest.values, forest.cover, shares, priors, widths
    )
    counts = np.maximum((widths + 1) // 2, 1)
    sizes, which = np.unique(counts, return_inverse=True)
    begins = np.cumsum(sizes) - sizes
    slope, intercept = calibration
    return Shapley(
        shares,
        priors,
        np.concatenate([np.empty((2, 0)), *[gauss_legendre(size) for size in sizes.tolist()]], axis=1),
        np.stack([begins[which], counts], axis=1),
        slope / forest.divisor,
        slope * (expected / forest.divisor + forest.base) + intercept,
        int(counts @ (forest.leaves - 1)),
    )
