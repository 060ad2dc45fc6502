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
from stream.scoring.rank_kernels import TILE, cut, goes_one_way, rank_columns, whole_tiles
from stream.scoring.turn_kernels import SLOTS, share_lanes, write_turns

ROWS: Final = 512
"""That are ranked together."""
LANES: Final = 192
"""That go through a tree at once: side by side, so that one instruction serves several. Rows that turn alike at all of
its splits have one lane."""
_STEP: Final = 16
"""Lanes that one turn of a compiled loop takes: what is left over would be done one by one, as are FEW lanes."""
_FEW: Final = 4
_ROOM: Final = 1 << 18
"""Numbers of working space, beyond which there are fewer lanes: trees of thousands of leaves are as large alone."""


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
def _turn(
    lefts: NDArray[np.float64],
    known: NDArray[np.float64],
    ranks: NDArray[np.uint8],
    row_of: NDArray[np.int64],
    rank: Any,
) -> None:
    """Write 1 where a lane's rows go left and have followed the path so far, else 0."""
    for r in range(len(lefts)):
        lefts[r] = known[r] if ranks[row_of[r]] <= rank else 0.0


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
    row_of: NDArray[np.int64],
    width: int,
    counts: NDArray[np.int64],
    before: NDArray[np.float64],
    lines: NDArray[np.float64],
    known: NDArray[np.float64],
    lefts: NDArray[np.float64],
    cells: NDArray[np.float64],
) -> None:
    """Write what arrives at each split of a tree, from the root on; the arrays are those of its splits and points.

    ``known[s + 1]`` and ``lefts[s]`` say which lanes followed the path as far as split s asks for its feature, and
    which go left there; where it is the first to ask, all have: ``known[0]``, which is 1.
    """
    n, spare = points.shape[1], len(cells) - 1
    for q in range(n):
        cells[q, :width] = points[1, q]
    for s in range(len(nodes)):
        node, share, prior = nodes[s], shares[s], priors[s]
        at = 0
        before[s] = 1.0
        if prior >= 0:
            b, side = prior >> 1, prior & 1
            at = s + 1
            before[s] = before[b] * (1.0 - shares[b] if side == 1 else shares[b])
            ahead = known[b + 1, :width] if priors[b] >= 0 else known[0, :width]
            _know(known[at, :width], ahead, lefts[b, :width], side)
        column = node["column"]
        if goes_one_way(spans, column, node["rank"]):
            _turn_all(lefts[s, :width], known[at, :width], spans[column, 1] <= node["rank"])
        else:
            _turn(lefts[s, :width], known[at, :width], ranks[column], row_of, node["rank"])
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
                cells, known[at, :width], lefts[s, :width], share, line, s * n,
                below, 1 if left > 1 else 0, beside, 1 if right > 1 else 0,
            )  # fmt: skip


@kernel_part
def _ascend(
    columns: NDArray[Any],
    nodes: NDArray[Any],
    shares: NDArray[np.float64],
    priors: NDArray[np.int64],
    values: NDArray[np.float64],
    lane_of: NDArray[np.int64],
    width: int,
    counts: NDArray[np.int64],
    before: NDArray[np.float64],
    lines: NDArray[np.float64],
    known: NDArray[np.float64],
    lefts: NDArray[np.float64],
    cells: NDArray[np.float64],
    total: NDArray[np.float64],
    sums: NDArray[np.float64],
    first: int,
    stop: int,
) -> None:
    """Add what each split gives its column to ``sums``, from the leaves on; arrays as ``_descend`` has written them.

    To those of the rows from ``first`` to before ``stop``, whose lanes ``lane_of`` has.
    """
    n, spare = lines.shape[1] // len(nodes), len(cells) - 1
    for s in range(len(nodes) - 1, -1, -1):
        node, share = nodes[s], shares[s]
        at = s + 1 if priors[s] >= 0 else 0
        left: Any = np.int64(node["left"])
        leaf: Any = np.int64(node["first"])
        below, beside = (s + 1) * n, (s + left) * n
        total[:width] = 0.0
        if left == 1:
            below = spare
            cells[below, :width] = values[leaf]
        if counts[s] - left == 1:
            beside = spare - 1
            cells[beside, :width] = values[leaf + left]
        _join(
            cells, known[at, :width], lefts[s, :width], share, lines[:, s * n : s * n + n], s * n,
            below, 0 if left == 1 else 1, beside, 0 if counts[s] - left == 1 else 1, total,
        )  # fmt: skip
        place = columns[node["column"]]["place"]
        _weigh_total(total[:width], known[at, :width], lefts[s, :width], before[s], before[s] * share)
        _give(sums[place, first:stop], total, lane_of[first:stop])


