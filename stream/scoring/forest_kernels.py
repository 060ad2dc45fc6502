"""Kernels over a forest's shape and its bit vectors.

Scoring is the bit-vector method of QuickScorer (Lucchese et al., SIGIR 2015): a split whose condition fails clears the
bits of its left subtree's leaves, and the lowest bit left of a tree is the leaf that is reached, in whatever order its
splits are looked at. As in RapidScorer (Ye et al., KDD 2018) a block of rows goes through each split at once, and a
tree's bits lie in planes of eight, so that a split touches those bytes alone that hold its leaves. Here values are
replaced by their ranks among the thresholds of a column first: splits compare single bytes, 32 or 64 rows at a time.
Where all rows of a block lie on one side of a threshold, its splits are done with once for all of them.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.arithmetic import exp, logistic
from stream.compiled import kernel, kernel_part
from stream.scoring.rank_kernels import goes_one_way, rank_columns
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
def lay_masks(nodes: NDArray[Any], masks: NDArray[np.uint8]) -> None:
    """Write the bytes that each node leaves of the planes that it touches: its left subtree's bits are cleared.

    ``nodes`` of BitVectors, ``masks`` uint8[m], in place.
    """
    for j in range(len(nodes)):
        node = nodes[j]
        first, stop = np.int64(node["first"]), np.int64(node["first"]) + np.int64(node["left"])
        for plane in range(node["planes"]):
            mask = 0
            for bit in range(8):
                leaf = (np.int64(node["plane"]) + plane) * 8 + bit
                if leaf < first or leaf >= stop:
                    mask |= 1 << bit
            masks[node["mask"] + plane] = mask


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
def _keep(bits: NDArray[np.uint8], ranks: NDArray[np.uint8], rank: Any, mask: Any) -> None:
    """Clear the bits outside ``mask`` where a row's rank is above the split's, in place."""
    for i in range(len(bits)):
        bits[i] = bits[i] & (_ALL if ranks[i] <= rank else mask)


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
def _begin(nodes: NDArray[Any], masks: NDArray[np.uint8], spans: NDArray[np.int64], begin: NDArray[np.uint8]) -> int:
    """Write what a tree's splits on which all rows go right leave of its planes; return on how many rows part."""
    parting = 0
    for j in range(len(nodes)):
        node = nodes[j]
        column, rank = node["column"], np.int64(node["rank"])
        if spans[column, 0] > rank:
            for k in range(node["planes"]):
                begin[node["plane"] + k] &= masks[node["mask"] + k]
        elif spans[column, 1] > rank:
            parting += 1
    return parting


@kernel_part
def _split(
    nodes: NDArray[Any],
    masks: NDArray[np.uint8],
    ranks: NDArray[np.uint8],
    spans: NDArray[np.int64],
    begin: NDArray[np.uint8],
    bits: NDArray[np.uint8],
    n: int,
) -> None:
    """Clear in a tree's planes the bits of all leaves that a row of ``n`` cannot reach, from ``begin`` on, in place."""
    for plane in range(len(begin)):
        _fill(bits[plane, :n], begin[plane])
    for j in range(len(nodes)):
        node = nodes[j]
        column, rank = node["column"], np.int64(node["rank"])
        if goes_one_way(spans, column, rank):
            continue
        for k in range(node["planes"]):
            plane, mask = node["plane"] + k, masks[node["mask"] + k]
            if begin[plane] & ~mask & _ALL != 0:
                _keep(bits[plane, :n], ranks[column, :n], node["rank"], mask)


@kernel_part
def _lowest(begin: NDArray[np.uint8]) -> int:
    """Return the leaf of the lowest bit that is left."""
    for plane in range(len(begin)):
        for bit in range(8):
            if begin[plane] >> bit & 1 == 1:
                return plane * 8 + bit
    return 0


@kernel_part
def _reach(
    nodes: NDArray[Any],
    masks: NDArray[np.uint8],
    ranks: NDArray[np.uint8],
    spans: NDArray[np.int64],
    begin: NDArray[np.uint8],
    bits: NDArray[np.uint8],
    lowest: NDArray[np.uint8],
    leaves: NDArray[np.uint8],
) -> None:
    """Write which leaf of a tree each row reaches; there are as many planes as ``begin`` has bytes."""
    begin[:] = _ALL
    if _begin(nodes, masks, spans, begin) == 0:
        _fill(leaves, np.uint8(_lowest(begin)))
        return
    n = len(leaves)
    _split(nodes, masks, ranks, spans, begin, bits, n)
    for plane in range(len(begin) - 1, -1, -1):
        if begin[plane] != 0:
            _choose(bits[plane, :n], np.uint8(8 * plane), lowest, leaves)
    _count_zeros(lowest, leaves)


@kernel_part
def _score_block(
    nodes: NDArray[Any],
    masks: NDArray[np.uint8],
    trees: NDArray[Any],
    values: NDArray[np.float64],
    ranks: NDArray[np.uint8],
    spans: NDArray[np.int64],
    begin: NDArray[np.uint8],
    bits: NDArray[np.uint8],
    lowest: NDArray[np.uint8],
    leaves: NDArray[np.uint8],
    sums: NDArray[np.float64],
) -> None:
    """Add what every tree gives for as many rows as there are ``sums``, tree by tree."""
    n = len(sums)
    for t in range(len(trees)):
        tree = trees[t]
        own = nodes[tree["node"] : tree["node"] + tree["leaves"] - 1]
        planes = (tree["leaves"] + 7) // 8
        _reach(own, masks, ranks, spans, begin[:planes], bits, lowest[:n], leaves[t % 4, :n])
        if t % 4 == 3:
            _add_four(sums, values, trees[t - 3 : t + 1], leaves)
    for t in range(len(trees) - len(trees) % 4, len(trees)):
        _add(sums, values[trees[t]["value"] :], leaves[t % 4, :n])


@kernel
def score_forest(
    columns: NDArray[Any],
    thresholds: NDArray[np.float32],
    members: NDArray[np.int64],
    nodes: NDArray[Any],
    masks: NDArray[np.uint8],
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
    ``singles`` float32[c, len(picked)] and ``bounds`` float32[2, c] as ``cut_rows`` writes them of the rows ``picked``
    (int64[k]). A sum runs over the trees in order, whichever way each is gone through.
    """
    most = 1
    for t in range(len(trees)):
        most = max(most, (trees[t]["leaves"] + 7) // 8)
    room = min(BLOCK_ROWS, max(stop - first, 0))
    taken, above, sums = np.empty(room, np.float32), np.empty(room, np.int32), np.empty(room, np.float64)
    ranks, spans = np.empty((len(columns), room), np.uint8), np.empty((len(columns), 2), np.int64)
    bits, begin = np.empty((most, room), np.uint8), np.empty(most, np.uint8)
    lowest, leaves = np.empty(room, np.uint8), np.empty((4, room), np.uint8)
    for at in range(first, stop, BLOCK_ROWS):
        n = min(BLOCK_ROWS, stop - at)
        sums[:n] = 0.0
        rank_columns(columns, thresholds, members, singles, bounds, at, taken[:n], above, ranks, spans)
        _score_block(nodes, masks, trees, values, ranks, spans, begin, bits, lowest, leaves, sums[:n])
        for i in range(n):
            out[picked[at + i], m] = finish(sums[i], after, link)
