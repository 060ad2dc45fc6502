"""Forests laid out for scoring: columns of ranks, splits as masks over planes of bits; nothing is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.scoring.forest import Forest
from stream.scoring.forest_kernels import PLANES, WALKED_ROWS, lay_keeps, score_forest
from stream.scoring.rank_kernels import COLUMN, RANKS, cut_rows, whole_tiles
from stream.scoring.rules import LINKS, MISSING, ZERO
from stream.scoring.shapley import Shapley, compile_shapley
from stream.scoring.shapley_kernels import explain_forest
from stream.scoring.walk_kernels import HEAD, LEAF, TOGETHER, keys_of, lay_steps, walk_forest

NODE: Final = np.dtype(
    [
        ("column", "<u4"),
        ("first", "<u2"),  # leaf
        ("left", "<u2"),  # leaves
        ("rank", "u1"),  # values of up to this rank go to the left
    ],
    align=True,
)
TREE: Final = np.dtype([("node", "<i8"), ("value", "<i8"), ("leaves", "<i8"), ("plane", "<i8")])
KEEP: Final = np.dtype(
    [
        ("column", "<u4"),
        ("rank", "u1"),  # values of up to this rank go to the left
        ("mask", "u1"),  # what a split leaves of the plane for others
    ],
    align=True,
)
_MOST_KEEPS: Final = 4_000_000
"""Of a forest, 32 MB: a million splits of usual trees; those of chains touch many more planes."""
_NOTHING: Final = np.array([-1.0, -1.0, -1.0, ZERO, ZERO], np.float32)
"""By rule, what a COLUMN has."""
_INSTEAD: Final = np.array([0.0, -np.inf, np.inf, -np.inf, np.inf], np.float32)
"""By rule, too; of categories NaN where it is not 0."""


@dataclass(slots=True)
class Picked:
    """The rows to be scored, cut to singles once for all forests, and only if any asks for it."""

    rows: NDArray[np.float64]
    """float64[n, c]."""
    places: NDArray[np.int64]
    """int64[k]."""
    _cut: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def cut(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return singles and bounds, as ``cut_rows`` writes them."""
        if self._cut is None:
            c, room = self.rows.shape[1], whole_tiles(len(self.places)) + 16
            # Columns a power of two apart would push each other out of the processor's cache.
            self._cut = np.empty((c, room), np.float32), np.empty((2, c), np.float32)
            cut_rows(self.rows, self.places, *self._cut)
        return self._cut


@dataclass(frozen=True, slots=True)
class BitVectors:
    """A forest as ``score_forest`` and ``walk_forest`` take it."""

    columns: NDArray[np.void]
    """COLUMN[c]: a feature under a rule, with up to RANKS of its thresholds; behind those, each split's categories."""
    thresholds: NDArray[np.float32]
    """By column, ascending."""
    members: NDArray[np.int64]
    """Categories, by column."""
    nodes: NDArray[np.void]
    """NODE[s], by tree, in pre-order."""
    keeps: NDArray[np.void]
    """KEEP[m], by tree and plane; none where ``is_wide``."""
    planes: NDArray[np.int64]
    """int64[p + 1]: where each plane's keeps begin; a tree's first plane is in TREE."""
    trees: NDArray[np.void]
    values: NDArray[np.float64]
    walk: NDArray[np.uint64]
    """What ``walk_forest`` takes, as ``_walk`` makes it."""
    is_wide: bool
    """Whether trees have too many leaves, or splits that touch too many planes, for blocks of rows to pay."""
    after: NDArray[np.float64]
    """float64[4]: divisor, base, slope, intercept."""
    link: int
    shapley: Shapley | None
    """None: the model's file does not say its cover."""

    def score(self, picked: Picked, out: NDArray[np.float64], slot: int) -> None:
        """Write into ``out[picked.places, slot]`` as ``score_forest`` says."""
        rows, places = picked.rows, picked.places
        count = len(places)
        if count <= WALKED_ROWS or self.is_wide:
            walk_forest(self.walk, rows, places, 0, count, out, slot)
            return
        score_forest(
            self.columns,
            self.thresholds,
            self.members,
            self.keeps,
            self.planes,
            self.trees,
            self.values,
            self.after,
            self.link,
            *picked.cut(),
            places,
            0,
            count,
            out,
            slot,
        )

    def explain(
        self, rows: NDArray[np.float64], picked: NDArray[np.int64], out: NDArray[np.float64], shapley: Shapley
    ) -> None:
        """Write into ``out`` what the columns of the ``picked`` rows contribute, as ``explain_forest`` says."""
        explain_forest(
            self.columns,
            self.thresholds,
            self.members,
            self.nodes,
            self.trees,
            self.values,
            shapley.shares,
            shapley.priors,
            shapley.points,
            shapley.quadratures,
            shapley.scale,
            rows,
            picked,
            0,
            len(picked),
            out,
        )


