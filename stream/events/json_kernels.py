r"""The JSON grammar of RFC 8259 over bytes: each kernel passes one production and says where it ends.

A production begins at ``position`` of ``buffer`` (uint8), and nothing is read at ``stop`` or behind it. UNSURE is the
answer to bytes that are not of the grammar, and to the few that only a whole parser can judge: a number that a double
may not hold, values nested deeper than MAX_DEPTH, half of a surrogate pair. What these kernels pass is JSON to every
parser; what they do not pass is somebody else's to read.
"""

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel_part
from stream.words import word_at

UNSURE = -1
MAX_DEPTH = 32
MAX_DIGITS = 200
"""A number of so many characters, and an exponent of two digits, is below the largest double (1.8e308)."""

# The numbers that scan_number can tell apart.
EXACTLY = 0
BETWEEN = 1
SOMEHOW = 2

_QUOTE = 0x22
_BACKSLASH = 0x5C
_COMMA = 0x2C
_COLON = 0x3A
_OPEN_OBJECT = 0x7B
_CLOSE_OBJECT = 0x7D
_OPEN_ARRAY = 0x5B
_CLOSE_ARRAY = 0x5D
_TRUE, _NULL, _FALS = (int.from_bytes(letters, "big") for letters in (b"true", b"null", b"fals"))

# One byte repeated eight times, for tests of eight bytes at once; and unsigned numbers, since Numba makes a float of an
# unsigned and a signed one.
_ONES = np.uint64(0x0101010101010101)
_HIGH_BITS = np.uint64(0x8080808080808080)
_QUOTES = np.uint64(0x2222222222222222)
_BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
_SPACES = np.uint64(0x2020202020202020)
_U1, _U56 = np.uint64(1), np.uint64(56)


@kernel_part
def _plain_bytes(word: np.uint64) -> int:
    """Return how many of the eight bytes come before the first quote, backslash, control or non-ASCII character.

    ``(x - 01..01) & ~x & 80..80`` marks the bytes of x that are 0, and ``(x - 20..20) & ~x & 80..80`` those below
    0x20; a borrow may mark others, but only behind a first that is one (Warren, Hacker's Delight, section 6-1).
    """
    quotes = word ^ _QUOTES
    backslashes = word ^ _BACKSLASHES
    marks = (
        ((quotes - _ONES) & ~quotes) | ((backslashes - _ONES) & ~backslashes) | ((word - _SPACES) & ~word) | word
    ) & _HIGH_BITS
    if marks == 0:
        return 8
    # All bits below the lowest mark: one byte more than those that come before it.
    below = (marks & (~marks + _U1)) - _U1
    return int(((below & _ONES) * _ONES) >> _U56) - 1


@kernel_part
def skip_whitespace(buffer: NDArray[np.uint8], position: int, stop: int) -> int:
    """Pass ``ws = *( space / tab / line feed / carriage return )`` (section 2)."""
    while position < stop and buffer[position] <= 0x20:
        byte = buffer[position]
        if byte != 0x20 and byte != 0x0A and byte != 0x0D and byte != 0x09:
            return position
        position += 1
    return position


@kernel_part
def _sequence_bytes(buffer: NDArray[np.uint8], position: int, stop: int) -> int:
    """Return how many bytes a character beyond ASCII has, 0 where they are not UTF-8 (RFC 3629, section 4)."""
    lead = buffer[position]
    if lead < 0xC2 or lead > 0xF4:
        return 0
    length = 2
    if lead >= 0xF0:
        length = 4
    elif lead >= 0xE0:
        length = 3
    if stop - position < length:
        return 0
    least, most = 0x80, 0xBF
    if lead == 0xE0:
        least = 0xA0
    elif lead == 0xED:
        most = 0x9F
    elif lead == 0xF0:
        least = 0x90
    elif lead == 0xF4:
        most = 0x8F
    if buffer[position + 1] < least or buffer[position + 1] > most:
        return 0
    for place in range(position + 2, position + length):
        if buffer[place] & 0xC0 != 0x80:
            return 0
    return length


@kernel_part
def _code_unit(buffer: NDArray[np.uint8], position: int, stop: int) -> int:
    r"""Return the 16 bits that ``\uXXXX`` at ``position`` stands for, -1 where it is none."""
    if stop - position < 6 or buffer[position] != _BACKSLASH or buffer[position + 1] != 0x75:
        return -1
    unit = 0
    for place in range(position + 2, position + 6):
        byte = int(buffer[place])
        digit = byte - 0x30
        if digit < 0 or digit > 9:
            digit = (byte | 0x20) - 0x57
            if digit < 10 or digit > 15:
                return -1
        unit = unit * 16 + digit
    return unit


@kernel_part
def _unescaped(letter: int) -> int:
    """Return the character that a backslash and ``letter`` stand for (section 7)."""
    if letter == 0x62:
        return 0x08
    if letter == 0x66:
        return 0x0C
    if letter == 0x6E:
        return 0x0A
    if letter == 0x72:
        return 0x0D
    return 0x09 if letter == 0x74 else letter


