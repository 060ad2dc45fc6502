"""The automaton against looking for every pattern at every place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import ConfigurationError
from stream.features import automaton as room
from stream.features.automaton import Automaton, build_automaton

TEXTS = st.text("abc", min_size=1, max_size=5).map(str.encode)
PATTERNS = st.lists(TEXTS, max_size=12, unique=True)


def states(automaton: Automaton, text: bytes) -> list[int]:
    """Return the state after each byte."""
    found, state = [], 0
    for byte in text:
        state = int(automaton.goto[state, automaton.classes[byte]])
        found.append(state)
    return found


def ending(automaton: Automaton, state: int) -> list[int]:
    """Return every pattern that ends at a state, in the automaton's order."""
    found, pattern = [], int(automaton.longest[state])
    while pattern >= 0:
        found.append(pattern)
        pattern = int(automaton.shorter[pattern])
    return found


@settings(derandomize=True, max_examples=300, deadline=None)
@given(PATTERNS, st.text("abcd", max_size=40).map(str.encode))
def test_every_pattern_is_met_wherever_it_ends_the_longest_first(patterns: list[bytes], text: bytes) -> None:
    automaton = build_automaton(patterns, "patterns")
    lowest = automaton.lowest()
    for place, state in enumerate(states(automaton, text), 1):
        met = [pattern for pattern, sought in enumerate(patterns) if text[:place].endswith(sought)]
        assert ending(automaton, state) == sorted(met, key=lambda pattern: -len(patterns[pattern]))
        assert lowest[state] == min(met, default=-1)


def test_arrays_have_the_same_types_whatever_is_in_them() -> None:
    for patterns in ([], [b"a"], [bytes([byte]) for byte in range(1, 256)]):
        automaton = build_automaton(patterns, "patterns")
        arrays = (automaton.classes, automaton.goto, automaton.longest, automaton.shorter, automaton.lowest())
        assert [array.dtype for array in arrays] == [np.uint8, np.int32, np.int32, np.int32, np.int32]
        assert all(array.flags.c_contiguous for array in arrays)
        assert automaton.goto.shape == (len(patterns) + 1, len(patterns) + 1)
        assert states(automaton, b"\0\0") == [0, 0]


def test_too_many_states_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_CELLS", 20)
    assert len(build_automaton([b"abc"], "words").goto) == 4
    with pytest.raises(ConfigurationError, match=r"words take 6 states of 5 classes, expected at most 20"):
        build_automaton([b"abcda"], "words")
