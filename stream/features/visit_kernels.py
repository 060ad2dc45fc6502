"""Where a visit comes from, which page it is of, on what device, and what names stand for: patterns out of bytes.

Each part returns the pattern that decides, as an index into a taxonomy's codes, -1 for none. ``lists``, ``goto``, the
list's number ``one`` and its ``start`` are as ``stream.features.compiling`` lays them out.
"""

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel_part
from stream.features.character_kernels import (
    EDGE,
    NO_CHARACTER,
    SPACE,
    advance,
    character_at,
    folded,
    step,
    walk,
    walk_words,
)

_SLASH = 0x2F
_DOT = 0x2E
_AT = 0x40


@kernel_part
def _is_end(byte: int) -> bool:
    """Return whether a byte ends an authority: / ? or #."""
    return byte == _SLASH or byte == 0x3F or byte == 0x23


@kernel_part
def _find(buffer: NDArray[np.uint8], byte: int, at: int, stop: int) -> int:
    """Return where ``byte`` stands first, ``stop`` for nowhere."""
    while at < stop and buffer[at] != byte:
        at += 1
    return at


@kernel_part
def _after_scheme(buffer: NDArray[np.uint8], start: int, stop: int) -> int:
    """Return where the authority of ``scheme://authority`` or ``//authority`` begins, -1 for none (RFC 3986, B)."""
    at = start
    while at < stop and buffer[at] != 0x3A and not _is_end(buffer[at]):
        at += 1
    if at > start:
        if at == stop or buffer[at] != 0x3A:
            return -1
        at += 1
    if at + 1 < stop and buffer[at] == _SLASH and buffer[at + 1] == _SLASH:
        return at + 2
    return -1


@kernel_part
def _end_of_authority(buffer: NDArray[np.uint8], at: int, stop: int) -> int:
    while at < stop and not _is_end(buffer[at]):
        at += 1
    return at


@kernel_part
def _find_host(buffer: NDArray[np.uint8], start: int, stop: int) -> tuple[int, int]:
    """Return first and end of the host of an address; one without ``//`` begins with it."""
    at = max(_after_scheme(buffer, start, stop), start)
    end = _end_of_authority(buffer, at, stop)
    for place in range(at, end):
        if buffer[place] == _AT:
            at = place + 1
    last = end
    while last > at and 0x30 <= buffer[last - 1] <= 0x39:
        last -= 1
    if last > at and buffer[last - 1] == 0x3A:
        end = last - 1
    if end > at and buffer[end - 1] == _DOT:
        end -= 1
    return at, end


@kernel_part
def _find_path(buffer: NDArray[np.uint8], start: int, stop: int) -> tuple[int, int]:
    """Return first and end of the path of an address; one without ``//`` begins with it."""
    at = _after_scheme(buffer, start, stop)
    at = start if at < 0 else _end_of_authority(buffer, at, stop)
    end = at
    while end < stop and buffer[end] != 0x3F and buffer[end] != 0x23:
        end += 1
    return at, end


@kernel_part
def _first(found: int, other: int) -> int:
    """Return which of two patterns is named first; -1 is none."""
    return other if found < 0 or 0 <= other < found else found


@kernel_part
def find_name(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    lists: NDArray[np.int32],
    goto: NDArray[np.int32],
    one: int,
    start: int,
    kind: int,
) -> int:
    """Find what ``buffer[at:end]`` names, in capitals or not; ``kind`` is the byte of what it may name (NAME_BYTES).

    No text has that byte, so a name is met whole.
    """
    state = walk(buffer, at, end, lists, goto, one, step(lists, goto, one, start, kind), start)
    return int(goto[step(lists, goto, one, state, EDGE)])


@kernel_part
def find_page(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    lists: NDArray[np.int32],
    goto: NDArray[np.int32],
    one: int,
    start: int,
) -> int:
    """Find the page of the address ``buffer[at:end]``: of the patterns that fit its path the one that is named first.

    The path is the address without scheme, host, query and fragment, folded to small letters; a slash at its
    beginning is supplied, several count as one, and none counts at its end but that of ``/``. Escapes (``%20``) stay.
    """
    at, end = _find_path(buffer, at, end)
    state = step(lists, goto, one, start, EDGE)
    state = step(lists, goto, one, state, _SLASH)
    found = int(goto[state])
    slash, waiting = True, False
    while at < end:
        character, size = character_at(buffer, at, end)
        at += size
        if character == _SLASH:
            # Of several slashes one counts, and of those at the end none: what comes next decides.
            waiting = not slash
            continue
        if waiting:
            state = step(lists, goto, one, state, _SLASH)
            found = _first(found, int(goto[state]))
        slash = waiting = False
        state = advance(lists, goto, one, state, start, folded(character))
        found = _first(found, int(goto[state]))
    return _first(found, int(goto[step(lists, goto, one, state, EDGE)]))


@kernel_part
def find_referrer(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    lists: NDArray[np.int32],
    goto: NDArray[np.int32],
    one: int,
    start: int,
) -> int:
    """Find the host of the address ``buffer[at:end]``: the longest of the list that it is, or is under.

    The host goes in without user, port and last dot, folded to small letters; an address without ``//`` begins with
    it. ``www.google.com`` is under ``google.com``.
    """
    at, end = _find_host(buffer, at, end)
    # A dot before the first label as before every other: patterns begin with one.
    state = walk(buffer, at, end, lists, goto, one, step(lists, goto, one, start, _DOT), start)
    return int(goto[step(lists, goto, one, state, EDGE)])


@kernel_part
def find_tag(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    lists: NDArray[np.int32],
    goto: NDArray[np.int32],
    one: int,
    start: int,
) -> int:
    """Find the campaign tag of the landing address ``buffer[at:end]`` that is named first.

    Tags are parameters of its query, such as ``utm_medium=email``, folded to small letters; escapes stay.
    """
    end = _find(buffer, 0x23, at, end)
    at = _find(buffer, 0x3F, at, end) + 1
    begin = step(lists, goto, one, start, EDGE)
    found = -1
    while at < end:
        state = begin
        stop = _find(buffer, 0x26, at, end)
        while at < stop:
            character, size = character_at(buffer, at, stop)
            at += size
            state = advance(lists, goto, one, state, start, folded(character))
            found = _first(found, int(goto[state]))
        found = _first(found, int(goto[step(lists, goto, one, state, EDGE)]))
        at = stop + 1
    return found


@kernel_part
def find_device(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    lists: NDArray[np.int32],
    goto: NDArray[np.int32],
    one: int,
    start: int,
) -> int:
    """Find the device that ``buffer[at:end]`` says, be it ``phone`` or a browser's User-Agent.

    Words are those of ``word_kernels.weigh_text``; of the words met the one that is named first decides.
    """
    state = step(lists, goto, one, start, SPACE)
    within = False
    found = -1
    reading = True
    while reading:
        # The text's end ends its last word, as any character between words does.
        character = NO_CHARACTER
        reading = at < end
        if reading:
            character, size = character_at(buffer, at, end)
            at += size
        state, within = walk_words(lists, goto, one, state, start, within, character)
        found = _first(found, int(goto[state]))
    return found
