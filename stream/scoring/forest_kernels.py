"""Kernels over a forest's shape and its bit vectors.

Scoring is the bit-vector method of QuickScorer (Lucchese et al., SIGIR 2015): a split whose condition fails clears the
bits of its left subtree's leaves, and the lowest bit left of a tree is the leaf that is reached, in whatever order its
splits are looked at. As in RapidScorer (Ye et al., KDD 2018) a block of rows goes through each split at once, and a
tree's bits lie in planes of eight, so that a split touches those bytes alone that hold its leaves. Here values are
replaced by their ranks among the thresholds of a column first: splits compare single bytes, 32 or 64 rows at a time.
A plane is done with before the next, by four of the splits that touch it at a time, and where all rows of a block lie
on one side of a threshold, its splits are done with once for all of them.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.arithmetic import exp, logistic
from stream.compiled import kernel, kernel_part
from stream.scoring.rank_kernels import rank_columns, whole_tiles
from stream.scoring.rules import LINKS

BLOCK_ROWS: Final = 2048
"""Rows that go through a split at once."""
PLANES: Final = 32
"""Most planes of a tree, eight leaves each, up to which a block pays, and a leaf's number is a byte; trees are walked
beyond."""
WALKED_ROWS: Final = 48
"""Rows up to which each is walked by itself: a block of so few costs more."""

_LOGISTIC = LINKS.index("logistic")
_EXP = LINKS.index("exp")
_MOST_EXPONENT = 690.0
_ALL = np.uint8(0xFF)
_NONE = np.uint8(0)


@kernel
def lay_out(leaves: NDArray[np.int64], lefts: NDArray[np.int64], firsts: NDArray[np.int64]) -> int:
    """Write each split's leftmost leaf into ``firsts``; return the first split that cannot be, -1 if all can.

    ``leaves`` int64[t], ``lefts`` and ``firsts`` int64[s], splits of all trees in pre-order.
    """
    most = 1
    for tree in range(len(leaves)):
        most = max(most, leaves[tree])
    # Subtrees that are still to come: their first leaf and how many they have.
    begin = np.empty(most + 1, np.int64)
    count = np.empty(most + 1, np.int64)
    split = 0
    for tree in range(len(leaves)):
        depth = 1
        begin[0] = 0
        count[0] = leaves[tree]
        while depth > 0:
            depth -= 1
            if count[depth] == 1:
                continue
            first, whole, left = begin[depth], count[depth], lefts[split]
            if left < 1 or left >= whole:
                return split
            firsts[split] = first
            begin[depth] = first + left
            count[depth] = whole - left
            begin[depth + 1] = first
            count[depth + 1] = left
            depth += 2
            split += 1
    return -1


@kernel
def lay_keeps(nodes: NDArray[Any], trees: NDArray[Any], planes: NDArray[np.int64], keeps: NDArray[Any]) -> None:
    """Write by plane what each split that touches it keeps of it where rows go right: its left subtree is cleared.

    ``nodes`` and ``trees`` of BitVectors; ``planes`` int64[p + 1] is where each plane's begin in ``keeps``, KEEP[m].
    """
    planes[0] = count = 0
    for t in range(len(trees)):
        begin, leaves = trees[t]["node"], trees[t]["leaves"]
        for plane in range((leaves + 7) // 8):
            for j in range(begin, begin + leaves - 1):
                first, last = np.int64(nodes[j]["first"]), np.int64(nodes[j]["first"]) + np.int64(nodes[j]["left"]) - 1
                if not first // 8 <= plane <= last // 8:
                    continue
                mask = 0
                for bit in range(8):
                    if not first <= 8 * plane + bit <= last:
                        mask |= 1 << bit
                keep = keeps[count]
                keep["column"], keep["rank"], keep["mask"] = nodes[j]["column"], nodes[j]["rank"], mask
                count += 1
            planes[trees[t]["plane"] + plane + 1] = count


@kernel_part
def finish(total: float, after: NDArray[np.float64], link: int) -> float:
    """Return the score of a sum over all trees."""
    z: float = after[2] * (total / after[0] + after[1]) + after[3]
    if link == _LOGISTIC:
        z = logistic(z)
    elif link == _EXP:
        z = exp(min(max(z, -_MOST_EXPONENT), _MOST_EXPONENT))
    return z


@kernel_part
def _keep_four(
    bits: NDArray[np.uint8],
    keeps: NDArray[Any],
    some: NDArray[np.int64],
    ranks: NDArray[np.uint8],
) -> None:
    """Clear a plane's bits by four splits, in place, where a row's rank is above a split's.

    Four at once: bits are fetched and put back once for all of them.
    """
    n = len(bits)
    w, x, y, z = keeps[some[0]], keeps[some[1]], keeps[some[2]], keeps[some[3]]
    of_w, of_x = ranks[w["column"], :n], ranks[x["column"], :n]
    of_y, of_z = ranks[y["column"], :n], ranks[z["column"], :n]
    rank_w, rank_x, rank_y, rank_z = w["rank"], x["rank"], y["rank"], z["rank"]
    mask_w, mask_x, mask_y, mask_z = w["mask"], x["mask"], y["mask"], z["mask"]
    for i in range(n):
        one = (_ALL if of_w[i] <= rank_w else mask_w) & (_ALL if of_x[i] <= rank_x else mask_x)
        other = (_ALL if of_y[i] <= rank_y else mask_y) & (_ALL if of_z[i] <= rank_z else mask_z)
        bits[i] = bits[i] & one & other


@kernel_part
def _fill(bits: NDArray[np.uint8], byte: Any) -> None:
    for i in range(len(bits)):
        bits[i] = byte


@kernel_part
def _choose(bits: NDArray[np.uint8], base: Any, lowest: NDArray[np.uint8], leaves: NDArray[np.uint8]) -> None:
    """Note a plane's byte and first leaf where any bit is left, in place: called from the last plane to the first.

    By masks: of a choice between new and old bytes LLVM makes writes on a condition, one by one where bytes have none.
    """
    for i in range(len(bits)):
        byte = bits[i]
        kept = _NONE if byte != 0 else _ALL
        lowest[i] = byte | (lowest[i] & kept)
        leaves[i] = (base & ~kept) | (leaves[i] & kept)


@kernel_part
def _count_zeros(lowest: NDArray[np.uint8], leaves: NDArray[np.uint8]) -> None:
    """Add to the first leaf of each plane the place of the lowest bit, in place: how many bits lie below.

    They are counted by halves: a table, or a choice for each bit, takes four times as long.
    """
    for i in range(len(lowest)):
        below = np.uint8(~lowest[i] & np.uint8(lowest[i] - np.uint8(1)))
        twos = np.uint8(below - ((below >> np.uint8(1)) & np.uint8(0x55)))
        fours = np.uint8((twos & np.uint8(0x33)) + ((twos >> np.uint8(2)) & np.uint8(0x33)))
        leaves[i] = np.uint8(leaves[i] + ((fours + (fours >> np.uint8(4))) & np.uint8(0x0F)))


@kernel_part
def _add(sums: NDArray[np.float64], values: NDArray[np.float64], leaves: NDArray[np.uint8]) -> None:
    for i in range(len(sums)):
        sums[i] = sums[i] + values[leaves[i]]


@kernel_part
def _add_four(
    sums: NDArray[np.float64],
    values: NDArray[np.float64],
    trees: NDArray[Any],
    leaves: NDArray[np.uint8],
) -> None:
    """Add what four trees give, one after another: sums are fetched and put back once for all four."""
    n = len(sums)
    a, b, c, d = leaves[0, :n], leaves[1, :n], leaves[2, :n], leaves[3, :n]
    of_a, of_b = values[trees[0]["value"] :], values[trees[1]["value"] :]
    of_c, of_d = values[trees[2]["value"] :], values[trees[3]["value"] :]
    for i in range(len(sums)):
        sums[i] = sums[i] + of_a[a[i]] + of_b[b[i]] + of_c[c[i]] + of_d[d[i]]


@kernel_part
def _part(keeps: NDArray[Any], spans: NDArray[np.int64], some: NDArray[np.int64]) -> tuple[Any, int]:
    """Return what the splits that all rows go right at leave of a plane, and how many more may clear bits of it.

    Those are noted in ``some`` (int64[at least 3 more than a tree has splits]), the last one again up to a whole four.
    """
    byte, count = np.int64(0xFF), 0
    for j in range(len(keeps)):
        keep = keeps[j]
        column, rank = keep["column"], np.int64(keep["rank"])
        if spans[column, 0] > rank:
            byte &= np.int64(keep["mask"])
        elif spans[column, 1] > rank:
            some[count] = j
            count += 1
    if byte != 0xFF:
        parting, count = count, 0
        for k in range(parting):
            if byte & ~np.int64(keeps[some[k]]["mask"]) != 0:
                some[count] = some[k]
                count += 1
    if count > 0:
        some[count : count + 3] = some[count - 1]
    return byte, count


@kernel_part
def _lowest(byte: int) -> int:
    """Return the place of the lowest bit."""
    for bit in range(8):
        if byte >> bit & 1 == 1:
            return bit
    return 0


@kernel_part
def _reach(
    keeps: NDArray[Any],
    planes: NDArray[np.int64],
    ranks: NDArray[np.uint8],
    spans: NDArray[np.int64],
    some: NDArray[np.int64],
    bits: NDArray[np.uint8],
    lowest: NDArray[np.uint8],
    leaves: NDArray[np.uint8],
) -> None:
    """Write which leaf of a tree each row reaches, plane by plane from the last on: a lower bit outdoes all before."""
    same, same_plane = 0, 0
    for plane in range(len(planes) - 2, -1, -1):
        own = keeps[planes[plane] : planes[plane + 1]]
        byte, count = _part(own, spans, some)
        if byte == 0:
            continue
        if count == 0:
            # All rows have the same bits here, whatever the planes behind say.
            same, same_plane = byte, plane
            continue
        if same != 0:
            _fill(lowest, np.uint8(same))
            _fill(leaves, np.uint8(8 * same_plane))
            same = 0
        _fill(bits, np.uint8(byte))
        for k in range(0, count, 4):
            _keep_four(bits, own, some[k : k + 4], ranks)
        _choose(bits, np.uint8(8 * plane), lowest, leaves)
    if same != 0:
        _fill(leaves, np.uint8(8 * same_plane + _lowest(same)))
    else:
        _count_zeros(lowest, leaves)


@kernel_part
def _score_block(
    keeps: NDArray[Any],
    planes: NDArray[np.int64],
    trees: NDArray[Any],
    values: NDArray[np.float64],
    ranks: NDArray[np.uint8],
    spans: NDArray[np.int64],
    some: NDArray[np.int64],
    bits: NDArray[np.uint8],
    lowest: NDArray[np.uint8],
    leaves: NDArray[np.uint8],
    sums: NDArray[np.float64],
) -> None:
    """Add what every tree gives for as many rows as there are ``sums``, tree by tree."""
    n = len(sums)
    for t in range(len(trees)):
        tree = trees[t]
        own = planes[tree["plane"] : tree["plane"] + (tree["leaves"] + 7) // 8 + 1]
        _reach(keeps, own, ranks, spans, some, bits[:n], lowest[:n], leaves[t % 4, :n])
        if t % 4 == 3:
            _add_four(sums, values, trees[t - 3 : t + 1], leaves)
    for t in range(len(trees) - len(trees) % 4, len(trees)):
        _add(sums, values[trees[t]["value"] :], leaves[t % 4, :n])


@kernel
def score_forest(
    columns: NDArray[Any],
    thresholds: NDArray[np.float32],
    members: NDArray[np.int64],
    keeps: NDArray[Any],
    planes: NDArray[np.int64],
    trees: NDArray[Any],
    values: NDArray[np.float64],
    after: NDArray[np.float64],
    link: int,
    singles: NDArray[np.float32],
    bounds: NDArray[np.float32],
    picked: NDArray[np.int64],
    first: int,
    stop: int,
    out: NDArray[np.float64],
    m: int,
) -> None:
    """Write the forest's score of the rows ``picked[first:stop]`` into ``out[picked[first:stop], m]``.

    The arrays of BitVectors; ``after`` float64[4]: divisor, base, slope and intercept; ``link`` a code of LINKS.
    ``singles`` float32[c, at least k] and ``bounds`` float32[2, c] as ``cut_rows`` writes them of the rows ``picked``
    (int64[k]). A sum runs over the trees in order, whichever way each is gone through.
    """
    room = min(BLOCK_ROWS, whole_tiles(max(stop - first, 0)))
    taken, above, sums = np.empty(room, np.float32), np.empty(room, np.int32), np.empty(room, np.float64)
    ranks, spans = np.empty((len(columns), room), np.uint8), np.empty((len(columns), 2), np.int64)
    some = np.empty(8 * PLANES + 3, np.int64)
    bits, lowest, leaves = np.empty(room, np.uint8), np.empty(room, np.uint8), np.empty((4, room), np.uint8)
    for at in range(first, stop, BLOCK_ROWS):
        n = min(BLOCK_ROWS, stop - at)
        # Whole vectors: lanes behind the last row hold whatever stands there, reach some leaf, and nobody asks for it.
        lanes = min(whole_tiles(n), singles.shape[1] - at)
        sums[:lanes] = 0.0
        rank_columns(columns, thresholds, members, singles, bounds, at, taken[:lanes], above, ranks, spans)
        _score_block(keeps, planes, trees, values, ranks, spans, some, bits, lowest, leaves, sums[:lanes])
        for i in range(n):
            out[picked[at + i], m] = finish(sums[i], after, link)
