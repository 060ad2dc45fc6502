"""A batch is its rows one by one: cut anywhere, given the log time at the cut, decoding says the same."""

from __future__ import annotations

import random
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from load_tests.fuzzing.decoding import PARTITIONS, batch_of, mutate, sound_events
from load_tests.fuzzing.scanning import plain
from stream.columns import Columns, columns_of
from stream.events import decode
from stream.features import NO_TAXONOMY
from stream.interfaces import Authority, Decoded
from stream.records import KIND
from stream.signatures import Keyring
from stream.spans import Spans
from tests.logs import TOPIC
from tests.signed_logs import generate_signed

# The names in the plural are arrays.
ARRAYS = [field.name for field in fields(Columns) if field.name.endswith("s")]


def rows_of(columns: Columns, first: int, stop: int) -> Columns:
    """Return a part of a batch over the same buffer."""
    arrays = {name: getattr(columns, name)[first:stop] for name in ARRAYS}
    return Columns(columns.partition, columns.epoch, first, stop, columns.buffer, **arrays)


def content(decoded: Decoded) -> dict[str, Any]:
    """Return a decoded batch as plain lists."""
    values = {field.name: getattr(decoded, field.name) for field in fields(Decoded)}
    lists = {name: list(value) for name, value in values.items() if isinstance(value, Spans)}
    NO_TAXONOMY.read(decoded.details, decoded.kinds, 0, len(decoded), decoded.signals, decoded.unknown)
    lists |= {name: value.tolist() for name, value in values.items() if isinstance(value, np.ndarray)}
    lists["signals"] = [signal.tobytes() for signal in decoded.signals]
    return {**values, **lists, "details": plain(decoded.details).tolist()}


def joined(parts: list[Decoded]) -> dict[str, Any]:
    """Return the parts as one batch."""
    whole: dict[str, Any] = {field.name: [] for field in fields(Decoded)}
    whole["activations"] = {}
    whole["authority"] = parts[-1].authority
    for part in parts:
        first = len(whole["kinds"])
        whole["activations"].update({first + row: value for row, value in part.activations.items()})
        for name, values in content(part).items():
            if name not in {"activations", "authority"}:
                whole[name] += values
    return whole


def batch(seed: int) -> Columns:
    chance = random.Random(seed)
    events = sound_events(chance)
    values = [
        event if chance.random() < 0.5 else mutate(chance, event, events) for event in chance.choices(events, k=40)
    ]
    return batch_of(chance, values)


@pytest.mark.parametrize("seed", range(40))
def test_any_cut_gives_the_same_rows(seed: int) -> None:
    chance = random.Random(-seed)
    before = chance.choice([0, 1_700_000_000_000])
    agree(batch(seed), PARTITIONS, before, None, chance)


@pytest.mark.parametrize("seed", range(1000, 1020))
def test_any_cut_gives_the_same_rows_under_rotating_keys(seed: int) -> None:
    log = generate_signed(seed)
    keyring = Keyring(log.secrets)
    columns = columns_of(
        log.partition,
        [row.offset for row in log.rows],
        [row.append_time or 0 for row in log.rows],
        [row.key for row in log.rows],
        [row.value for row in log.rows],
        [row.headers for row in log.rows],
    )
    agree(columns, log.count, 0, Authority(TOPIC, keyring, keyring.root, {}), random.Random(-seed))


def agree(columns: Columns, count: int, before: int, authority: Authority | None, chance: random.Random) -> None:
    """Decode rows whole and cut, handing on what a cut leaves, and compare."""
    whole = content(decode(columns, count, before, authority))
    n = len(columns)
    for cuts in (range(n), sorted(chance.sample(range(n), 5)), [chance.randrange(n)]):
        bounds = [0, *cuts, n]
        parts: list[Decoded] = []
        now, by = before, authority
        for first, stop in pairwise(bounds):
            parts.append(decode(rows_of(columns, first, stop), count, now, by))
            now = int(parts[-1].now[-1]) if stop > first else now
            by = parts[-1].authority
        assert joined(parts) == whole


@pytest.mark.parametrize("seed", range(40))
def test_log_time_is_the_largest_append_time_or_tick_so_far(seed: int) -> None:
    columns = batch(seed)
    decoded = decode(columns, PARTITIONS, 0)
    now = 0
    for row in range(len(columns)):
        if columns.log_times[row]:
            now = max(now, int(columns.log_times[row]))
        elif decoded.kinds[row] == KIND["clock.tick"]:
            now = max(now, int(decoded.times[row]))
        assert decoded.now[row] == now


def test_decoding_changes_no_input() -> None:
    columns = batch(1)
    before = {name: getattr(columns, name).copy() for name in ARRAYS}
    decode(columns, PARTITIONS, 0)
    assert all((getattr(columns, name) == array).all() for name, array in before.items())
