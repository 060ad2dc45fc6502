"""LightGBM's text format, as ``Booster.save_model`` writes it (its src/boosting/gbdt_model_text.cpp, io/tree.cpp)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.errors import ConfigurationError, quoted
from stream.scoring.forest import MAX_CATEGORIES, MAX_LEAVES, MAX_TREES, Forest, unknown_feature
from stream.scoring.imports.classes import MAX_CLASSES, SHARED, class_of
from stream.scoring.imports.growing import MOST_MEMBERS, Growing, Tree, single_at_most
from stream.scoring.rules import RULES

_CATEGORICAL: Final = 1
_DEFAULT_LEFT: Final = 2
_MISSING: Final = ("none", "zero", "nan", "unknown")
_LINKS: Final = {
    "regression": "identity",
    "regression_l1": "identity",
    "huber": "identity",
    "fair": "identity",
    "quantile": "identity",
    "mape": "identity",
    "lambdarank": "identity",
    "rank_xendcg": "identity",
    "binary": "logistic",
    "multiclassova": "logistic",
    "cross_entropy": "logistic",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
}
_MOST_VALUE: Final = 1e30
_MOST_LINES: Final = 40 * MAX_TREES
"""LightGBM writes about twenty for a tree, and a parameter a line."""
_PIECE: Final = 1 << 18
"""Characters of a bitset's words that are read at a time."""

Fields = dict[str, str]


def read_lightgbm(data: bytes, catalogue: Sequence[str], what: str, number: int | None = None) -> tuple[Forest, float]:
    """Return a model's forest, and by what its sum is multiplied before the link (``sigmoid``; 1 mostly).

    ``number`` says which of several classes is scored (from 0; None: there is one). Thresholds become singles, rounded
    down: a row of singles takes the way that LightGBM's doubles give it. Raises ConfigurationError for a file that is
    none, for a feature that the catalogue does not have, and by name for what is not read: classes that share a sum
    (softmax), linear trees, links that are none of LINKS.
    """
    head, blocks = _blocks(data, what)
    names = head.get("feature_names", "").split(" ", len(catalogue))
    if len(names) > len(catalogue):
        message = f"{what}: more than {len(catalogue)} feature_names, expected names of the catalogue's, each once"
        raise ConfigurationError(message)
    for name in names:
        if name not in catalogue:
            raise ConfigurationError(unknown_feature(name, catalogue, what))
    link, sigmoid = _link(head.get("objective", "regression"), what)
    classes, trees = (
        _integers({key: head.get(key, "1")}, key, 1, what, 1, MAX_CLASSES)[0]
        for key in ("num_class", "num_tree_per_iteration")
    )
    if classes != trees:
        message = f"{what}: num_class is {classes}, expected num_tree_per_iteration's {trees}"
        raise ConfigurationError(message)
    first = class_of(classes, number, what)
    growing = Growing(what)
    for place in range(first, len(blocks), classes):
        growing.add(_tree(blocks[place], len(names), f"{what}: Tree={place}"))
    if not blocks[first:]:
        message = f"{what} has no tree, expected at least one `Tree=` block"
        raise ConfigurationError(message)
    divisor = float(len(range(first, len(blocks), classes))) if "average_output" in head else 1.0
    return growing.forest([catalogue.index(name) for name in names], divisor, 0.0, link), sigmoid


def _blocks(data: bytes, what: str) -> tuple[Fields, list[Fields]]:
    """Return the head's fields and each tree's; a field without ``=`` is there with an empty value."""
    # Counted before they are split: each would be an object.
    count = data.count(b"\n")
    if count > _MOST_LINES:
        message = f"{what} has {count} lines, expected at most {_MOST_LINES}"
        raise ConfigurationError(message)
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        message = f"{what} is not UTF-8, so no LightGBM text model: {error}"
        raise ConfigurationError(message) from None
    if lines[0].strip() != "tree":
        message = f"{what} begins with {quoted(lines[0])}, expected 'tree' as LightGBM writes it"
        raise ConfigurationError(message)
    head: Fields = {}
    blocks: list[Fields] = []
    fields = head
    for line in lines[1:]:
        key, _, value = line.strip().partition("=")
        if key == "end of trees":
            return head, blocks
        if key == "Tree":
            if value != str(len(blocks)):
                message = f"{what}: {quoted(line)}, expected Tree={len(blocks)}"
                raise ConfigurationError(message)
            fields = {}
            blocks.append(fields)
        elif key:
            fields[key] = value
    message = f"{what} has no line 'end of trees': it is cut off"
    raise ConfigurationError(message)


