"""The loops of the index over flat arrays: voter ids to slots."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel, kernel_part
from stream.prefetching import AHEAD, prefetch
from stream.records import MAX_VOTER_BYTES
from stream.words import rotated, word_at

# A kernel reads module constants at compile time.
_NAME_BYTES = MAX_VOTER_BYTES
_BUCKET_BYTES = 8

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


@kernel_part
def _round(
    v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Return the state after one SipRound."""
    v0 = np.uint64(v0 + v1)
    v2 = np.uint64(v2 + v3)
    v1 = rotated(v1, 13) ^ v0
    v3 = rotated(v3, 16) ^ v2
    v0 = rotated(v0, 32)
    v2 = np.uint64(v2 + v1)
    v0 = np.uint64(v0 + v3)
    v1 = rotated(v1, 17) ^ v2
    v3 = rotated(v3, 21) ^ v0
    v2 = rotated(v2, 32)
    return v0, v1, v2, v3


@kernel_part
def siphash(buffer: NDArray[np.uint8], start: int, stop: int, key: NDArray[np.uint64]) -> np.uint64:
    """Return SipHash-1-3 of ``buffer[start:stop]`` under ``key`` (uint64[2]).

    Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012, section 2; with one round for each word and
    three at the end, as hash tables use it. Who does not know the key cannot choose ids that meet in one place.
    """
    v0 = key[0] ^ np.uint64(0x736F6D6570736575)
    v1 = key[1] ^ np.uint64(0x646F72616E646F6D)
    v2 = key[0] ^ np.uint64(0x6C7967656E657261)
    v3 = key[1] ^ np.uint64(0x7465646279746573)
    position = start
    while stop - position >= 8:
        word = word_at(buffer, position)
        v3 ^= word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
        position += 8
    word = np.uint64(stop - start) << np.uint64(56)
    for place in range(stop - position):
        word |= np.uint64(buffer[position + place]) << np.uint64(8 * place)
    v3 ^= word
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0 ^= word
    v2 ^= np.uint64(0xFF)
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return np.uint64(v0 ^ v1 ^ v2 ^ v3)


@kernel_part
def _bucket_of(code: np.uint64, slot: int) -> np.uint64:
    """Return what stands in the table for a slot whose id has the hash ``code``: never 0."""
    return np.uint64((code >> _HALF << _HALF) | np.uint64(slot + 1))


@kernel_part
def _slot_in(bucket: np.uint64) -> np.int64:
    """Return the slot that a bucket in use stands for."""
    return np.int64(bucket & _LOW) - 1


@kernel_part
def _code_of(names: NDArray[np.uint8], slot: Any, key: NDArray[np.uint64]) -> np.uint64:
    """Return the hash of a slot's id."""
    return siphash(names[slot], 0, int(names[slot, _NAME_BYTES]), key)


@kernel_part
def _next_slot(free: NDArray[np.int64], counts: NDArray[np.int64]) -> Any:
    """Give out a slot: the one given back last, else one that never was in use."""
    if counts[0] > 0:
        counts[0] -= 1
        return free[counts[0]]
    counts[1] += 1
    return counts[1] - 1


@kernel_part
def _is_named(names: NDArray[np.uint8], slot: np.int64, buffer: NDArray[np.uint8], start: np.int64) -> bool:
    """Return whether a slot's name, of a length known to be equal, has the bytes from ``buffer[start]`` on."""
    same = True
    for place in range(int(names[slot, _NAME_BYTES])):
        same &= names[slot, place] == buffer[start + place]
    return same


