"""The kernels that score feature rows with every model, and draw the voters of a canary."""

import numpy as np
from numpy.typing import NDArray

from stream.arithmetic import logistic
from stream.compiled import kernel
from stream.records import MAX_VOTER_BYTES, USE_FOLD
from stream.xxh3 import MAX_HASHED_BYTES, xxh3_64

_HASHED_BYTES = MAX_HASHED_BYTES
_VOTER_BYTES = MAX_VOTER_BYTES
_UNIT = 2.0**-53
_LOW_BITS = np.uint64(11)


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


@kernel
def take_canary(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    experiment: NDArray[np.uint8],
    share: float,
    use: NDArray[np.int64],
    first: int,
    stop: int,
    column: int,
    slot: int,
    scores: NDArray[np.float64],
    canaries: NDArray[np.int64],
) -> None:
    """Put a canary's score in the active model's place where its experiment draws the voter, in place.

    Of the rows from ``first`` to before ``stop`` that USE_FOLD marks: voter ids are the spans of ``buffer`` (uint8)
    from ``starts`` to ``stops`` (int64[n], at most 64 bytes each). A voter is drawn where the upper 53 bits of the
    XXH3 hash of ``experiment`` (uint8, at most 176 bytes) and voter id, as a fraction of 1, lie below ``share``: then
    ``scores[i, column]`` goes to ``scores[i, slot]`` (float64[n, models]), and bit ``slot`` of ``canaries[i]`` is set.
    """
    name = np.empty(_HASHED_BYTES, np.uint8)
    length = len(experiment)
    for place in range(length):
        name[place] = experiment[place]
    for i in range(first, stop):
        if use[i] != USE_FOLD:
            continue
        start, end = starts[i], min(stops[i], starts[i] + _VOTER_BYTES)
        for place in range(end - start):
            name[length + place] = buffer[start + place]
        drawn = np.float64(xxh3_64(name, 0, length + end - start) >> _LOW_BITS) * _UNIT
        if drawn < share:
            scores[i, slot] = scores[i, column]
            canaries[i] |= np.int64(1) << np.int64(slot)