def _link(objective: str, what: str) -> tuple[str, float]:
    """Return the link of an objective such as ``binary sigmoid:1``, and its factor."""
    name, *options = objective.split(" ")
    if name == "multiclass":
        message = f"{what}: objective {quoted(objective)} is not read: {SHARED}, or with objective=multiclassova"
        raise ConfigurationError(message)
    link = _LINKS.get(name)
    if link is None or "sqrt" in options:
        message = (
            f"{what}: objective {quoted(objective)} is not read, expected one of {', '.join(_LINKS)}: save the model "
            "with one of these, or export raw scores as objective=regression"
        )
        raise ConfigurationError(message)
    sigmoid = next((option[8:] for option in options if option.startswith("sigmoid:")), "1")
    return link, _numbers({"sigmoid": sigmoid}, "sigmoid", 1, what)[0]


def _tree(block: Fields, features: int, what: str) -> Tree:
    if block.get("is_linear", "0") != "0":
        message = f"{what}: is_linear is {quoted(block['is_linear'])}, expected 0: train with linear_tree=false"
        raise ConfigurationError(message)
    leaves = _integers(block, "num_leaves", 1, what, 1, MAX_LEAVES)[0]
    splits = leaves - 1
    values = _numbers(block, "leaf_value", leaves, what)
    kinds = _integers(block, "decision_type", splits, what, 0, 15)
    thresholds = _numbers(block, "threshold", splits, what, math.inf)
    asking = {split: thresholds[split] for split, kind in enumerate(kinds) if kind & _CATEGORICAL}
    categories = _categories(block, asking, what) if asking else {}
    return Tree(
        features=_integers(block, "split_feature", splits, what, 0, features - 1),
        thresholds=[
            0.0 if split in categories else threshold
            for split, threshold in enumerate(single_at_most(thresholds).tolist())
        ],
        rules=[_rule(kind, f"{what}: split {split}") for split, kind in enumerate(kinds)],
        lefts=_integers(block, "left_child", splits, what, -leaves, splits - 1),
        rights=_integers(block, "right_child", splits, what, -leaves, splits - 1),
        values=values,
        categories=categories,
        cover=_cover(block, leaves, what),
    )


def _cover(block: Fields, leaves: int, what: str) -> Sequence[float] | None:
    """Return the rows that reached each leaf, as LightGBM's contributions weigh them; None where it does not say."""
    if leaves == 1:
        return [1.0]
    return _integers(block, "leaf_count", leaves, what, 0, 1 << 53) if "leaf_count" in block else None


def _rule(kind: int, what: str) -> int:
    missing = _MISSING[kind >> 2]
    if missing == "unknown":
        message = f"{what}: decision_type is {kind}, expected a missing type of none, zero or nan"
        raise ConfigurationError(message)
    if kind & _CATEGORICAL:
        return RULES.index("to_right")
    side = "to_left" if kind & _DEFAULT_LEFT else "to_right"
    return RULES.index({"none": "as_zero", "zero": f"zero_{side}", "nan": side}[missing])


