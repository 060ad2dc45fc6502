"""Mutated headers and outbox rows, as a broken Redis, or somebody's hand in it, would give them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from typing import Final

import orjson

from load_tests.fuzzing.mutation import change_bytes, change_json
from load_tests.fuzzing.promises import expect, held_to
from stream.activation import place
from stream.errors import StateMismatchError
from stream.records import CONTENT_KINDS, OUTPUTS, Header, OutboxRow

HEADERS: Final = tuple(
    header.to_bytes()
    for header in (
        Header("p8vN5dJ8T0mXkq1wX1nT1g", 8, "", 0, 0),
        Header(
            *("p8vN5dJ8T0mXkq1wX1nT1g", 8, "owner-1", 100, 12_345, 1_795_555_555_000),
            slots={"model": [["support", "ab" * 32], None], "campaign": [["welcome", "cd" * 32]], "policy": []}
            | {"taxonomy": [["words", "ef" * 32]]},
            sequences={"triggers": 17, "rejects": 3, "forwards": 0},
            origins={"3": 17, "5": 0},
            restoring=True,
        ),
    )
)
ROWS: Final = tuple(
    row.to_bytes()
    for row in (
        OutboxRow(1, 3, b"voter-1", b'{"specversion":"1.0"}', (("groundswell-sequence", b"1"), ("reason", b"\xff"))),
        OutboxRow(1 << 40, 0, None, None, ()),
        OutboxRow(7, 3, b"", b"x" * 3000, (("a", b""),)),
        OutboxRow(8, 3, b"voter-1", b"value").tombstone(),
    )
)
TOKENS: Final = (
    *[b"null", b"true", b"NaN", b"1e999", b"-1", b"1.0", b"18446744073709551616", b"[]", b"{}", b'""', b"[[]]"],
    *[b'"\\ud800"', b"\\", b'"', b"\x00", b"\xff", b"\xed\xa0\x80", b"[" * 2000, b"9" * 500, b"x" * 5000],
    *[b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b'[["a","b"]]', b"[[1,2]]"],
)


def mutate(chance: random.Random, sound: tuple[bytes, ...]) -> bytes:
    """Return one of ``sound`` with a few stretches of bytes changed, or other bytes altogether."""
    if chance.random() < 0.02:
        return chance.randbytes(chance.randrange(64))
    data = bytearray(chance.choice(sound))
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        change_bytes(chance, data, sound, TOKENS, _replace_value)
    return bytes(data)


def _replace_value(chance: random.Random, data: bytearray) -> None:
    """Put a token in the place of what follows a colon, or of four bytes that may be a length."""
    colons = [place for place, byte in enumerate(data) if byte == 0x3A]
    first = chance.choice(colons) + 1 if colons and chance.random() < 0.7 else 4 * chance.randrange(5)
    data[first : first + 4] = chance.choice(TOKENS)


def try_headers(
    chance: random.Random, inputs: int, reading: Callable[[bytes], Header] = Header.from_bytes
) -> Counter[str]:
    """Read mutated headers; one that is accepted can be gone on with and comes back from its own bytes."""
    counts: Counter[str] = Counter()
    for _ in range(inputs):
        if chance.random() < 0.5:
            data = orjson.dumps(change_json(chance, orjson.loads(chance.choice(HEADERS))))
        else:
            data = mutate(chance, HEADERS)
        with held_to("header", data, (StateMismatchError,), counts):
            header = reading(data)
            for kind in CONTENT_KINDS:
                place(header.slots[kind], [], kind)
            advanced = deepcopy(header)
            advanced.offset = min(advanced.offset + 1, (1 << 63) - 1)
            for output in OUTPUTS:
                expect(advanced.sequences[output] + 1 > 0, f"the sequence of {output} cannot be", data)
            expect(0 <= header.offset < 1 << 63 and header.partition_count > 0, "the offset cannot be", data)
            expect(reading(header.to_bytes()) == header, "the header is another when read again", data)
            reading(advanced.to_bytes())
    return counts


def try_rows(
    chance: random.Random, inputs: int, reading: Callable[[bytes], OutboxRow] = OutboxRow.from_bytes
) -> Counter[str]:
    """Read mutated outbox rows; one that is accepted is what Kafka takes, and comes back from its own bytes."""
    counts: Counter[str] = Counter()
    for _ in range(inputs):
        data = mutate(chance, ROWS)
        with held_to("outbox row", data, (StateMismatchError,), counts):
            row = reading(data)
            for part in (row.key, row.value):
                expect(part is None or (isinstance(part, bytes) and part in data), "a part is not of the row", data)
            for name, text in row.headers:
                expect(isinstance(name, str) and isinstance(text, bytes), "a header cannot be sent", data)
                name.encode()
            expect(reading(row.to_bytes()) == row, "the row is another when read again", data)
            reading(row.tombstone().to_bytes())
    return counts
