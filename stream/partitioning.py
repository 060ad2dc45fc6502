"""Which partition a voter's events belong to: murmur2, as Kafka's own clients compute it."""

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel, kernel_part

_M = np.uint32(0x5BD1E995)
_SEED = np.uint32(0x9747B28C)


@kernel_part
def murmur2(buffer: NDArray[np.uint8], start: int, stop: int) -> int:
    """Return Kafka's 32-bit murmur2 of ``buffer[start:stop]`` with the sign bit cleared.

    Source: ``org.apache.kafka.common.utils.Utils.murmur2`` and ``toPositive``.
    """
    length = stop - start
    h = _SEED ^ np.uint32(length)
    position = start
    while stop - position >= 4:
        k = (
            np.uint32(buffer[position])
            | (np.uint32(buffer[position + 1]) << np.uint32(8))
            | (np.uint32(buffer[position + 2]) << np.uint32(16))
            | (np.uint32(buffer[position + 3]) << np.uint32(24))
        )
        k = np.uint32(k * _M)
        k ^= k >> np.uint32(24)
        k = np.uint32(k * _M)
        h = np.uint32(h * _M)
        h ^= k
        position += 4
    rest = stop - position
    if rest == 3:
        h ^= np.uint32(buffer[position + 2]) << np.uint32(16)
    if rest >= 2:
        h ^= np.uint32(buffer[position + 1]) << np.uint32(8)
    if rest >= 1:
        h ^= np.uint32(buffer[position])
        h = np.uint32(h * _M)
    h ^= h >> np.uint32(13)
    h = np.uint32(h * _M)
    h ^= h >> np.uint32(15)
    return int(h) & 0x7FFFFFFF


@kernel
def partitions_of(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    partition_count: int,
    out: NDArray[np.int64],
) -> None:
    """Write the partition of each key span of ``buffer`` into ``out`` (int64, one for each span), in place."""
    for i in range(len(starts)):
        out[i] = murmur2(buffer, starts[i], stops[i]) % partition_count


def partition_of(key: bytes, partition_count: int) -> int:
    """Return the partition, 0 to ``partition_count - 1``, of one key."""
    found = np.empty(1, np.int64)
    partitions_of(np.frombuffer(key, np.uint8), np.zeros(1, np.int64), np.array([len(key)]), partition_count, found)
    return int(found[0])
