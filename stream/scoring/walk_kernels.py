"""The kernels that take single rows through a forest: for batches too small to fill a block, and for wide trees."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel, kernel_part
from stream.scoring.forest_kernels import finish
from stream.scoring.rank_kernels import is_member
from stream.scoring.rules import AS_ZERO, MISSING, TO_RIGHT, ZERO, ZERO_TO_LEFT, ZERO_TO_RIGHT

_ENDLESS = np.float32(np.inf)
_HALF = np.float32(0.5)


@kernel
def lay_steps(
    columns: NDArray[Any],
    thresholds: NDArray[np.float32],
    trees: NDArray[Any],
    nodes: NDArray[Any],
    values: NDArray[np.float64],
    steps: NDArray[Any],
    roots: NDArray[np.int64],
    outcomes: NDArray[np.float64],
) -> None:
    """Write every tree's splits and leaves together in pre-order, as ``walk_forest`` takes them, in place.

    ``columns``, ``thresholds``, ``trees``, ``nodes`` and ``values`` of BitVectors; ``steps`` STEP[s + l], ``roots``
    int64[t], ``outcomes`` float64[s + l].
    """
    most = 1
    for t in range(len(trees)):
        most = max(most, trees[t]["leaves"])
    waiting = np.empty(most + 1, np.int64)
    place = node = leaf = 0
    for t in range(len(trees)):
        roots[t] = place
        depth = 1
        waiting[0] = trees[t]["leaves"]
        while depth > 0:
            depth -= 1
            count = waiting[depth]
            if count == 1:
                steps[place]["threshold"], steps[place]["column"], steps[place]["skip"] = _ENDLESS, 0, 0
                outcomes[place] = values[leaf]
                leaf += 1
            else:
                left = np.int64(nodes[node]["left"])
                column = columns[nodes[node]["column"]]
                steps[place]["threshold"] = (
                    thresholds[column["first"] + nodes[node]["rank"]] if not column["asks"] else _HALF
                )
                steps[place]["column"] = nodes[node]["column"]
                steps[place]["skip"] = 2 * left
                outcomes[place] = 0.0
                waiting[depth], waiting[depth + 1] = count - left, left
                depth += 2
                node += 1
            place += 1


@kernel_part
def _take_row(
    columns: NDArray[Any], members: NDArray[np.int64], row: NDArray[np.float64], taken: NDArray[np.float32]
) -> None:
    """Write by column what a row's splits compare with their thresholds.

    What is missing lies below all of them, or above where it goes right. Categories asked for give 0, others 1.
    """
    for c in range(len(columns)):
        column = columns[c]
        rule = column["rule"]
        value: Any = np.float32(row[column["place"]])
        if rule == AS_ZERO:
            value = np.float32(0.0) if value != value else value
        elif rule >= ZERO_TO_LEFT and abs(value) <= ZERO:
            value = MISSING
        if column["asks"]:
            wanted = members[column["first"] : column["stop"]]
            taken[c] = np.float32(0.0) if is_member(value, wanted, rule) else np.float32(1.0)
        elif value != value:
            taken[c] = _ENDLESS if rule == TO_RIGHT or rule == ZERO_TO_RIGHT else -_ENDLESS
        else:
            taken[c] = value


@kernel_part
def _step(steps: NDArray[Any], taken: NDArray[np.float32], place: int) -> int:
    """Return where a split leads; a leaf leads to itself."""
    step = steps[place]
    skip: Any = np.int64(step["skip"])
    onward: int = skip if taken[step["column"]] > step["threshold"] else min(skip, 1)
    return place + onward


@kernel_part
def _walk(
    steps: NDArray[Any], roots: NDArray[np.int64], outcomes: NDArray[np.float64], taken: NDArray[np.float32]
) -> float:
    """Return the sum over all trees for one row, from split to split.

    Eight trees go together without a branch that depends on the row: their loads overlap, and nothing is mispredicted.
    """
    total = 0.0
    whole = len(roots) - len(roots) % 8
    for t in range(0, whole, 8):
        a, b, c, d = roots[t], roots[t + 1], roots[t + 2], roots[t + 3]
        e, f, g, h = roots[t + 4], roots[t + 5], roots[t + 6], roots[t + 7]
        # Places only grow until all are leaves.
        before, now = -1, 0
        while now != before:
            before = now
            a, b = _step(steps, taken, a), _step(steps, taken, b)
            c, d = _step(steps, taken, c), _step(steps, taken, d)
            e, f = _step(steps, taken, e), _step(steps, taken, f)
            g, h = _step(steps, taken, g), _step(steps, taken, h)
            now = a + b + c + d + e + f + g + h
        total = total + outcomes[a] + outcomes[b] + outcomes[c] + outcomes[d]
        total = total + outcomes[e] + outcomes[f] + outcomes[g] + outcomes[h]
    for t in range(whole, len(roots)):
        place = roots[t]
        while steps[place]["skip"] > 0:
            place = _step(steps, taken, place)
        total = total + outcomes[place]
    return total


@kernel
def walk_forest(
    columns: NDArray[Any],
    members: NDArray[np.int64],
    steps: NDArray[Any],
    roots: NDArray[np.int64],
    outcomes: NDArray[np.float64],
    after: NDArray[np.float64],
    link: int,
    rows: NDArray[np.float64],
    picked: NDArray[np.int64],
    first: int,
    stop: int,
    out: NDArray[np.float64],
    m: int,
) -> None:
    """Write the same as ``score_forest``, the same bits, row by row: for few rows, or for trees of many leaves."""
    taken = np.empty(max(len(columns), 1), np.float32)
    taken[0] = 0.0
    for i in range(first, stop):
        _take_row(columns, members, rows[picked[i]], taken)
        out[picked[i], m] = finish(_walk(steps, roots, outcomes, taken), after, link)
