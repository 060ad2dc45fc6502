"""The checker itself: whatever is wrong in its input, it finds, and where nothing is, it is silent."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

import pytest

from load_tests.checker import Findings, Found, compare_output, compare_records, compare_totals, decide
from tests.logs import Generator, Log
from tests.oracle import Output, Partition
from tests.oracle_record import LAYOUT

TIMES = 200


@cache
def decided(seed: int = 7) -> tuple[Log, Partition, Mapping[str, int]]:
    """A log of a thousand rows, what the oracle makes of it, and who was erased where."""
    log = Generator(seed, (0, 2)).run(1000)
    oracle = Partition(0, 2, log.contents, "engagement.events", log.start)
    return log, oracle, decide(oracle, log.rows)


def sent(expected: Sequence[Output]) -> list[Found]:
    """The output topic as it should be, with a gap in its offsets where a marker stands."""
    return [Found(row.sequence + (row.sequence > 5), row.key, row.value, row.headers) for row in expected]


def judge(change: Callable[[list[Found]], object], output: str = "triggers") -> Findings:
    _, oracle, erased = decided()
    rows = sent(oracle.outputs[output])
    change(rows)
    findings = Findings()
    compare_output(output, oracle.outputs[output], rows, erased, findings)
    return findings


def wrong(findings: Findings) -> dict[str, int]:
    return {name: count for name, count in findings.wrong.items() if count}


def test_the_log_makes_enough_of_everything() -> None:
    _, oracle, erased = decided()
    assert len(oracle.outputs["triggers"]) > 20
    assert len(oracle.outputs["rejects"]) > 20
    assert erased


@pytest.mark.parametrize("output", ["triggers", "rejects"])
def test_what_had_to_be_sent_is_found_right(output: str) -> None:
    findings = judge(lambda rows: None, output)
    assert findings.is_clean
    assert findings.compared[output] > 20
    assert not findings.examples


@pytest.mark.parametrize("output", ["triggers", "rejects"])
def test_a_dropped_row_is_missing_wherever_it_was(output: str) -> None:
    count = len(decided()[1].outputs[output])
    for place in range(count):
        assert wrong(judge(lambda rows, at=place: rows.pop(at), output)) == {f"{output}_missing": 1}  # type: ignore[misc]


def test_a_row_sent_twice_is_doubled_wherever_it_comes_again() -> None:
    chance = random.Random(1)

    def change(rows: list[Found]) -> None:
        place = chance.randrange(len(rows))
        rows.insert(chance.randint(place, len(rows)), rows[place])

    for _ in range(TIMES):
        assert wrong(judge(change)) == {"triggers_doubled": 1}


def test_two_rows_that_changed_places_are_out_of_sequence() -> None:
    chance = random.Random(2)

    def change(rows: list[Found]) -> None:
        first, second = sorted(chance.sample(range(len(rows)), 2))
        rows[first], rows[second] = rows[second], rows[first]

    for _ in range(TIMES):
        found = wrong(judge(change))
        assert set(found) == {"triggers_out_of_sequence"}


def test_any_changed_byte_of_key_value_or_header_is_found() -> None:
    chance = random.Random(3)

    def altered(data: bytes) -> bytes:
        place = chance.randrange(len(data))
        return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]

    def change(rows: list[Found]) -> None:
        place = chance.randrange(len(rows))
        row = rows[place]
        name, value = row.headers[0]
        rows[place] = chance.choice(
            [
                replace(row, key=altered(row.key or b"?")),
                replace(row, value=altered(row.value or b"?")),
                replace(row, headers=((name, altered(value)), *row.headers[1:])),
                replace(row, headers=(*row.headers, ("more", b""))),
            ]
        )

    for _ in range(TIMES):
        assert wrong(judge(change)) == {"triggers_altered": 1}


def test_a_row_that_no_event_made_is_unexpected() -> None:
    count = len(decided()[1].outputs["triggers"])

    def numbered(sequence: bytes) -> Callable[[list[Found]], None]:
        return lambda rows: rows.append(replace(rows[-1], headers=(("groundswell-sequence", sequence),)))

    for sequence in (b"0", b"%d" % (count + 1), b"", b"one"):
        assert wrong(judge(numbered(sequence))) == {"triggers_unexpected": 1}
    assert wrong(judge(lambda rows: rows.append(replace(rows[-1], headers=())))) == {"triggers_unexpected": 1}


def test_a_tombstone_is_right_only_before_an_erasure_of_its_voter() -> None:
    _, oracle, erased = decided()
    triggers = oracle.outputs["triggers"]
    counted = [0, 0]
    for place, row in enumerate(triggers):
        headers = (("groundswell-sequence", b"%d" % row.sequence), ("groundswell-tombstone", b"1"))

        def change(rows: list[Found], at: int = place, headers: tuple[tuple[str, bytes], ...] = headers) -> None:
            rows[at] = replace(rows[at], key=None, value=None, headers=headers)

        is_right = erased.get((row.key or b"").decode(), -1) > row.made_at
        counted[is_right] += 1
        assert wrong(judge(change)) == ({} if is_right else {"triggers_altered": 1})
    assert counted[0] > 5


def test_each_lost_or_doubled_event_shows_in_its_voters_record() -> None:
    log, oracle, _ = decided()
    expected = oracle.records()
    chance = random.Random(4)
    folded = [row for row in log.rows if row.value and b'"social.' in row.value]
    seen: set[str] = set()
    for row in chance.sample(folded, 25):
        for repeat, kind in ((0, "events_lost"), (2, "events_applied_twice")):
            other = Partition(0, 2, log.contents, "engagement.events", log.start)
            decide(other, [each for each in log.rows for _ in range(repeat if each is row else 1)])
            findings = Findings()
            compare_totals(oracle.totals, other.totals, findings)
            assert wrong(findings)[kind] >= 1
            compare_records(expected, other.records(), findings)
            seen |= set(wrong(findings))
    assert {"events_lost", "events_applied_twice"} <= seen


def test_every_changed_record_is_found() -> None:
    _, oracle, _ = decided()
    expected = oracle.records()
    chance = random.Random(5)
    for voter in expected:
        data = bytearray(expected[voter])
        data[chance.randrange(LAYOUT.size)] ^= 1 << chance.randrange(8)
        findings = Findings()
        compare_records(expected, {**expected, voter: bytes(data)}, findings)
        assert sum(findings.wrong.values()) == 1
        findings = Findings()
        compare_records(expected, {name: record for name, record in expected.items() if name != voter}, findings)
        assert wrong(findings) == {"events_lost": 1}
    findings = Findings()
    compare_records(expected, expected | {"nobody": bytes(LAYOUT.size)}, findings)
    assert wrong(findings) == {"records_altered": 1}


def test_examples_stay_few_and_counts_add_up() -> None:
    findings = judge(lambda rows: rows.clear())
    count = len(decided()[1].outputs["triggers"])
    assert wrong(findings) == {"triggers_missing": count}
    assert len(findings.examples) == 5
    total = Findings()
    total.add(findings)
    total.add(findings)
    assert wrong(total) == {"triggers_missing": 2 * count}
    assert json.loads(json.dumps(total.compared))["triggers"] == 2 * count
