"""What treelite (4.x) says of a model, as its ``Model.dump_as_json`` gives it: XGBoost's and scikit-learn's trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from stream.errors import ConfigurationError, quoted
from stream.scoring.forest import MAX_CATEGORIES, Forest, unknown_feature
from stream.scoring.imports.classes import MAX_CLASSES, SHARED, class_of
from stream.scoring.imports.growing import MOST_SINGLE, Growing, Tree, single_at_most
from stream.scoring.rules import RULES

_LINKS: Final = {
    "identity": "identity",
    "sigmoid": "logistic",
    "exponential": "exp",
    # Probabilities of classes, averaged over the trees.
    "identity_multiclass": "identity",
    "multiclass_ova": "logistic",
}
_SHARED_BY: Final = ("softmax", "max_index")
_TWO: Final = 2
_MOST_VALUE: Final = 1e30
_FLAG: Final = (bool,)
_INTEGER: Final = (int,)
_LIST: Final = (list,)
_NUMBER: Final = (int, float)
_TEXT: Final = (str,)


def read_treelite(
    dump: Mapping[str, Any], names: Sequence[str], catalogue: Sequence[str], what: str, number: int | None = None
) -> tuple[Forest, float]:
    """Return a model's forest, and by what its sum is multiplied before the link; ``names`` by column.

    Of a classifier of two classes the second one's probability is what counts, of more that of the class ``number``
    (from 0), where classes are scored each by itself. Sums are made of doubles here and of
    singles in XGBoost, so scores differ by some 1e-7 of the largest leaf. Raises ConfigurationError for names that the
    catalogue does not have, and by name for what is not read.
    """
    _check_names(names, _taken(dump, "num_feature", _INTEGER, what), catalogue, what)
    targets, classes = _taken(dump, "num_target", _INTEGER, what), _taken(dump, "num_class", _LIST, what)
    if targets != 1 or len(classes) != 1 or type(classes[0]) is not int or not 1 <= classes[0] <= MAX_CLASSES:
        message = (
            f"{what} has {quoted(targets)} targets and {quoted(classes)} classes, expected one target and at most "
            f"{MAX_CLASSES} classes: train one model for each target"
        )
        raise ConfigurationError(message)
    postprocessor = _taken(dump, "postprocessor", _TEXT, what)
    if postprocessor in _SHARED_BY:
        message = f"{what}: what follows the sum is {quoted(postprocessor)}, which is not read: {SHARED}"
        raise ConfigurationError(message)
    link = _LINKS.get(postprocessor)
    if link is None:
        message = (
            f"{what}: what follows the sum is {quoted(postprocessor)}, expected one of {', '.join(_LINKS)}: "
            "train with an objective such as binary:logistic, reg:squarederror or count:poisson"
        )
        raise ConfigurationError(message)
    several = classes[0] > _TWO
    # Of two classes the last one.
    chosen = class_of(classes[0], number, what) if several else class_of(1, number, what) - 1
    trees = _trees(dump, chosen if several else None, what)
    growing = Growing(what)
    for place, tree in trees:
        growing.add(_tree(tree, len(names), chosen, f"{what}: tree {place}"))
    divisor = float(max(len(trees), 1)) if _taken(dump, "average_tree_output", _FLAG, what) else 1.0
    base = _value(_taken(dump, "base_scores", _LIST, what), chosen, f"{what}: base_scores")
    factor = (
        _value(_taken(dump, "sigmoid_alpha", _NUMBER, what), 0, f"{what}: sigmoid_alpha") if link == "logistic" else 1.0
    )
    return growing.forest([catalogue.index(name) for name in names], divisor, base, link), factor


def _check_names(names: Sequence[str], columns: int, catalogue: Sequence[str], what: str) -> None:
    for name in names:
        if name not in catalogue:
            raise ConfigurationError(unknown_feature(name, catalogue, what))
    if len(names) != columns:
        message = f"{what} has {quoted(columns)} columns and {len(names)} names, expected a name for each column"
        raise ConfigurationError(message)


def _taken(fields: object, key: str, kinds: tuple[type, ...], what: str) -> Any:
    """Return a member of an object, which must be of one of these types."""
    value = fields.get(key) if isinstance(fields, dict) else fields
    if not isinstance(fields, dict) or type(value) not in kinds:
        expected = " or ".join(kind.__name__ for kind in kinds)
        message = f"{what}: {key} is {quoted(value)}, expected {expected}"
        raise ConfigurationError(message)
    return value


def _trees(dump: Mapping[str, Any], chosen: int | None, what: str) -> list[tuple[int, object]]:
    """Return the trees that count for a class (None: all), each with its number; some count for all classes (-1)."""
    trees: list[object] = _taken(dump, "trees", _LIST, what)
    if chosen is None:
        return list(enumerate(trees))
    classes: list[object] = _taken(dump, "class_id", _LIST, what)
    if len(classes) != len(trees):
        message = f"{what}: class_id has {len(classes)} elements, expected one for each of {len(trees)} trees"
        raise ConfigurationError(message)
    return [(place, tree) for place, tree in enumerate(trees) if classes[place] in (-1, chosen)]


def _tree(tree: object, features: int, chosen: int, what: str) -> Tree:
    """Return a tree whose splits and leaves are numbered in the order of its nodes, the root first."""
    child: dict[int, int] = {}
    splits: list[dict[str, Any]] = []
    leaves: list[dict[str, Any]] = []
    for node in _taken(tree, "nodes", _LIST, what):
        number = _taken(node, "node_id", _INTEGER, what)
        if number in child:
            message = f"{what}: node_id {quoted(number)} is given twice"
            raise ConfigurationError(message)
        child[number] = ~len(leaves) if "leaf_value" in node else len(splits)
        (leaves if "leaf_value" in node else splits).append(node)
    lefts, rights, rules, thresholds = [], [], [], []
    categories: dict[int, tuple[int, ...]] = {}
    for number, node in enumerate(splits):
        left, right = (_child(child, node, key, what) for key in ("left_child", "right_child"))
        default_left, threshold = _taken(node, "default_left", _FLAG, what), 0.0
        if _taken(node, "node_type", _TEXT, what) == "categorical_test_node":
            categories[number] = _members(node, what)
            if _taken(node, "category_list_right_child", _FLAG, what):
                left, right, default_left = right, left, not default_left
        else:
            threshold = _threshold(node, what)
        lefts.append(left)
        rights.append(right)
        rules.append(RULES.index("to_left" if default_left else "to_right"))
        thresholds.append(threshold)
    return Tree(
        features=[_feature(node, features, what) for node in splits],
        thresholds=thresholds,
        rules=rules,
        lefts=lefts,
        rights=rights,
        values=[_value(node["leaf_value"], chosen, what) for node in leaves],
        categories=categories,
        cover=_cover(leaves),
    )


def _child(child: Mapping[int, int], node: Mapping[str, Any], key: str, what: str) -> int:
    number = _taken(node, key, _INTEGER, what)
    if number not in child:
        message = f"{what}: {key} is {quoted(number)}, expected the node_id of one of {len(child)} nodes"
        raise ConfigurationError(message)
    return child[number]


def _feature(node: Mapping[str, Any], features: int, what: str) -> int:
    feature: int = _taken(node, "split_feature_id", _INTEGER, what)
    if not 0 <= feature < features:
        message = f"{what}: split_feature_id is {quoted(feature)}, expected an integer from 0 to {features - 1}"
        raise ConfigurationError(message)
    return feature


def _members(node: Mapping[str, Any], what: str) -> tuple[int, ...]:
    members = _taken(node, "category_list", _LIST, what)
    if any(type(member) is not int or not 0 <= member < MAX_CATEGORIES for member in members):
        message = f"{what}: categories {quoted(members)}, expected integers from 0 to {MAX_CATEGORIES - 1}"
        raise ConfigurationError(message)
    return tuple(sorted(set(members)))


def _cover(leaves: Sequence[Mapping[str, Any]]) -> Sequence[float] | None:
    """Return what reached each leaf in training: the hessians' sum (XGBoost), or rows; None where neither is said."""
    for key in ("sum_hess", "data_count"):
        found: list[Any] = [leaf.get(key) for leaf in leaves]
        if all(type(number) in _NUMBER and 0 <= number <= _MOST_VALUE for number in found):
            return [float(number) for number in found]
    return None