@kernel_part
def _weigh_total(
    total: NDArray[np.float64], known: NDArray[np.float64], lefts: NDArray[np.float64], before: float, left: float
) -> None:
    for r in range(len(total)):
        total[r] = total[r] * (lefts[r] * before - known[r] * left)


@kernel_part
def _give(sums: NDArray[np.float64], total: NDArray[np.float64], lane_of: NDArray[np.int64]) -> None:
    """Add to each row's sum what its lane has."""
    for r in range(len(sums)):
        sums[r] = sums[r] + total[lane_of[r]]


@kernel_part
def _round(lanes: int) -> int:
    """Return how many lanes are gone through where so many are asked for."""
    return lanes if lanes <= _FEW else (lanes + _STEP - 1) // _STEP * _STEP


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


@kernel_part
def _explain_block(
    columns: NDArray[Any],
    nodes: NDArray[Any],
    trees: NDArray[Any],
    values: NDArray[np.float64],
    shares: NDArray[np.float64],
    priors: NDArray[np.int64],
    points: NDArray[np.float64],
    quadratures: NDArray[np.int64],
    ranks: NDArray[np.uint8],
    spans: NDArray[np.int64],
    turns: NDArray[np.uint64],
    slots: NDArray[np.int64],
    lane_of: NDArray[np.int64],
    row_of: NDArray[np.int64],
    room: int,
    counts: NDArray[np.int64],
    before: NDArray[np.float64],
    lines: NDArray[np.float64],
    known: NDArray[np.float64],
    lefts: NDArray[np.float64],
    cells: NDArray[np.float64],
    total: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Add what every tree gives each column to ``sums``, of as many rows as there are ``turns``, in ``room`` lanes."""
    for t in range(len(trees)):
        tree = trees[t]
        low, high = tree["node"], tree["node"] + tree["leaves"] - 1
        if low == high:
            continue
        own, own_shares, own_priors = nodes[low:high], shares[low:high], priors[low:high]
        point, size = quadratures[t, 0], quadratures[t, 1]
        counts[0] = tree["leaves"]
        line = lines[:, : (high - low) * size]
        is_told = write_turns(own, ranks, spans, turns)
        stop = 0
        while stop < len(turns):
            first = stop
            stop, lanes = share_lanes(turns, is_told, first, room, slots, lane_of, row_of)
            width = _round(lanes)
            _descend(
                own, own_shares, own_priors, points[:, point : point + size],
                ranks, spans, row_of, width, counts, before, line, known, lefts, cells,
            )  # fmt: skip
            _ascend(
                columns, own, own_shares, own_priors, values[tree["value"] :],
                lane_of, width, counts, before, line, known, lefts, cells, total, sums, first, stop,
            )  # fmt: skip


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
    wide, n = rows.shape[1], _share(stop - first, ROWS)
    room = min(LANES, n, max(_ROOM // most, 1))
    width = _round(room)
    singles, parts = np.empty((wide, whole_tiles(n)), np.float32), np.empty(wide, np.bool_)
    tile, lanes = np.empty((TILE // 4, 4 * wide), np.float32), np.empty((2, 4 * wide), np.float32)
    quads, fours = tile.reshape((TILE // 4, wide, 4)), singles.reshape((wide, singles.shape[1] // 4, 4))
    bounds, taken, above = np.empty((2, wide), np.float32), np.empty(n, np.float32), np.empty(n, np.int32)
    ranks, spans = np.empty((max(len(columns), 1), n), np.uint8), np.empty((len(columns), 2), np.int64)
    turns, slots = np.empty(n, np.uint64), np.empty(SLOTS, np.int64)
    lane_of, row_of = np.empty(n, np.int64), np.zeros(width, np.int64)
    counts, before, known = np.empty(splits, np.int64), np.empty(splits), np.empty((splits + 1, width))
    lines, lefts = np.empty((3, most)), np.empty((splits, width))
    # Two rows more, for what leaves give, and for what arrives at them, which nobody asks for.
    cells, total, sums = np.empty((most + 2, width)), np.empty(width), np.empty((wide, n))
    known[:, :] = 1.0
    for begin in range(first, stop, n):
        end = min(begin + n, stop)
        sums[:, :] = 0.0
        cut(rows, picked[begin:end], tile, quads, lanes, parts, fours, bounds)
        rank_columns(columns, thresholds, members, singles, bounds, 0, taken[: end - begin], above, ranks, spans)
        _explain_block(
            columns, nodes, trees, values, shares, priors, points, quadratures, ranks, spans, turns[: end - begin],
            slots, lane_of, row_of, room, counts, before, lines, known, lefts, cells, total, sums,
        )  # fmt: skip
        for i in range(begin, end):
            for c in range(wide):
                out[i, c] = sums[c, i - begin] * scale
