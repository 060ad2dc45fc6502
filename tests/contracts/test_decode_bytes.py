"""Whatever bytes the log holds: an answer for every row, the oracle's answer, and never an exception."""

from __future__ import annotations

import random

import pytest

from load_tests.fuzzing import BrokenPromiseError, run
from load_tests.fuzzing.decoding import PARTITIONS, batch_of, mutate, sound_events, try_rows
from stream.columns import Columns, columns_of
from stream.events import decode
from stream.interfaces import Decoded
from stream.records import EVENT_TYPES, KIND, REJECT_REASONS
from stream.spans import Spans
from tests.oracle import murmur2
from tests.oracle_events import read_event


def test_mutated_bytes_are_answered_and_reach_every_reason() -> None:
    counts = run("decode", 20_000, 4)
    assert counts.total() == 20_000
    # What needs a signature is mutated with its keys: tests/unit/events/test_authorising.py.
    assert set(counts) == {*REJECT_REASONS[1:], "accepted"} - {"not_authorised"}
    assert counts["accepted"] > 1000


def test_fuzzer_names_the_bytes_that_raise() -> None:
    def fragile(columns: Columns, partition_count: int, log_time_ms: int) -> Decoded:
        if b"NaN" in columns.buffer:
            message = "not a number"
            raise ValueError(message)
        return decode(columns, partition_count, log_time_ms)

    with pytest.raises(BrokenPromiseError, match=r"not a number.*NaN"):
        try_rows(random.Random(4), 2000, fragile)


def test_fuzzer_sees_a_row_that_is_called_what_it_is_not() -> None:
    def careless(columns: Columns, partition_count: int, log_time_ms: int) -> Decoded:
        decoded = decode(columns, partition_count, log_time_ms)
        decoded.voters = Spans.of([b"x" * 65, *decoded.voters][: len(decoded)])
        return decoded

    with pytest.raises(BrokenPromiseError, match="broken"):
        try_rows(random.Random(4), 100, careless)


def test_sound_events_are_accepted() -> None:
    events = sound_events(random.Random(4))
    n = len(events)
    decoded = decode(columns_of(0, range(n), [0] * n, [None] * n, events, [()] * n), 1, 0)
    reasons = {name: REJECT_REASONS[code] for name, code in zip(EVENT_TYPES, decoded.reject, strict=True)}
    assert reasons == {**dict.fromkeys(EVENT_TYPES, ""), "keys.rotated": "unknown_type"}
    assert decoded.kinds.tolist() == [-1 if name == "keys.rotated" else KIND[name] for name in EVENT_TYPES]


@pytest.mark.parametrize("seed", range(4))
def test_mutated_bytes_get_the_oracles_reason(seed: int) -> None:
    chance = random.Random(seed)
    events = sound_events(chance)
    values = [mutate(chance, chance.choice(events), events) for _ in range(400)]
    columns = batch_of(chance, values)
    decoded = decode(columns, PARTITIONS, 0)
    now = 0
    for row in range(len(columns)):
        now = max(now, int(columns.log_times[row]))
        expected = read_event(columns.value(row), now)
        if isinstance(expected, str):
            assert REJECT_REASONS[decoded.reject[row]] == expected, columns.value(row)
        else:
            home = murmur2(expected.voter.encode()) % PARTITIONS if expected.voter else -1
            if home not in (-1, columns.partition) and columns.origin_partitions[row] >= 0:
                assert REJECT_REASONS[decoded.reject[row]] == "wrong_partition"
                continue
            if expected.type == "clock.tick" and columns.log_times[row] == 0 and expected.time is not None:
                now = max(now, expected.time)
            assert decoded.reject[row] == 0, columns.value(row)
            assert decoded.kinds[row] == KIND[expected.type]
            texts = (decoded.voters[row], decoded.ids[row], decoded.sources[row])
            assert texts == (expected.voter.encode(), expected.id.encode(), expected.source.encode())
            assert decoded.times[row] == (now if expected.time is None else expected.time)
            assert decoded.homes[row] == home
        assert decoded.now[row] == now