def _threshold(node: Mapping[str, Any], what: str) -> float:
    """Return the largest single that goes to the left."""
    threshold: Any = node.get("threshold")
    operator = node.get("comparison_op")
    if operator not in ("<", "<=") or type(threshold) not in _NUMBER or not abs(threshold) <= MOST_SINGLE:
        message = f"{what}: a split by {quoted(operator)} {quoted(threshold)}, expected < or <= and a single's number"
        raise ConfigurationError(message)
    found = single_at_most([threshold])
    # As doubles: NumPy would round the threshold to a single before it compares.
    if operator == "<" and float(found[0]) >= threshold:
        # Below the least single there is none.
        found = np.maximum(np.nextafter(found, np.float32(-np.inf)), np.float32(-MOST_SINGLE))
    return float(found[0])


def _value(value: Any, chosen: int, what: str) -> float:
    """Return what a leaf adds: of several classes the chosen one's, -1 being the last."""
    is_there = isinstance(value, list) and -len(value) <= chosen < len(value)
    number = value[chosen] if is_there else value
    if type(number) not in _NUMBER or not abs(number) <= _MOST_VALUE:
        message = f"{what}: a leaf of {quoted(value)}, expected a number of at most {_MOST_VALUE:g}"
        raise ConfigurationError(message)
    return float(number)
