"""Mutated models of trees, as model files, LightGBM's text and treelite's dumps: refused, or scored alike both ways."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Final

import numpy as np
import orjson

from load_tests.fuzzing.promises import BrokenPromiseError, expect, held_to
from load_tests.fuzzing.tree_files import change_dump, change_model, change_text, dump_of, model_of, text_of
from stream.errors import ConfigurationError
from stream.features import FEATURES
from stream.records import MAX_MODELS, USE_FOLD
from stream.scoring import Model, compile_models, read_model, score
from stream.scoring.forest import Forest
from stream.scoring.forest_kernels import WALKED_ROWS
from stream.scoring.imports import read_lightgbm, read_treelite
from tests.forests import some_forest

Reading = Callable[[bytes], Model]
"""Reads a file, whatever it holds, as a model of trees; raises ConfigurationError."""

COLUMNS: Final = 6
ROWS: Final = WALKED_ROWS + 8
"""More than are walked when they come together, and fewer when they come in halves."""
_ODD: Final = (
    *[np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36, -1e-36, 1e-35, 5e-324, 1e300, -1e300, 3.4028235e38, -3.4028235e38],
    *[-1.0, -0.5, 0.999, 4095.0, 4096.0, 65535.0, 65536.0, 1e6, 2.0**31, 2.0**63, -(2.0**63)],
    *[0.125, 1.0, 2.0, 3.0, 5.0],
)


def examine(model: Model, data: bytes) -> None:
    """Raise BrokenPromiseError where a model cannot be written and read, or its scores are infinite or differ."""
    forest = model.forest
    if forest is None:
        message = f"a model without trees is made of {data[:2000]!r}"
        raise BrokenPromiseError(message, data)
    models = compile_models([model], np.ones(MAX_MODELS, np.uint32))
    chance = np.random.default_rng(len(data))
    rows = chance.choice(_ODD, (ROWS, len(models.columns)))
    # On a threshold, just above it, and what is between.
    if len(forest.thresholds):
        on = chance.choice(forest.thresholds, rows.shape).astype(np.float64)
        rows = np.where(chance.random(rows.shape) < 0.5, on + chance.choice((0.0, 0.0, 1e-7, 0.5), rows.shape), rows)
    use = np.full(ROWS, USE_FOLD, np.int64)
    together, halves = np.zeros((ROWS, MAX_MODELS)), np.zeros((ROWS, MAX_MODELS))
    score(models, rows, use, 0, ROWS, together)
    for first in (0, ROWS // 2):
        score(models, rows, use, first, first + ROWS // 2, halves)
    scores = np.concatenate([together, models.empty[None]])
    expect(bool(np.isfinite(scores).all()), "a score is not finite", data)
    expect(together.tobytes() == halves.tobytes(), "rows in a block and rows that are walked score otherwise", data)
    if forest.link == "logistic":
        expect(bool(abs(scores[:, 0] - 0.5).max() <= 0.5), "a probability is none", data)
    back = read_model(model_of(forest, model.calibration), FEATURES).forest
    expect(back is not None and same(back, forest), "what is written reads back as other trees", data)


def same(one: Forest, other: Forest) -> bool:
    """Return whether two forests are equal in all they hold."""
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(Forest)]
    return all(
        np.array_equal(*pair)
        if all(isinstance(value, np.ndarray) for value in pair)
        else pair[0] is pair[1] or pair[0] == pair[1]
        for pair in pairs
    )


def read_file(data: bytes) -> Model:
    """Read a model file; one of another kind is refused, since it is another target's."""
    model = read_model(data, FEATURES)
    if model.kind != "trees":
        message = f"a model's kind is {model.kind!r}, expected 'trees'"
        raise ConfigurationError(message)
    return model


def read_text(data: bytes) -> Model:
    """Read LightGBM's text, as ``groundswell model import`` does."""
    return _imported(*read_lightgbm(data, FEATURES, "model.txt"))


def read_dump(data: bytes) -> Model:
    """Read what treelite says of a model over the first COLUMNS of the catalogue."""
    try:
        dump = orjson.loads(data)
    except ValueError as error:
        message = f"no JSON: {error}"
        raise ConfigurationError(message) from None
    return _imported(*read_treelite(dump, FEATURES[:COLUMNS], FEATURES, "model.json"))


def _imported(forest: Forest, factor: float) -> Model:
    data = model_of(forest, (factor, 0.0))
    try:
        model = read_model(data, FEATURES)
    except ConfigurationError as error:
        message = f"what was imported is refused as a model file: {error}"
        raise BrokenPromiseError(message, data) from error
    expect(model.forest is not None and same(model.forest, forest), "what is imported reads back as other trees", data)
    return model


def sound_forest(chance: random.Random) -> Forest:
    """Return a small forest; one in a hundred has a tree of more leaves than a block takes."""
    most = 300 if chance.random() < 0.01 else chance.choice((1, 2, 4, 9, 20))
    return some_forest(chance.randrange(1 << 30), chance.randint(1, 4), most, COLUMNS)


@cache
def _compile() -> None:
    """Compile what only accepted inputs need, before any is measured."""
    data = model_of(some_forest(1, 2, 8, COLUMNS), None)
    examine(read_file(data), data)


def try_model_files(chance: random.Random, inputs: int, reading: Reading = read_file) -> Counter[str]:
    """Read mutated model files of trees, and score by those that are accepted."""
    return _try(chance, inputs, reading, lambda forest: change_model(chance, model_of(forest, (0.5, 1.0))))


def try_lightgbm(chance: random.Random, inputs: int, reading: Reading = read_text) -> Counter[str]:
    """Import mutated files of LightGBM's, and score by those that are accepted."""
    return _try(chance, inputs, reading, lambda forest: change_text(chance, text_of(forest, FEATURES[:COLUMNS])))


def try_treelite(chance: random.Random, inputs: int, reading: Reading = read_dump) -> Counter[str]:
    """Import mutated dumps of treelite's, and score by those that are accepted."""
    return _try(chance, inputs, reading, lambda forest: change_dump(chance, dump_of(forest, COLUMNS)))


def _try(chance: random.Random, inputs: int, reading: Reading, mutated: Callable[[Forest], bytes]) -> Counter[str]:
    _compile()
    counts: Counter[str] = Counter()
    for _ in range(inputs):
        data = mutated(sound_forest(chance))
        with held_to("model of trees", data, (ConfigurationError,), counts):
            examine(reading(data), data)
    return counts
