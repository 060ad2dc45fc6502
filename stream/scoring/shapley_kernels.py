"""Kernels that share a forest's sum out among the features: exact path-dependent TreeSHAP.

What a feature contributes is its Shapley value in the game where a split on a feature that is not known goes both ways,
by training cover (Lundberg et al., Nature Machine Intelligence 2, 2020, algorithm 1). By the multilinear extension
(Owen 1972) that is the integral, over t from 0 to 1, of how fast a tree's mean grows with the chance that this feature
is known, where every other one is known with the chance t. At one t all of that is a walk with weights: a leaf of value
v whose path asks for the features F has the weight

    product over j in F of (zero_j (1 - t) + one_j t),

where zero is the share of the cover that goes the path's way at j's splits, and one is 1 if the row does, else 0. It is
a polynomial in t of a degree below the number of features on the path, for which Gauss-Legendre quadrature at half as
many points is exact (as in Linear TreeShap, Yu et al., NeurIPS 2022, each split is met once and not once a leaf).

At a split on feature i let P be what arrives, f the part of it that goes left, L and R the means of the two sides. Then
the mean is R + f (L - R), and i gets P (L - R) times the slope of f along one_i: with z, one and X = z (1 - t) + one t
of i before the split, 0 where one is 0, else z times the right's share of the cover over X^2 where the row goes left,
less z times the left's share over X^2 where it goes right. Nothing is divided by anything that can be 0, and but for
L - R, which is what is asked for, nothing cancels.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel, kernel_part
from stream.scoring.rank_kernels import TILE, cut, rank_columns

LANES: Final = 64
"""Rows that go through a tree at once: side by side, so that one instruction serves several."""
_STEP: Final = 16
"""Rows that one turn of a compiled loop takes: what is left over would be done one by one, as are FEW rows."""
_FEW: Final = 4
_ROOM: Final = 1 << 18
"""Numbers of working space, beyond which fewer rows go together: trees of thousands of leaves are as large alone."""


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


@kernel_part
def _know(known: NDArray[np.float64], ahead: NDArray[np.float64], lefts: NDArray[np.float64], side: int) -> None:
    """Write which rows followed the path at an earlier split, to the left or (``side`` 1) to the right."""
    if side == 0:
        for r in range(len(known)):
            known[r] = lefts[r]
    else:
        for r in range(len(known)):
            known[r] = ahead[r] - lefts[r]


@kernel_part
def _turn(lefts: NDArray[np.float64], known: NDArray[np.float64], ranks: NDArray[np.uint8], rank: Any) -> None:
    """Write 1 where a row goes left and has followed the path so far, else 0."""
    for r in range(len(lefts)):
        lefts[r] = known[r] if ranks[r] <= rank else 0.0


@kernel_part
def _turn_all(lefts: NDArray[np.float64], known: NDArray[np.float64], is_left: bool) -> None:
    """Write the same where all rows go one way."""
    for r in range(len(lefts)):
        lefts[r] = known[r] if is_left else 0.0


@kernel_part
def _weigh(line: NDArray[np.float64], share: float, before: float, points: NDArray[np.float64], repeats: bool) -> None:
    """Write for each point what of a split's weight goes left: by what is known of a row, and by where it goes."""
    for q in range(line.shape[1]):
        t = points[0, q]
        over = 1.0 / (before * (1.0 - t) + t) if repeats else 1.0
        line[0, q] = before * share * (1.0 - t) * over - share
        line[1, q] = t * over
        line[2, q] = over * over


@kernel_part
def _part(
    cells: NDArray[np.float64],
    known: NDArray[np.float64],
    lefts: NDArray[np.float64],
    share: float,
    line: NDArray[np.float64],
    here: int,
    left: int,
    left_step: int,
    right: int,
    right_step: int,
) -> None:
    """Part what arrives at a split between its two sides; the numbers are rows of ``cells``."""
    for q in range(line.shape[1]):
        base, slope = line[0, q], line[1, q]
        above, below = cells[here + q], cells[left + q * left_step]
        beside = cells[right + q * right_step]
        for r in range(len(known)):
            part = above[r] * (share + known[r] * base + lefts[r] * slope)
            below[r] = part
            beside[r] = above[r] - part


