"""The gate's kernel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel
from stream.layout import bytes_of
from stream.prefetching import AHEAD, prefetch
from stream.records import (
    CONSENT_ERASED,
    CONSENT_GRANTED,
    CONSENT_NO,
    CONSENT_WITHDRAWN,
    CONSENT_YES,
    PRIVACY_ERASED,
    RECORD_VERSION,
    RING_LENGTH,
    USE_CONSENT,
    USE_DUPLICATE,
    USE_ERASE,
    USE_FOLD,
    USE_NOT,
    USE_SUPPRESSED,
)

# A kernel reads module constants at compile time.
_, _RING_STOP = bytes_of("version", "ring")


@kernel
def gate(
    records: NDArray[Any],
    slots: NDArray[np.int64],
    kinds: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    first: int,
    stop: int,
    use: NDArray[np.int64],
) -> None:
    """Write what each row from ``first`` to before ``stop`` may be used for into ``use`` (int64[n], USE_*).

    ``records`` (VOTER by slot) changes in place: version, consent, last_offset and the ring of event hashes.
    ``slots``, ``kinds``, ``offsets`` int64[n], ``hashes`` uint64[n]; a row whose slot is -1 is no voter's and
    touches no record. Rows are taken in order. An erasure clears the ring here; steps 5 and 7 clear their own
    fields when they come to its row, since rows before it are still to be folded and decided upon.
    """
    for i in range(first, stop):
        j = slots[i]
        prefetch(records, slots[min(i + AHEAD, stop - 1)], 0, _RING_STOP)
        use[i] = USE_NOT
        if j < 0:
            continue
        r = records[j]
        if r["consent"] == CONSENT_ERASED:
            use[i] = USE_SUPPRESSED
            continue
        ring = r["ring"]
        known = False
        for other in range(RING_LENGTH):
            if ring[other] == hashes[i]:
                known = True
        if known:
            use[i] = USE_DUPLICATE
            continue
        kind = kinds[i]
        if kind == PRIVACY_ERASED:
            ring[:] = 0
            r["ring_next"] = 0
            r["consent"] = CONSENT_ERASED
            use[i] = USE_ERASE
        else:
            place = np.int64(r["ring_next"])
            ring[place] = hashes[i]
            r["ring_next"] = (place + 1) % RING_LENGTH
            if kind == CONSENT_GRANTED:
                r["consent"] = CONSENT_YES
                use[i] = USE_CONSENT
            elif kind == CONSENT_WITHDRAWN:
                r["consent"] = CONSENT_NO
                use[i] = USE_CONSENT
            elif r["consent"] == CONSENT_NO:
                use[i] = USE_SUPPRESSED
            else:
                use[i] = USE_FOLD
        r["version"] = RECORD_VERSION
        r["last_offset"] = offsets[i]
