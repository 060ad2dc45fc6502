"""What treelite (4.x) says of a model, as its ``Model.dump_as_json`` gives it: XGBoost's and scikit-learn's trees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from stream.errors import ConfigurationError, quoted
from stream.scoring.forest import MAX_CATEGORIES, Forest, unknown_feature
from stream.scoring.imports.growing import Growing, Tree, single_at_most
from stream.scoring.rules import RULES

_LINKS: Final = {
    "identity": "identity",
    "sigmoid": "logistic",
    "exponential": "exp",
    # Probabilities of classes, averaged over the trees.
    "identity_multiclass": "identity",
}
_MOST_VALUE: Final = 1e30


def read_treelite(
    dump: Mapping[str, Any], names: Sequence[str], catalogue: Sequence[str], what: str
) -> tuple[Forest, float]:
    """Return a model's forest, and by what its sum is multiplied before the link; ``names`` by column.

    Of a classifier of two classes the second one's probability is what counts. Sums are made of doubles here and of
    singles in XGBoost, so scores differ by some 1e-7 of the largest leaf. Raises ConfigurationError for names that the
    catalogue does not have, and by name for what is not read.
    """
    for name in names:
        if name not in catalogue:
            raise ConfigurationError(unknown_feature(name, catalogue, what))
    if len(names) != dump["num_feature"]:
        message = f"{what} has {dump['num_feature']} columns and {len(names)} names, expected a name for each column"
        raise ConfigurationError(message)
    if dump["num_target"] != 1 or dump["num_class"] not in ([1], [2]):
        message = (
            f"{what} has {dump['num_target']} targets and {quoted(dump['num_class'])} classes, expected one target and "
            "at most two classes: train one model for each class (one-vs-rest)"
        )
        raise ConfigurationError(message)
    link = _LINKS.get(dump["postprocessor"])
    if link is None:
        message = (
            f"{what}: what follows the sum is {quoted(dump['postprocessor'])}, expected one of {', '.join(_LINKS)}: "
            "train with an objective such as binary:logistic, reg:squarederror or count:poisson"
        )
        raise ConfigurationError(message)
    growing = Growing(what)
    for number, tree in enumerate(dump["trees"]):
        growing.add(_tree(tree["nodes"], f"{what}: tree {number}"))
    divisor = float(max(len(dump["trees"]), 1)) if dump["average_tree_output"] else 1.0
    base = _value(dump["base_scores"][-1], f"{what}: base_scores")
    index = [catalogue.index(name) for name in names]
    return growing.forest(index, divisor, base, link), float(dump["sigmoid_alpha"]) if link == "logistic" else 1.0


def _tree(nodes: Sequence[Mapping[str, Any]], what: str) -> Tree:
    """Return a tree whose splits and leaves are numbered in the order of ``nodes``, the root first."""
    child: dict[int, int] = {}
    splits = [node for node in nodes if "leaf_value" not in node]
    leaves = [node for node in nodes if "leaf_value" in node]
    for number, node in enumerate(splits):
        child[node["node_id"]] = number
    for number, node in enumerate(leaves):
        child[node["node_id"]] = ~number
    categories: dict[int, tuple[int, ...]] = {}
    lefts, rights, rules, thresholds = [], [], [], []
    for number, node in enumerate(splits):
        left, right, default_left = child[node["left_child"]], child[node["right_child"]], node["default_left"]
        threshold = 0.0
        if node["node_type"] == "categorical_test_node":
            members = node["category_list"]
            if any(not 0 <= member < MAX_CATEGORIES for member in members):
                message = f"{what}: categories {quoted(members)}, expected integers from 0 to {MAX_CATEGORIES - 1}"
                raise ConfigurationError(message)
            categories[number] = tuple(sorted(members))
            if node["category_list_right_child"]:
                left, right, default_left = right, left, not default_left
        else:
            threshold = _threshold(node, what)
        lefts.append(left)
        rights.append(right)
        rules.append(RULES.index("to_left" if default_left else "to_right"))
        thresholds.append(threshold)
    return Tree(
        features=[node["split_feature_id"] for node in splits],
        thresholds=thresholds,
        rules=rules,
        lefts=lefts,
        rights=rights,
        values=[_value(node["leaf_value"], what) for node in leaves],
        categories=categories,
    )


def _threshold(node: Mapping[str, Any], what: str) -> float:
    """Return the largest single that goes to the left."""
    threshold, operator = node["threshold"], node["comparison_op"]
    if operator not in ("<", "<=") or threshold is None or math.isnan(threshold):
        message = f"{what}: a split by {quoted(operator)} {quoted(threshold)}, expected < or <= and a number"
        raise ConfigurationError(message)
    found = single_at_most([threshold])
    if operator == "<" and found[0] >= threshold:
        found = np.nextafter(found, np.float32(-np.inf))
    return float(found[0])


def _value(value: object, what: str) -> float:
    """Return what a leaf adds: of two classes the second one's."""
    number = value[-1] if isinstance(value, list) and value else value
    if not isinstance(number, int | float) or not abs(number) <= _MOST_VALUE:
        message = f"{what}: a leaf of {quoted(value)}, expected a number of at most {_MOST_VALUE:g}"
        raise ConfigurationError(message)
    return float(number)
