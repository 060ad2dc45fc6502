"""The kernels that take single rows through a forest: for batches too small to fill a block, and for wide trees.

A step is one word of 64 bits, so that eight share a line of the cache: above the key of a split's threshold (such that
keys lie as the singles do), below how many steps on its children are, which lie side by side, and its column. A row is
to be on the right child where the key of its value is above the split's, which is where the word is below the key in a
word's upper half. A leaf leads to itself, since no key is above its own, and has its number in the place of a column.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel, kernel_part
from stream.scoring.forest_kernels import finish
from stream.scoring.rank_kernels import COLUMN, is_member, replace_missing

TOGETHER: Final = 10
"""Trees that a row goes through at a time: a walk has so many, or a multiple."""
HEAD: Final = 6
"""Words at the head of a walk: where each part but the last ends, the link, and how many keys a row is to have."""
LEAF: Final = np.uint64(0xFFFFFFFF << 32)
"""A step that leads to itself, above the number of its leaf."""

_COLUMN_BITS = np.uint64(19)
_COLUMN = np.uint64((1 << 19) - 1)
_SKIP = np.uint64((1 << 13) - 1)
_HALF_WORD = np.uint64(32)
_SIGN = np.uint32(0x80000000)
_ALL = np.uint32(0xFFFFFFFF)
_ONE = np.uint64(1)
_TWO = np.uint64(2)
_ZERO = np.float32(0.0)
_ASKED = np.uint64(0xBF000000 << 32)
"""The key of a half: below that of 1, above that of 0."""


def keys_of(singles: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return words that lie as the singles do, of which none may be NaN or the zero below 0."""
    bits = singles.view(np.uint32)
    return (bits ^ np.where(bits >= _SIGN, _ALL, _SIGN)).astype(np.uint64) << _HALF_WORD


@kernel_part
def _key(bits: Any) -> Any:
    """Return the same of a single's bits."""
    return np.uint64(bits ^ (_ALL if bits >= _SIGN else _SIGN)) << _HALF_WORD


@kernel
def lay_steps(
    columns: NDArray[Any],
    keys: NDArray[np.uint64],
    trees: NDArray[Any],
    nodes: NDArray[Any],
    steps: NDArray[np.uint64],
) -> None:
    """Write every tree's splits and leaves as ``walk_forest`` takes them, in place.

    ``columns``, ``trees`` and ``nodes`` of BitVectors, ``keys`` uint64[t] of its thresholds; ``steps`` uint64[2 l]: a
    tree whose first leaf is number k of the forest's has its root at 2 k + 1, so that no two children lie in different
    lines of the cache.
    The child with more leaves is followed first: what is on the way there is close by.
    """
    most = 1
    for t in range(len(trees)):
        most = max(most, trees[t]["leaves"])
    # Subtrees that are still to come: their place, first split, first leaf, and how many they have.
    waiting = np.empty((most + 1, 4), np.int64)
    for t in range(len(trees)):
        tree = trees[t]
        free = 2 * tree["value"] + 2
        depth = _wait(waiting, 0, free - 1, tree["node"], 0, tree["leaves"])
        while depth > 0:
            depth -= 1
            place, split, leaf, count = waiting[depth, 0], waiting[depth, 1], waiting[depth, 2], waiting[depth, 3]
            if count == 1:
                steps[place] = LEAF | np.uint64(leaf)
                continue
            left: Any = np.int64(nodes[split]["left"])
            column = columns[nodes[split]["column"]]
            key = _ASKED if column["asks"] else keys[column["first"] + nodes[split]["rank"]]
            steps[place] = key | np.uint64(free - place) << _COLUMN_BITS | np.uint64(nodes[split]["column"])
            if 2 * left > count:
                depth = _wait(waiting, depth, free + 1, split + left, leaf + left, count - left)
                depth = _wait(waiting, depth, free, split + 1, leaf, left)
            else:
                depth = _wait(waiting, depth, free, split + 1, leaf, left)
                depth = _wait(waiting, depth, free + 1, split + left, leaf + left, count - left)
            free += 2


@kernel_part
def _wait(waiting: NDArray[np.int64], depth: int, place: int, split: int, leaf: int, count: int) -> int:
    """Put a subtree on top of those that are to come; return how many there are."""
    waiting[depth, 0] = place
    waiting[depth, 1] = split
    waiting[depth, 2] = leaf
    waiting[depth, 3] = count
    return depth + 1


