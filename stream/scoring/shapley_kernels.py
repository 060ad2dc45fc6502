"""Kernels that share a forest's sum out among the features: exact path-dependent TreeSHAP.

What a feature contributes is its Shapley value in the game where a split on a feature that is not known goes both ways,
by training cover (Lundberg et al., Nature Machine Intelligence 2, 2020, algorithm 1). As in Linear TreeShap (Yu et al.,
NeurIPS 2022) each edge of a tree is met once, and not each feature of each leaf. A leaf of value v whose path asks for
the features F gives feature i, by the multilinear extension (Owen 1972),

    v (one_i - zero_i) * integral over t from 0 to 1 of product over j in F without i of (zero_j (1 - t) + one_j t),

where zero is the share of the cover that goes the path's way at j's splits, and one is 1 if the row does, else 0. That
is a polynomial of a degree below the number of features on the path, for which Gauss-Legendre quadrature at half as
many points is exact. Its terms are all positive: nothing cancels, however deep the tree.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel, kernel_part
from stream.scoring.walk_kernels import rank_row

NOTHING: Final = 1e-300
"""A share of the cover below this counts as none: so nothing that is divided by falls to 0."""


@kernel
def lay_shares(
    leaves: NDArray[np.int64],
    lefts: NDArray[np.int64],
    features: NDArray[np.int64],
    values: NDArray[np.float64],
    cover: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> tuple[int, int, float]:
    """Write into ``shares`` what part of each split's cover goes to the left; return what explaining takes.

    That is how many splits a path has at most, how many features, and the sum over the trees of what each is expected
    to give. ``leaves`` int64[t]; ``lefts``, ``features`` int64[s] and ``shares`` float64[s] by split, in pre-order;
    ``values``, ``cover`` float64[l] by leaf. Where a split has no cover its leaves count alike.
    """
    most = 1
    for tree in range(len(leaves)):
        most = max(most, leaves[tree])
    frames = np.empty((most + 1, 4), np.int64)
    lower = np.empty((most + 1, 2), np.float64)
    places = 1
    for j in range(len(features)):
        places = max(places, features[j] + 1)
    seen = np.empty(places, np.int64)
    seen[:] = 0
    levels, widest, expected = 0, 0, 0.0
    split, leaf = 0, 0
    for tree in range(len(leaves)):
        depth, width, whole, mean = 0, 0, 0.0, 0.0
        _enter(frames, 0, split, leaf, leaves[tree])
        while depth >= 0:
            j, first, count = frames[depth, 0], frames[depth, 1], frames[depth, 2]
            frames[depth, 3] += 1
            if count == 1:
                whole, mean = cover[first], values[first]
            elif frames[depth, 3] == 1:
                seen[features[j]] += 1
                width += 1 if seen[features[j]] == 1 else 0
                depth += 1
                levels, widest = max(levels, depth), max(widest, width)
                _enter(frames, depth, j + 1, first, lefts[j])
                continue
            elif frames[depth, 3] == 2:
                lower[depth, 0], lower[depth, 1] = whole, mean
                depth += 1
                _enter(frames, depth, j + lefts[j], first + lefts[j], count - lefts[j])
                continue
            else:
                total = lower[depth, 0] + whole
                share = lower[depth, 0] / total if total > 0.0 else lefts[j] / count
                shares[j] = share
                whole, mean = total, share * lower[depth, 1] + (1.0 - share) * mean
                seen[features[j]] -= 1
                width -= 1 if seen[features[j]] == 0 else 0
            depth -= 1
        expected = expected + mean
        split, leaf = split + leaves[tree] - 1, leaf + leaves[tree]
    return levels, widest, expected


@kernel_part
def _enter(frames: NDArray[np.int64], depth: int, split: int, leaf: int, count: int) -> None:
    """Begin a subtree: its first split, its first leaf, its leaves, and how often it was come to."""
    frames[depth, 0] = split
    frames[depth, 1] = leaf
    frames[depth, 2] = count
    frames[depth, 3] = 0


@kernel_part
def _multiply(
    products: NDArray[np.float64], depth: int, points: NDArray[np.float64], edge: NDArray[np.float64]
) -> None:
    """Write the products below an edge: with the feature's factor there in place of the one above."""
    for q in range(points.shape[1]):
        t = points[0, q]
        factor = edge[0] * (1.0 - t) + edge[1] * t
        before = edge[2] * (1.0 - t) + edge[3] * t
        products[depth + 1, q] = products[depth, q] * (factor / before)


