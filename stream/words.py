"""Numbers of 64 bits out of bytes, as hashes and scanners take them."""

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel_part

# Unsigned numbers, since Numba makes a float of an unsigned and a signed one.
_U1, _U2, _U3, _U4, _U5, _U6, _U7 = (np.uint64(number) for number in range(1, 8))
_U8, _U16, _U24, _U32, _U40, _U48, _U56 = (np.uint64(8 * number) for number in range(1, 8))


@kernel_part
def word_at(buffer: NDArray[np.uint8], position: int) -> np.uint64:
    """Return the eight bytes from ``position`` on as a little-endian number: one load."""
    at = np.uint64(position)
    return (
        np.uint64(buffer[at])
        | (np.uint64(buffer[at + _U1]) << _U8)
        | (np.uint64(buffer[at + _U2]) << _U16)
        | (np.uint64(buffer[at + _U3]) << _U24)
        | (np.uint64(buffer[at + _U4]) << _U32)
        | (np.uint64(buffer[at + _U5]) << _U40)
        | (np.uint64(buffer[at + _U6]) << _U48)
        | (np.uint64(buffer[at + _U7]) << _U56)
    )


@kernel_part
def put_word(buffer: NDArray[np.uint8], position: int, word: np.uint64) -> None:
    """Write a number as the eight bytes from ``position`` on, little-endian: one store."""
    at = np.uint64(position)
    buffer[at] = word
    buffer[at + _U1] = word >> _U8
    buffer[at + _U2] = word >> _U16
    buffer[at + _U3] = word >> _U24
    buffer[at + _U4] = word >> _U32
    buffer[at + _U5] = word >> _U40
    buffer[at + _U6] = word >> _U48
    buffer[at + _U7] = word >> _U56


@kernel_part
def rotated(word: np.uint64, bits: int) -> np.uint64:
    """Return ``word`` rotated left by 1 to 63 bits."""
    return np.uint64((word << np.uint64(bits)) | (word >> np.uint64(64 - bits)))
