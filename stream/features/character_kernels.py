"""Characters out of UTF-8, folded, and taken through an automaton: what the kernels over texts and addresses share.

Which characters make words and how they fold is said here, not by Python's Unicode tables: those change with its
version, and a word must count the same on every machine.
"""

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel_part

NO_CHARACTER = -1
"""Stands for a byte that no UTF-8 character begins with or belongs to."""
SPACE = 0x20
EDGE = 0xFF
"""A byte that UTF-8 never has: begins and ends what must be met whole."""

_TABLED = 0x800
_NOT_WORD = (
    # ASCII but for digits and letters.
    *((0x00, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7F)),
    # Latin.
    *((0x80, 0xA9), (0xAB, 0xB1), (0xB4, 0xB4), (0xB6, 0xB8), (0xBB, 0xBB), (0xBF, 0xBF), (0xD7, 0xD7), (0xF7, 0xF7)),
    *((0x2C2, 0x2C5), (0x2D2, 0x2DF), (0x2E5, 0x2EB), (0x2ED, 0x2ED), (0x2EF, 0x2FF)),
    # Greek and Cyrillic.
    *((0x375, 0x375), (0x378, 0x379), (0x37E, 0x37E), (0x380, 0x385), (0x387, 0x387), (0x38B, 0x38B)),
    *((0x38D, 0x38D), (0x3A2, 0x3A2), (0x3F6, 0x3F6), (0x482, 0x482)),
    # Armenian and Hebrew.
    *((0x530, 0x530), (0x557, 0x558), (0x55A, 0x55F), (0x589, 0x590), (0x5BE, 0x5BE), (0x5C0, 0x5C0)),
    *((0x5C3, 0x5C3), (0x5C6, 0x5C6), (0x5C8, 0x5CF), (0x5EB, 0x5EE), (0x5F3, 0x60F)),
    # Arabic, Syriac, Thaana and N'Ko.
    *((0x61B, 0x61F), (0x66A, 0x66D), (0x6D4, 0x6D4), (0x6DD, 0x6DE), (0x6E9, 0x6E9), (0x6FD, 0x6FE)),
    *((0x700, 0x70F), (0x74B, 0x74C), (0x7B2, 0x7BF), (0x7F6, 0x7F9), (0x7FB, 0x7FC), (0x7FE, 0x7FF)),
)
"""First and last of what is no letter, mark or digit below U+0800 (Unicode 14)."""
_FOLDED = (
    *((0x41, 0x5A, 1, 32), (0xB5, 0xB5, 1, 775), (0xC0, 0xD6, 1, 32), (0xD8, 0xDE, 1, 32), (0x100, 0x12E, 2, 1)),
    # The dotted capital i becomes a plain one: its own folding is a letter and a mark.
    *((0x130, 0x130, 1, 0x69 - 0x130), (0x132, 0x136, 2, 1), (0x139, 0x147, 2, 1), (0x14A, 0x176, 2, 1)),
    *((0x178, 0x178, 1, -121), (0x179, 0x17D, 2, 1), (0x17F, 0x17F, 1, -268), (0x1A0, 0x1A0, 1, 1)),
    *((0x1AF, 0x1AF, 1, 1), (0x1CD, 0x1DB, 2, 1), (0x1DE, 0x1EE, 2, 1), (0x1F8, 0x21E, 2, 1), (0x222, 0x232, 2, 1)),
    # Greek, where a word's last sigma is a sigma, Cyrillic and Armenian.
    *((0x386, 0x386, 1, 38), (0x388, 0x38A, 1, 37), (0x38C, 0x38C, 1, 64), (0x38E, 0x38F, 1, 63)),
    *((0x391, 0x3A1, 1, 32), (0x3A3, 0x3AB, 1, 32), (0x3C2, 0x3C2, 1, 1), (0x400, 0x40F, 1, 80)),
    *((0x410, 0x42F, 1, 32), (0x460, 0x480, 2, 1), (0x48A, 0x4BE, 2, 1), (0x4C0, 0x4C0, 1, 15)),
    *((0x4C1, 0x4CD, 2, 1), (0x4D0, 0x52E, 2, 1), (0x531, 0x556, 1, 48)),
)
"""First, last, step, and what is added: capitals to small letters, as Unicode's CaseFolding.txt has them."""


def _words_below() -> NDArray[np.uint8]:
    table = np.ones(_TABLED, np.uint8)
    for first, last in _NOT_WORD:
        table[first : last + 1] = 0
    return table


def _folds_below() -> NDArray[np.int64]:
    table = np.arange(_TABLED)
    for first, last, step, added in _FOLDED:
        table[first : last + 1 : step] += added
    return table


_IS_WORD = _words_below()
_FOLD = _folds_below()


