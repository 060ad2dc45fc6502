"""Forests written as model files, LightGBM's text and treelite's dumps, and changed as somebody hostile might."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from load_tests.fuzzing.mutation import change_bytes, change_json
from stream.features import FEATURES
from stream.scoring.forest import Forest, write_forest
from stream.scoring.rules import AS_ZERO, TO_LEFT, ZERO_TO_LEFT, ZERO_TO_RIGHT

_OBJECTIVES: Final = {"identity": "regression", "logistic": "binary sigmoid:2", "exp": "poisson"}
_POSTPROCESSORS: Final = {"identity": "identity", "logistic": "sigmoid", "exp": "exponential"}
# LightGBM's decision_type: 1 asks for categories, 2 sends what is missing to the left, from 4 up what is missing.
_DECISIONS: Final = {AS_ZERO: 0, TO_LEFT: 10, ZERO_TO_LEFT: 6, ZERO_TO_RIGHT: 4}
_TO_RIGHT: Final = 8
_CATEGORICAL: Final = 1

NUMBERS: Final[tuple[Any, ...]] = (
    *[0, 1, 2, 3, 4, -1, -2, -3, 12, 255, 256, 4095, 4096, 4097, 65535, 65536, 65537],
    *[10**9, 2**31, 2**32 - 1, 2**32, 2**63, 2**64, 10**30],
    *[0.0, -0.0, 0.5, 1.5, 1e-45, 1e-46, 1e-35, 1e30, 1.1e30, -1e30, 3.4028235e38, 3.5e38, -3.5e38, 1e308, -1e308],
)
TEXTS: Final = (
    *["nan", "inf", "-inf", "1e999", "", " ", "x", "1_0", "0x1", "+1", "٣", "9" * 400, "9" * 5000, "0 " * 5000, "\0"],
    *[repr(number) for number in NUMBERS],
)
_TOKENS: Final = tuple(
    text.encode() for text in (*TEXTS, "\n", "\r", "=", "Tree=0", "end of trees", "\ud7ff", "[" * 2000)
)


@dataclass(frozen=True, slots=True)
class Pointed:
    """A split by pointers: a child from 0 up is a split of its tree, a negative one the leaf ``~child``."""

    split: int
    """Its number in the forest."""
    left: int
    right: int


def pointed(forest: Forest) -> Iterator[tuple[list[Pointed], list[float], list[float]]]:
    """Give each tree's splits, in pre-order, its leaves' values, and their cover (none where the forest has none)."""
    first, value = 0, 0
    for leaves in forest.leaves.tolist():
        splits: list[Pointed] = []
        counts = {0: leaves}
        for at in range(leaves - 1):
            count, left = counts[at], int(forest.lefts[first + at])
            leaf, right = int(forest.firsts[first + at]), at + left
            # Where a child is a leaf, that place is another split's.
            counts.update({place: under for place, under in ((at + 1, left), (right, count - left)) if under > 1})
            splits.append(
                Pointed(
                    first + at,
                    at + 1 if left > 1 else ~leaf,
                    right if count - left > 1 else ~(leaf + left),
                )
            )
        cover = [] if forest.cover is None else forest.cover[value : value + leaves].tolist()
        yield splits, forest.values[value : value + leaves].tolist(), cover
        first, value = first + leaves - 1, value + leaves


# --- sound files ---------------------------------------------------------------------------------------


def model_of(forest: Forest, calibration: tuple[float, float] | None) -> bytes:
    """Return a model file."""
    whole: dict[str, Any] = {"name": "trees", "kind": "trees", **write_forest(forest, FEATURES)}
    if calibration is not None:
        whole["calibration"] = {"slope": calibration[0], "intercept": calibration[1]}
    return orjson.dumps(whole)


def text_of(forest: Forest, names: Sequence[str]) -> bytes:
    """Return LightGBM's text; it has no base, and what is missing in categories goes to the right."""
    lines = ["tree", "version=v4", "num_class=1", "num_tree_per_iteration=1", f"feature_names={' '.join(names)}"]
    lines.append(f"objective={_OBJECTIVES[forest.link]}")
    lines += ["average_output"] if forest.divisor != 1 else []
    for number, (splits, values, cover) in enumerate(pointed(forest)):
        sets = [forest.categories[item.split] for item in splits if item.split in forest.categories]
        bounds = [0]
        words: list[int] = []
        thresholds, kinds = [], []
        for item in splits:
            if item.split in forest.categories:
                thresholds.append(repr(len(bounds) - 1))
                kinds.append(_CATEGORICAL)
                words.append(sum(1 << member for member in forest.categories[item.split]))
                bounds.append(len(words))
            else:
                thresholds.append(repr(float(forest.thresholds[item.split])))
                kinds.append(_DECISIONS.get(int(forest.rules[item.split]), _TO_RIGHT))
        tree: dict[str, list[Any]] = {
            "Tree": [number],
            "num_leaves": [len(values)],
            "num_cat": [len(sets)],
            "split_feature": [int(forest.features[item.split]) for item in splits],
            "threshold": thresholds,
            "decision_type": kinds,
            "left_child": [item.left for item in splits],
            "right_child": [item.right for item in splits],
            "leaf_value": values,
            **({"leaf_count": [round(count) for count in cover]} if cover else {}),
            **({"cat_boundaries": bounds, "cat_threshold": words} if sets else {}),
            "is_linear": [0],
        }
        lines += [f"{key}={' '.join(map(str, items))}" for key, items in tree.items()] + [""]
    return "\n".join([*lines, "end of trees", "", "parameters:", "end of parameters", ""]).encode()


