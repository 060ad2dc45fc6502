"""A batch read before its turn: what its bytes say by themselves, and what that says under the taxonomy of then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.columns import Columns
from stream.events import Facts, read
from stream.features import CompiledTaxonomy
from stream.signals import SIGNAL


@dataclass(frozen=True, slots=True)
class Ahead:
    """What ``process_batch`` goes on from, once."""

    facts: Facts
    taxonomy: CompiledTaxonomy
    """Under which the signals were read: they count where it is the active one still, by identity."""
    signals: NDArray[Any]
    """SIGNAL[n]."""
    unknown: NDArray[np.uint16]
    """As Decoded has it."""


def read_ahead(columns: Columns, partition_count: int, taxonomy: CompiledTaxonomy, *, reference: bool = False) -> Ahead:
    """Read a batch, whatever came before it: in any thread, without the interpreter's lock mostly."""
    facts = read(columns, partition_count, reference=reference)
    n = len(columns)
    signals, unknown = np.zeros(n, SIGNAL), np.zeros(n, np.uint16)
    taxonomy.read(facts.reading.details, facts.reading.kinds, 0, n, signals, unknown)
    return Ahead(facts, taxonomy, signals, unknown)
