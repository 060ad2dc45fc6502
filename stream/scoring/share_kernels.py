"""What explaining a forest takes of its training cover, laid out once: see ``stream.scoring.shapley_kernels``."""

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel, kernel_part


@kernel
def lay_shares(
    leaves: NDArray[np.int64],
    lefts: NDArray[np.int64],
    features: NDArray[np.int64],
    values: NDArray[np.float64],
    cover: NDArray[np.float64],
    shares: NDArray[np.float64],
    priors: NDArray[np.int64],
    widths: NDArray[np.int64],
) -> float:
    """Write what explaining takes; return the sum over the trees of what each is expected to give.

    Into ``shares`` (float64[s]) what part of each split's cover goes to the left, into ``priors`` (int64[s]) twice the
    number in its tree of the last split above that asks for the same feature, one more where the path goes right there,
    and -1 where there is none, into ``widths`` (int64[t]) how many features a path of the tree has at most. ``leaves``
    int64[t]; ``lefts``, ``features`` int64[s] by split, in pre-order; ``values``, ``cover`` float64[l] by leaf. Where a
    split has no cover its leaves count alike.
    """
    most = 1
    for tree in range(len(leaves)):
        most = max(most, leaves[tree])
    frames, lower = np.empty((most + 1, 4), np.int64), np.empty((most + 1, 2), np.float64)
    latest = np.empty(_count(features), np.int64)
    latest[:] = -1
    expected = 0.0
    root, leaf = 0, 0
    for tree in range(len(leaves)):
        depth, width, whole, mean = 0, 0, 0.0, 0.0
        widths[tree] = 0
        _enter(frames, 0, root, leaf, leaves[tree])
        while depth >= 0:
            j, first, count = frames[depth, 0], frames[depth, 1], frames[depth, 2]
            frames[depth, 3] += 1
            if count == 1:
                whole, mean = cover[first], values[first]
            elif frames[depth, 3] == 1:
                priors[j] = latest[features[j]]
                width += 1 if priors[j] < 0 else 0
                widths[tree] = max(widths[tree], width)
                latest[features[j]] = 2 * (j - root)
                depth += 1
                _enter(frames, depth, j + 1, first, lefts[j])
                continue
            elif frames[depth, 3] == 2:
                latest[features[j]] = 2 * (j - root) + 1
                lower[depth, 0], lower[depth, 1] = whole, mean
                depth += 1
                _enter(frames, depth, j + lefts[j], first + lefts[j], count - lefts[j])
                continue
            else:
                total = lower[depth, 0] + whole
                share = lower[depth, 0] / total if total > 0.0 else lefts[j] / count
                shares[j] = share
                whole, mean = total, share * lower[depth, 1] + (1.0 - share) * mean
                latest[features[j]] = priors[j]
                width -= 1 if priors[j] < 0 else 0
            depth -= 1
        expected = expected + mean
        root, leaf = root + leaves[tree] - 1, leaf + leaves[tree]
    return expected


@kernel_part
def _count(features: NDArray[np.int64]) -> int:
    """Return one more than the largest of the features."""
    count = 0
    for j in range(len(features)):
        count = max(count, features[j] + 1)
    return count


@kernel_part
def _enter(frames: NDArray[np.int64], depth: int, split: int, leaf: int, count: int) -> None:
    """Begin a subtree: its first split, its first leaf, its leaves, and how often it was come to."""
    frames[depth, 0] = split
    frames[depth, 1] = leaf
    frames[depth, 2] = count
    frames[depth, 3] = 0
