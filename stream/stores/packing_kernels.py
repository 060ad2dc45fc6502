"""The loops of the packing: voters and records to one buffer of Redis' protocol, and packed records back.

The form of a packed record stands in ``packing``.
"""

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel, kernel_part
from stream.records import VOTER
from stream.words import put_word, word_at

# A kernel reads module constants at compile time.
WORDS = VOTER.itemsize // 8
HEAD_BYTES = 16
"""Of a packed record, before its words: 4, and a bit for each word."""
_LOW_WORDS = 64
"""How many of the bits are read and written as one number; the other 32 are another."""

assert WORDS == 96  # noqa: S101 (what the numbers of bits and bytes below are for)

_ONE = np.uint64(1)


@kernel_part
def _write_number(out: NDArray[np.uint8], position: int, number: int) -> int:
    """Write a decimal number of at least 0; return the position behind it."""
    digits = 1
    rest = number
    while rest >= 10:
        rest //= 10
        digits += 1
    rest = number
    for place in range(digits - 1, -1, -1):
        out[position + place] = 48 + rest % 10
        rest //= 10
    return position + digits


@kernel_part
def _write(out: NDArray[np.uint8], position: int, data: NDArray[np.uint8]) -> int:
    """Write ``data``; return the position behind it."""
    room = out[position : position + len(data)]
    for place in range(len(data)):
        room[place] = data[place]
    return position + len(data)


@kernel_part
def _write_line_end(out: NDArray[np.uint8], position: int) -> int:
    """Write CR and LF; return the position behind them."""
    out[position] = 13
    out[position + 1] = 10
    return position + 2


@kernel_part
def _write_head(out: NDArray[np.uint8], position: int, length: int) -> int:
    r"""Write the head of a bulk string, ``$<length>\r\n``; return the position behind it."""
    out[position] = 36
    return _write_line_end(out, _write_number(out, position + 1, length))


@kernel_part
def _bits_of(words: NDArray[np.uint64], row: int, first: int, stop: int) -> np.uint64:
    """Return which of a record's words from ``first`` to before ``stop`` (64 at most) are not 0, as bits from 0 up."""
    bits = np.uint64(0)
    for place in range(first, stop):
        bits |= np.uint64(words[row, place] != 0) << np.uint64(place - first)
    return bits


@kernel_part
def _count_of(bits: np.uint64) -> int:
    """Return how many bits are set.

    Source: Warren, "Hacker's Delight", second edition, section 5-1: sums of pairs, of fours, of bytes, of all.
    """
    bits -= (bits >> _ONE) & np.uint64(0x5555555555555555)
    bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> np.uint64(2)) & np.uint64(0x3333333333333333))
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    for half in (8, 16, 32):
        bits += bits >> np.uint64(half)
    return int(bits & np.uint64(0x7F))


@kernel_part
def _write_record(out: NDArray[np.uint8], position: int, words: NDArray[np.uint64], row: int) -> int:
    """Write a packed record as a bulk string without its line end; return the position behind it.

    Every word is written, and the next over it where it is 0: up to 8 bytes behind the record are written as well.
    """
    low, high = _bits_of(words, row, 0, _LOW_WORDS), _bits_of(words, row, _LOW_WORDS, WORDS)
    position = _write_head(out, position, HEAD_BYTES + 8 * (_count_of(low) + _count_of(high)))
    put_word(out, position, np.uint64(WORDS << 16))
    put_word(out, position + 4, low)
    put_word(out, position + 12, high)
    position += HEAD_BYTES
    for place in range(WORDS):
        word = words[row, place]
        put_word(out, position, word)
        position += 8 * int(word != 0)
    return position


@kernel
def pack_pairs(
    prefix: NDArray[np.uint8],
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    words: NDArray[np.uint64],
    out: NDArray[np.uint8],
) -> int:
    r"""Write a key and a packed record for each row into ``out`` as RESP bulk strings; return how many bytes they took.

    Keys are ``prefix`` and ``buffer[starts:stops]`` (int64[n]); records the rows of ``words`` (uint64[n, WORDS]), or
    none at all where ``words`` is uint64[n, 0] (keys alone, as MGET wants them). ``out`` has room for each row's bytes
    and 64 more.
    Source: the Redis serialization protocol, "Bulk strings": ``$<length>\r\n<bytes>\r\n``.
    """
    position = 0
    for row in range(len(starts)):
        position = _write_head(out, position, len(prefix) + stops[row] - starts[row])
        position = _write(out, position, prefix)
        position = _write_line_end(out, _write(out, position, buffer[starts[row] : stops[row]]))
        if words.shape[1]:
            position = _write_line_end(out, _write_record(out, position, words, row))
    return position


@kernel
def unpack_values(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    words: NDArray[np.uint64],
    is_packed: NDArray[np.bool_],
) -> None:
    """Write the packed records ``buffer[starts:stops]`` (int64[n]) into ``words`` (uint64[n, WORDS]).

    ``is_packed`` (bool[n]) says which of them are such; the words of the others are undefined. Up to 8 bytes behind a
    record are read, and their bits not used: ``buffer`` has as many behind the last.
    """
    for row in range(len(starts)):
        position, size = starts[row], stops[row] - starts[row]
        is_packed[row] = False
        if size < HEAD_BYTES or word_at(buffer, position) & np.uint64(0xFFFFFFFF) != np.uint64(WORDS << 16):
            continue
        low = word_at(buffer, position + 4)
        high = word_at(buffer, position + 8) >> np.uint64(32)
        if size != HEAD_BYTES + 8 * (_count_of(low) + _count_of(high)):
            continue
        is_packed[row] = True
        position += HEAD_BYTES
        for place in range(WORDS):
            bit = (low >> np.uint64(place) if place < _LOW_WORDS else high >> np.uint64(place - _LOW_WORDS)) & _ONE
            words[row, place] = word_at(buffer, position) * bit
            position += 8 * int(bit)
