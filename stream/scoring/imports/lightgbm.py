"""LightGBM's text format, as ``Booster.save_model`` writes it (its src/boosting/gbdt_model_text.cpp, io/tree.cpp)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from stream.errors import ConfigurationError, quoted
from stream.scoring.forest import MAX_CATEGORIES, MAX_LEAVES, Forest, unknown_feature
from stream.scoring.imports.growing import Growing, Tree, single_at_most
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
    "cross_entropy": "logistic",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
}
_MOST_VALUE: Final = 1e30

Fields = dict[str, str]


def read_lightgbm(data: bytes, catalogue: Sequence[str], what: str) -> tuple[Forest, float]:
    """Return a model's forest, and by what its sum is multiplied before the link (``sigmoid``; 1 mostly).

    Thresholds become singles, rounded down: a row of singles takes the way that LightGBM's doubles give it. Raises
    ConfigurationError for a file that is none, for a feature that the catalogue does not have, and by name for what
    is not read: several classes, linear trees, links that are none of LINKS.
    """
    head, blocks = _blocks(data, what)
    names = head.get("feature_names", "").split(" ")
    for name in names:
        if name not in catalogue:
            raise ConfigurationError(unknown_feature(name, catalogue, what))
    for key in ("num_class", "num_tree_per_iteration"):
        if head.get(key, "1") != "1":
            message = f"{what}: {key} is {quoted(head[key])}, expected 1: train one model for each class (one-vs-all)"
            raise ConfigurationError(message)
    link, sigmoid = _link(head.get("objective", "regression"), what)
    growing = Growing(what)
    for number, block in enumerate(blocks):
        growing.add(_tree(block, len(names), f"{what}: Tree={number}"))
    if not blocks:
        message = f"{what} has no tree, expected at least one `Tree=` block"
        raise ConfigurationError(message)
    divisor = float(len(blocks)) if "average_output" in head else 1.0
    return growing.forest([catalogue.index(name) for name in names], divisor, 0.0, link), sigmoid


def _blocks(data: bytes, what: str) -> tuple[Fields, list[Fields]]:
    """Return the head's fields and each tree's; a field without ``=`` is there with an empty value."""
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        message = f"{what} is not UTF-8, so no LightGBM text model: {error}"
        raise ConfigurationError(message) from None
    if not lines or lines[0].strip() != "tree":
        message = f"{what} begins with {quoted(lines[0] if lines else '')}, expected 'tree' as LightGBM writes it"
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
    categories = {
        split: _categories(block, thresholds[split], f"{what}: split {split}")
        for split, kind in enumerate(kinds)
        if kind & _CATEGORICAL
    }
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
    )


def _rule(kind: int, what: str) -> int:
    missing = _MISSING[kind >> 2]
    if missing == "unknown":
        message = f"{what}: decision_type is {kind}, expected a missing type of none, zero or nan"
        raise ConfigurationError(message)
    if kind & _CATEGORICAL:
        return RULES.index("to_right")
    side = "to_left" if kind & _DEFAULT_LEFT else "to_right"
    return RULES.index({"none": "as_zero", "zero": f"zero_{side}", "nan": side}[missing])


def _categories(block: Fields, threshold: float, what: str) -> tuple[int, ...]:
    """Return the set bits of the split's bitset: words of 32 bits between two boundaries."""
    count = _integers(block, "num_cat", 1, what, 1, MAX_LEAVES)[0]
    bounds = _integers(block, "cat_boundaries", count + 1, what, 0, MAX_LEAVES * MAX_CATEGORIES // 32)
    place = int(threshold) if 0 <= threshold < count else -1
    if place < 0 or bounds != sorted(bounds) or bounds[0] != 0:
        message = f"{what}: no categories {quoted(threshold)}, expected one of {count} bitsets, in order"
        raise ConfigurationError(message)
    words = _integers(block, "cat_threshold", bounds[-1], what, 0, (1 << 32) - 1)
    wanted = words[bounds[place] : bounds[place + 1]]
    if len(wanted) * 32 > MAX_CATEGORIES:
        message = f"{what}: categories up to {len(wanted) * 32 - 1}, expected less than {MAX_CATEGORIES}"
        raise ConfigurationError(message)
    return tuple(at * 32 + bit for at, word in enumerate(wanted) for bit in range(32) if word >> bit & 1)


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
    text = fields.get(key, "")
    # Counted before they are split: what another count would take is unbounded.
    found = text.count(" ") + 1 if text else 0
    if found != count:
        message = f"{what}: {key} has {found} numbers, expected {count}"
        raise ConfigurationError(message)
    return text.split(" ") if text else []
