"""The features that weighed most in a score."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.interfaces import Strongest
from stream.scoring.compiling import Models, explain, work
from stream.scoring.shapley import MOST_WORK

MOST_FEATURES: Final = 5
"""That a trigger names."""


def rank(models: Models, rows: NDArray[np.float64], picked: NDArray[np.int64], slots: NDArray[np.int64]) -> Strongest:
    """Return the strongest features in the ``picked`` rows, each for the model in its slot.

    ``rows`` float64[n, len(models.columns)]; ``picked``, ``slots`` int64[k]. By size of the contribution, equal ones in
    the catalogue's order, at most MOST_FEATURES, none that contributes nothing; and none for a model that cannot be
    explained, or not within MOST_WORK.
    """
    most = min(MOST_FEATURES, len(models.columns))
    places = np.zeros((len(picked), most), np.int64)
    contributions = np.zeros((len(picked), most))
    for slot in np.unique(slots).tolist():
        mine = np.flatnonzero(slots == slot)
        found = explain(models, rows, picked[mine], slot) if work(models, slot) <= MOST_WORK else None
        if found is not None:
            places[mine] = _largest(np.abs(found), most)
            contributions[mine] = np.take_along_axis(found, places[mine], axis=1)
    some = contributions != 0.0
    trigger, _ = np.nonzero(some)
    return Strongest(
        counts=np.count_nonzero(some, axis=1),
        features=models.columns[places[some]],
        values=rows[picked[trigger], places[some]],
        contributions=contributions[some],
    )


def _largest(sizes: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Return the places of the ``most`` largest in each row, the first of equal ones first, NaN last; ruins ``sizes``.

    One by one: sorting the whole of a row takes seven times as long.
    """
    sizes[np.isnan(sizes)] = -1.0
    found = np.empty((len(sizes), most), np.int64)
    for k in range(most):
        found[:, k] = sizes.argmax(axis=1)
        sizes[np.arange(len(sizes)), found[:, k]] = -2.0
    return found