@kernel_part
def _escape_bytes(buffer: NDArray[np.uint8], position: int, stop: int) -> int:
    r"""Return how many bytes the escape at the backslash ``position`` has, 0 where it is none (section 7).

    2 for ``\" \\ \/ \b \f \n \r \t``, 6 for ``\uXXXX``, 12 for a surrogate pair. Half a pair stands for no character.
    """
    if stop - position < 2:
        return 0
    letter = buffer[position + 1]
    if letter == _QUOTE or letter == _BACKSLASH or letter == 0x2F or _unescaped(letter) != letter:
        return 2
    unit = _code_unit(buffer, position, stop)
    if unit < 0 or 0xDC00 <= unit <= 0xDFFF:
        return 0
    if unit < 0xD800 or unit > 0xDFFF:
        return 6
    return 12 if 0xDC00 <= _code_unit(buffer, position + 6, stop) <= 0xDFFF else 0


@kernel_part
def scan_string(buffer: NDArray[np.uint8], position: int, stop: int) -> tuple[int, bool]:
    """Pass ``string = quotation-mark *char quotation-mark`` (section 7), UTF-8; return also whether it has escapes."""
    escaped = False
    if position >= stop or buffer[position] != _QUOTE:
        return UNSURE, escaped
    position += 1
    while True:
        while stop - position >= 8:
            plain = _plain_bytes(word_at(buffer, position))
            position += plain
            if plain < 8:
                break
        if position >= stop:
            return UNSURE, escaped
        byte = buffer[position]
        if byte == _QUOTE:
            return position + 1, escaped
        length = 1
        if byte == _BACKSLASH:
            escaped = True
            length = _escape_bytes(buffer, position, stop)
        elif byte >= 0x80:
            length = _sequence_bytes(buffer, position, stop)
        elif byte < 0x20:
            length = 0
        if length == 0:
            return UNSURE, escaped
        position += length


@kernel_part
def count_characters(buffer: NDArray[np.uint8], start: int, stop: int) -> int:
    """Return how many characters (code points) the text ``buffer[start:stop]`` of a string that was passed has."""
    count = 0
    while start < stop:
        byte = buffer[start]
        if byte == _BACKSLASH:
            start += _escape_bytes(buffer, start, stop)
        elif byte >= 0x80:
            start += _sequence_bytes(buffer, start, stop)
        else:
            start += 1
        count += 1
    return count


@kernel_part
def unescape(buffer: NDArray[np.uint8], start: int, stop: int, out: NDArray[np.uint8], at: int) -> int:
    """Write the text ``buffer[start:stop]`` of a string that was passed without escapes, as UTF-8, to ``out[at:]``.

    Returns where it ends in ``out``; it is never longer than it was.
    """
    while start < stop:
        if buffer[start] != _BACKSLASH:
            out[at] = buffer[start]
            start += 1
            at += 1
            continue
        length = _escape_bytes(buffer, start, stop)
        character = _unescaped(int(buffer[start + 1]))
        if length >= 6:
            character = _code_unit(buffer, start, stop)
        if length == 12:
            character = 0x10000 + ((character - 0xD800) << 10) + _code_unit(buffer, start + 6, stop) - 0xDC00
        start += length
        if character < 0x80:
            out[at] = character
            at += 1
            continue
        following = 1
        if character >= 0x10000:
            following = 3
        elif character >= 0x800:
            following = 2
        # The lead byte has as many ones at its top as the character has bytes.
        out[at] = (0xF80 >> following) & 0xFF | (character >> (6 * following))
        for place in range(1, following + 1):
            out[at + place] = 0x80 | ((character >> (6 * (following - place))) & 0x3F)
        at += following + 1
    return at


@kernel_part
def _skip_digits(buffer: NDArray[np.uint8], position: int, stop: int) -> int:
    while position < stop and 0x30 <= buffer[position] <= 0x39:
        position += 1
    return position


