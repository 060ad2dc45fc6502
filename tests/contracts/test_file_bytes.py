"""Mutated model and campaign files are read or refused, and the fuzzer that says so can fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from load_tests.fuzz_files import BrokenPromiseError, main, read, run
from stream.errors import ConfigurationError
from stream.scoring import Model
from stream.triggers import Campaign


def test_mutated_files_are_read_or_refused_with_a_reason() -> None:
    counts = run(4000, 7)
    assert counts.total() == 4000
    assert all(
        counts[f"{kind} {outcome}"] > 20 for kind in ("model", "campaign") for outcome in ("accepted", "refused")
    )


def test_same_seed_gives_the_same_files() -> None:
    assert run(500, 3) == run(500, 3)


def crash(kind: str, data: bytes) -> Model | Campaign:
    if b"sessions" in data:
        raise KeyError(data)
    return read(kind, data)


def refuse_silently(kind: str, data: bytes) -> Model | Campaign:
    raise ConfigurationError


def let_infinity_through(kind: str, data: bytes) -> Model | Campaign:
    return Model("support", kind, float("inf"), ())


@pytest.mark.parametrize(
    ("reading", "words"),
    [(crash, "raised KeyError"), (refuse_silently, "0 characters"), (let_infinity_through, "not finite")],
)
def test_broken_promise_is_found(reading: Callable[[str, bytes], Model | Campaign], words: str) -> None:
    with pytest.raises(BrokenPromiseError, match=words):
        run(200, 1, reading)


def test_command_ends_well_and_says_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--inputs", "100", "--seed", "2"]) == 0
    assert "campaign refused" in capsys.readouterr().out
