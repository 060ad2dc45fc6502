"""Forests laid out for scoring: columns of ranks, splits as masks over planes of bits; nothing is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.scoring.forest import Forest
from stream.scoring.forest_kernels import PLANES, WALKED_ROWS, lay_masks, score_forest
from stream.scoring.rank_kernels import RANKS, cut_rows
from stream.scoring.rules import LINKS
from stream.scoring.shapley import Shapley, compile_shapley
from stream.scoring.shapley_kernels import explain_forest
from stream.scoring.walk_kernels import lay_steps, walk_forest

COLUMN: Final = np.dtype(
    [
        ("place", "<i8"),  # in a feature row
        ("first", "<i8"),  # of its thresholds, or of its categories
        ("stop", "<i8"),
        ("rule", "u1"),  # a code of RULES
        ("asks", "u1"),  # 1: for categories
    ],
    align=True,
)
NODE: Final = np.dtype(
    [
        ("column", "<u4"),
        ("mask", "<u4"),  # of the first plane that it touches
        ("first", "<u2"),  # leaf
        ("left", "<u2"),  # leaves
        ("plane", "<u2"),  # the first that it touches
        ("planes", "<u2"),  # how many it touches
        ("rank", "u1"),  # values of up to this rank go to the left
    ],
    align=True,
)
TREE: Final = np.dtype([("node", "<i8"), ("value", "<i8"), ("leaves", "<i8")])
STEP: Final = np.dtype(
    [
        ("threshold", "<f4"),  # values of up to this go to the left child, which is the next
        ("column", "<u4"),
        ("skip", "<u2"),  # to the right child; 0: a leaf
    ],
    align=True,
)


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
            c = self.rows.shape[1]
            self._cut = np.empty((c, len(self.places)), np.float32), np.empty((2, c), np.float32)
            cut_rows(self.rows, self.places, *self._cut)
        return self._cut


@dataclass(frozen=True, slots=True)
class BitVectors:
    """A forest as ``score_forest`` and ``walk_forest`` take it."""

    columns: NDArray[np.void]
    """COLUMN[c]: a feature under a rule, with up to RANKS of its thresholds; or one split's categories."""
    thresholds: NDArray[np.float32]
    """By column, ascending."""
    members: NDArray[np.int64]
    """Categories, by column."""
    nodes: NDArray[np.void]
    """NODE[s], by tree, in pre-order."""
    masks: NDArray[np.uint8]
    trees: NDArray[np.void]
    values: NDArray[np.float64]
    steps: NDArray[np.void]
    """STEP[s + l]: splits and leaves of all trees, each tree in pre-order."""
    roots: NDArray[np.int64]
    """int64[t]: each tree's first step."""
    outcomes: NDArray[np.float64]
    """float64[s + l]: by step, what a leaf adds."""
    is_wide: bool
    """Whether a tree has too many leaves for blocks of rows to pay."""
    after: NDArray[np.float64]
    """float64[4]: divisor, base, slope, intercept."""
    link: int
    shapley: Shapley | None
    """None: the model's file does not say its cover."""

    def score(self, picked: Picked, out: NDArray[np.float64], slot: int) -> None:
        """Write into ``out[picked.places, slot]`` as ``score_forest`` says."""
        if self.is_wide or len(picked.places) <= WALKED_ROWS:
            walk_forest(
                self.columns,
                self.members,
                self.steps,
                self.roots,
                self.outcomes,
                self.after,
                self.link,
                picked.rows,
                picked.places,
                0,
                len(picked.places),
                out,
                slot,
            )
            return
        score_forest(
            self.columns,
            self.thresholds,
            self.members,
            self.nodes,
            self.masks,
            self.trees,
            self.values,
            self.after,
            self.link,
            *picked.cut(),
            picked.places,
            0,
            len(picked.places),
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
    members = [forest.categories[split] for split in asking.tolist()]
    stops = np.cumsum([len(items) for items in members], dtype=np.int64)
    asked = np.zeros(len(asking), COLUMN)
    asked["first"][1:], asked["stop"] = stops[:-1], stops
    asked["rule"], asked["asks"] = forest.rules[asking], 1
    column_of[asking] = len(columns) + np.arange(len(asking))
    columns = np.concatenate([columns, asked])
    owners = np.empty(len(columns), np.int64)
    owners[column_of] = forest.features
    columns["place"] = [place[index] for index in owners.tolist()]
    nodes = _nodes(forest, column_of, rank_of)
    # Forests that are walked have no use for masks, and of deep trees' many they would be hundreds of megabytes.
    is_wide = bool(forest.leaves.max(initial=1) > 8 * PLANES)
    masks = np.empty(0 if is_wide else int(nodes["planes"].sum()), np.uint8)
    lay_masks(nodes[:0] if is_wide else nodes, masks)
    trees = np.zeros(len(forest.leaves), TREE)
    trees["leaves"] = forest.leaves
    trees["value"][1:] = np.cumsum(forest.leaves)[:-1]
    trees["node"][1:] = np.cumsum(forest.leaves - 1)[:-1]
    steps = np.zeros(len(nodes) + len(forest.values), STEP)
    roots, outcomes = np.empty(len(trees), np.int64), np.empty(len(steps))
    lay_steps(columns, thresholds, trees, nodes, forest.values, steps, roots, outcomes)
    return BitVectors(
        columns,
        thresholds,
        np.array([item for items in members for item in items], np.int64),
        nodes,
        masks,
        trees,
        forest.values,
        steps,
        roots,
        outcomes,
        is_wide,
        np.array([forest.divisor, forest.base, *calibration]),
        LINKS.index(forest.link),
        compile_shapley(forest, calibration),
    )


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
    plane, last = forest.firsts // 8, (forest.firsts + forest.lefts - 1) // 8
    nodes["plane"], nodes["planes"] = plane, last - plane + 1
    nodes["mask"][1:] = np.cumsum(nodes["planes"], dtype=np.int64)[:-1]
    return nodes
