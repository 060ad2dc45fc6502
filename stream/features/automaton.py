"""Many texts found in one pass: the automaton of Aho and Corasick, as arrays that kernels walk.

Source: A. V. Aho, M. J. Corasick, "Efficient string matching: an aid to bibliographic search", Communications of the
ACM 18 (6), 1975: the goto function with its failures worked in (their algorithm 4), and output links.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.errors import ConfigurationError

MAX_CELLS: Final = 1 << 24
"""States times classes of bytes: 64 MiB."""


@dataclass(frozen=True, slots=True)
class Automaton:
    """Which of some patterns end where, byte by byte from state 0.

    10,000 words and phrases of 9 letters on average make 50,000 states of 24 classes: 5 MB, built in a quarter of a
    second with 18 MB at most. Most of a text is read in the few states near the start, which stay in the cache.
    """

    classes: NDArray[np.uint8]
    """uint8[256]: the class of each byte; 0: in no pattern."""
    goto: NDArray[np.int32]
    """int32[states, classes]: the next state."""
    longest: NDArray[np.int32]
    """int32[states]: the longest pattern that ends here, -1 for none."""
    shorter: NDArray[np.int32]
    """int32[patterns]: the longest of the others that end wherever this one does, -1 for none."""

    def lowest(self) -> NDArray[np.int32]:
        """Return int32[states]: of all patterns that end at a state the one named first, -1 for none."""
        best = np.arange(len(self.shorter), dtype=np.int32)
        at = self.shorter
        while (at >= 0).any():
            best = np.where(at >= 0, np.minimum(best, at), best)
            at = np.where(at >= 0, self.shorter[at], np.int32(-1))
        return np.append(best, np.int32(-1))[self.longest]


def build_automaton(patterns: Sequence[bytes], what: str) -> Automaton:
    """Return the automaton of some patterns, all different and none empty.

    Raises ConfigurationError where it would take more than MAX_CELLS; ``what`` names the patterns there.
    """
    used = sorted({byte for pattern in patterns for byte in pattern})
    classes = np.zeros(256, np.uint8)
    classes[used] = np.arange(1, len(used) + 1)
    width = len(used) + 1
    children, ends = _trie([bytes(classes[list(pattern)]) for pattern in patterns])
    if len(children) * width > MAX_CELLS:
        message = (
            f"{what} take {len(children)} states of {width} classes, expected at most {MAX_CELLS} together:"
            " name fewer or shorter ones"
        )
        raise ConfigurationError(message)
    goto = np.zeros((len(children), width), np.int32)
    longest = np.full(len(children), -1, np.int32)
    shorter = np.full(len(patterns), -1, np.int32)
    failures = [0] * len(children)
    # Breadth first, so that the failure of a state, which is nearer to the start, is complete before it.
    waiting = [0]
    for state in waiting:
        failure = failures[state]
        if state:
            goto[state] = goto[failure]
            longest[state] = longest[failure]
        if state in ends:
            shorter[ends[state]] = longest[state]
            longest[state] = ends[state]
        for byte, child in children[state].items():
            failures[child] = int(goto[state, byte])
            goto[state, byte] = child
            waiting.append(child)
    return Automaton(classes, goto, longest, shorter)


def _trie(patterns: Sequence[bytes]) -> tuple[list[dict[int, int]], dict[int, int]]:
    """Return the children of each state by byte, and which pattern ends at a state."""
    children: list[dict[int, int]] = [{}]
    ends: dict[int, int] = {}
    for pattern, text in enumerate(patterns):
        state = 0
        for byte in text:
            child = children[state].get(byte)
            if child is None:
                child = children[state][byte] = len(children)
                children.append({})
            state = child
        ends[state] = pattern
    return children, ends