@kernel_part
def _join(
    cells: NDArray[np.float64],
    known: NDArray[np.float64],
    lefts: NDArray[np.float64],
    share: float,
    line: NDArray[np.float64],
    here: int,
    left: int,
    left_step: int,
    right: int,
    right_step: int,
    total: NDArray[np.float64],
) -> None:
    """Put the mean at a split in the place of what arrived there, and add to ``total`` what its sides differ by."""
    for q in range(line.shape[1]):
        base, slope, over = line[0, q], line[1, q], line[2, q]
        mean, below, beside = cells[here + q], cells[left + q * left_step], cells[right + q * right_step]
        for r in range(len(known)):
            differ = below[r] - beside[r]
            total[r] = total[r] + mean[r] * differ * over
            mean[r] = beside[r] + (share + known[r] * base + lefts[r] * slope) * differ


@kernel_part
def _descend(
    nodes: NDArray[Any],
    shares: NDArray[np.float64],
    priors: NDArray[np.int64],
    points: NDArray[np.float64],
    ranks: NDArray[np.uint8],
    spans: NDArray[np.int64],
    counts: NDArray[np.int64],
    before: NDArray[np.float64],
    lines: NDArray[np.float64],
    known: NDArray[np.float64],
    lefts: NDArray[np.float64],
    cells: NDArray[np.float64],
) -> None:
    """Write what arrives at each split of a tree, from the root on; the arrays are those of its splits and points.

    ``known[s + 1]`` and ``lefts[s]`` say which rows followed the path as far as split s asks for its feature, and which
    go left there; where it is the first to ask, all have: ``known[0]``, which is 1.
    """
    n, spare = points.shape[1], len(cells) - 1
    for q in range(n):
        cells[q, :] = points[1, q]
    for s in range(len(nodes)):
        node, share, prior = nodes[s], shares[s], priors[s]
        at = 0
        before[s] = 1.0
        if prior >= 0:
            b, side = prior >> 1, prior & 1
            at = s + 1
            before[s] = before[b] * (1.0 - shares[b] if side == 1 else shares[b])
            _know(known[at], known[b + 1] if priors[b] >= 0 else known[0], lefts[b], side)
        column = node["column"]
        if spans[column, 0] == spans[column, 1]:
            _turn_all(lefts[s], known[at], spans[column, 0] <= node["rank"])
        else:
            _turn(lefts[s], known[at], ranks[column], node["rank"])
        line = lines[:, s * n : s * n + n]
        _weigh(line, share, before[s], points, prior >= 0)
        left: Any = np.int64(node["left"])
        right = counts[s] - left
        below, beside = spare, spare
        if left > 1:
            counts[s + 1] = left
            below = (s + 1) * n
        if right > 1:
            counts[s + left] = right
            beside = (s + left) * n
        if counts[s] > 2:
            _part(
                cells, known[at], lefts[s], share, line, s * n,
                below, 1 if left > 1 else 0, beside, 1 if right > 1 else 0,
            )  # fmt: skip


