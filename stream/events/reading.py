"""What is known of a batch's rows once their bytes are read, by whichever way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.details import Details
from stream.spans import Spans


@dataclass(slots=True)
class Reading:
    """One element for each row. The spans are over one buffer that is not written to."""

    kinds: NDArray[np.int64]
    """Kind code; -1 where it is no event of a known type."""
    reject: NDArray[np.int64]
    """Code of the reason for that; 0 for all others."""
    unfit: NDArray[np.uint8]
    """1 where the data does not fit the kind."""
    voters: Spans
    """The subject; empty where it is no text, and for control records."""
    ids: Spans
    sources: Spans
    times: Spans
    """Empty where none is given."""
    datas: Mapping[int, Any]
    """By row, the parsed data of control records."""
    details: Details
    """Over the same buffer."""
