"""A taxonomy as arrays, and what rows say by it: another taxonomy compiles nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.details import Details
from stream.features.automaton import Automaton, build_automaton
from stream.features.signal_kernels import LISTS, WORDS, read_signals
from stream.features.taxonomy import Taxonomy, read_taxonomy
from stream.features.word_kernels import PATTERN, WEIGHT
from stream.records import USE_FOLD
from stream.signals import UNKNOWN

_KEPT: Final = 4
"""Taxonomies that stay compiled: activations come to each partition, and say what is active anew."""

Meant = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class CompiledTaxonomy:
    """The automata of all lists in one array, none of it changed any more.

    A state is the place of its row in ``goto``. A row begins with the pattern that decides in this state (-1: none;
    of words the longest that ends here, else an index into ``codes``), and goes on with the next state by class of
    byte.
    """

    taxonomy: Taxonomy
    lists: NDArray[np.int32]
    """int32[LISTS, 256]: by list, where in a row a byte leads on."""
    goto: NDArray[np.int32]
    """int32[cells]."""
    starts: NDArray[np.int64]
    """int64[LISTS]: by list, the state before the first byte."""
    codes: NDArray[np.int64]
    """int64[patterns, 2]: what the patterns of all lists but words stand for."""
    shorter: NDArray[np.int32]
    """int32[words]: the longest of the other words that end wherever this one does, -1 for none."""
    patterns: NDArray[Any]
    """PATTERN[words]."""
    weights: NDArray[Any]
    """WEIGHT[w], by word, then target."""

    def read(
        self,
        details: Details,
        kinds: NDArray[np.int64],
        first: int,
        stop: int,
        signals: NDArray[Any],
        unknown: NDArray[np.uint16],
    ) -> None:
        """Write what the rows from ``first`` to before ``stop`` say, in place; see ``signal_kernels.read_signals``."""
        arrays = (self.lists, self.goto, self.starts, self.codes, self.shorter, self.patterns, self.weights)
        read_signals(details.buffer, details.values, kinds, *arrays, first, stop, signals, unknown)


def count_unknown(unknown: NDArray[np.uint16], use: NDArray[np.int64]) -> dict[str, int]:
    """Return by name in UNKNOWN how many rows that USE_FOLD marks have such a text; names that none has are left out.

    ``unknown`` (uint16[n]) is as ``read_signals`` wrote it, ``use`` int64[n].
    """
    counts = np.bincount(unknown[use == USE_FOLD])
    found: dict[str, int] = {}
    for mask in np.flatnonzero(counts).tolist():
        for place, name in enumerate(UNKNOWN):
            if mask >> place & 1:
                found[name] = found.get(name, 0) + int(counts[mask])
    return found


@lru_cache(_KEPT)
def taxonomy_of(data: bytes) -> CompiledTaxonomy:
    """Return the taxonomy in a file's bytes, compiled; the same object for the same bytes.

    Raises ConfigurationError, with line, key and what was wrong, for anything unusable.
    """
    return compile_taxonomy(read_taxonomy(data))


def compile_taxonomy(taxonomy: Taxonomy) -> CompiledTaxonomy:
    """Return the arrays of a taxonomy; raise ConfigurationError where its words take too much memory."""
    words = build_automaton(list(taxonomy.words), "words")
    lists: list[tuple[Automaton, NDArray[np.int32]]] = [(words, words.longest)]
    codes: list[Meant] = []
    for patterns, what, is_longest in (
        (taxonomy.names, "accounts and other names", True),
        (taxonomy.pages, "paths", False),
        (taxonomy.referrers, "hosts of referrers", True),
        (taxonomy.tags, "values of tags", False),
        (taxonomy.devices, "words for devices", False),
    ):
        automaton = build_automaton(list(patterns), what)
        decides = automaton.longest if is_longest else automaton.lowest()
        lists.append((automaton, np.where(decides >= 0, decides + np.int32(len(codes)), np.int32(-1))))
        codes += _codes(patterns)
    return CompiledTaxonomy(taxonomy, *_joined(lists), _array(codes), words.shorter, *_weighed(taxonomy))


def _joined(
    lists: Sequence[tuple[Automaton, NDArray[np.int32]]],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    classes = np.empty((LISTS, 256), np.int32)
    starts = np.empty(LISTS, np.int64)
    rows: list[NDArray[np.int32]] = []
    at = 0
    for one, (automaton, decides) in enumerate(lists, WORDS):
        states, width = automaton.goto.shape
        row = np.empty((states, 1 + width), np.int32)
        row[:, 0] = decides
        row[:, 1:] = at + automaton.goto * np.int32(1 + width)
        classes[one], starts[one] = 1 + automaton.classes.astype(np.int32), at
        rows.append(row.ravel())
        at += row.size
    return classes, np.concatenate(rows), starts


def _codes(patterns: Mapping[bytes, int | Meant]) -> list[Meant]:
    return [(meant, -1) if isinstance(meant, int) else meant for meant in patterns.values()]


def _array(codes: Sequence[Meant]) -> NDArray[np.int64]:
    return np.array(codes, np.int64).reshape(len(codes), 2)


def _weighed(taxonomy: Taxonomy) -> tuple[NDArray[Any], NDArray[Any]]:
    weights = [entry for weighed in taxonomy.words.values() for entry in sorted(weighed.items())]
    stops = np.cumsum([len(weighed) for weighed in taxonomy.words.values()], dtype=np.int64)
    patterns = np.zeros(len(stops), PATTERN)
    patterns["first"][1:] = stops[:-1]
    patterns["stop"] = stops
    patterns["words"] = [taxonomy.lengths[pattern] for pattern in taxonomy.words]
    return patterns, np.array(weights, WEIGHT)


NO_TAXONOMY: Final = taxonomy_of(b"")
"""What counts where none is active: every name, page and referrer is ``other``."""
