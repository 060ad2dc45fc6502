"""Decision trees as a model file holds them: no pointers, so nothing in it can point astray or in a circle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.errors import ConfigurationError, quoted
from stream.scoring.forest_kernels import lay_out
from stream.scoring.rules import LINKS, RULES
from stream.strictness import refuse_keys

MAX_LEAVES: Final = 4096
"""Of one tree."""
MAX_TREES: Final = 10_000
MAX_NODES: Final = 1_000_000
MAX_ASKING: Final = 500_000
"""Splits on categories."""
MAX_CATEGORIES: Final = 65_536
"""Of one split; a category is from 0 to below this: a feature's codes have up to 16 bits."""

_KEYS: Final = ("leaves", "feature", "threshold", "missing", "left", "value")
_MOST_VALUE: Final = 1e30
_MOST_THRESHOLD: Final = 3.4028235e38
"""The largest single, as its shortest decimal has it."""


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees with n leaves and n - 1 splits each, the splits in pre-order.

    A split's left child follows it, its right child follows all of its left subtree; leaves count from the left. So
    the number of leaves to the left of each split says all of a tree's shape.
    """

    leaves: NDArray[np.int64]
    """int64[t]: leaves of each tree, at least 1."""
    features: NDArray[np.int64]
    """int64[s]: the catalogue index that each split asks for."""
    thresholds: NDArray[np.float32]
    """float32[s]: values up to and with this go to the left; 0 where a split asks for categories."""
    rules: NDArray[np.uint8]
    """uint8[s]: codes of RULES."""
    lefts: NDArray[np.int64]
    """int64[s]: leaves in the split's left subtree."""
    firsts: NDArray[np.int64]
    """int64[s]: the split's leftmost leaf, counted in its tree."""
    values: NDArray[np.float64]
    """float64[l]: what each leaf adds."""
    categories: Mapping[int, tuple[int, ...]]
    """By split, the categories that go to the left, in order; a value is cut to its integer."""
    cover: NDArray[np.float64] | None = None
    """float64[l]: how much of the training data reached each leaf, from 0 up; None: not known."""
    divisor: float = 1.0
    """What the sum over all trees is divided by."""
    base: float = 0.0
    """Added after that."""
    link: str = "identity"
    """One of LINKS, after the calibration."""


def read_forest(fields: Mapping[str, Any], catalogue: Sequence[str], what: str) -> Forest:
    """Return the trees in a model file's object; ``what`` names the model in errors.

    Raises ConfigurationError, quoting what is wrong and saying what was expected, for anything unusable.
    """
    trees = fields["trees"]
    if not isinstance(trees, dict):
        message = f"{what}: trees is {quoted(trees)}, expected an object of lists"
        raise ConfigurationError(message)
    refuse_keys(trees, _KEYS, ("categories", "cover"), f"{what}: trees")
    indices = _indices(fields["features"], catalogue, what)
    leaves = _integers(trees, "leaves", what, 1, MAX_LEAVES)
    splits = int(leaves.sum()) - len(leaves)
    if splits > MAX_NODES or len(leaves) > MAX_TREES:
        message = (
            f"{what}: trees has {len(leaves)} trees and {splits} splits, expected at most {MAX_TREES} and {MAX_NODES}"
        )
        raise ConfigurationError(message)
    places = _integers(trees, "feature", what, 0, len(indices) - 1, splits)
    lefts = _integers(trees, "left", what, 1, MAX_LEAVES, splits)
    firsts = np.empty(splits, np.int64)
    wrong = lay_out(leaves, lefts, firsts)
    if wrong >= 0:
        message = f"{what}: trees: left[{wrong}] is {lefts[wrong]}, expected fewer leaves than its split has"
        raise ConfigurationError(message)
    return Forest(
        leaves=leaves,
        features=indices[places],
        thresholds=_numbers(trees, "threshold", what, -_MOST_THRESHOLD, _MOST_THRESHOLD, splits).astype(np.float32),
        rules=_integers(trees, "missing", what, 0, len(RULES) - 1, splits).astype(np.uint8),
        lefts=lefts,
        firsts=firsts,
        values=_numbers(trees, "value", what, -_MOST_VALUE, _MOST_VALUE, int(leaves.sum())),
        categories=_categories(trees, splits, what),
        cover=_numbers(trees, "cover", what, 0.0, _MOST_VALUE, int(leaves.sum())) if "cover" in trees else None,
        divisor=_positive(fields.get("divisor", 1.0), f"{what}: divisor"),
        base=_number(fields.get("base", 0.0), f"{what}: base"),
        link=_link(fields.get("link"), what),
    )


