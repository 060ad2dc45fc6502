"""The hash of names against the xxhash package, at every length and anywhere in a buffer."""

from __future__ import annotations

import random

import numpy as np
import xxhash

from stream import xxh3
from stream.events.hash_kernels import hash_names
from stream.spans import Spans
from stream.xxh3 import MAX_HASHED_BYTES
from tests.parts import compiled

xxh3_64 = compiled(xxh3.xxh3_64)


def test_every_length_has_the_packages_hash() -> None:
    chance = random.Random(1)
    for length in range(MAX_HASHED_BYTES + 1):
        for text in (bytes(length), b"\xff" * length, *(chance.randbytes(length) for _ in range(4))):
            before = chance.randrange(9)
            data = np.frombuffer(b"x" * before + text + b"y", np.uint8)
            assert int(xxh3_64(data, before, before + length)) == xxhash.xxh3_64_intdigest(text)


def test_names_are_source_nul_id_and_longer_ones_are_left() -> None:
    chance = random.Random(2)
    sources = [chance.randbytes(chance.randrange(301)) for _ in range(600)]
    ids = [chance.randbytes(max(0, length - len(source))) for length, source in enumerate(sources)]
    texts = Spans.of([*sources, *ids])
    out = np.full(600, 7, np.uint64)
    hash_names(texts.buffer, texts.starts[:600], texts.stops[:600], texts.starts[600:], texts.stops[600:], out)
    names = [source + b"\0" + name for source, name in zip(sources, ids, strict=True)]
    expected = [xxhash.xxh3_64_intdigest(name) if len(name) <= MAX_HASHED_BYTES else 0 for name in names]
    assert out.tolist() == expected
    assert 100 < expected.count(0) < 500
