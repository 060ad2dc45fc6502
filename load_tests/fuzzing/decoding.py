"""Mutated bytes through decoding: whatever they are, each row is accepted or has its reason, and nothing is raised."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import orjson

from load_tests.fuzzing.mutation import change_bytes
from load_tests.fuzzing.promises import BrokenPromiseError
from stream.columns import Columns, columns_of
from stream.events import decode
from stream.interfaces import Decoded
from stream.records import EVENT_TYPES, KIND, MAX_EVENT_BYTES, MAX_VOTER_BYTES, REJECT_REASONS

LOG_MS: Final = 1_795_555_555_000
PARTITIONS: Final = 7
SENTINEL: Final = orjson.dumps(
    {"specversion": "1.0", "id": "sentinel", "source": "fuzz", "type": "social.like", "subject": "sentinel"}
).replace(b"fuzz", b"f\\u0075zz")
"""A sound event between the mutated ones: they must not touch it. Its escape has all kernels compiled by any batch."""

TOKENS: Final = (
    *[b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0", b"1.0", b"18446744073709551616", b"[]", b"{}", b'""'],
    *[
        b'"\\ud800"',
        b'"\\u0000"',
        b"\\",
        b'"',
        b"\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"[" * 2000,
        b"x" * 300,
    ],
    *[b"clock.tick", b"config.activated", b"2026-11-24T21:25:55Z", b"9999-12-31T23:59:60+99:99", b"\xf0\x9f\x97\xb3"],
)


TEXTS: Final = ("", "0", "9", "-", ":", ".", "Z", "T", "\n", "\0", "\x7f", "ü", "🗳", " ", "x" * 64, "x" * 300)
VALUES: Final[tuple[Any, ...]] = (
    *[None, True, False, 0, 1, -1, 2**63, 1.0, 0.5, 1e300, "", "x", "1.0", [], {}, [[]], [{}], {"": None}, "ü" * 40],
    *["x" * 65, "x" * 257, "x" * 2049, "x" * 10_001, "2026-11-25T21:25:55Z", "9999-12-31T23:59:59.999999-23:59"],
    *EVENT_TYPES,
)


def sound_events(chance: random.Random) -> list[bytes]:
    """Return one event of each type, all fit; without an authority decoding accepts all but the rotation of keys."""
    content = {"kind": "model", "name": "support", "sha256": "0123456789abcdef" * 4}
    fields: dict[str, dict[str, Any]] = {
        "donation.completed": {"amount": 12.5, "currency": "EUR", "recurring": False},
        "event.rsvp": {"event": "rally", "answer": "yes", "guests": 2},
        "config.activated": {"engine": 1, "contents": [content, {**content, "kind": "campaign"}]},
        "keys.rotated": {"keys": [{"id": "key-1", "fingerprint": "0123456789abcdef" * 2}]},
        "social.comment": {"text": "Grüße 🗳", "post": "p-1"},
    }
    return [
        orjson.dumps(
            {
                "specversion": "1.0",
                "id": f"e-{chance.randrange(10**9)}",
                "source": "https://tracker.example/site",
                "type": name,
                "subject": f"voter-{chance.randrange(10**6)}",
                "time": "2026-11-24T21:25:54.250+01:00",
                "datacontenttype": "application/json",
                "data": fields.get(name, {"channel": "email", "url": "https://example.org/?a=b", "platform": None}),
            }
        )
        for name in EVENT_TYPES
    ]


def mutate(chance: random.Random, value: bytes, events: Sequence[bytes]) -> bytes:
    """Return ``value``, a JSON object, changed: a member (it stays JSON), a few bytes, or other bytes altogether."""
    draw = chance.random()
    if draw < 0.02:
        return chance.randbytes(chance.randrange(64))
    if draw < 0.5:
        return _change_member(chance, value)
    data = bytearray(value)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        change_bytes(chance, data, events, TOKENS, _replace_value)
    if chance.random() < 0.005:
        data += b" " * MAX_EVENT_BYTES
    return bytes(data)


def _change_member(chance: random.Random, value: bytes) -> bytes:
    """Put an odd value in the place of one member of the object or of its data, or take it away."""
    event: dict[str, Any] = orjson.loads(value)
    target = event["data"] if event["data"] and chance.random() < 0.4 else event
    name = chance.choice(list(target))
    if chance.random() < 0.2:
        del target[name]
    elif isinstance(target[name], str) and chance.random() < 0.5:
        place = chance.randrange(len(target[name]) + 1)
        target[name] = target[name][:place] + chance.choice(TEXTS) + target[name][place + chance.randrange(2) :]
    else:
        target[name] = chance.choice(VALUES)
    return orjson.dumps(event)


def _replace_value(chance: random.Random, data: bytearray) -> None:
    """Put a token in the place of what follows a colon, in place: some of it stays JSON."""
    colons = [place for place, byte in enumerate(data) if byte == 0x3A]
    if colons:
        first = chance.choice(colons) + 1
        ends = [place for place in (data.find(b",", first), data.find(b"}", first)) if place >= 0]
        data[first : min(ends, default=len(data))] = chance.choice(TOKENS)


def batch_of(chance: random.Random, values: Sequence[bytes | None]) -> Columns:
    """Return the values as rows of one batch, some without append time, some forwarded; sentinels in between."""
    rows = [row for value in values for row in (value, SENTINEL)]
    n = len(rows)
    forwarded = [[("groundswell-origin", b"3:17")] if chance.random() < 0.2 else [] for _ in rows]
    forwarded[1::2] = [[] for _ in values]
    log_times = [0 if chance.random() < 0.3 else LOG_MS + chance.randrange(-5000, 5000) for _ in rows]
    return columns_of(chance.randrange(PARTITIONS), range(n), log_times, [None] * n, rows, forwarded)


def examine(columns: Columns, decoded: Decoded) -> None:
    """Raise BrokenPromiseError where a row is neither a sound event nor rejected with a reason."""
    sentinels = np.arange(1, len(columns), 2)
    if set(decoded.reject[sentinels].tolist()) != {0} or set(decoded.ids.take(sentinels)) != {b"sentinel"}:
        message = "a mutated row touched the sound one behind it"
        raise BrokenPromiseError(message)
    before = LOG_MS
    for row in range(len(columns)):
        voter = decoded.voters[row]
        kind = int(decoded.kinds[row])
        rejected = decoded.reject[row] != 0
        control = KIND["clock.tick"] <= kind <= KIND["keys.rotated"]
        promises = (
            0 <= decoded.reject[row] < len(REJECT_REASONS),
            rejected == (kind == -1),
            (voter == b"") == (rejected or control),
            len(voter) <= MAX_VOTER_BYTES,
            (decoded.homes[row] == -1) == (rejected or control),
            (decoded.ids[row] == b"") == rejected,
            decoded.hashes[row] != 0,
            decoded.now[row] >= before,
            (row in decoded.activations) == (kind == KIND["config.activated"]),
        )
        if not all(promises):
            message = f"promise {promises.index(False)} is broken for {columns.value(row)[:2000]!r}"
            raise BrokenPromiseError(message, columns.value(row))
        before = int(decoded.now[row])


def try_rows(
    chance: random.Random, inputs: int, decoding: Callable[[Columns, int, int], Decoded] = decode
) -> Counter[str]:
    """Decode ``inputs`` mutated values as one batch; return how many came to each reason ("accepted" for none).

    Raises BrokenPromiseError, naming the bytes, for the first row or batch that broke a promise.
    """
    events = sound_events(chance)
    values = [mutate(chance, chance.choice(events), events) if chance.random() < 0.99 else None for _ in range(inputs)]
    columns = batch_of(chance, values)
    try:
        decoded = decoding(columns, PARTITIONS, LOG_MS)
    except Exception as error:
        culprit = _culprit(values, decoding)
        message = f"decoding raised {error!r} for {culprit[:2000]!r}"
        raise BrokenPromiseError(message, culprit) from error
    examine(columns, decoded)
    return Counter(REJECT_REASONS[code] or "accepted" for code in decoded.reject[::2].tolist())


def _culprit(values: Sequence[bytes | None], decoding: Callable[[Columns, int, int], Decoded]) -> bytes:
    """Return the first value that cannot be decoded alone; b"" where each one can."""
    for value in values:
        try:
            decoding(columns_of(0, [0], [LOG_MS], [None], [value], [()]), PARTITIONS, LOG_MS)
        except Exception:  # noqa: BLE001, RUF100 (whatever it is, this value is the one)
            return value or b""
    return b""