def write_forest(forest: Forest, catalogue: Sequence[str]) -> dict[str, Any]:
    """Return the keys of a model file that ``read_forest`` reads."""
    used = np.unique(forest.features)
    trees = {
        "leaves": forest.leaves.tolist(),
        "feature": np.searchsorted(used, forest.features).tolist(),
        # The shortest decimal that reads back as the same single: a double's would have twice the digits.
        "threshold": [float(str(threshold)) for threshold in forest.thresholds],
        "missing": forest.rules.tolist(),
        "left": forest.lefts.tolist(),
        "value": forest.values.tolist(),
    }
    if forest.categories:
        trees["categories"] = [[split, list(members)] for split, members in sorted(forest.categories.items())]
    if forest.cover is not None:
        trees["cover"] = forest.cover.tolist()
    return {
        "link": forest.link,
        "divisor": forest.divisor,
        "base": forest.base,
        "features": [catalogue[index] for index in used.tolist()],
        "trees": trees,
    }


def _indices(names: object, catalogue: Sequence[str], what: str) -> NDArray[np.int64]:
    if not isinstance(names, list):
        message = f"{what}: features is {quoted(names)}, expected a list of names"
        raise ConfigurationError(message)
    index = {feature: at for at, feature in enumerate(catalogue)}
    for name in names:
        if not isinstance(name, str) or name not in index:
            raise ConfigurationError(unknown_feature(name, catalogue, what))
    for name, count in Counter(names).items():
        if count > 1:
            message = f"{what}: features names {quoted(name)} twice"
            raise ConfigurationError(message)
    return np.array([index[name] for name in names], np.int64)


def unknown_feature(name: object, catalogue: Sequence[str], what: str) -> str:
    """Return the message for a name that the catalogue does not have."""
    examples = f"{', '.join(catalogue[:2])}, ..., {catalogue[-1]}"
    return f"{what}: unknown feature {quoted(name)}, expected one of the catalogue's {len(catalogue)} ({examples})"


def _list(trees: Mapping[str, Any], key: str, what: str, length: int | None, kinds: set[type]) -> list[Any]:
    """Return a list of numbers of these types, of this length."""
    found = trees[key]
    if not isinstance(found, list) or (length is not None and len(found) != length):
        count = f"{len(found)} elements" if isinstance(found, list) else quoted(found)
        message = f"{what}: trees.{key} has {count}, expected a list of {length or 'one number for each tree'}"
        raise ConfigurationError(message)
    if {*map(type, found)} - kinds:
        odd = next(item for item in found if type(item) not in kinds)
        message = f"{what}: trees.{key} holds {quoted(odd)}, expected numbers"
        raise ConfigurationError(message)
    return found


def _integers(
    trees: Mapping[str, Any], key: str, what: str, least: int, most: int, length: int | None = None
) -> NDArray[np.int64]:
    found = _list(trees, key, what, length, {int})
    if found and not (min(found) >= least and max(found) <= most):
        odd = next(item for item in found if not least <= item <= most)
        message = f"{what}: trees.{key} holds {quoted(odd)}, expected integers from {least} to {most}"
        raise ConfigurationError(message)
    return np.array(found, np.int64)


def _numbers(
    trees: Mapping[str, Any], key: str, what: str, least: float, most: float, length: int
) -> NDArray[np.float64]:
    found = _list(trees, key, what, length, {int, float})
    if found and not (min(found) >= least and max(found) <= most):
        odd = next(item for item in found if not least <= item <= most)
        message = f"{what}: trees.{key} holds {quoted(odd)}, expected numbers from {least:g} to {most:g}"
        raise ConfigurationError(message)
    return np.array(found, np.float64)


def _categories(trees: Mapping[str, Any], splits: int, what: str) -> dict[int, tuple[int, ...]]:
    found: dict[int, tuple[int, ...]] = {}
    pairs = trees.get("categories", [])
    if isinstance(pairs, list) and len(pairs) > MAX_ASKING:
        message = f"{what}: trees.categories has {len(pairs)} splits, expected at most {MAX_ASKING}"
        raise ConfigurationError(message)
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        split, members = pair if isinstance(pair, list) and len(pair) == 2 else (-1, [])
        fits = type(split) is int and 0 <= split < splits and split not in found and isinstance(members, list)
        if not fits or any(type(item) is not int or not 0 <= item < MAX_CATEGORIES for item in members):
            message = (
                f"{what}: trees.categories holds {quoted(pair)}, expected a list of [split, [categories]], each split "
                f"once, categories from 0 to {MAX_CATEGORIES - 1}"
            )
            raise ConfigurationError(message)
        found[split] = tuple(sorted(set(members)))
    return found


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MOST_VALUE:
        message = f"{what} is {quoted(value)}, expected a number from -1e30 to 1e30"
        raise ConfigurationError(message)
    return float(value)


def _positive(value: object, what: str) -> float:
    number = _number(value, what)
    if number < 1e-9:
        message = f"{what} is {quoted(value)}, expected a number from 1e-9 up"
        raise ConfigurationError(message)
    return number


def _link(value: object, what: str) -> str:
    if not isinstance(value, str) or value not in LINKS:
        message = f"{what}: link is {quoted(value)}, expected one of {', '.join(LINKS)}"
        raise ConfigurationError(message)
    return value
