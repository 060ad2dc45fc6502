"""What of events' data features read: texts as spans of one buffer, codes and numbers; meaning comes by a taxonomy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

TEXTS: Final = 5
"""Most texts of an event that features read; the places below are theirs, by kind."""
ACCOUNT, COMMENT = 0, 1
"""Of social.*: whose it is, and what is said of it. (Where a kind has names, they stand first.)"""
ADDRESS, REFERRER, DEVICE = 0, 1, 2
"""Of page views."""
METHOD: Final = 0
"""Of donations."""
CHANNEL: Final = 0
"""Of message.*."""
ISSUE: Final = 0
"""Of canvassing."""
REGION, AGE_BAND, LANGUAGE, ZONE, ORIGIN = 0, 1, 2, 3, 4
"""Of profile.updated; the last one is the source of the record."""

DETAIL: Final = np.dtype(
    [
        ("amount", "<f8"),  # of a donation; 0: none given
        ("code", "<i8"),  # 1 + place of a choice, 1 + how far a whole number is above its least; 0: none given
        ("starts", "<i8", (TEXTS,)),
        ("stops", "<i8", (TEXTS,)),  # equal to the start: no text, or an empty one
    ]
)
"""Of one row; zeros where its kind has nothing that features read, and where it is no event."""


@dataclass(frozen=True, slots=True)
class Details:
    """One element for each row."""

    buffer: NDArray[np.uint8]
    """Where the texts stand, UTF-8; read-only."""
    values: NDArray[Any]
    """DETAIL[n]."""

    def text(self, row: int, place: int) -> bytes:
        """Return one text of a row."""
        return self.buffer[self.values["starts"][row, place] : self.values["stops"][row, place]].tobytes()
