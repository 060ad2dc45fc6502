"""Mutated models of trees are scored or refused, what they are mutated from is sound, and the fuzzer can fail."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import orjson
import pytest

from load_tests.fuzzing import BrokenPromiseError, run
from load_tests.fuzzing.tree_files import dump_of, text_of
from load_tests.fuzzing.trees import COLUMNS, read_dump, read_file, read_text, same, try_model_files
from stream.errors import ConfigurationError
from stream.features import FEATURES
from stream.scoring import Model
from stream.scoring.forest import Forest
from stream.scoring.rules import TO_LEFT, TO_RIGHT
from tests.forests import some_forest


@pytest.mark.parametrize("name", ["trees", "lightgbm", "treelite"])
def test_mutated_models_of_trees_are_scored_or_refused_with_a_reason(name: str) -> None:
    counts = run(name, 300, 7)
    assert counts.total() == 300
    assert set(counts) == {"accepted", "refused: ConfigurationError"}
    assert min(counts.values()) > 30


def plain(seed: int, rules: tuple[int, ...]) -> Forest:
    """Return a forest of these rules, and without what no other format says; categories go to the right."""
    forest = some_forest(seed, 4, 30, COLUMNS)
    chosen = np.random.default_rng(seed).choice(np.array(rules, np.uint8), len(forest.rules))
    chosen[list(forest.categories)] = TO_RIGHT
    assert forest.cover is not None
    single = np.repeat(forest.leaves == 1, forest.leaves)
    cover = np.where(single, 1.0, np.round(forest.cover))
    return replace(forest, rules=chosen, base=0.0, divisor=1.0, cover=cover)


@pytest.mark.parametrize("seed", range(4))
def test_lightgbms_text_of_a_forest_is_read_as_that_forest(seed: int) -> None:
    forest = plain(seed, (0, 1, 2, 3, 4))
    read = read_text(text_of(forest, FEATURES[:COLUMNS])).forest
    assert read is not None
    assert same(read, forest)


@pytest.mark.parametrize("seed", range(4))
def test_treelites_dump_of_a_forest_is_read_as_that_forest(seed: int) -> None:
    forest = replace(plain(seed, (TO_LEFT, TO_RIGHT)), categories={})
    dump = dump_of(forest, COLUMNS)
    for tree in dump["trees"]:
        for node in tree["nodes"]:
            node.update({"comparison_op": "<="} if "threshold" in node else {})
    read = read_dump(orjson.dumps(dump)).forest
    assert read is not None
    assert same(read, forest)


def crash(data: bytes) -> Model:
    if b"4096" in data:
        raise IndexError(data)
    return read_file(data)


def refuse_silently(data: bytes) -> Model:
    raise ConfigurationError


def let_infinity_through(data: bytes) -> Model:
    model = read_file(data)
    assert model.forest is not None
    return replace(model, forest=replace(model.forest, values=model.forest.values * np.inf, link="identity"))


@pytest.mark.parametrize(
    ("reading", "words"),
    [(crash, "raised IndexError"), (refuse_silently, "0 characters"), (let_infinity_through, "not finite")],
)
def test_broken_promise_is_found(reading: Callable[[bytes], Model], words: str) -> None:
    with pytest.raises(BrokenPromiseError, match=words) as caught:
        try_model_files(random.Random(1), 200, reading)
    assert caught.value.data
