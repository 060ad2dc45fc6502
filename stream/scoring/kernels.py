"""The kernel that scores feature rows with every model."""

import numpy as np
from numpy.typing import NDArray

from stream.arithmetic import logistic
from stream.compiled import kernel
from stream.records import USE_FOLD


@kernel
def score_rows(
    tags: NDArray[np.uint32],
    bias: NDArray[np.float64],
    calibrated: NDArray[np.uint8],
    slope: NDArray[np.float64],
    intercept: NDArray[np.float64],
    is_logistic: NDArray[np.uint8],
    starts: NDArray[np.int64],
    places: NDArray[np.int64],
    weights: NDArray[np.float64],
    rows: NDArray[np.float64],
    use: NDArray[np.int64],
    first: int,
    stop: int,
    out: NDArray[np.float64],
) -> None:
    """Write each model's score of the rows from ``first`` to before ``stop`` that USE_FOLD marks into ``out``.

    One element for each model slot: ``tags`` (0: inactive, its column of ``out`` stays), ``bias``, ``calibrated``
    and ``is_logistic`` (0 or 1), ``slope``, ``intercept``. Model ``m`` has the weights from ``starts[m]`` to before
    ``starts[m + 1]`` (starts int64[models + 1]), each for the column ``places`` of ``rows`` (float64[n, c]).
    ``out`` is float64[n, models], in place. Sums run in the order of the weights, bias first.
    """
    for i in range(first, stop):
        if use[i] != USE_FOLD:
            continue
        for m in range(len(tags)):
            if tags[m] == 0:
                continue
            z = bias[m]
            for w in range(starts[m], starts[m + 1]):
                z = z + weights[w] * rows[i, places[w]]
            if calibrated[m] != 0:
                z = slope[m] * z + intercept[m]
            if is_logistic[m] != 0:
                z = logistic(z)
            out[i, m] = z