@kernel_part
def _integrate(sums: NDArray[np.float64], points: NDArray[np.float64], edge: NDArray[np.float64]) -> float:
    """Return what the leaves below an edge give its feature, less what the edge above with that feature gives it."""
    gain, loss = edge[1] - edge[0], edge[3] - edge[2]
    total = 0.0
    for q in range(points.shape[1]):
        t = points[0, q]
        part = gain / (edge[0] * (1.0 - t) + edge[1] * t)
        if loss != 0.0:
            part = part - loss / (edge[2] * (1.0 - t) + edge[3] * t)
        total = total + sums[q] * part
    return total


@kernel_part
def _explain_tree(
    columns: NDArray[Any],
    nodes: NDArray[Any],
    tree: Any,
    values: NDArray[np.float64],
    shares: NDArray[np.float64],
    points: NDArray[np.float64],
    frames: NDArray[np.int64],
    places: NDArray[np.int64],
    edges: NDArray[np.float64],
    products: NDArray[np.float64],
    sums: NDArray[np.float64],
    path: NDArray[np.float64],
    ranks: NDArray[np.uint8],
    out: NDArray[np.float64],
) -> None:
    """Add a tree's contributions to ``out``; ``path`` holds zero and one of each column, 1 and 1 at begin and end."""
    width, depth = points.shape[1], 0
    _enter(frames, 0, tree["node"], tree["value"], tree["leaves"])
    sums[0, :] = 0.0
    while True:
        split, first, count = frames[depth, 0], frames[depth, 1], frames[depth, 2]
        if count == 1:
            for q in range(width):
                sums[depth, q] = values[first] * products[depth, q]
        elif frames[depth, 3] < 2:
            node = nodes[split]
            place = columns[node["column"]]["place"]
            left: Any = np.int64(node["left"])
            is_left = frames[depth, 3] == 0
            frames[depth, 3] += 1
            follows = (ranks[node["column"]] <= node["rank"]) == is_left
            zero = path[place, 0] * (shares[split] if is_left else 1.0 - shares[split])
            edge = edges[depth + 1]
            edge[0] = zero if zero >= NOTHING else 0.0
            edge[1] = path[place, 1] if follows else 0.0
            if edge[0] == 0.0 and edge[1] == 0.0:
                continue
            edge[2], edge[3] = path[place, 0], path[place, 1]
            path[place, 0], path[place, 1] = edge[0], edge[1]
            _multiply(products, depth, points, edge)
            depth += 1
            places[depth] = place
            sums[depth, :] = 0.0
            if is_left:
                _enter(frames, depth, split + 1, first, left)
            else:
                _enter(frames, depth, split + left, first + left, count - left)
            continue
        if depth == 0:
            return
        edge, place = edges[depth], places[depth]
        out[place] = out[place] + _integrate(sums[depth], points, edge)
        path[place, 0], path[place, 1] = edge[2], edge[3]
        depth -= 1
        for q in range(width):
            sums[depth, q] = sums[depth, q] + sums[depth + 1, q]


@kernel
def explain_forest(
    columns: NDArray[Any],
    thresholds: NDArray[np.float32],
    members: NDArray[np.int64],
    nodes: NDArray[Any],
    trees: NDArray[Any],
    values: NDArray[np.float64],
    shares: NDArray[np.float64],
    points: NDArray[np.float64],
    levels: int,
    scale: float,
    rows: NDArray[np.float64],
    picked: NDArray[np.int64],
    first: int,
    stop: int,
    out: NDArray[np.float64],
) -> None:
    """Write what each column of ``rows`` contributes in the rows ``picked[first:stop]`` into ``out[first:stop]``.

    The arrays of BitVectors; ``shares`` float64[s] and ``levels`` of ``lay_shares``; ``points`` float64[2, q]: the
    quadrature's places between 0 and 1 and their weights, at least half as many as a path has features; ``scale`` is
    what sums are multiplied by. Rows float64[n, c] are cut to singles first; ``out`` float64[len(picked), c]. The work
    for a row is at most in proportion to splits times q, whatever the depth.
    """
    width = points.shape[1]
    frames = np.empty((levels + 1, 4), np.int64)
    places = np.empty(levels + 1, np.int64)
    edges = np.empty((levels + 1, 4), np.float64)
    products = np.empty((levels + 1, width), np.float64)
    sums = np.empty((levels + 1, width), np.float64)
    path = np.empty((rows.shape[1], 2), np.float64)
    path[:, :] = 1.0
    ranks = np.empty(max(len(columns), 1), np.uint8)
    ranks[:] = 0
    for q in range(width):
        products[0, q] = points[1, q]
    for i in range(first, stop):
        out[i, :] = 0.0
        rank_row(columns, thresholds, members, rows[picked[i]], ranks)
        for t in range(len(trees)):
            _explain_tree(
                columns, nodes, trees[t], values, shares, points,
                frames, places, edges, products, sums, path, ranks, out[i],
            )  # fmt: skip
        for c in range(rows.shape[1]):
            out[i, c] = out[i, c] * scale
