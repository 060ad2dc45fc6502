"""What names an event: the XXH3 hash of its source and id. Longer names are left to the xxhash package."""

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel
from stream.xxh3 import MAX_HASHED_BYTES, xxh3_64

_ONE = np.uint64(1)
_HASHED_BYTES = MAX_HASHED_BYTES


@kernel
def hash_names(
    buffer: NDArray[np.uint8],
    source_starts: NDArray[np.int64],
    source_stops: NDArray[np.int64],
    id_starts: NDArray[np.int64],
    id_stops: NDArray[np.int64],
    out: NDArray[np.uint64],
) -> None:
    """Write the hash of each source, NUL, id into ``out`` (uint64[n]), in place; the spans are of ``buffer`` (uint8).

    1 stands in the place of 0, and 0 for a name of more than 240 bytes.
    """
    name = np.empty(_HASHED_BYTES, np.uint8)
    for row in range(len(out)):
        source, end = source_starts[row], source_stops[row]
        first, stop = id_starts[row], id_stops[row]
        length = end - source + 1 + stop - first
        out[row] = 0
        if length <= _HASHED_BYTES:
            for place in range(end - source):
                name[place] = buffer[source + place]
            name[end - source] = 0
            for place in range(stop - first):
                name[end - source + 1 + place] = buffer[first + place]
            out[row] = max(xxh3_64(name, 0, length), _ONE)
