"""Models as rows of arrays: fixed types, so that a new model compiles nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.interfaces import Both
from stream.records import MAX_MODELS, USE_FOLD
from stream.scoring.bitvectors import BitVectors, Picked, compile_forest
from stream.scoring.files import Model
from stream.scoring.forest_kernels import BLOCK_ROWS
from stream.scoring.kernels import score_rows

_AT_ONCE: Final = BLOCK_ROWS
"""Rows that go through all models of trees before the next: what they were cut to stays in the processor's cache."""
_HALVED_ROWS: Final = 512
"""From which on two threads are worth the handing over."""


@dataclass(frozen=True, slots=True)
class Models:
    """The active models by slot, MAX_MODELS of them (a free slot has tag 0), then those on trial: m in all."""

    columns: NDArray[np.int64]
    """int64[c]: sorted catalogue indices of the features that any model weighs; the columns of a feature row."""
    tags: NDArray[np.uint32]
    """uint32[m]: the tag that voter records carry; 0: inactive."""
    sums: NDArray[np.uint32]
    """uint32[m]: the tags of those that are weighted sums, 0 for models of trees; their arrays follow."""
    empty: NDArray[np.float64]
    """float64[m]: each model's score where every feature is 0."""
    bias: NDArray[np.float64]
    calibrated: NDArray[np.uint8]
    slope: NDArray[np.float64]
    intercept: NDArray[np.float64]
    is_logistic: NDArray[np.uint8]
    starts: NDArray[np.int64]
    """int64[m + 1]: model k has the weights from starts[k] to before starts[k + 1]."""
    places: NDArray[np.int64]
    """int64[w]: the column of a feature row that each weight is for."""
    weights: NDArray[np.float64]
    """float64[w], by model, then catalogue index."""
    means: NDArray[np.float64]
    """float64[w]: what each weight's feature is on average."""
    expected: NDArray[np.float64]
    """float64[m]: what each model gives on average, before its link; NaN where it cannot be explained."""
    forests: tuple[tuple[int, BitVectors], ...]
    """Models of trees, each with its slot."""


def compile_models(models: Sequence[Model | None], tags: NDArray[np.uint32]) -> Models:
    """Return the arrays of ``models`` by slot (None: a free slot) with their ``tags``, uint32[m], 0 for those free.

    The first MAX_MODELS are slots, whatever comes behind them is on trial; where there are fewer, the rest is free.
    """
    forests = [(slot, model.forest) for slot, model in enumerate(models) if model and model.forest]
    columns = np.unique(np.array([index for model in models if model for index in model.asked], np.int64))
    place = {index: at for at, index in enumerate(columns.tolist())}
    slots = [*models, *[None] * (MAX_MODELS - len(models))]
    calibrations = [(1.0, 0.0) if model is None or model.calibration is None else model.calibration for model in slots]
    counts = [0 if model is None else len(model.weights) for model in slots]
    weights = [weight for model in models if model for weight in model.weights]
    means = [mean for model in models if model for mean in model.means or [0.0] * len(model.weights)]
    compiled_forests = [(slot, compile_forest(forest, place, calibrations[slot])) for slot, forest in forests]
    compiled = Models(
        columns=columns,
        tags=np.where([model is not None for model in slots], tags, 0).astype(np.uint32),
        sums=np.where([model is not None and model.forest is None for model in slots], tags, 0).astype(np.uint32),
        empty=np.zeros(len(slots)),
        bias=np.array([0.0 if model is None else model.bias for model in slots]),
        calibrated=np.array([model is not None and model.calibration is not None for model in slots], np.uint8),
        slope=np.array([slope for slope, _ in calibrations]),
        intercept=np.array([intercept for _, intercept in calibrations]),
        is_logistic=np.array([model is not None and model.kind == "logistic" for model in slots], np.uint8),
        starts=np.array([sum(counts[:m]) for m in range(len(slots) + 1)], np.int64),
        places=np.array([place[index] for index, _ in weights], np.int64),
        weights=np.array([weight for _, weight in weights], np.float64),
        means=np.array(means, np.float64),
        expected=_expected(slots, calibrations, compiled_forests),
        forests=tuple(compiled_forests),
    )
    row = np.zeros((1, len(columns)))
    score(compiled, row, np.full(1, USE_FOLD, np.int64), 0, 1, compiled.empty.reshape(1, len(slots)))
    return compiled