def _categories(block: Fields, numbers: Mapping[int, float], what: str) -> dict[int, tuple[int, ...]]:
    """Return by split the set bits of its bitset; ``numbers`` gives by split its bitset's."""
    bounds, words = _bitsets(block, what)
    sets: dict[float, tuple[int, ...]] = {}
    for number in numbers.values():
        if not 0 <= number < len(bounds) - 1 or number != int(number):
            message = f"{what}: threshold holds {number}, expected the number of one of {len(bounds) - 1} bitsets"
            raise ConfigurationError(message)
        if number not in sets:
            first, stop = bounds[int(number)], bounds[int(number) + 1]
            bits = np.unpackbits(words[first:stop].view(np.uint8), bitorder="little")
            sets[number] = tuple(np.flatnonzero(bits).tolist())
    return {split: sets[number] for split, number in numbers.items()}


def _bitsets(block: Fields, what: str) -> tuple[list[int], NDArray[np.uint32]]:
    """Return boundaries, and words of 32 bits: a bitset is those from its boundary to before the next."""
    count = _integers(block, "num_cat", 1, what, 1, MAX_LEAVES)[0]
    bounds = _integers(block, "cat_boundaries", count + 1, what, 0, MAX_LEAVES * MAX_CATEGORIES // 32)
    if bounds != sorted(bounds) or bounds[0] != 0:
        message = f"{what}: cat_boundaries is {quoted(bounds)}, expected integers from 0 up, in order"
        raise ConfigurationError(message)
    widest = max(stop - first for first, stop in pairwise(bounds)) * 32
    if widest > MAX_CATEGORIES:
        message = f"{what}: categories up to {widest - 1}, expected less than {MAX_CATEGORIES}"
        raise ConfigurationError(message)
    words = _words(block, bounds[-1], what)
    if int(np.bitwise_count(words).sum()) > MOST_MEMBERS:
        message = f"{what}: cat_threshold has more than {MOST_MEMBERS} bits set, expected fewer"
        raise ConfigurationError(message)
    return bounds, words


def _words(block: Fields, count: int, what: str) -> NDArray[np.uint32]:
    """Return the words of a tree's bitsets (little-endian), read in pieces: as objects all would take gigabytes."""
    key = "cat_threshold"
    text, words = _counted(block, key, count, what), np.empty(count, "<u4")
    at = first = 0
    while at < count:
        stop = text.find(" ", first + _PIECE)
        piece = text[first:] if stop < 0 else text[first:stop]
        read = _integers({key: piece}, key, piece.count(" ") + 1, what, 0, (1 << 32) - 1)
        words[at : at + len(read)] = read
        at, first = at + len(read), first + len(piece) + 1
    return words


def _numbers(fields: Fields, key: str, count: int, what: str, most: float = _MOST_VALUE) -> list[float]:
    texts = _texts(fields, key, count, what)
    try:
        found = [float(text) for text in texts]
    except ValueError as error:
        message = f"{what}: {key}: {str(error)[:200]}"
        raise ConfigurationError(message) from None
    if not all(abs(number) <= most for number in found):
        odd = next(number for number in found if not abs(number) <= most)
        message = f"{what}: {key} holds {odd}, expected numbers of at most {most:g}"
        raise ConfigurationError(message)
    return found


def _integers(fields: Fields, key: str, count: int, what: str, least: int, most: int) -> list[int]:
    texts = _texts(fields, key, count, what)
    try:
        found = [int(text) for text in texts]
    except ValueError as error:
        message = f"{what}: {key}: {str(error)[:200]}"
        raise ConfigurationError(message) from None
    if found and not (min(found) >= least and max(found) <= most):
        odd = next(number for number in found if not least <= number <= most)
        message = f"{what}: {key} holds {odd}, expected integers from {least} to {most}"
        raise ConfigurationError(message)
    return found


def _texts(fields: Fields, key: str, count: int, what: str) -> list[str]:
    # Counted before they are split: what another count would take is unbounded.
    text = _counted(fields, key, count, what)
    return text.split(" ") if text else []


def _counted(fields: Fields, key: str, count: int, what: str) -> str:
    """Return a field of so many numbers as its text."""
    text = fields.get(key, "")
    found = text.count(" ") + 1 if text else 0
    if found != count:
        message = f"{what}: {key} has {found} numbers, expected {count}"
        raise ConfigurationError(message)
    return text
