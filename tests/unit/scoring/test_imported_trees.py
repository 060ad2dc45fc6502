"""Trees of other tools as their readers give them: thresholds and categories at the ends of what is read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from stream.features import FEATURES
from stream.records import MAX_MODELS, USE_FOLD
from stream.scoring import Model, compile_models, score
from stream.scoring.forest import Forest
from stream.scoring.imports import read_treelite


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
