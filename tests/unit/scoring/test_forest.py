"""Forests in model files, and their scores against walking each tree in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import orjson
import pytest

from stream.agents.threads import SecondThread
from stream.errors import ConfigurationError
from stream.features import FEATURES as CATALOGUE
from stream.records import MAX_MODELS, USE_DUPLICATE, USE_FOLD
from stream.scoring import Model, compile_models, read_model, score
from stream.scoring.bitvectors import Picked, compile_forest
from stream.scoring.forest import MAX_ASKING, MAX_LEAVES, MAX_NODES, Forest, write_forest
from stream.scoring.forest_kernels import BLOCK_ROWS, PLANES, WALKED_ROWS, lay_out
from stream.scoring.rank_kernels import RANKS
from stream.scoring.rules import RULES
from stream.scoring.walk_kernels import walk_forest
from tests.forests import some_forest, some_rows, sum_of

FEATURES = [f"f{index}" for index in range(8)]
TAGS = np.array([11, 12, 0, 0, 0, 0, 0, 0], np.uint32)
SMALL: dict[str, Any] = {
    "leaves": [3, 1],
    "feature": [0, 1],
    "threshold": [0.5, 2],
    "missing": [1, 2],
    "left": [2, 1],
    "value": [1.0, 2, 3.0, 0.25],
}


def file_of(trees: dict[str, Any], /, **changes: Any) -> bytes:
    """Return a model file with these trees over f0 and f1."""
    whole = {"name": "m", "kind": "trees", "link": "identity", "features": ["f0", "f1"], "trees": trees}
    return orjson.dumps({**whole, **changes})


def scored(forest: Forest, rows: Any, n: int | None = None) -> list[float]:
    """Return what a forest gives for the first ``n`` rows."""
    models = compile_models([Model("m", "trees", forest=forest)], TAGS)
    out = np.full((len(rows), MAX_MODELS), 9.0)
    count = len(rows) if n is None else n
    score(models, np.ascontiguousarray(rows[:, models.columns]), np.full(len(rows), USE_FOLD, np.int64), 0, count, out)
    return out[:count, 0].tolist()  # type: ignore[no-any-return]


def linked(forest: Forest, total: float) -> float:
    """Return what follows the sum."""
    z = total / forest.divisor + forest.base
    return {"identity": lambda: z, "logistic": lambda: 1 / (1 + math.exp(-z)), "exp": lambda: math.exp(z)}[
        forest.link
    ]()


@pytest.mark.parametrize("most", [1, 2, 8, 9, 64, 65, 300])
@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_walking_every_tree(seed: int, most: int) -> None:
    forest, rows = some_forest(seed, 7, most, 8), some_rows(seed, 70, 8)
    expected = [linked(forest, sum_of(forest, row)) for row in rows]
    assert scored(forest, rows) == pytest.approx(expected, rel=1e-13)


def balanced(leaves: int, features: int) -> Forest:
    """Return one tree that halves its leaves at each split: its children lie as far apart as can be."""
    return one_tree(leaves, features, lambda count: count // 2)


def one_tree(leaves: int, features: int, left_of: Callable[[int], int]) -> Forest:
    """Return one tree of which a split with so many leaves has ``left_of`` of them on its left."""
    lefts: list[int] = []
    waiting = [leaves]
    while waiting:
        if (count := waiting.pop()) > 1:
            lefts.append(left_of(count))
            waiting += [count - left_of(count), left_of(count)]
    firsts, chance = np.empty(leaves - 1, np.int64), np.random.default_rng(leaves)
    assert lay_out(np.array([leaves], np.int64), np.array(lefts, np.int64), firsts) == -1
    return Forest(
        leaves=np.array([leaves], np.int64),
        features=chance.integers(0, features, leaves - 1),
        thresholds=(chance.integers(-40, 40, leaves - 1) / 8).astype(np.float32),
        rules=chance.integers(0, 5, leaves - 1).astype(np.uint8),
        lefts=np.array(lefts, np.int64),
        firsts=firsts,
        values=chance.normal(size=leaves),
        categories={},
        cover=None,
    )


def test_largest_tree_that_a_file_may_hold_is_walked_to_its_leaves() -> None:
    forest, rows = balanced(MAX_LEAVES, 8), some_rows(3, 70, 8)
    assert scored(forest, rows) == pytest.approx([linked(forest, sum_of(forest, row)) for row in rows], rel=1e-13)


@pytest.mark.parametrize("n", [WALKED_ROWS + 1, BLOCK_ROWS + 9])
@pytest.mark.parametrize("leaves", [8, 16, 255, 8 * PLANES])
@pytest.mark.parametrize("left_of", [lambda _: 1, lambda count: count - 1, lambda count: count // 2])
def test_blocks_go_through_every_plane_of_a_tree(left_of: Callable[[int], int], leaves: int, n: int) -> None:
    tree, rows = one_tree(leaves, 1, left_of), np.random.default_rng(leaves).uniform(-3.0, 3.0, (n, 8))
    # Every leaf is reached: each split asks where in one order its leaves lie.
    forest = replace(tree, thresholds=np.linspace(-3, 3, leaves + 1, dtype=np.float32)[tree.firsts + tree.lefts])
    vectors = compile_forest(forest, {index: index for index in range(8)}, (1.0, 0.0))
    assert not vectors.is_wide
    walked, together = np.empty((n, 1)), np.empty((n, 1))
    walk_forest(vectors.walk, rows, np.arange(n), 0, n, walked, 0)
    vectors.score(Picked(rows, np.arange(n)), together, 0)
    assert together.tobytes() == walked.tobytes()
    assert len(set(walked[:, 0])) > min(leaves, n) // 2


def test_chains_whose_splits_touch_too_many_planes_are_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    forest, rows = one_tree(8 * PLANES, 8, lambda count: count - 1), some_rows(1, WALKED_ROWS + 1, 8)
    place = {index: index for index in range(8)}
    whole = compile_forest(forest, place, (1.0, 0.0))
    monkeypatch.setattr("stream.scoring.bitvectors._MOST_KEEPS", len(whole.keeps) - 1)
    walked = compile_forest(forest, place, (1.0, 0.0))
    assert (walked.is_wide, len(walked.keeps), len(walked.planes)) == (True, 0, 1)
    found = np.empty((2, len(rows), 1))
    for out, vectors in zip(found, (whole, walked), strict=True):
        vectors.score(Picked(rows, np.arange(len(rows))), out, 0)
    assert found[0].tobytes() == found[1].tobytes()


def test_columns_of_the_largest_model_fit_into_a_step() -> None:
    columns = MAX_ASKING + MAX_NODES // RANKS + len(CATALOGUE) * len(RULES)
    assert columns < 1 << 19


@pytest.mark.parametrize("seed", range(4))
def test_children_of_a_split_lie_in_one_line_of_the_cache(seed: int) -> None:
    forest = some_forest(seed, 5, 20, 8)
    walk = compile_forest(forest, {index: index for index in range(8)}, (1.0, 0.0)).walk
    assert int(walk[2]) % 2 == 0


@pytest.mark.parametrize("value", [0.0, -0.0, math.inf, -math.inf, 3.4028234663852886e38, -1e-45, 1e-45, -1.5])
@pytest.mark.parametrize("threshold", [0.0, -0.0, 3.4028235e38, -3.4028235e38, -1.5])
def test_values_at_the_ends_of_singles_go_the_same_way_alone_and_in_a_block(value: float, threshold: float) -> None:
    trees = {"leaves": [2], "feature": [0], "threshold": [threshold], "missing": [1], "left": [1], "value": [1.0, 2.0]}
    forest = read_model(file_of(trees), FEATURES).forest
    assert forest is not None
    rows = np.full((WALKED_ROWS + 1, 8), value)
    expected = 1.0 if np.float32(value) <= np.float32(threshold) else 2.0
    assert scored(forest, rows[:1]) == [expected]
    assert scored(forest, rows) == [expected] * len(rows)


@pytest.mark.parametrize("n", [1, WALKED_ROWS, WALKED_ROWS + 1, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS + 9])
def test_any_number_of_rows_gives_the_same_bits(n: int) -> None:
    forest, rows = some_forest(5, 9, 40, 8), some_rows(5, 2 * BLOCK_ROWS + 9, 8)
    assert scored(forest, rows, n) == [value for row in rows[:n] for value in scored(forest, row[None])]


@pytest.mark.parametrize("seed", [4, 5])
def test_blocks_after_the_first_give_the_same_bits(seed: int) -> None:
    forest, rows = some_forest(seed, 9, 40, 8), some_rows(seed, 2 * BLOCK_ROWS + 9, 8)
    vectors = compile_forest(forest, {index: index for index in range(8)}, (1.0, 0.0))
    out = np.full((len(rows), MAX_MODELS), 9.0)
    vectors.score(Picked(rows, np.arange(3, len(rows))), out, 1)
    assert out[3:, 1].tolist() == scored(forest, rows)[3:]
    assert (np.delete(out, 1, axis=1) == 9.0).all()
    assert (out[:3] == 9.0).all()


def test_two_threads_give_the_same_bits_as_one() -> None:
    linear, forest, rows = Model("a", "linear", 0.5, ((1, 2.0),)), some_forest(7, 9, 40, 8), some_rows(7, 1501, 8)
    compiled = compile_models([linear, Model("m", "trees", forest=forest)], TAGS)
    use = np.where(np.arange(1501) % 5 == 3, USE_DUPLICATE, USE_FOLD)
    parts, alone, halved = list[Any](), np.full((1501, MAX_MODELS), 9.0), np.full((1501, MAX_MODELS), 9.0)
    second = SecondThread()

    def both(one: Callable[[], None], other: Callable[[], None]) -> None:
        parts.append((one, other))
        second(one, other)

    score(compiled, rows, use, 1, 1500, alone)
    score(compiled, rows, use, 1, 1500, halved, both)
    assert len(parts) == 1
    assert halved.tobytes() == alone.tobytes()
    score(compiled, rows, use, 1, 400, halved, both)
    assert len(parts) == 1


def test_more_thresholds_than_a_byte_counts_give_more_columns() -> None:
    trees = {
        "leaves": [2] * 600,
        "feature": [0] * 600,
        "threshold": [number / 4 for number in range(600)],
        "missing": [2] * 600,
        "left": [1] * 600,
        "value": [1.0, 0.0] * 600,
    }
    model = read_model(file_of(trees), FEATURES)
    assert model.forest is not None
    rows = np.zeros((80, 8))
    rows[:, 0] = np.arange(80) * 2 - 1
    rows[-1, 0] = np.nan
    compiled = compile_models([model], TAGS)
    assert [
        end - begin
        for begin, end in zip(*(compiled.forests[0][1].columns[key] for key in ("first", "stop")), strict=True)
    ] == [255, 255, 90]
    assert scored(model.forest, rows) == [max(0, min(600, 600 - math.ceil(4 * x))) for x in rows[:-1, 0]] + [0]


def test_rows_that_may_not_be_used_are_not_scored() -> None:
    model = read_model(file_of(SMALL), FEATURES)
    out = np.full((3, MAX_MODELS), 9.0)
    use = np.array([USE_FOLD, USE_DUPLICATE, USE_FOLD])
    score(compile_models([None, model], TAGS), np.array([[0.0, 3.0]] * 3), use, 0, 2, out)
    assert out[:, 1].tolist() == [3.0 - 1 + 0.25, 9.0, 9.0]
    assert out[:, 0].tolist() == [9.0] * 3


def test_calibration_comes_between_base_and_link() -> None:
    data = file_of(SMALL, base=1.0, divisor=2.0, link="logistic", calibration={"slope": 3.0, "intercept": -0.5})
    compiled = compile_models([read_model(data, FEATURES)], TAGS)
    z = 3.0 * ((1.0 + 0.25) / 2 + 1) - 0.5
    assert compiled.empty[0] == pytest.approx(1 / (1 + math.exp(-z)), rel=1e-14)


def test_trees_and_weights_stand_beside_each_other() -> None:
    linear = Model("a", "linear", 0.5, ((1, 2.0),))
    out = np.zeros((1, MAX_MODELS))
    compiled = compile_models([linear, read_model(file_of(SMALL), FEATURES)], TAGS)
    score(compiled, np.array([[0.6, 1.0]]), np.full(1, USE_FOLD, np.int64), 0, 1, out)
    assert out[0, :2].tolist() == [2.5, 3.25]
    assert compiled.tags.tolist()[:2] == [11, 12]


def test_largest_numbers_that_a_file_may_hold_give_finite_scores() -> None:
    trees = {**SMALL, "value": [1e30, 1e30, 1e30, 1e30]}
    for link in ("identity", "logistic", "exp"):
        data = file_of(trees, base=1e30, divisor=1e-9, link=link, calibration={"slope": 1e100, "intercept": 1e100})
        assert np.isfinite(compile_models([read_model(data, FEATURES)], TAGS).empty).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_written_forest_is_read_back(seed: int) -> None:
    forest = some_forest(seed, 5, 30, 8)
    written = orjson.dumps({"name": "m", "kind": "trees", **write_forest(forest, FEATURES)})
    back = read_model(written, FEATURES).forest
    assert back is not None
    for name in (field.name for field in fields(Forest)):
        assert np.array_equal(getattr(back, name), getattr(forest, name)), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leaves": [3]}, "trees.value has 4 elements, expected a list of 3"),
        ({"leaves": []}, "trees.feature has 2 elements, expected a list of"),
        ({"leaves": [3, 0]}, "trees.leaves holds 0, expected integers from 1 to 4096"),
        ({"leaves": [3, 10**9]}, "trees.leaves holds 1000000000, expected"),
        ({"leaves": 4}, "trees.leaves has 4, expected a list of one number for each tree"),
        ({"left": [3, 1]}, r"left\[0\] is 3, expected fewer leaves than its split has"),
        ({"left": [1, 2]}, r"left\[1\] is 2, expected fewer"),
        ({"left": [0, 1]}, "trees.left holds 0, expected integers from 1"),
        ({"feature": [0, 2]}, "trees.feature holds 2, expected integers from 0 to 1"),
        ({"feature": [0, True]}, "trees.feature holds True, expected numbers"),
        ({"threshold": [0.5, "2"]}, "trees.threshold holds '2', expected numbers"),
        ({"threshold": [0.5, 1e39]}, r"trees.threshold holds 1e\+39, expected numbers from"),
        ({"missing": [1, 5]}, "trees.missing holds 5, expected integers from 0 to 4"),
        ({"value": [1, 2, 3, 1e31]}, r"trees.value holds 1e\+31, expected"),
        ({"categories": [[0, [1]], [0, [2]]]}, "expected a list of .split, .categories.., each split once"),
        ({"categories": [[2, [1]]]}, "trees.categories holds"),
        ({"categories": [[0, [65536]]]}, "categories from 0 to 65535"),
        ({"categories": {"0": [1]}}, "trees.categories holds"),
        ({"categories": [[0, [1]]] * 500_001}, "trees.categories has 500001 splits, expected at most 500000"),
        ({"cover": [1, 2, 3]}, "trees.cover has 3 elements, expected a list of 4"),
        ({"cover": [1, 2, 3, -1]}, r"trees.cover holds -1, expected numbers from 0 to 1e\+30"),
        ({"depth": 3}, "unknown key 'depth'"),
    ],
)
def test_an_unusable_tree_is_quoted(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_model(file_of({**SMALL, **change}), FEATURES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": ["f0", "g"]}, "unknown feature 'g', expected one of the catalogue's 8"),
        ({"features": ["f0", "f0"]}, "names 'f0' twice"),
        ({"features": "f0"}, "features is 'f0', expected a list"),
        ({"link": "softmax"}, "link is 'softmax', expected one of identity, logistic, exp"),
        ({"divisor": 0}, "divisor is 0, expected a number from 1e-9 up"),
        ({"base": "1"}, "base is '1', expected a number"),
        ({"trees": []}, r"trees is \[\], expected an object of lists"),
        ({"weights": {}}, "unknown key 'weights'"),
    ],
)
def test_an_unusable_model_of_trees_is_quoted(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_model(file_of(SMALL, **change), FEATURES)