def compile_forest(forest: Forest, place: Mapping[int, int], calibration: tuple[float, float]) -> BitVectors:
    """Lay out a forest; ``place`` gives by catalogue index the column of a feature row, ``calibration`` its line."""
    splits = len(forest.features)
    asking = np.array(sorted(forest.categories), np.int64)
    asks = np.zeros(splits, bool)
    asks[asking] = True
    columns, thresholds, column_of, rank_of = _rank(forest, np.flatnonzero(~asks))
    wanted = [forest.categories[split] for split in asking.tolist()]
    stops = np.cumsum([len(items) for items in wanted], dtype=np.int64)
    asked = np.zeros(len(asking), COLUMN)
    asked["first"][1:], asked["stop"] = stops[:-1], stops
    asked["rule"], asked["asks"] = forest.rules[asking], 1
    column_of[asking] = len(columns) + np.arange(len(asking))
    columns = np.concatenate([columns, asked])
    owners = np.empty(len(columns), np.int64)
    owners[column_of] = forest.features
    columns["place"] = [place[index] for index in owners.tolist()]
    columns["nothing"], columns["instead"] = _NOTHING[columns["rule"]], _INSTEAD[columns["rule"]]
    columns["instead"][(columns["asks"] == 1) & (columns["instead"] != 0.0)] = MISSING
    nodes = _nodes(forest, column_of, rank_of)
    trees = np.zeros(len(forest.leaves), TREE)
    trees["leaves"] = forest.leaves
    trees["value"][1:] = np.cumsum(forest.leaves)[:-1]
    trees["node"][1:] = np.cumsum(forest.leaves - 1)[:-1]
    trees["plane"][1:] = np.cumsum((forest.leaves + 7) // 8)[:-1]
    planes, keeps, is_wide = _planes(forest, nodes, trees)
    members = np.array([item for items in wanted for item in items], np.int64)
    steps = np.zeros(2 * len(forest.values), np.uint64)
    lay_steps(columns, keys_of(thresholds), trees, nodes, steps)
    after = np.array([forest.divisor, forest.base, *calibration])
    return BitVectors(
        columns,
        thresholds,
        members,
        nodes,
        keeps,
        planes,
        trees,
        forest.values,
        _walk(columns, members, trees, steps, forest, after),
        is_wide,
        after,
        LINKS.index(forest.link),
        compile_shapley(forest, calibration),
    )


def _walk(
    columns: NDArray[np.void],
    members: NDArray[np.int64],
    trees: NDArray[np.void],
    steps: NDArray[np.uint64],
    forest: Forest,
    after: NDArray[np.float64],
) -> NDArray[np.uint64]:
    """Return one array of words: a head, then COLUMN[c], members, each tree's first leaf, steps, values with after.

    Trees of a leaf that adds 0 fill up the last that go together, and a 0 behind the members has steps begin at an even
    word, so that children lie in one line of the cache.
    """
    spare = -len(trees) % TOGETHER
    leaves = np.r_[trees["value"], np.full(spare, len(forest.values))]
    leaf = np.array([0, LEAF], np.uint64)
    filled = np.r_[members, np.zeros((columns.nbytes // 8 + len(members)) % 2, np.int64)]
    parts = [columns, filled, leaves, np.r_[steps, leaf], np.r_[forest.values, 0.0, after]]
    words = [np.ascontiguousarray(part).view(np.uint64) for part in parts]
    ends = HEAD + np.cumsum([len(part) for part in words[:-1]])
    # A leaf's number stands where a split has its column.
    keys = max(len(columns), int(forest.leaves.max(initial=1)))
    return np.concatenate([np.array([*ends, LINKS.index(forest.link), keys], np.int64).view(np.uint64), *words])


def _rank(
    forest: Forest, splits: NDArray[np.int64]
) -> tuple[NDArray[np.void], NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return columns, their thresholds, and by split its column and its threshold's rank there."""
    column_of = np.zeros(len(forest.features), np.int64)
    rank_of = np.zeros(len(forest.features), np.int64)
    if not len(splits):
        return np.zeros(0, COLUMN), np.zeros(0, np.float32), column_of, rank_of
    keys = forest.features[splits] * 8 + forest.rules[splits]
    thresholds = forest.thresholds[splits] + np.float32(0.0)  # one zero, not two
    order = np.lexsort((thresholds, keys))
    key, threshold = keys[order], thresholds[order]
    changes = np.r_[True, key[1:] != key[:-1]]
    distinct = changes | np.r_[True, threshold[1:] != threshold[:-1]]
    number = np.cumsum(distinct) - 1  # of each distinct threshold
    begins = number[changes][np.cumsum(changes) - 1]  # the number that its key's first has
    rank = number - begins
    opens = distinct & (rank % RANKS == 0)
    column = np.cumsum(opens) - 1
    column_of[splits[order]], rank_of[splits[order]] = column, rank % RANKS
    columns = np.zeros(int(column[-1]) + 1, COLUMN)
    columns["first"] = number[opens]
    columns["stop"] = np.r_[number[opens][1:], number[-1] + 1]
    columns["rule"] = key[opens] % 8
    return columns, threshold[distinct], column_of, rank_of


def _nodes(forest: Forest, column_of: NDArray[np.int64], rank_of: NDArray[np.int64]) -> NDArray[np.void]:
    nodes = np.zeros(len(forest.features), NODE)
    nodes["column"], nodes["rank"] = column_of, rank_of
    nodes["first"], nodes["left"] = forest.firsts, forest.lefts
    return nodes


def _planes(
    forest: Forest, nodes: NDArray[np.void], trees: NDArray[np.void]
) -> tuple[NDArray[np.int64], NDArray[np.void], bool]:
    """Return BitVectors' planes and keeps, and whether the forest is wide: then there are none."""
    touched = int(((forest.firsts + forest.lefts - 1) // 8 - forest.firsts // 8 + 1).sum())
    is_wide = bool(forest.leaves.max(initial=1) > 8 * PLANES) or touched > _MOST_KEEPS
    laid = trees[:0] if is_wide else trees
    planes = np.empty(int(((laid["leaves"] + 7) // 8).sum()) + 1, np.int64)
    keeps = np.empty(0 if is_wide else touched, KEEP)
    lay_keeps(nodes, laid, planes, keeps)
    return planes, keeps, is_wide
