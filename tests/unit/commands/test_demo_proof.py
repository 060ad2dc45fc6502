"""The demo's verdict: it holds only if everything was compared, nothing differs, and there were triggers."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from stream.commands.comparison import Difference
from stream.commands.demo_view import Proof, Readings, Screen, summary
from stream.commands.verify import Compared, Report

WHOLE = Report({0: Compared(100, 7, 2, 30), 1: Compared(120, 5, 1, 20)})
PROVEN = Proof(WHOLE, partition_count=2, received=11, seconds=1.5)
DIFFERENCE = Difference(1, "triggers 3", "this", "that")


def verdict(proof: Proof) -> str:
    screen = Screen(sent=200, readings=Readings(events=220, triggers={"hello": 12}, rejects={"not_json": 3}))
    console = Console(file=io.StringIO(), width=200)
    console.print(summary(screen, proof))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_whole_comparison_without_difference_holds() -> None:
    assert PROVEN.holds
    text = verdict(PROVEN)
    assert "12 triggers, 3 rejects and 50 voters' records were derived again from the log in 1.5 s: all are" in text
    assert "11  triggers received by a subscriber (hello 12)" in text
    assert "3  rejects (not_json 3)" in text


@pytest.mark.parametrize(
    ("proof", "cause"),
    [
        (replace(PROVEN, report=Report({0: Compared(100, 7, 2, 30)}, [], DIFFERENCE)), "DIFFERENCE in partition 1"),
        (replace(PROVEN, report=Report(WHOLE.partitions, ["offsets 0 to 5"])), "not compared: offsets 0 to 5"),
        (replace(PROVEN, partition_count=3), "Only 2 of 3 partitions"),
        (replace(PROVEN, received=0), "No trigger came"),
        (replace(PROVEN, received=13), "received 13 triggers, and the log gives only 12"),
    ],
)
def test_anything_less_does_not_hold_and_says_why(proof: Proof, cause: str) -> None:
    assert not proof.holds
    text = verdict(proof)
    assert "NOT PROVEN" in text
    assert cause in text
    assert "byte for byte" not in text