@kernel_part
def _take_row(
    columns: NDArray[Any], members: NDArray[np.int64], row: NDArray[np.float64], taken: NDArray[np.float32]
) -> None:
    """Write by column what a row's splits compare with their thresholds.

    What is missing lies below all of them, or above where it goes right. Categories asked for give 0, others 1.
    """
    for c in range(len(columns)):
        column = columns[c]
        # Of two zeros the positive one, as thresholds have it.
        taken[c] = replace_missing(np.float32(row[column["place"]]), column["nothing"], column["instead"]) + _ZERO
    # They come last.
    for c in range(len(columns) - 1, -1, -1):
        column = columns[c]
        if not column["asks"]:
            break
        wanted = members[column["first"] : column["stop"]]
        taken[c] = np.float32(0.0) if is_member(taken[c], wanted, column["rule"]) else np.float32(1.0)


@kernel_part
def _step(steps: NDArray[np.uint64], keys: NDArray[np.uint64], place: Any) -> Any:
    """Return where a split leads; a leaf leads to itself."""
    step = steps[place]
    return place + (step >> _COLUMN_BITS & _SKIP) + np.uint64(step < keys[step & _COLUMN])


@kernel_part
def _give(steps: NDArray[np.uint64], values: NDArray[np.float64], leaf: Any, place: Any) -> float:
    """Return what the leaf at a place adds; the first leaf of its tree is given."""
    value: float = values[leaf + (steps[place] & _COLUMN)]
    return value


@kernel_part
def _walk(
    steps: NDArray[np.uint64], leaves: NDArray[np.uint64], values: NDArray[np.float64], keys: NDArray[np.uint64]
) -> float:
    """Return the sum over all trees for one row, from split to split.

    Ten trees go together without a branch that depends on the row: their loads overlap, and nothing is mispredicted.
    Places are unsigned: of others it is asked first whether they count from the end.
    """
    total = 0.0
    for t in range(0, len(leaves), TOGETHER):
        some = leaves[t : t + TOGETHER]
        a, b, c, d = _TWO * some[0] + _ONE, _TWO * some[1] + _ONE, _TWO * some[2] + _ONE, _TWO * some[3] + _ONE
        e, f, g, h = _TWO * some[4] + _ONE, _TWO * some[5] + _ONE, _TWO * some[6] + _ONE, _TWO * some[7] + _ONE
        i, j = _TWO * some[8] + _ONE, _TWO * some[9] + _ONE
        # Places only grow until all are leaves.
        before, now = _ONE, np.uint64(0)
        while now != before:
            before = now
            a, b = _step(steps, keys, a), _step(steps, keys, b)
            c, d = _step(steps, keys, c), _step(steps, keys, d)
            e, f = _step(steps, keys, e), _step(steps, keys, f)
            g, h = _step(steps, keys, g), _step(steps, keys, h)
            i, j = _step(steps, keys, i), _step(steps, keys, j)
            now = a + b + c + d + e + f + g + h + i + j
        total = total + _give(steps, values, some[0], a) + _give(steps, values, some[1], b)
        total = total + _give(steps, values, some[2], c) + _give(steps, values, some[3], d)
        total = total + _give(steps, values, some[4], e) + _give(steps, values, some[5], f)
        total = total + _give(steps, values, some[6], g) + _give(steps, values, some[7], h)
        total = total + _give(steps, values, some[8], i) + _give(steps, values, some[9], j)
    return total


@kernel
def walk_forest(
    walk: NDArray[np.uint64],
    rows: NDArray[np.float64],
    picked: NDArray[np.int64],
    first: int,
    stop: int,
    out: NDArray[np.float64],
    m: int,
) -> None:
    """Write the same as ``score_forest``, the same bits, row by row: for few rows, or for trees of many leaves.

    ``walk`` of BitVectors is all of the forest in one array: to hand over ten takes as long as a row of 100 trees.
    """
    head = walk[:HEAD].view(np.int64)
    columns, members = walk[HEAD : head[0]].view(COLUMN), walk[head[0] : head[1]].view(np.int64)
    leaves, steps = walk[head[1] : head[2]], walk[head[2] : head[3]]
    values = walk[head[3] :].view(np.float64)
    after, link, keys = values[len(values) - 4 :], head[4], np.zeros(head[5], np.uint64)
    taken = np.empty(len(columns), np.float32)
    bits = taken.view(np.uint32)
    for i in range(first, stop):
        _take_row(columns, members, rows[picked[i]], taken)
        for c in range(len(columns)):
            keys[c] = _key(bits[c])
        out[picked[i], m] = finish(_walk(steps, leaves, values, keys), after, link)
