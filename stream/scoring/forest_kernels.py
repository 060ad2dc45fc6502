"""Kernels over a forest's shape and its bit vectors.

Scoring is the bit-vector method of QuickScorer (Lucchese et al., SIGIR 2015): a split whose condition fails clears the
bits of its left subtree's leaves, and the lowest bit left of a tree is the leaf that is reached, in whatever order its
splits are looked at. As in RapidScorer (Ye et al., KDD 2018) a block of rows goes through each split at once, and a
tree's bits lie in planes of eight, so that a split touches those bytes alone that hold its leaves. Here values are
replaced by their ranks among the thresholds of a column first: splits compare single bytes, 32 or 64 rows at a time.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.arithmetic import exp, logistic
from stream.compiled import kernel, kernel_part
from stream.records import USE_FOLD
from stream.scoring.rules import AS_ZERO, LINKS, MISSING, TO_RIGHT, ZERO, ZERO_TO_LEFT, ZERO_TO_RIGHT

BLOCK_ROWS: Final = 512
"""Rows that go through a split at once."""
PLANES: Final = 32
"""Most planes of a tree, eight leaves each, up to which a block pays; trees are walked beyond."""
WALKED_ROWS: Final = 24
"""Rows up to which each is walked by itself: a block of so few costs more."""
RANKS: Final = 255
"""Most thresholds of one column: a rank is a byte."""

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
def is_member(value: float, members: NDArray[np.int64], rule: int) -> bool:
    """Return whether a value, cut to its integer, is one of ``members``; a missing one: whether it goes left."""
    if value != value:
        return rule != TO_RIGHT and rule != ZERO_TO_RIGHT
    # What is below -1 or far above is no category, and may be no integer either.
    if not -1.0 < value < 1e6:
        return False
    category = np.int64(value)
    for k in range(len(members)):
        if members[k] == category:
            return True
    return False


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
def _take(values: NDArray[np.float32], rule: int) -> None:
    """Replace what counts as missing, and what is missing, as the rule has it, in place."""
    if rule == AS_ZERO:
        for i in range(len(values)):
            if values[i] != values[i]:
                values[i] = 0.0
    elif rule >= ZERO_TO_LEFT:
        for i in range(len(values)):
            if abs(values[i]) <= ZERO:
                values[i] = MISSING


@kernel_part
def _rank(values: NDArray[np.float32], thresholds: NDArray[np.float32], rule: int, ranks: NDArray[np.uint8]) -> None:
    """Write how many thresholds each value lies above; a missing one lies above none, or all where it goes right.

    By counting: at 255 thresholds it takes as long as a binary search in each row, and below that less.
    """
    for i in range(len(ranks)):
        ranks[i] = _NONE
    if rule == TO_RIGHT or rule == ZERO_TO_RIGHT:
        for t in range(len(thresholds)):
            threshold = thresholds[t]
            for i in range(len(ranks)):
                ranks[i] = ranks[i] + (np.uint8(0) if values[i] <= threshold else np.uint8(1))
    else:
        for t in range(len(thresholds)):
            threshold = thresholds[t]
            for i in range(len(ranks)):
                ranks[i] = ranks[i] + (np.uint8(1) if values[i] > threshold else np.uint8(0))


@kernel_part
def _keep(bits: NDArray[np.uint8], ranks: NDArray[np.uint8], rank: Any, mask: Any) -> None:
    """Clear the bits outside ``mask`` where a row's rank is above the split's, in place."""
    for i in range(len(bits)):
        bits[i] = bits[i] & (_ALL if ranks[i] <= rank else mask)


@kernel_part
def _fill(bits: NDArray[np.uint8]) -> None:
    for i in range(len(bits)):
        bits[i] = _ALL


@kernel_part
def _choose(bits: NDArray[np.uint8], plane: Any, lowest: NDArray[np.uint8], planes: NDArray[np.uint8]) -> None:
    """Note a plane and its byte where any of its bits is left, in place: called from the last plane to the first."""
    for i in range(len(bits)):
        byte = bits[i]
        lowest[i] = byte if byte != 0 else lowest[i]
        planes[i] = plane if byte != 0 else planes[i]


@kernel_part
def _count_zeros(lowest: NDArray[np.uint8]) -> None:
    """Replace each byte by the place of its lowest bit, in place."""
    for i in range(len(lowest)):
        bit = np.uint8(lowest[i] & np.uint8(-lowest[i]))
        ones = np.uint8(1) if bit & np.uint8(0xAA) else _NONE
        twos = np.uint8(2) if bit & np.uint8(0xCC) else _NONE
        fours = np.uint8(4) if bit & np.uint8(0xF0) else _NONE
        lowest[i] = np.uint8(ones | twos | fours)


@kernel_part
def _add(
    sums: NDArray[np.float64], values: NDArray[np.float64], planes: NDArray[np.uint8], lowest: NDArray[np.uint8]
) -> None:
    for i in range(len(sums)):
        sums[i] = sums[i] + values[np.uint32(planes[i]) * np.uint32(8) + np.uint32(lowest[i])]


@kernel_part
def _score_block(
    columns: NDArray[Any],
    thresholds: NDArray[np.float32],
    members: NDArray[np.int64],
    nodes: NDArray[Any],
    masks: NDArray[np.uint8],
    trees: NDArray[Any],
    values: NDArray[np.float64],
    rows: NDArray[np.float64],
    picked: NDArray[np.int64],
    single: NDArray[np.float32],
    ranks: NDArray[np.uint8],
    bits: NDArray[np.uint8],
    planes: NDArray[np.uint8],
    lowest: NDArray[np.uint8],
    sums: NDArray[np.float64],
) -> None:
    """Add what every tree gives for the ``picked`` rows, at most BLOCK_ROWS, to ``sums``, tree by tree."""
    n = len(picked)
    for c in range(len(columns)):
        column = columns[c]
        place, rule = column["place"], column["rule"]
        for i in range(n):
            single[i] = np.float32(rows[picked[i], place])
        _take(single[:n], rule)
        if column["asks"]:
            wanted = members[column["first"] : column["stop"]]
            for i in range(n):
                ranks[c, i] = np.uint8(0) if is_member(single[i], wanted, rule) else np.uint8(1)
        else:
            _rank(single[:n], thresholds[column["first"] : column["stop"]], rule, ranks[c, :n])
    for t in range(len(trees)):
        tree = trees[t]
        last = (tree["leaves"] - 1) // 8
        for plane in range(last + 1):
            _fill(bits[plane, :n])
        for j in range(tree["node"], tree["node"] + tree["leaves"] - 1):
            node = nodes[j]
            of_column = ranks[node["column"], :n]
            for k in range(node["planes"]):
                _keep(bits[node["plane"] + k, :n], of_column, node["rank"], masks[node["mask"] + k])
        for plane in range(last, -1, -1):
            _choose(bits[plane, :n], np.uint8(plane), lowest[:n], planes[:n])
        _count_zeros(lowest[:n])
        _add(sums, values[tree["value"] :], planes[:n], lowest[:n])


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
    rows: NDArray[np.float64],
    use: NDArray[np.int64],
    first: int,
    stop: int,
    out: NDArray[np.float64],
    m: int,
) -> None:
    """Write the forest's score of the rows from ``first`` to before ``stop`` that USE_FOLD marks into ``out[:, m]``.

    The arrays of BitVectors; ``after`` float64[4]: divisor, base, slope and intercept; ``link`` a code of LINKS. Rows
    float64[n, c] are cut to singles first. A sum runs over the trees in order, whichever way each is gone through.
    """
    picked = np.empty(min(BLOCK_ROWS, max(stop - first, 0)), np.int64)
    sums = np.empty(len(picked), np.float64)
    single = np.empty(len(picked), np.float32)
    ranks = np.empty((len(columns), len(picked)), np.uint8)
    most = 1
    for t in range(len(trees)):
        most = max(most, (trees[t]["leaves"] + 7) // 8)
    bits = np.empty((most, len(picked)), np.uint8)
    planes = np.empty(len(picked), np.uint8)
    lowest = np.empty(len(picked), np.uint8)
    at = first
    while at < stop:
        n = 0
        while at < stop and n < len(picked):
            if use[at] == USE_FOLD:
                picked[n] = at
                n += 1
            at += 1
        sums[:n] = 0.0
        _score_block(
            columns, thresholds, members, nodes, masks, trees, values,
            rows, picked[:n], single, ranks, bits, planes, lowest, sums[:n],
        )  # fmt: skip
        for i in range(n):
            out[picked[i], m] = finish(sums[i], after, link)
