"""Trees given by pointers, brought into the order of a Forest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.errors import ConfigurationError
from stream.scoring.forest import MAX_LEAVES, MAX_NODES, MAX_TREES, Forest
from stream.scoring.forest_kernels import lay_out

MOST_SINGLE: Final = float(np.finfo(np.float32).max)
MOST_MEMBERS: Final = 2_000_000
"""Categories of all splits: many splits may name one large set, and a model file has no room for more."""


@dataclass(slots=True)
class Growing:
    """A forest to which one tree after another is added."""

    what: str
    """Names the file in errors."""
    leaves: list[int] = field(default_factory=list)
    features: list[int] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)
    rules: list[int] = field(default_factory=list)
    lefts: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    categories: dict[int, tuple[int, ...]] = field(default_factory=dict)
    cover: list[float] = field(default_factory=list)
    """Shorter than the leaves are many where a tree does not say it."""
    _members: int = 0

    def add(self, tree: Tree) -> None:
        """Add a tree; raise ConfigurationError where its pointers do not make one."""
        number = len(self.leaves)
        order, lefts, leaves = _preorder(tree, f"{self.what}: tree {number}")
        first = len(self.features)
        if first + len(order) > MAX_NODES or number >= MAX_TREES:
            message = f"{self.what}: more than {MAX_TREES} trees or {MAX_NODES} splits, expected fewer or smaller trees"
            raise ConfigurationError(message)
        self._members += sum(map(len, tree.categories.values()))
        if self._members > MOST_MEMBERS:
            message = f"{self.what}: more than {MOST_MEMBERS} categories in all splits, expected fewer"
            raise ConfigurationError(message)
        self.leaves.append(len(leaves))
        self.lefts += lefts
        self.values += [tree.values[leaf] for leaf in leaves]
        if tree.cover is not None:
            self.cover += [tree.cover[leaf] for leaf in leaves]
        for place, split in enumerate(order, first):
            self.features.append(tree.features[split])
            self.thresholds.append(tree.thresholds[split])
            self.rules.append(tree.rules[split])
            if split in tree.categories:
                self.categories[place] = tree.categories[split]

    def forest(self, index: Sequence[int], divisor: float = 1.0, base: float = 0.0, link: str = "identity") -> Forest:
        """Return the forest; ``index`` gives by the trees' feature number the catalogue's."""
        leaves, lefts = np.array(self.leaves, np.int64), np.array(self.lefts, np.int64)
        firsts = np.empty(len(lefts), np.int64)
        lay_out(leaves, lefts, firsts)
        return Forest(
            leaves=leaves,
            features=np.array([index[feature] for feature in self.features], np.int64),
            thresholds=np.array(self.thresholds, np.float32),
            rules=np.array(self.rules, np.uint8),
            lefts=lefts,
            firsts=firsts,
            values=np.array(self.values, np.float64),
            categories=self.categories,
            cover=np.array(self.cover, np.float64) if len(self.cover) == len(self.values) else None,
            divisor=divisor,
            base=base,
            link=link,
        )


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree by pointers: a child from 0 up is a split, a negative one the leaf ``~child``."""

    features: Sequence[int]
    thresholds: Sequence[float]
    """As singles: values up to and with it go to the left."""
    rules: Sequence[int]
    lefts: Sequence[int]
    rights: Sequence[int]
    values: Sequence[float]
    categories: Mapping[int, tuple[int, ...]]
    cover: Sequence[float] | None = None
    """By leaf, how much of the training data reached it; None: not known."""


def single_at_most(thresholds: Sequence[float]) -> NDArray[np.float32]:
    """Return for each threshold the largest single that is not above it, from the least to the largest finite one.

    A single is at most the threshold exactly if it is at most this.
    """
    wide = np.clip(np.asarray(thresholds, np.float64), -MOST_SINGLE, MOST_SINGLE)
    narrow = wide.astype(np.float32)
    with np.errstate(over="ignore"):  # of the least single, which is none of those that are too large
        return np.where(narrow > wide, np.nextafter(narrow, np.float32(-np.inf)), narrow).astype(np.float32)


def _preorder(tree: Tree, what: str) -> tuple[list[int], list[int], list[int]]:
    """Return splits in pre-order, the leaves that each has on its left, and leaves from the left."""
    splits = len(tree.features)
    if len(tree.values) != splits + 1 or splits + 1 > MAX_LEAVES:
        message = f"{what} has {len(tree.values)} leaves and {splits} splits, expected one more, at most {MAX_LEAVES}"
        raise ConfigurationError(message)
    order: list[int] = []
    lefts: list[int] = []
    leaves: list[int] = []
    # A right child to come, with the place of the split whose left subtree is whole then.
    waiting: list[tuple[int, int]] = []
    child, seen = (0 if splits else -1), [False] * splits
    while True:
        if child >= 0:
            if child >= splits or seen[child]:
                message = f"{what}: split {child} is {'reached twice' if child < splits else 'not there'}"
                raise ConfigurationError(message)
            seen[child] = True
            waiting.append((tree.rights[child], len(order)))
            order.append(child)
            lefts.append(-len(leaves))
            child = tree.lefts[child]
            continue
        if ~child > splits:
            message = f"{what}: leaf {~child} is not there, expected one below {splits + 1}"
            raise ConfigurationError(message)
        leaves.append(~child)
        if not waiting:
            break
        child, place = waiting.pop()
        lefts[place] += len(leaves)
    if len(order) < splits or len(set(leaves)) < len(leaves):
        message = f"{what}: {len(order)} of {splits} splits and {len(set(leaves))} leaves are reached, expected all"
        raise ConfigurationError(message)
    return order, lefts, leaves
