"""Trees of other tools as their readers give them: thresholds and categories at the ends of what is read."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from stream.errors import ConfigurationError
from stream.features import FEATURES
from stream.records import MAX_MODELS, USE_FOLD
from stream.scoring import Model, compile_models, score
from stream.scoring.forest import Forest
from stream.scoring.imports import read_lightgbm, read_treelite


def scored(forest: Forest, values: list[float]) -> list[float]:
    """Return what a forest over the catalogue's first feature gives."""
    models = compile_models([Model("m", "trees", forest=forest)], np.ones(MAX_MODELS, np.uint32))
    out = np.empty((len(values), MAX_MODELS))
    score(models, np.array(values)[:, None], np.full(len(values), USE_FOLD, np.int64), 0, len(values), out)
    return out[:, 0].tolist()  # type: ignore[no-any-return]


def dump_of(split: dict[str, Any]) -> dict[str, Any]:
    """Return what treelite says of one split: to the left 1, to the right 2."""
    node = {"node_id": 0, "split_feature_id": 0, "default_left": False, "left_child": 1, "right_child": 2, **split}
    leaves = [{"node_id": number, "leaf_value": float(number)} for number in (1, 2)]
    return {
        **{"num_feature": 1, "num_target": 1, "num_class": [1], "average_tree_output": False},
        **{"postprocessor": "identity", "sigmoid_alpha": 1.0, "base_scores": [0.0]},
        "trees": [{"num_nodes": 3, "nodes": [node, *leaves]}],
    }


@pytest.mark.parametrize("single", [0.5, 2.0, -2.0, 0.0, float(np.float32(0.1)), float(np.float32(1e-30))])
@pytest.mark.parametrize("side", [-math.inf, 0, math.inf])
@pytest.mark.parametrize("operator", ["<", "<="])
def test_single_goes_the_way_that_treelites_doubles_give_it(single: float, side: float, operator: str) -> None:
    threshold = math.nextafter(single, side) if side else single
    split = {"node_type": "numerical_test_node", "comparison_op": operator, "threshold": threshold}
    forest, _ = read_treelite(dump_of(split), FEATURES[:1], FEATURES, "model.tl")
    near = [float(np.nextafter(np.float32(single), np.float32(way))) for way in (-math.inf, math.inf)]
    values = [near[0], single, near[1]]
    expected = [1.0 if value < threshold or (value == threshold and operator == "<=") else 2.0 for value in values]
    assert scored(forest, values) == expected


def text_of(words: str, bounds: list[int]) -> bytes:
    """Return LightGBM's text of a tree each of whose splits asks for the categories of one bitset."""
    splits = len(bounds) - 1
    lines = {
        "num_leaves": [splits + 1],
        "num_cat": [splits],
        "split_feature": [0] * splits,
        "threshold": list(range(splits)),
        "decision_type": [1] * splits,
        "left_child": [~split for split in range(splits)],
        "right_child": [*range(1, splits), ~splits],
        "leaf_value": list(range(splits + 1)),
        "cat_boundaries": bounds,
    }
    head = ["tree", f"feature_names={FEATURES[0]}", "objective=regression", "Tree=0"]
    fields = [f"{key}={' '.join(map(str, items))}" for key, items in lines.items()]
    return "\n".join([*head, *fields, f"cat_threshold={words}", "end of trees"]).encode()


def test_bitsets_longer_than_what_is_read_at_a_time_are_read_whole() -> None:
    chance = random.Random(1)
    sets = [sorted(chance.sample(range(65_536), chance.choice((1, 32, 900)))) for _ in range(150)]
    sets[-1].append(65_535)
    bounds, words = [0], list[int]()
    for members in sets:
        own = [0] * (members[-1] // 32 + 1)
        for member in members:
            own[member // 32] |= 1 << member % 32
        words += own
        bounds.append(len(words))
    text = " ".join(map(str, words))
    assert len(text) > 1 << 19
    forest, _ = read_lightgbm(text_of(text, bounds), FEATURES, "model.txt")
    assert forest.categories == {split: tuple(dict.fromkeys(members)) for split, members in enumerate(sets)}


@pytest.mark.parametrize(
    ("words", "bounds", "message"),
    [
        (" ".join(["0"] * 2049), [0, 2049], "categories up to 65567, expected less than 65536"),
        (" ".join(["4294967295"] * 2048 * 31), list(range(0, 2048 * 32, 2048)), "more than 2000000 bits set"),
        ("1 " * 131_073 + " 1", [*range(0, 131_073, 2048), 131_075], "cat_threshold: invalid literal.*''"),
        ("1 4294967296", [0, 2], "cat_threshold holds 4294967296, expected integers from 0 to 4294967295"),
        ("1 x", [0, 2], "cat_threshold: invalid literal"),
        ("1 2 3", [0, 2], "cat_threshold has 3 numbers, expected 2"),
        ("", [0, 2], "cat_threshold has 0 numbers, expected 2"),
    ],
)
def test_unusable_bitsets_are_quoted(words: str, bounds: list[int], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_lightgbm(text_of(words, bounds), FEATURES, "model.txt")