def dump_of(forest: Forest, columns: int) -> dict[str, Any]:
    """Return what treelite would say; what is missing goes to the left or the right."""
    trees = []
    for splits, values, cover in pointed(forest):

        def number(child: int, count: int = len(splits)) -> int:
            return child if child >= 0 else count + ~child

        nodes: list[dict[str, Any]] = []
        for at, item in enumerate(splits):
            node: dict[str, Any] = {
                "node_id": at,
                "split_feature_id": int(forest.features[item.split]),
                "default_left": int(forest.rules[item.split]) == TO_LEFT,
                "left_child": number(item.left),
                "right_child": number(item.right),
            }
            if item.split in forest.categories:
                node |= {"node_type": "categorical_test_node", "category_list_right_child": at % 2 == 1}
                node["category_list"] = list(forest.categories[item.split])
            else:
                node |= {"node_type": "numerical_test_node", "comparison_op": "<" if at % 2 else "<="}
                node["threshold"] = float(forest.thresholds[item.split])
            nodes.append(node)
        nodes += [{"node_id": len(splits) + leaf, "leaf_value": value} for leaf, value in enumerate(values)]
        for node, count in zip(nodes[len(splits) :], cover, strict=False):
            node["sum_hess"] = count
        trees.append({"num_nodes": len(nodes), "nodes": nodes})
    return {
        **{"num_feature": columns, "num_target": 1, "num_class": [1], "average_tree_output": forest.divisor != 1},
        **{"postprocessor": _POSTPROCESSORS[forest.link], "sigmoid_alpha": 1.0, "base_scores": [forest.base]},
        "trees": trees,
    }


# --- changed -------------------------------------------------------------------------------------------


