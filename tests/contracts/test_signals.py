"""What rows say, by both ways of reading and the kernel, against plain Python: under the shipped taxonomy and none."""

from __future__ import annotations

import random
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from load_tests.fuzzing.scanning import LOG_MS, batch_of
from load_tests.fuzzing.spelling import some_event, write
from stream.embedded.electorate import Electorate
from stream.events import decode
from stream.features import taxonomy_of
from stream.signals import SIGNAL
from tests.oracle_signals import say

SHIPPED = (Path(__file__).parents[2] / "configs" / "taxonomy.toml").read_bytes()
SENT = [value for _, value in Electorate(3, LOG_MS - 7_200_000, voters=500).until(LOG_MS - 3_600_000, 1500)]


def spelled(seed: int) -> list[bytes]:
    chance = random.Random(seed)
    return [write(chance, some_event(chance)).encode() for _ in range(1500)]


def found_in(signal: Any) -> dict[str, Any]:
    values = {name: signal[name].tolist() for name in SIGNAL.names or ()}
    return {name: value for name, value in values.items() if np.any(value)}


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize("file", [b"", SHIPPED], ids=["none", "shipped"])
@pytest.mark.parametrize("values", [SENT, spelled(1), spelled(2)], ids=["demo", "spelled-1", "spelled-2"])
def test_signals_are_what_plain_python_finds(values: list[bytes], file: bytes, reference: bool) -> None:
    taxonomy = tomllib.loads(file.decode())
    n = len(values)
    decoded = decode(batch_of(values), 1, LOG_MS, reference=reference)
    taxonomy_of(file).read(decoded.details, decoded.kinds, 0, n, decoded.signals, decoded.unknown)
    told: Counter[str] = Counter()
    for row, value in enumerate(values):
        if decoded.reject[row] == 0:
            event = orjson.loads(value)
            found = found_in(decoded.signals[row])
            assert found == say(event["type"], event.get("data"), taxonomy), value
            told.update(found.keys())
    assert set(told) >= {"side", "page", "device", "amount", "channel", "support", "answer", "region"}