@kernel
def find_slots(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    key: NDArray[np.uint64],
    buckets: NDArray[np.uint64],
    names: NDArray[np.uint8],
    free: NDArray[np.int64],
    counts: NDArray[np.int64],
    slots: NDArray[np.int64],
    fresh: NDArray[np.int64],
) -> int:
    """Write the slot of each id into ``slots`` (int64[n], -1 for an empty id) and give one to each that has none.

    Ids are ``buffer[starts:stops]`` (int64[n]), at most MAX_VOTER_BYTES each. ``buckets`` (uint64, a power of two of
    them, fewer than half in use) is the table, probed linearly: 0 for an empty bucket, else the upper 32 bits of the
    id's hash and the slot plus 1. ``names`` (uint8[slots, MAX_VOTER_BYTES + 1]) holds each slot's id, its length last.
    ``free`` (int64) holds the slots given back, ``counts`` how many of them there are and how many slots were ever
    given out. Returns how many ids are new; their slots are at the beginning of ``fresh`` (int64[n]), in the order in
    which they were met, which does not depend on the hash.
    """
    mask = np.uint64(len(buckets) - 1)
    found, rows = 0, len(starts)
    codes = np.empty(rows, np.uint64)
    # Each row has three turns, AHEAD apart: to ask for its bucket, to ask for the name of its slot, and to read both.
    for turn in range(rows + 2 * AHEAD):
        if turn < rows:
            codes[turn] = siphash(buffer, starts[turn], stops[turn], key)
            prefetch(buckets, int(codes[turn] & mask), 0, _BUCKET_BYTES)
        if AHEAD <= turn < rows + AHEAD:
            prefetch(names, int(_slot_in(buckets[codes[turn - AHEAD] & mask])), 0, _NAME_BYTES + 1)
        row = turn - 2 * AHEAD
        if row < 0:
            continue
        start = starts[row]
        length = stops[row] - start
        slots[row] = -1
        if length <= 0:
            continue
        code = codes[row]
        place = code & mask
        while True:
            bucket = buckets[place]
            if bucket == 0:
                slot = _next_slot(free, counts)
                buckets[place] = _bucket_of(code, slot)
                names[slot, _NAME_BYTES] = length
                for at in range(length):
                    names[slot, at] = buffer[start + at]
                fresh[found] = slot
                found += 1
                slots[row] = slot
                break
            if bucket >> _HALF == code >> _HALF:
                slot = _slot_in(bucket)
                if names[slot, _NAME_BYTES] == length and _is_named(names, slot, buffer, start):
                    slots[row] = slot
                    break
            place = (place + np.uint64(1)) & mask
    return found


@kernel
def release_slots(
    slots: NDArray[np.int64],
    key: NDArray[np.uint64],
    buckets: NDArray[np.uint64],
    names: NDArray[np.uint8],
    free: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Take the ids of ``slots`` (int64, each in use) out of the table of find_slots, and give the slots back.

    A bucket that empties is filled from those behind it, so that no probe ends early and nothing marks the deleted:
    Knuth, The Art of Computer Programming, volume 3, section 6.4, algorithm R.
    """
    mask = np.uint64(len(buckets) - 1)
    one = np.uint64(1)
    for slot in slots:
        place = _code_of(names, slot, key) & mask
        while _slot_in(buckets[place]) != slot:
            place = (place + one) & mask
        hole = place
        while True:
            place = (place + one) & mask
            bucket = buckets[place]
            if bucket == 0:
                break
            home = _code_of(names, _slot_in(bucket), key) & mask
            # It may move to the hole unless its own place lies behind the hole, going round.
            if ((place - home) & mask) >= ((place - hole) & mask):
                buckets[hole] = bucket
                hole = place
        buckets[hole] = np.uint64(0)
        names[slot, _NAME_BYTES] = 0
        free[counts[0]] = slot
        counts[0] += 1


@kernel
def rebuild_buckets(key: NDArray[np.uint64], buckets: NDArray[np.uint64], names: NDArray[np.uint8], high: int) -> None:
    """Enter the slots below ``high`` that have a name into ``buckets``, which are all empty, in place."""
    mask = np.uint64(len(buckets) - 1)
    for slot in range(high):
        if names[slot, _NAME_BYTES] > 0:
            code = _code_of(names, slot, key)
            place = code & mask
            while buckets[place] != 0:
                place = (place + np.uint64(1)) & mask
            buckets[place] = _bucket_of(code, slot)
