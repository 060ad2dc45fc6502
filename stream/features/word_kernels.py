"""What a comment is about and whether it is for or against, by one pass over its bytes: no object for any text."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel_part
from stream.features.character_kernels import NO_CHARACTER, SPACE, character_at, step, walk_words
from stream.signals import MAX_ISSUES

MAX_TEXT_CHARACTERS = 10_000
"""What stands behind them is not read; the events' schema lets none through that has more."""
MAX_PHRASE_WORDS = 8
STANCE = MAX_ISSUES
"""The target of a stance word; those below are issues."""
NEGATION = MAX_ISSUES + 1
"""The target of a negation word."""
NEGATED_WORDS = 3
"""A stance word is negated by a negation among so many words before it."""
FAVOUR = MAX_ISSUES
AGAINST = MAX_ISSUES + 1
SUMS = MAX_ISSUES + 2
"""What a text's words sum up to: the issues, then what is for us and what is against."""

WEIGHT = np.dtype([("target", "<i8"), ("weight", "<i8")])
"""What a pattern adds when it is met, in tenths: to an issue, or to the stance (below 0: against us)."""
PATTERN = np.dtype([(name, "<i8") for name in ("first", "stop", "words")])
"""A pattern's weights, from ``first`` to before ``stop``, and how many words it has."""

_ONE = np.uint64(1)
_NEAR = np.uint64((1 << NEGATED_WORDS) - 1)


@kernel_part
def _add_matches(
    pattern: int,
    shorter: NDArray[np.int32],
    patterns: NDArray[Any],
    weights: NDArray[Any],
    negations: np.uint64,
    sums: NDArray[np.int64],
) -> np.uint64:
    """Add what ``pattern`` and the shorter ones that end with it weigh to ``sums``, in place; return ``negations``.

    Bit k of ``negations`` says whether a negation ended k words ago, 0 being the word under way.
    """
    while pattern >= 0:
        met = patterns[pattern]
        for place in range(met["first"], met["stop"]):
            target, weight = weights[place]["target"], weights[place]["weight"]
            if target < STANCE:
                sums[target] += weight
            elif target == NEGATION:
                negations |= _ONE
            else:
                if (negations >> np.uint64(met["words"])) & _NEAR:
                    weight = -weight
                if weight > 0:
                    sums[FAVOUR] += weight
                else:
                    sums[AGAINST] -= weight
        pattern = shorter[pattern]
    return negations


@kernel_part
def weigh_text(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    lists: NDArray[np.int32],
    goto: NDArray[np.int32],
    one: int,
    start: int,
    shorter: NDArray[np.int32],
    patterns: NDArray[Any],
    weights: NDArray[Any],
    sums: NDArray[np.int64],
) -> None:
    """Write what the words of ``buffer[at:end]`` weigh, in tenths, into ``sums`` (int64[SUMS]), in place.

    The text is UTF-8, of which 10,000 characters are read; a byte that is no UTF-8 stands between words. Words are
    runs of letters, marks and digits (``character_kernels.is_word_character``), folded to small letters; what stands
    between them does not count, so a phrase is met over hyphens, commas and line ends too. The automaton of list
    ``one`` (Aho and Corasick, 1975) finds every word, phrase and stem of the list, also where they overlap, and each
    time that one is met its weights (PATTERN and WEIGHT) are added: to an issue, or to what is for or against us,
    there to the other of the two if a negation ended among the three words before its first.
    """
    for target in range(SUMS):
        sums[target] = 0
    # Before the first word as after any other: patterns begin with a space, and all but stems end with one.
    state = step(lists, goto, one, start, SPACE)
    within = False
    negations = np.uint64(0)
    characters = 0
    reading = True
    while reading:
        # The text's end ends its last word, as any character between words does.
        character = NO_CHARACTER
        reading = at < end and characters < MAX_TEXT_CHARACTERS
        if reading:
            character, size = character_at(buffer, at, end)
            at += size
            characters += 1
        was_within = within
        state, within = walk_words(lists, goto, one, state, start, within, character)
        if within and not was_within:
            negations = negations << _ONE
        if (within or was_within) and goto[state] >= 0:
            negations = _add_matches(int(goto[state]), shorter, patterns, weights, negations, sums)