@kernel_part
def scan_number(buffer: NDArray[np.uint8], position: int, stop: int) -> tuple[int, int, int]:
    """Pass ``number = [ minus ] int [ frac ] [ exp ]`` (section 6); return where it ends, and what is known of it.

    EXACTLY and n: its value is the integer n. BETWEEN and n: it lies between n and n + 1, as does the double nearest
    to it (numbers of 15 digits and less have doubles of their own). SOMEHOW and 0: anything else that is finite.
    """
    begin = position
    negative = position < stop and buffer[position] == 0x2D
    if negative:
        position += 1
    first = position
    position = _skip_digits(buffer, position, stop)
    digits = position - first
    if digits == 0 or digits > MAX_DIGITS or (digits > 1 and buffer[first] == 0x30):
        return UNSURE, SOMEHOW, 0
    whole = 0
    if digits <= 18:
        for place in range(first, position):
            whole = whole * 10 + int(buffer[place]) - 0x30
    known = EXACTLY if digits <= 18 else SOMEHOW
    if position < stop and buffer[position] == 0x2E:
        point = position
        position = _skip_digits(buffer, point + 1, stop)
        if position == point + 1:
            return UNSURE, SOMEHOW, 0
        if position - first > 16:
            known = SOMEHOW
        for place in range(point + 1, position):
            if known == EXACTLY and buffer[place] != 0x30:
                known = BETWEEN
    if position < stop and buffer[position] | 0x20 == 0x65:
        known = SOMEHOW
        position += 1
        if position < stop and (buffer[position] == 0x2B or buffer[position] == 0x2D):
            position += 1
        exponent = position
        position = _skip_digits(buffer, position, stop)
        if position == exponent or position - exponent > 2:
            return UNSURE, SOMEHOW, 0
    if negative:
        whole = -whole - 1 if known == BETWEEN else -whole
    return (position if position - begin <= MAX_DIGITS else UNSURE), known, (0 if known == SOMEHOW else whole)


@kernel_part
def scan_decimal(buffer: NDArray[np.uint8], position: int, stop: int) -> tuple[int, int]:
    """Return the digits of a number without sign and exponent as one number, and how many of them are decimals.

    ``buffer[position:stop]`` is a number that ``scan_number`` passed as BETWEEN: it has 15 digits at most.
    """
    digits = decimals = 0
    is_behind = False
    for place in range(position, stop):
        if buffer[place] == 0x2E:
            is_behind = True
        else:
            digits = digits * 10 + int(buffer[place]) - 0x30
            decimals += is_behind
    return digits, decimals


@kernel_part
def scan_literal(buffer: NDArray[np.uint8], position: int, stop: int) -> int:
    """Pass ``true``, ``false`` or ``null`` (section 3)."""
    if stop - position < 4:
        return UNSURE
    letters = 0
    for place in range(position, position + 4):
        letters = letters << 8 | int(buffer[place])
    if letters == _TRUE or letters == _NULL:
        return position + 4
    return position + 5 if letters == _FALS and stop - position > 4 and buffer[position + 4] == 0x65 else UNSURE


@kernel_part
def skip_colon(buffer: NDArray[np.uint8], position: int, stop: int) -> int:
    """Pass ``name-separator = ws colon ws`` (section 2); there is a byte where it ends."""
    position = skip_whitespace(buffer, position, stop)
    if position >= stop or buffer[position] != _COLON:
        return UNSURE
    position = skip_whitespace(buffer, position + 1, stop)
    return position if position < stop else UNSURE


@kernel_part
def _skip_name(buffer: NDArray[np.uint8], position: int, stop: int) -> int:
    """Pass ``string name-separator``, as far as the member's value (section 4)."""
    position, _ = scan_string(buffer, skip_whitespace(buffer, position, stop), stop)
    return skip_colon(buffer, position, stop) if position >= 0 else UNSURE


@kernel_part
def _skip_scalar(buffer: NDArray[np.uint8], position: int, stop: int) -> int:
    """Pass a string, a number, or one of the three names."""
    byte = buffer[position]
    if byte == _QUOTE:
        return scan_string(buffer, position, stop)[0]
    if byte == 0x2D or 0x30 <= byte <= 0x39:
        return scan_number(buffer, position, stop)[0]
    return scan_literal(buffer, position, stop)


@kernel_part
def skip_value(buffer: NDArray[np.uint8], position: int, stop: int) -> int:
    """Pass ``value = false / null / true / object / array / number / string`` (section 3), however it is nested.

    ``object = { [ member *( , member ) ] }`` and ``array = [ [ value *( , value ) ] ]`` (sections 4 and 5) that are
    open are the bits of a number, the innermost one lowest: 1 for an object.
    """
    depth = 0
    objects = np.uint64(0)
    while True:
        position = skip_whitespace(buffer, position, stop)
        if position >= stop:
            return UNSURE
        byte = buffer[position]
        opens = byte == _OPEN_OBJECT or byte == _OPEN_ARRAY
        if opens:
            if depth == MAX_DEPTH:
                return UNSURE
            depth += 1
            objects = (objects << _U1) | np.uint64(byte == _OPEN_OBJECT)
            position += 1
        else:
            position = _skip_scalar(buffer, position, stop)
            if position < 0:
                return UNSURE
        while depth > 0:
            in_object = (objects & _U1) == _U1
            position = skip_whitespace(buffer, position, stop)
            if position >= stop:
                return UNSURE
            byte = buffer[position]
            if byte == (_CLOSE_OBJECT if in_object else _CLOSE_ARRAY):
                position += 1
                depth -= 1
                objects >>= _U1
                opens = False
                continue
            # The first member or element follows what opens, all others a comma.
            if not opens:
                if byte != _COMMA:
                    return UNSURE
                position += 1
            if in_object:
                position = _skip_name(buffer, position, stop)
                if position < 0:
                    return UNSURE
            break
        if depth == 0:
            return position
