"""Events in all spellings, and mutated, through both ways of decoding: scanner and orjson give the same columns."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from load_tests.fuzzing.decoding import TOKENS
from load_tests.fuzzing.promises import BrokenPromiseError
from load_tests.fuzzing.spelling import some_event, write
from stream.columns import Columns, columns_of
from stream.details import TEXTS, Details
from stream.events import decode
from stream.features import CompiledTaxonomy, taxonomy_of
from stream.interfaces import Decoded
from stream.records import REJECT_REASONS
from stream.spans import Spans

LOG_MS: Final = 1_795_555_555_000
PARTITIONS: Final = 7
_EVENTS_BY_UNIT: Final = 12
_ESCAPED: Final = (
    rb'{"specversion":"1.0","id":"e\u002d1","source":"\/fuzz","type":"social.like","subject":"voter","data":{}}'
)
_BYTES: Final = b'{}[]",:\\/u0019.eE+-tfn \n\t\x00\x1f\x7f\x80\xbf\xc2\xc3\xa9\xe0\xed\xa0\xf0\xf4\xff"\\'


def difference(one: Decoded, other: Decoded) -> tuple[str, int] | None:
    """Return the first field, and of it the first row, in which two ways of decoding the same rows differ."""
    for field in fields(Decoded):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, Details):
            left, right = _plain(left), _plain(right)
        if isinstance(left, Spans):
            left, right = np.array([*left, b"."], object), np.array([*right, b"."], object)
        if isinstance(left, np.ndarray):
            if left.dtype != right.dtype or left.shape != right.shape:
                return field.name, 0
            rows = np.flatnonzero(left != right)
            if len(rows):
                return field.name, int(rows[0])
        elif left != right:
            return field.name, 0
    return None


def _plain(details: Details) -> NDArray[Any]:
    """Return all that is said of each row, wherever it stands."""
    rows = [
        (value["amount"], value["code"], *(details.text(row, place) for place in range(TEXTS)))
        for row, value in enumerate(details.values)
    ]
    plain = np.empty(len(rows), object)
    plain[:] = rows
    return plain


@cache
def _taxonomy() -> CompiledTaxonomy:
    return taxonomy_of((Path(__file__).parents[2] / "configs" / "taxonomy.toml").read_bytes())


def _read(columns: Columns, *, reference: bool) -> Decoded:
    """Decode one way, and say what the rows say under the taxonomy that comes with the package."""
    decoded = decode(columns, PARTITIONS, LOG_MS, reference=reference)
    _taxonomy().read(decoded.details, decoded.kinds, 0, len(columns), decoded.signals, decoded.unknown)
    return decoded


def mutate(chance: random.Random, value: bytes) -> bytes:
    """Return the bytes of an event with up to three places of them changed."""
    data = bytearray(value)
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3))):
        place = chance.randrange(len(data) + 1)
        draw = chance.randrange(8)
        if draw < 3:
            data[place : place + 1] = bytes((chance.choice(_BYTES),))
        elif draw == 3:
            data[place:place] = bytes((chance.choice(_BYTES),))
        elif draw == 4:
            del data[place : place + chance.choice((1, 1, 2, 9))]
        elif draw == 5:
            begin = chance.randrange(len(data) + 1)
            data[place:place] = data[begin : begin + chance.randrange(24)]
        elif draw == 6:
            data[place : place + 1] = chance.choice(TOKENS)
        elif data:
            data[place % len(data)] ^= 1 << chance.randrange(8)
    return bytes(data)


def batch_of(values: Sequence[bytes | None]) -> Columns:
    """Return values as the rows of a batch, all appended at LOG_MS."""
    n = len(values)
    return columns_of(3, range(n), [LOG_MS] * n, [None] * n, values, [()] * n)


def compare(values: Sequence[bytes | None]) -> Decoded:
    """Decode values both ways, and return what they came to; raise BrokenPromiseError, naming a row that differs."""
    columns = batch_of(values)
    decoded = _read(columns, reference=False)
    found = difference(decoded, _read(columns, reference=True))
    if found is not None:
        name, row = found
        value = columns.value(row)
        message = f"the scanner and orjson give other {name} in row {row} for {value[:2000]!r}"
        raise BrokenPromiseError(message, value)
    return decoded


@cache
def _compile() -> None:
    """Compile what only few inputs need, before any is measured."""
    compare([_ESCAPED, b"{}"])


def try_events(chance: random.Random, inputs: int) -> Counter[str]:
    """Decode mutated events both ways as one batch; return how many came to each reason ("accepted" for none)."""
    _compile()
    events = [write(chance, some_event(chance)).encode() for _ in range(_EVENTS_BY_UNIT)]
    decoded = compare([mutate(chance, chance.choice(events)) for _ in range(inputs)])
    return Counter(REJECT_REASONS[code] or "accepted" for code in decoded.reject.tolist())
