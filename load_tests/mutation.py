"""Bytes changed by chance: what both fuzzers do to what they begin from."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

Replace = Callable[[random.Random, bytearray], None]


def change_bytes(
    chance: random.Random, data: bytearray, others: Sequence[bytes], tokens: Sequence[bytes], replace_value: Replace
) -> None:
    """Change one stretch of ``data`` in place: by chance, a token, a piece of one of ``others``, or a whole value.

    ``replace_value`` puts a token in the place of one value, as the format at hand writes it.
    """
    first = chance.randrange(len(data) + 1)
    stop = min(len(data), first + chance.choice((1, 1, 2, 8, 40)))
    change = chance.randrange(7)
    if change == 0:
        data[first:stop] = chance.randbytes(stop - first)
    elif change == 1:
        del data[first:stop]
    elif change == 2:
        data[first:first] = data[first:stop]
    elif change == 3:
        data[first:stop] = chance.choice(tokens)
    elif change == 4:
        other = chance.choice(others)
        begin = chance.randrange(len(other))
        data[first:stop] = other[begin : begin + stop - first]
    elif change == 5 and first < len(data):
        data[first] ^= 1 << chance.randrange(8)
    else:
        replace_value(chance, data)
