"""Which features a model uses most: those whose drift is watched."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.scoring.files import Model
from stream.scoring.forest import Forest
from stream.scoring.histograms import MOST_FEATURES, Training


def of_most_used(model: Model, training: Training) -> Training:
    """Return the histograms of the score and of the MOST_FEATURES features that the model uses most.

    Of trees by the training cover of their splits (by their number, where the file does not say it), of a weighted sum
    by weight times standard deviation; equal ones in the catalogue's order. What the model does not use is left out.
    """
    histograms = dict(training.features)
    if model.forest is not None:
        uses = split_cover(model.forest)
    else:
        uses = {
            index: abs(weight) * histograms[index].spread() for index, weight in model.weights if index in histograms
        }
    known = sorted((index for index in uses if index in histograms), key=lambda index: (-uses[index], index))
    return Training(training.score, tuple((index, histograms[index]) for index in sorted(known[:MOST_FEATURES])))


def split_cover(forest: Forest) -> dict[int, float]:
    """Return by catalogue index what training cover its splits have; where that is not known, how many they are."""
    if not len(forest.features):
        return {}
    used, place = np.unique(forest.features, return_inverse=True)
    reach = np.ones(len(forest.features)) if forest.cover is None else _reach(forest, forest.cover)
    return dict(zip(used.tolist(), np.bincount(place, reach).tolist(), strict=True))


def _reach(forest: Forest, cover: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return float64[s]: how much of the training data each split divides."""
    lefts, counts = forest.lefts.tolist(), list[int]()
    for leaves in forest.leaves.tolist():
        pending = [leaves]
        while pending:
            count = pending.pop()
            if count > 1:
                left = lefts[len(counts)]
                counts.append(count)
                pending += [count - left, left]
    begins = np.repeat(np.cumsum(forest.leaves) - forest.leaves, forest.leaves - 1) + forest.firsts
    before = np.concatenate([np.zeros(1), np.cumsum(cover)])
    reach: NDArray[np.float64] = before[begins + np.array(counts)] - before[begins]
    return reach