def _expected(
    slots: Sequence[Model | None],
    calibrations: Sequence[tuple[float, float]],
    forests: Sequence[tuple[int, BitVectors]],
) -> NDArray[np.float64]:
    expected = np.full(len(slots), np.nan)
    for slot, model in enumerate(slots):
        if model is not None and model.forest is None:
            z = model.bias
            for (_, weight), mean in zip(model.weights, model.means or [0.0] * len(model.weights), strict=True):
                z += weight * mean
            slope, intercept = calibrations[slot]
            expected[slot] = slope * z + intercept
    for slot, vectors in forests:
        if vectors.shapley is not None:
            expected[slot] = vectors.shapley.expected
    return expected


def score(
    models: Models,
    rows: NDArray[np.float64],
    use: NDArray[np.int64],
    first: int,
    stop: int,
    out: NDArray[np.float64],
    both: Both | None = None,
) -> None:
    """Score the rows from ``first`` to before ``stop`` that USE_FOLD marks, with every model, active or on trial.

    ``rows`` float64[n, len(models.columns)], ``use`` int64[n]; ``out`` float64[n, m], m at least len(models.tags), is
    written in place, other rows and free slots stay as they are. ``both`` is handed the two halves of what models of
    trees score in a large batch. Raises ValueError for a narrower ``out``.
    """
    if out.shape[1] < len(models.tags):
        message = f"out has {out.shape[1]} columns, expected at least {len(models.tags)}"
        raise ValueError(message)
    score_rows(
        models.sums,
        models.bias,
        models.calibrated,
        models.slope,
        models.intercept,
        models.is_logistic,
        models.starts,
        models.places,
        models.weights,
        rows,
        use,
        first,
        stop,
        out,
    )
    if not models.forests:
        return
    picked = first + np.flatnonzero(use[first:stop] == USE_FOLD)
    if both is None or len(picked) < _HALVED_ROWS:
        _score_forests(models, rows, picked, out)
    else:
        halves = np.array_split(picked, 2)
        both(*(partial(_score_forests, models, rows, half, out) for half in halves))


def _score_forests(
    models: Models, rows: NDArray[np.float64], picked: NDArray[np.int64], out: NDArray[np.float64]
) -> None:
    for begin in range(0, len(picked), _AT_ONCE):
        some = Picked(rows, picked[begin : begin + _AT_ONCE])
        for slot, forest in models.forests:
            forest.score(some, out, slot)


def work(models: Models, slot: int) -> int:
    """Return what explaining a row by a model takes, as ``Shapley.work`` says; 0 for a weighted sum."""
    for at, forest in models.forests:
        if at == slot and forest.shapley is not None:
            return forest.shapley.work
    return 0


def explain(
    models: Models, rows: NDArray[np.float64], picked: NDArray[np.int64], slot: int
) -> NDArray[np.float64] | None:
    """Return float64[len(picked), c]: what each column of the ``picked`` rows contributes to a model's score.

    In the score's unit before the link, behind the calibration: with ``models.expected[slot]`` they add up to what
    the link is applied to. Of a weighted sum a feature contributes weight times deviation from its mean, of trees its
    Shapley value (``stream.scoring.shapley_kernels``). None for a model of trees whose file does not say its cover.
    """
    out = np.zeros((len(picked), len(models.columns)))
    for at, forest in models.forests:
        if at == slot:
            if forest.shapley is None:
                return None
            forest.explain(rows, picked, out, forest.shapley)
            return out
    own = slice(models.starts[slot], models.starts[slot + 1])
    places = models.places[own]
    out[:, places] = models.slope[slot] * (models.weights[own] * (rows[picked][:, places] - models.means[own]))
    return out
