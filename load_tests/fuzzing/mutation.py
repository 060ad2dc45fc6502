"""Bytes and JSON changed by chance: what the fuzzers do to what they begin from."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

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


ODD_VALUES: Final[tuple[Any, ...]] = (
    *[None, True, False, 0, 1, -1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 1.0, 0.5, 1e300, -0.0],
    *["", "x", "1", "-1", "\x00", "\u2028", "\N{BALLOT BOX WITH BALLOT}", "x" * 300, "../../etc/passwd"],
    *[[], {}, [[]], [None], [{}], {"": None}, [["a", "b"]], [["a"]], {"a": 1}, [0] * 50],
)


def change_json(chance: random.Random, document: Any) -> Any:
    """Return a copy of a JSON document with one of its values, at any depth, put out, doubled or made another."""
    if isinstance(document, dict) and document and chance.random() < 0.85:
        changed = dict(document)
        name = chance.choice(list(document))
        draw = chance.random()
        if draw < 0.1:
            del changed[name]
        elif draw < 0.15:
            changed[chance.choice(("x", "", name + "x"))] = changed.pop(name)
        else:
            changed[name] = change_json(chance, document[name])
        return changed
    if isinstance(document, list) and document and chance.random() < 0.85:
        items = list(document)
        place = chance.randrange(len(items))
        draw = chance.random()
        items[place : place + 1] = (
            [] if draw < 0.1 else [items[place]] * 2 if draw < 0.2 else [change_json(chance, items[place])]
        )
        return items
    if isinstance(document, int) and not isinstance(document, bool) and chance.random() < 0.4:
        return document + chance.choice((-1, 1, 1000, -1000, 1 << 40))
    return chance.choice(ODD_VALUES)
