"""What every kernel promises, whatever it computes; a new one joins by being registered in kernel_cases."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.records import MAX_CAMPAIGNS, MAX_MODELS, USE_FOLD
from stream.scoring import compile_models, score
from stream.triggers import compile_campaigns, decide
from tests.contracts.kernel_cases import CASES, Arguments, Case, campaigns, decide_arguments, models

ROOMS = ("events", "privacy", "features", "scoring", "triggers")
SEEDS = range(12)
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
each_seed = pytest.mark.parametrize("seed", SEEDS)


def image(value: Any) -> Any:
    """Return something equal only for the same type, shape and bits."""
    return (value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value


def written(case: Case, arguments: Arguments, count: Any) -> dict[str, Any]:
    """Return the images of a call's outputs."""
    return {name: image(arguments[name][:count] if name in case.appended else arguments[name]) for name in case.outputs}


def run(case: Case, function: Any, seed: int, n: int = 200) -> tuple[Any, dict[str, Any]]:
    arguments = case.arguments(seed, n)
    count = function(*arguments.values())
    return count, written(case, arguments, count)


def walks_rows(node: ast.FunctionDef) -> bool:
    """Return whether a function is a public kernel over the rows from ``first`` to before ``stop``."""
    names = {argument.arg for argument in node.args.args}
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    return not node.name.startswith("_") and "kernel" in decorators and {"first", "stop"} <= names


def test_every_public_kernel_of_the_stages_is_registered() -> None:
    stream = Path(__file__).parents[2] / "stream"
    public = {
        node.name
        for room in ROOMS
        for path in (stream / room).glob("*kernel*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and walks_rows(node)
    }
    assert public == {case.name for case in CASES}


@each_case
def test_kernel_is_compiled(case: Case) -> None:
    run(case, case.kernel, 0)
    assert case.kernel.signatures
    assert len(case.kernel.nopython_signatures) == len(case.kernel.signatures)
    assert case.kernel.targetoptions["nogil"]
    assert not case.kernel.targetoptions.get("fastmath")


@each_case
@each_seed
def test_kernel_equals_its_python_bit_for_bit(case: Case, seed: int) -> None:
    with np.errstate(invalid="ignore", over="ignore"):
        assert run(case, case.kernel, seed) == run(case, case.kernel.py_func, seed)


@each_case
@each_seed
def test_inputs_are_not_changed(case: Case, seed: int) -> None:
    arguments = case.arguments(seed, 200)
    before = {name: image(value) for name, value in arguments.items()}
    case.kernel(*arguments.values())
    changed = {name for name, value in arguments.items() if image(value) != before[name]}
    assert changed
    assert changed <= case.outputs


@each_case
@each_seed
def test_batch_equals_its_rows_one_by_one(case: Case, seed: int) -> None:
    whole = run(case, case.kernel, seed, 60)
    arguments = case.arguments(seed, 60)
    room = {name: arguments[name].copy() for name in case.appended}
    total = 0
    for row in range(60):
        alone = {**arguments, "first": row, "stop": row + 1}
        count = case.kernel(*alone.values())
        for name in case.appended:
            room[name][total : total + count] = arguments[name][:count]
        total += count or 0
    assert written(case, {**arguments, **room}, total if case.appended else None) == whole[1]
    assert whole[0] == (total if case.appended else None)


@each_case
def test_rows_outside_the_segment_are_left_alone(case: Case) -> None:
    arguments = {**case.arguments(5, 60), "first": 20, "stop": 20}
    before = {name: image(value) for name, value in arguments.items()}
    case.kernel(*arguments.values())
    assert {name: image(value) for name, value in arguments.items()} == before


@each_case
def test_new_models_and_campaigns_compile_nothing(case: Case) -> None:
    run(case, case.kernel, 0)
    before = list(case.kernel.signatures)
    for seed in range(100, 120):
        run(case, case.kernel, seed, 10)
    assert case.kernel.signatures == before


def test_seeds_give_different_models_and_campaigns() -> None:
    assert len({image(models(seed).weights) for seed in range(100, 120)}) == 20
    assert len({image(campaigns(seed).thresholds) for seed in range(100, 120)}) == 20


def test_nothing_active_compiles_nothing() -> None:
    for case in CASES:
        run(case, case.kernel, 0)
    before = [list(case.kernel.signatures) for case in CASES]
    rows = decide_arguments(1, 20)
    nothing = compile_models([], np.zeros(MAX_MODELS, np.uint32))
    scores = np.empty((20, MAX_MODELS))
    score(nothing, np.empty((20, 0)), rows["use"], 0, 20, scores)
    idle = compile_campaigns([], np.zeros(MAX_CAMPAIGNS, np.uint32), [], [])
    columns = (rows["records"], rows["slots"], rows["now"], rows["use"])
    empty, canaries = np.stack([nothing.empty] * 2), np.zeros(20, np.int64)
    fired = decide(*columns, scores, nothing.tags, empty, canaries, idle, 0, 20)
    assert len(fired.rows) == 0
    assert [case.kernel.signatures for case in CASES] == before


@each_seed
def test_nan_scores_never_fire_nor_arm(seed: int) -> None:
    case = next(case for case in CASES if case.name == "decide_rows")
    arguments = decide_arguments(seed, 100)
    arguments["scores"][:] = np.nan
    # The slots hold the campaigns' state already, so that none is armed by being new.
    arguments["records"]["campaign_tag"] = arguments["tags"]
    arguments["use"][arguments["slots"] >= 0] = USE_FOLD
    armed = arguments["records"]["armed"].copy()
    assert case.kernel(*arguments.values()) == 0
    assert np.array_equal(arguments["records"]["armed"], armed)


@each_seed
def test_features_of_nan_give_nan_in_every_active_model_that_reads_them(seed: int) -> None:
    case = next(case for case in CASES if case.name == "score_rows")
    arguments = case.arguments(seed, 5)
    arguments["rows"][:] = np.nan
    arguments["use"][:] = USE_FOLD
    case.kernel(*arguments.values())
    for slot in range(MAX_MODELS):
        active = arguments["sums"][slot] != 0
        assert np.isnan(arguments["out"][:, slot]).all() == active
