"""XXH3 with 64 bits, seed 0 and the default secret, of up to 240 bytes: it names events and draws experiments' voters.

Source: the XXH3 specification, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md, sections "Small inputs"
and "Medium inputs". Longer inputs, for which there is another algorithm, are left to the xxhash package.
"""

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel_part
from stream.words import rotated, word_at

MAX_HASHED_BYTES = 240

_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
_SECRET_AT = np.array([int.from_bytes(_SECRET[at : at + 8], "little") for at in range(len(_SECRET) - 7)], np.uint64)
"""The eight bytes of the secret from each place on, as a little-endian number."""
_FLIP_0 = np.uint64(_SECRET_AT[56] ^ _SECRET_AT[64])
_FLIP_3 = np.uint64((_SECRET_AT[0] ^ (_SECRET_AT[0] >> np.uint64(32))) & np.uint64(0xFFFFFFFF))
_FLIP_8 = np.uint64(_SECRET_AT[8] ^ _SECRET_AT[16])
_FLIP_16_LOW = np.uint64(_SECRET_AT[24] ^ _SECRET_AT[32])
_FLIP_16_HIGH = np.uint64(_SECRET_AT[40] ^ _SECRET_AT[48])
_PRIME_1 = np.uint64(0x9E3779B185EBCA87)
_PRIME_2 = np.uint64(0xC2B2AE3D27D4EB4F)
_PRIME_3 = np.uint64(0x165667B19E3779F9)
_MIX_1 = np.uint64(0x165667919E3779F9)
_MIX_2 = np.uint64(0x9FB21C651E98DF25)
_LOW_HALF = np.uint64(0xFFFFFFFF)
# Numba makes a float of an unsigned and a signed number.
_U8, _U16, _U24, _U32 = (np.uint64(number) for number in (8, 16, 24, 32))
_U28, _U29, _U33, _U35, _U37 = (np.uint64(number) for number in (28, 29, 33, 35, 37))


@kernel_part
def _half_at(buffer: NDArray[np.uint8], position: int) -> np.uint64:
    """Return the four bytes from ``position`` on as a little-endian number."""
    half = np.uint64(buffer[position + 3])
    for place in range(position + 2, position - 1, -1):
        half = (half << _U8) | np.uint64(buffer[place])
    return half


@kernel_part
def _multiply_and_fold(left: np.uint64, right: np.uint64) -> np.uint64:
    """Return the low half of the product of 128 bits, XOR its high half: from four products of 64 bits."""
    low = (left & _LOW_HALF) * (right & _LOW_HALF)
    cross = (left >> _U32) * (right & _LOW_HALF)
    other = (left & _LOW_HALF) * (right >> _U32)
    high = (left >> _U32) * (right >> _U32)
    middle = (low >> _U32) + (cross & _LOW_HALF) + other
    high += (cross >> _U32) + (middle >> _U32)
    return ((middle << _U32) | (low & _LOW_HALF)) ^ high


@kernel_part
def _mix_16_bytes(buffer: NDArray[np.uint8], position: int, secret: int) -> np.uint64:
    return _multiply_and_fold(
        word_at(buffer, position) ^ _SECRET_AT[secret],
        word_at(buffer, position + 8) ^ _SECRET_AT[secret + 8],
    )


@kernel_part
def _avalanche(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> _U37)) * _MIX_1
    return value ^ (value >> _U32)


@kernel_part
def _avalanche_as_xxh64(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> _U33)) * _PRIME_2
    value = (value ^ (value >> _U29)) * _PRIME_3
    return value ^ (value >> _U32)


@kernel_part
def _bytes_swapped(value: np.uint64) -> np.uint64:
    swapped = np.uint64(0)
    for _ in range(8):
        swapped = (swapped << _U8) | (value & np.uint64(0xFF))
        value >>= _U8
    return swapped


@kernel_part
def _hash_small(buffer: NDArray[np.uint8], start: int, length: int) -> np.uint64:
    """Hash up to 16 bytes."""
    size = np.uint64(length)
    if length > 8:
        low = word_at(buffer, start) ^ _FLIP_16_LOW
        high = word_at(buffer, start + length - 8) ^ _FLIP_16_HIGH
        return _avalanche(size + _bytes_swapped(low) + high + _multiply_and_fold(low, high))
    if length > 3:
        halves = (_half_at(buffer, start) << _U32) + _half_at(buffer, start + length - 4)
        value = halves ^ _FLIP_8
        value = (value ^ rotated(value, 49) ^ rotated(value, 24)) * _MIX_2
        value = (value ^ ((value >> _U35) + size)) * _MIX_2
        return value ^ (value >> _U28)
    if length > 0:
        value = np.uint64(buffer[start]) << _U16
        value |= np.uint64(buffer[start + (length >> 1)]) << _U24
        value |= np.uint64(buffer[start + length - 1]) | (size << _U8)
        return _avalanche_as_xxh64(value ^ _FLIP_3)
    return _avalanche_as_xxh64(_FLIP_0)


@kernel_part
def _hash_medium(buffer: NDArray[np.uint8], start: int, length: int) -> np.uint64:
    """Hash 17 to 240 bytes: up to 128 from both ends towards the middle, more from the start on in two rounds."""
    value = np.uint64(length) * _PRIME_1
    end = start + length
    if length <= 128:
        for pair in range((length - 1) // 32 + 1):
            value += _mix_16_bytes(buffer, start + 16 * pair, 32 * pair)
            value += _mix_16_bytes(buffer, end - 16 * pair - 16, 32 * pair + 16)
        return _avalanche(value)
    for place in range(8):
        value += _mix_16_bytes(buffer, start + 16 * place, 16 * place)
    value = _avalanche(value)
    for place in range(8, length // 16):
        value += _mix_16_bytes(buffer, start + 16 * place, 16 * (place - 8) + 3)
    return _avalanche(value + _mix_16_bytes(buffer, end - 16, 136 - 17))


@kernel_part
def xxh3_64(buffer: NDArray[np.uint8], start: int, stop: int) -> np.uint64:
    """Return the XXH3 hash of ``buffer[start:stop]``, at most 240 bytes."""
    length = stop - start
    if length <= 16:
        return _hash_small(buffer, start, length)
    return _hash_medium(buffer, start, length)
