"""What is read from outside is accepted or refused with a documented error; and the fuzzer that says so can fail."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest

from load_tests import fuzz
from load_tests.fuzzing import TARGETS, BrokenPromiseError, run
from load_tests.fuzzing.records import try_records
from load_tests.fuzzing.state import try_headers, try_rows
from stream.records import Header, OutboxRow
from stream.stores import Table


@pytest.mark.parametrize("name", ["batches", "header", "record", "outbox", "snapshot", "answers"])
def test_mutated_input_is_accepted_or_refused_as_documented(name: str) -> None:
    inputs = {"snapshot": 100, "answers": 200}.get(name, 300)
    counts = run(name, inputs, 5)
    assert counts["accepted"]
    assert len(counts) > 1
    assert counts.total() == inputs


def test_shares_are_of_all_inputs() -> None:
    assert sum(target.share for target in TARGETS) == 1000
    names = [target.name for target in TARGETS]
    tried = Counter[str]()
    for name, _, numbers in fuzz.chunks(names, 12_345, 1):
        tried[name] += sum(inputs for _, inputs in numbers)
    assert tried.total() == 12_345
    assert set(tried) == set(names)


def _careless_header(data: bytes) -> Header:
    return Header(**orjson.loads(data))


def _endless_row(data: bytes) -> OutboxRow:
    row = OutboxRow.from_bytes(data)
    return replace(row, key=(row.key or b"") + b"x")


def test_header_that_is_believed_as_it_is_gets_found() -> None:
    with pytest.raises(BrokenPromiseError) as caught:
        try_headers(random.Random(1), 200, _careless_header)
    assert caught.value.data


def test_row_that_reads_what_is_not_there_gets_found() -> None:
    with pytest.raises(BrokenPromiseError, match="not of the row"):
        try_rows(random.Random(1), 200, _endless_row)


class _TrustingTable(Table):
    """Takes a ring's place as it is: the kernels then write into another record of the same table."""

    def fill(self, voters: Any, values: Any, next_offset: int) -> None:
        super().fill(voters, [value[:3] + b"\0" + value[4:] for value in values], next_offset)
        self.records["ring_next"] = 200


def test_record_whose_ring_ends_elsewhere_gets_found() -> None:
    with pytest.raises(BrokenPromiseError):
        try_records(random.Random(1), 40, _TrustingTable)


@pytest.mark.parametrize(
    ("limit", "words"), [("MOST_SECONDS", "s of the processor"), ("MOST_BYTES", "bytes of memory")]
)
def test_unit_that_takes_too_long_or_too_much_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, limit: str, words: str
) -> None:
    monkeypatch.setattr(fuzz, limit, 0)
    monkeypatch.setattr(fuzz, "peak_bytes", count(1).__next__)
    with pytest.raises(BrokenPromiseError, match=words):
        fuzz.try_unit(TARGETS[1], 1, 0, 50)


def test_failure_names_the_command_that_tries_it_again_and_keeps_the_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fuzz, "RESULTS", tmp_path)
    text = fuzz.Failure("header", 3, 17, "raised", b"bytes").keep()
    assert "python -m load_tests.fuzz --target header --seed 3 --unit 17" in text
    assert (tmp_path / "fuzz-header-3-17.bin").read_bytes() == b"bytes"


def test_one_unit_is_tried_again_by_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--target", "outbox", "--seed", "2", "--unit", "3"]) == 0
    assert "accepted" in capsys.readouterr().out
