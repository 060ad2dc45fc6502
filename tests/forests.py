"""Random forests with every kind of split, and what they give by plain Python."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np

from stream.scoring.forest import Forest
from stream.scoring.forest_kernels import lay_out
from stream.scoring.rules import RULES


def some_forest(seed: int, trees: int, most_leaves: int, features: int) -> Forest:
    """Return a forest over the catalogue indices 0 to below ``features``, the last of which is asked for categories."""
    chance = random.Random(seed)
    leaves = [chance.randint(1, most_leaves) for _ in range(trees)]
    lefts: list[int] = []
    for count in leaves:
        _split(chance, count, lefts)
    splits = len(lefts)
    asked = [chance.randrange(features) for _ in range(splits)]
    # Few values, so that thresholds repeat and are met exactly, zero among them.
    thresholds = [
        0.0 if feature == features - 1 else chance.choice((-1, 0, 0, 1)) * chance.randint(0, 40) / 8
        for feature in asked
    ]
    # Some leaves, and so some splits, that no training data reached.
    cover = [chance.choice((0, 1, 2, 7, 40, 1e-3)) for _ in range(sum(leaves))]
    firsts = np.empty(splits, np.int64)
    assert lay_out(np.array(leaves, np.int64), np.array(lefts, np.int64), firsts) == -1
    return Forest(
        leaves=np.array(leaves, np.int64),
        features=np.array(asked, np.int64),
        thresholds=np.array(thresholds, np.float32),
        rules=np.array([chance.randrange(len(RULES)) for _ in range(splits)], np.uint8),
        lefts=np.array(lefts, np.int64),
        firsts=firsts,
        values=np.array([chance.gauss(0, 1) for _ in range(sum(leaves))]),
        categories={
            split: tuple(sorted(chance.sample(range(12), chance.randint(1, 6))))
            for split, feature in enumerate(asked)
            if feature == features - 1
        },
        cover=np.array(cover, np.float64),
        divisor=chance.choice((1.0, 7.0)),
        base=chance.choice((0.0, -0.5)),
        link=chance.choice(("identity", "logistic", "exp")),
    )


def some_rows(seed: int, n: int, features: int) -> Any:
    """Return rows of doubles that stand on thresholds, between them, at zero or nowhere at all (NaN).

    Of an odd seed half of the columns have one value, and the others no NaN and a window of all values: like those of
    one batch.
    """
    chance = np.random.default_rng(seed)
    rows = chance.integers(-41, 42, (n, features)) / 8.0
    rows[chance.random(rows.shape) < 0.2] += 1e-3
    rows[chance.random(rows.shape) < 0.1] = 0.0
    rows[chance.random(rows.shape) < 0.05] = 1e-36
    rows[chance.random(rows.shape) < 0.1] = np.nan
    if seed % 2 == 1:
        rows = np.nan_to_num(rows, nan=1.0)
        rows[:, ::2] = rows[:1, ::2]
        rows[:, 1::2] = np.clip(rows[:, 1::2], -1.0, 1.5)
    return rows


def sum_of(forest: Forest, row: Any) -> float:
    """Return the sum of the leaves that a row reaches, found by walking each tree."""
    total, split, value = 0.0, 0, 0
    for leaves in forest.leaves.tolist():
        at, leaf, count = split, 0, leaves
        while count > 1:
            left = int(forest.lefts[at])
            if _goes_left(forest, at, float(np.float32(row[forest.features[at]]))):
                count, at = left, at + 1
            else:
                leaf, count, at = leaf + left, count - left, at + left
        total += float(forest.values[value + leaf])
        split, value = split + leaves - 1, value + leaves
    return total


def shapley_of(forest: Forest, row: Any, features: int) -> tuple[list[float], float]:
    """Return each feature's Shapley value in a row, and what nothing known gives: by every set of known features."""
    worth = {
        known: sum_of_known(forest, row, frozenset(known))
        for size in range(features + 1)
        for known in itertools.combinations(range(features), size)
    }
    found = []
    for feature in range(features):
        total = 0.0
        for known, value in worth.items():
            if feature not in known:
                weight = 1 / (features * math.comb(features - 1, len(known)))
                total += weight * (worth[tuple(sorted((*known, feature)))] - value)
        found.append(total)
    return found, worth[()]


def sum_of_known(forest: Forest, row: Any, known: frozenset[int]) -> float:
    """Return what the trees give on average, by their cover, where only some features of a row are known."""
    assert forest.cover is not None
    cover = [float(number) for number in forest.cover]

    def mean(split: int, leaf: int, count: int) -> float:
        if count == 1:
            return float(forest.values[leaf])
        feature, left = int(forest.features[split]), int(forest.lefts[split])
        sides = (split + 1, leaf, left), (split + left, leaf + left, count - left)
        if feature in known:
            return mean(*sides[not _goes_left(forest, split, float(np.float32(row[feature])))])
        whole = math.fsum(cover[leaf : leaf + count])
        share = math.fsum(cover[leaf : leaf + left]) / whole if whole else left / count
        return share * mean(*sides[0]) + (1 - share) * mean(*sides[1])

    total, split, leaf = 0.0, 0, 0
    for leaves in forest.leaves.tolist():
        total += mean(split, leaf, leaves)
        split, leaf = split + leaves - 1, leaf + leaves
    return total


def _goes_left(forest: Forest, split: int, value: float) -> bool:
    rule = RULES[forest.rules[split]]
    if math.isnan(value) and rule == "as_zero":
        value = 0.0
    if abs(value) <= 1e-35 and rule.startswith("zero_"):
        value = math.nan
    if math.isnan(value):
        return rule.endswith("to_left")
    if split in forest.categories:
        return int(value) in forest.categories[split] and value > -1
    return value <= float(forest.thresholds[split])


def _split(chance: random.Random, count: int, lefts: list[int]) -> None:
    waiting = [count]
    while waiting:
        count = waiting.pop()
        if count > 1:
            left = chance.randint(1, count - 1)
            lefts.append(left)
            waiting += [count - left, left]