def change_model(chance: random.Random, data: bytes) -> bytes:
    """Return a model file with numbers, lists or bytes changed."""
    draw = chance.random()
    if draw < 0.2:
        return _changed_bytes(chance, data)
    document = orjson.loads(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        if chance.random() < 0.3:
            document = change_json(chance, document)
        elif isinstance(document, dict) and isinstance(document.get("trees"), dict) and document["trees"]:
            trees = document["trees"]
            key = chance.choice(list(trees))
            trees[key] = _changed_list(chance, trees[key])
    return _dumped(document)


def change_dump(chance: random.Random, dump: dict[str, Any]) -> bytes:
    """Return a dump of treelite's with members of its nodes changed, pointers turned, or other values or bytes."""
    draw = chance.random()
    if draw < 0.1:
        return _changed_bytes(chance, orjson.dumps(dump))
    if draw < 0.3:
        return _dumped(change_json(chance, dump))
    for _ in range(chance.choice((1, 1, 2, 3))):
        tree = chance.choice(dump["trees"])
        nodes = tree["nodes"] if isinstance(tree["nodes"], list) else []
        objects = [item for item in nodes if isinstance(item, dict)] or [{}]
        node, other = chance.choice(objects), chance.choice(objects)
        key = chance.choice(list(node) or ["node_id"])
        change = chance.randrange(6)
        if change == 0:
            cut = nodes[: chance.randrange(len(nodes) + 1)]
            tree["nodes"] = _changed_list(chance, nodes) if chance.random() < 0.5 else cut
        elif change == 1:
            node.pop(key, None)
        elif change == 2:
            node[key] = other.get("node_id", 0)
        elif change == 3:
            node[key] = other.get(key, chance.choice(NUMBERS))
        else:
            node[key] = change_json(chance, node.get(key)) if chance.random() < 0.5 else chance.choice(NUMBERS)
    return _dumped(dump)


def change_text(chance: random.Random, data: bytes) -> bytes:
    """Return LightGBM's text with numbers, lines or bytes changed, or cut off."""
    draw = chance.random()
    if draw < 0.15:
        return _changed_bytes(chance, data)
    if draw < 0.2:
        return data[: chance.randrange(len(data))]
    lines = data.decode().split("\n")
    for _ in range(chance.choice((1, 1, 2, 3))):
        place = chance.randrange(len(lines))
        change = chance.randrange(10)
        if change == 0:
            del lines[place]
        elif change == 1:
            lines.insert(chance.randrange(len(lines) + 1), lines[place])
        elif change == 2:
            other = chance.randrange(len(lines))
            lines[place], lines[other] = lines[other], lines[place]
        else:
            key, is_field, value = lines[place].partition("=")
            items = _changed_list(chance, value.split(" "))
            lines[place] = f"{key}{is_field}{' '.join(map(str, items))}"
        if not lines:
            return b""
    return "\n".join(lines).encode()


def _changed_list(chance: random.Random, items: Any) -> Any:
    """Return a list with one item changed, made another of its items, put out or doubled; now and then far longer."""
    if not isinstance(items, list) or not items:
        return change_json(chance, items)
    changed = list(items)
    place, draw = chance.randrange(len(items)), chance.random()
    if draw < 0.1:
        del changed[place]
    elif draw < 0.2:
        changed.insert(place, changed[place])
    elif draw < 0.5:
        changed[place] = chance.choice(items)
    elif draw < 0.51:
        changed *= 5000
    elif isinstance(items[place], str):
        changed[place] = chance.choice(TEXTS)
    else:
        changed[place] = chance.choice(NUMBERS) if chance.random() < 0.8 else change_json(chance, items[place])
    return changed


def _changed_bytes(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        change_bytes(chance, changed, (data,), _TOKENS, _replace_number)
    return bytes(changed)


def _replace_number(chance: random.Random, data: bytearray) -> None:
    """Put a token in the place of what stands between two separators, in place."""
    places = [place for place, byte in enumerate(data) if byte in b" ,:=[\n"]
    if places:
        first = chance.choice(places) + 1
        ends = [place for place in (data.find(end, first) for end in (b" ", b",", b"]", b"}", b"\n")) if place >= 0]
        data[first : min(ends, default=len(data))] = chance.choice(_TOKENS)


def _dumped(document: Any) -> bytes:
    """Return JSON; whole numbers of any size are written as they are."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return json.dumps(document).encode()