@kernel_part
def _ascend(
    columns: NDArray[Any],
    nodes: NDArray[Any],
    shares: NDArray[np.float64],
    priors: NDArray[np.int64],
    values: NDArray[np.float64],
    counts: NDArray[np.int64],
    before: NDArray[np.float64],
    lines: NDArray[np.float64],
    known: NDArray[np.float64],
    lefts: NDArray[np.float64],
    cells: NDArray[np.float64],
    total: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Add what each split gives its column to ``sums``, from the leaves on; arrays as ``_descend`` has written them."""
    n, spare = lines.shape[1] // len(nodes), len(cells) - 1
    for s in range(len(nodes) - 1, -1, -1):
        node, share = nodes[s], shares[s]
        at = s + 1 if priors[s] >= 0 else 0
        left: Any = np.int64(node["left"])
        leaf: Any = np.int64(node["first"])
        below, beside = (s + 1) * n, (s + left) * n
        total[:] = 0.0
        if left == 1:
            below = spare
            cells[below, :] = values[leaf]
        if counts[s] - left == 1:
            beside = spare - 1
            cells[beside, :] = values[leaf + left]
        _join(
            cells, known[at], lefts[s], share, lines[:, s * n : s * n + n], s * n,
            below, 0 if left == 1 else 1, beside, 0 if counts[s] - left == 1 else 1, total,
        )  # fmt: skip
        place = columns[node["column"]]["place"]
        _give(sums[place], total, known[at], lefts[s], before[s], before[s] * share)


@kernel_part
def _give(
    sums: NDArray[np.float64],
    total: NDArray[np.float64],
    known: NDArray[np.float64],
    lefts: NDArray[np.float64],
    before: float,
    left: float,
) -> None:
    for r in range(len(sums)):
        sums[r] = sums[r] + total[r] * (lefts[r] * before - known[r] * left)


@kernel_part
def _share(rows: int, most: int) -> int:
    """Return how many rows a block has, where all have about as many: one that is not full takes as long."""
    blocks = max((rows + most - 1) // most, 1)
    return max((rows + blocks - 1) // blocks, 1)


@kernel_part
def _measure(trees: NDArray[Any], quadratures: NDArray[np.int64]) -> tuple[int, int]:
    """Return the most splits that a tree has, and the most splits times points."""
    splits, most = 1, 1
    for t in range(len(trees)):
        splits = max(splits, trees[t]["leaves"] - 1)
        most = max(most, (trees[t]["leaves"] - 1) * quadratures[t, 1])
    return splits, most


@kernel
def explain_forest(
    columns: NDArray[Any],
    thresholds: NDArray[np.float32],
    members: NDArray[np.int64],
    nodes: NDArray[Any],
    trees: NDArray[Any],
    values: NDArray[np.float64],
    shares: NDArray[np.float64],
    priors: NDArray[np.int64],
    points: NDArray[np.float64],
    quadratures: NDArray[np.int64],
    scale: float,
    rows: NDArray[np.float64],
    picked: NDArray[np.int64],
    first: int,
    stop: int,
    out: NDArray[np.float64],
) -> None:
    """Write what each column of ``rows`` contributes in the rows ``picked[first:stop]`` into ``out[first:stop]``.

    The arrays of BitVectors and Shapley; ``quadratures`` int64[t, 2] says where a tree's quadrature begins in
    ``points`` (float64[2, p]: places between 0 and 1, and their weights) and how many points it has, at least half as
    many as a path of the tree has features; ``scale`` is what sums are multiplied by. Rows float64[n, c] are cut to
    singles first; ``out`` float64[len(picked), c]. Which rows are explained beside a row changes no bit of it.
    """
    splits, most = _measure(trees, quadratures)
    wide, n = rows.shape[1], _share(stop - first, min(LANES, max(_ROOM // most, 1)))
    width = n if n <= _FEW else (n + _STEP - 1) // _STEP * _STEP
    singles, parts = np.empty((wide, n), np.float32), np.empty(wide, np.bool_)
    tile = np.empty((TILE // 4, 4 * wide), np.float32)
    bounds, taken = np.empty((2, wide), np.float32), np.empty(n, np.float32)
    ranks, spans = np.empty((max(len(columns), 1), width), np.uint8), np.empty((len(columns), 2), np.int64)
    counts, before, known = np.empty(splits, np.int64), np.empty(splits), np.empty((splits + 1, width))
    lines, lefts = np.empty((3, most)), np.empty((splits, width))
    # Two rows more, for what leaves give, and for what arrives at them, which nobody asks for.
    cells, total, sums = np.empty((most + 2, width)), np.empty(width), np.empty((wide, width))
    ranks[:, :], known[:, :] = 0, 1.0
    for begin in range(first, stop, n):
        end = min(begin + n, stop)
        sums[:, :] = 0.0
        cut(rows, picked[begin:end], tile, parts, singles, bounds)
        rank_columns(columns, thresholds, members, singles, bounds, 0, taken[: end - begin], ranks, spans)
        for t in range(len(trees)):
            tree = trees[t]
            low, high = tree["node"], tree["node"] + tree["leaves"] - 1
            if low == high:
                continue
            point, size = quadratures[t, 0], quadratures[t, 1]
            counts[0] = tree["leaves"]
            line = lines[:, : (high - low) * size]
            _descend(
                nodes[low:high], shares[low:high], priors[low:high], points[:, point : point + size],
                ranks, spans, counts, before, line, known, lefts, cells,
            )  # fmt: skip
            _ascend(
                columns, nodes[low:high], shares[low:high], priors[low:high], values[tree["value"] :],
                counts, before, line, known, lefts, cells, total, sums,
            )  # fmt: skip
        for i in range(begin, end):
            for c in range(wide):
                out[i, c] = sums[c, i - begin] * scale
