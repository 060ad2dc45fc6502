"""Files that are meant to harm who reads them: XGBoost's and treelite's, cut off, turned round and counted up."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import treelite
import xgboost

from stream.features import FEATURES

NAMES = list(FEATURES[:4])
DEEP = 1_000_000
Hostile = tuple[str, str, bytes]
"""What it is, its format as treelite_import has it, and the bytes."""


def sound(directory: Path) -> dict[str, bytes]:
    """Return one model in each format."""
    chance = np.random.default_rng(1)
    rows = chance.normal(size=(200, 4)).astype(np.float32)
    rows[:, 3] = chance.integers(0, 40, 200)
    types = ["q", "q", "q", "c"]
    label = rows[:, 0] + (rows[:, 3] % 3 == 0) > 0
    matrix = xgboost.DMatrix(rows, label, feature_names=NAMES, feature_types=types, enable_categorical=True)
    model = xgboost.train({"objective": "binary:logistic", "max_depth": 3, "max_cat_to_onehot": 2}, matrix, 2)
    model.save_model(directory / "m.json")
    model.save_model(directory / "m.ubj")
    treelite.frontend.load_xgboost_model(directory / "m.json", format_choice="json").serialize(directory / "m.tl")
    kinds = {"xgboost-json": "m.json", "xgboost-ubj": "m.ubj", "treelite": "m.tl"}
    return {kind: (directory / name).read_bytes() for kind, name in kinds.items()}


def hostile(files: dict[str, bytes]) -> Iterator[Hostile]:
    """Give every file."""
    chance = random.Random(1)
    for kind, data in files.items():
        yield "empty", kind, b""
        yield "random", kind, chance.randbytes(1000)
        for place in range(1, len(data) - 8, len(data) // 12):
            yield f"cut off at {place}", kind, data[:place]
    yield from _of_json(files["xgboost-json"])
    yield from _of_ubj(files["xgboost-ubj"])
    yield from _of_treelite(files["treelite"])


def _of_json(data: bytes) -> Iterator[Hostile]:
    def changed(key: str, value: Any, old: Any = None) -> bytes:
        document = json.loads(data)
        tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
        holder = tree if key in tree else tree["tree_param"]
        holder[key] = value if old is None else [value, *holder[key][1:]]
        return json.dumps(document).encode()

    for key in ("left_children", "right_children", "split_indices", "categories_segments", "categories_sizes"):
        for value in (0, -5, 3, 10**6, 2**31 - 1):
            yield f"{key} begins with {value}", "xgboost-json", changed(key, value, 0)
    for number in (float("nan"), float("inf"), float("-inf"), 1e308):
        yield f"a threshold of {number}", "xgboost-json", changed("split_conditions", number, 0)
    for count in ("1000000000", "-1", "99999999999999999999"):
        yield f"{count} nodes", "xgboost-json", changed("num_nodes", count)
    yield "a million arrays in each other", "xgboost-json", b"[" * DEEP
    yield "a million objects in each other", "xgboost-json", b'{"learner":' * DEEP
    yield "a tree a million splits deep", "xgboost-json", _deep_tree(json.loads(data))


def _deep_tree(document: Any) -> bytes:
    """Return a model with one tree: each split's left child is a leaf, its right child the next split."""
    nodes = 2 * DEEP + 1
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    number = np.arange(nodes)
    is_split = (number % 2 == 0) & (number < nodes - 1)
    tree["left_children"] = np.where(is_split, number + 1, -1).tolist()
    tree["right_children"] = np.where(is_split, number + 2, -1).tolist()
    tree["parents"] = [2**31 - 1, *((number[1:] - 1) // 2 * 2).tolist()]
    for key in ("base_weights", "default_left", "loss_changes", "split_indices", "split_type", "sum_hessian"):
        tree[key] = [0] * nodes
    for key in ("categories", "categories_nodes", "categories_segments", "categories_sizes"):
        tree[key] = []
    tree["split_conditions"] = [0.5] * nodes
    tree["tree_param"]["num_nodes"] = str(nodes)
    document["learner"]["gradient_booster"]["model"]["trees"] = [tree]
    document["learner"]["gradient_booster"]["model"]["tree_info"] = [0]
    return json.dumps(document).encode()


def _of_ubj(data: bytes) -> Iterator[Hostile]:
    places = [place for place in range(len(data) - 12) if data[place : place + 2] == b"[$" and data[place + 3] == 35]
    for count in (10**9, 2**62, -1, 2**63 - 1):
        for place in places[:: len(places) // 3]:
            grown = data[: place + 4] + b"L" + struct.pack(">q", count) + data[place + 13 :]
            yield f"{count} items at {place}", "xgboost-ubj", grown
    yield "a text of 2**62 bytes", "xgboost-ubj", b"{L" + struct.pack(">q", 1 << 62) + data
    yield "a million arrays in each other", "xgboost-ubj", b"[" * DEEP
    yield "a million objects in each other", "xgboost-ubj", b"{L\0\0\0\0\0\0\0\1a" * DEEP


def _of_treelite(data: bytes) -> Iterator[Hostile]:
    chance = random.Random(2)
    for place in range(0, min(len(data) - 8, 700), 20):
        for count in (10**9, 2**62, -1):
            grown = data[:place] + struct.pack("<q", count) + data[place + 8 :]
            yield f"{count} at {place}", "treelite", grown
    for number in range(30):
        changed = bytearray(data)
        for _ in range(3):
            changed[chance.randrange(len(data))] = chance.choice((0, 1, 127, 128, 255))
        yield f"bytes changed by chance, {number}", "treelite", bytes(changed)