@kernel_part
def character_at(buffer: NDArray[np.uint8], at: int, stop: int) -> tuple[int, int]:
    """Return the character that begins at ``at``, before ``stop``, and its length in bytes.

    What is no UTF-8 (The Unicode Standard, table 3-7) gives NO_CHARACTER, byte by byte.
    """
    lead = int(np.int64(buffer[at]))
    if lead < 0x80:
        return lead, 1
    if lead < 0xC2 or lead > 0xF4:
        return NO_CHARACTER, 1
    size = 4
    if lead < 0xE0:
        size = 2
    elif lead < 0xF0:
        size = 3
    if stop - at < size:
        return NO_CHARACTER, 1
    character = lead & (0x7F >> size)
    for place in range(at + 1, at + size):
        byte = int(np.int64(buffer[place]))
        if byte & 0xC0 != 0x80:
            return NO_CHARACTER, 1
        character = character << 6 | byte & 0x3F
    if size == 3 and (character < 0x800 or 0xD800 <= character < 0xE000):
        return NO_CHARACTER, 1
    if size == 4 and (character < 0x10000 or character > 0x10FFFF):
        return NO_CHARACTER, 1
    return character, size


@kernel_part
def folded(character: int) -> int:
    """Return the small letter of a capital of ASCII, Latin, Greek, Cyrillic or Armenian of up to two bytes.

    Anything else stays, and so do rare letters of Latin Extended-B and letters that fold to two.
    """
    if 0 <= character < _TABLED:
        return int(_FOLD[character])
    return character


@kernel_part
def is_word_character(character: int) -> bool:
    """Return whether a character belongs to words: letters, combining marks and digits.

    Below U+0800 as Unicode has them; from there on everything but the danda, the blocks of punctuation and symbols
    (U+2000 to U+2BFF, U+2E00 to U+303F, U+FE00 to U+FE6F, U+FEFF to U+FF0F, U+FFE0 to U+FFFF), private use and the
    symbols and emoji of U+1F000 to U+1FFFF. Apostrophes, hyphens and underscores part words: ``don't`` is two.
    """
    if character < _TABLED:
        return character >= 0 and _IS_WORD[character] != 0
    if character < 0x2000:
        return character != 0x964 and character != 0x965
    if character < 0x10000:
        return not (
            character < 0x2C00
            or 0x2E00 <= character < 0x3040
            or 0xE000 <= character < 0xF900
            or 0xFE00 <= character < 0xFE70
            or 0xFEFF <= character < 0xFF10
            or character >= 0xFFE0
        )
    return not 0x1F000 <= character < 0x20000


@kernel_part
def step(lists: NDArray[np.int32], goto: NDArray[np.int32], one: int, state: int, byte: int) -> int:
    """Return the state of list ``one`` after one byte: the place of its row in ``goto``.

    ``lists`` is int32[lists, 256] (where in a row the byte leads on), ``goto`` int32[cells], as
    ``stream.features.compiling`` lays them out.
    """
    return int(goto[state + lists[one, byte]])


@kernel_part
def advance(lists: NDArray[np.int32], goto: NDArray[np.int32], one: int, state: int, start: int, character: int) -> int:
    """Return the state after the bytes of one character; NO_CHARACTER leads back to the list's ``start``."""
    if character < 0:
        return start
    if character < 0x80:
        return step(lists, goto, one, state, character)
    if character < 0x800:
        state = step(lists, goto, one, state, 0xC0 | character >> 6)
    elif character < 0x10000:
        state = step(lists, goto, one, state, 0xE0 | character >> 12)
        state = step(lists, goto, one, state, 0x80 | character >> 6 & 0x3F)
    else:
        state = step(lists, goto, one, state, 0xF0 | character >> 18)
        state = step(lists, goto, one, state, 0x80 | character >> 12 & 0x3F)
        state = step(lists, goto, one, state, 0x80 | character >> 6 & 0x3F)
    return step(lists, goto, one, state, 0x80 | character & 0x3F)


@kernel_part
def walk_words(
    lists: NDArray[np.int32], goto: NDArray[np.int32], one: int, state: int, start: int, within: bool, character: int
) -> tuple[int, bool]:
    """Return the state after one more character of a text, and whether a word is under way.

    A word goes in folded; of what stands between words the first character goes in as a space, the rest not at all.
    """
    if is_word_character(character):
        return advance(lists, goto, one, state, start, folded(character)), True
    if within:
        return step(lists, goto, one, state, SPACE), False
    return state, False


@kernel_part
def walk(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    lists: NDArray[np.int32],
    goto: NDArray[np.int32],
    one: int,
    state: int,
    start: int,
) -> int:
    """Return the state after the text ``buffer[at:end]``, folded."""
    while at < end:
        character, size = character_at(buffer, at, end)
        at += size
        state = advance(lists, goto, one, state, start, folded(character))
    return state
