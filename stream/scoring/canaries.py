"""Canaries: versions that score in the active one's place for the voters that an experiment draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.scoring.kernels import take_canary
from stream.spans import Spans


@dataclass(frozen=True, slots=True)
class Canary:
    """A version of a model, and whose scores are its own."""

    experiment: NDArray[np.uint8]
    """Model and version, each with a NUL behind it: what is hashed before a voter's id, so that the same voters are
    drawn as long as the version is tried, and others for the next."""
    share: float
    column: int
    """Where its scores are."""
    slot: int
    """Of the active version."""


def canary(name: str, sha256: str, share: float, column: int, slot: int) -> Canary:
    """Return the canary of a model's version."""
    return Canary(np.frombuffer(f"{name}\0{sha256}\0".encode(), np.uint8), share, column, slot)


def take_canaries(
    canaries: Sequence[Canary],
    voters: Spans,
    use: NDArray[np.int64],
    first: int,
    stop: int,
    scores: NDArray[np.float64],
    out: NDArray[np.int64],
) -> None:
    """Put each canary's scores in the active model's place for the voters that it draws, in place.

    Of the rows from ``first`` to before ``stop`` that USE_FOLD marks; ``use`` int64[n], ``scores`` float64[n, models].
    In ``out`` (int64[n]) bit ``m`` is set where model slot ``m``'s score is a canary's.
    """
    for one in canaries:
        take_canary(
            voters.buffer,
            voters.starts,
            voters.stops,
            one.experiment,
            one.share,
            use,
            first,
            stop,
            one.column,
            one.slot,
            scores,
            out,
        )


def scored_by(canaries: Sequence[Canary], slots: NDArray[np.int64], drawn: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the columns of the versions that gave scores, for each score's model slot in ``slots`` (int64[k]).

    ``drawn`` int64[k] are the bits that ``take_canaries`` set in the scores' rows.
    """
    columns = slots.copy()
    for one in canaries:
        columns[(slots == one.slot) & (drawn >> one.slot & 1 == 1)] = one.column
    return columns
