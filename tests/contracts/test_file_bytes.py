"""Mutated model and campaign files are read or refused, and the fuzzer that says so can fail."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from load_tests.fuzzing import BrokenPromiseError, run
from load_tests.fuzzing.files import Content, read, try_files
from stream.errors import ConfigurationError
from stream.scoring import Model


@pytest.mark.parametrize("kind", ["model", "campaign", "taxonomy"])
def test_mutated_files_are_read_or_refused_with_a_reason(kind: str) -> None:
    counts = run(kind, 2000, 7)
    assert counts.total() == 2000
    assert set(counts) == {"accepted", "refused: ConfigurationError"}
    assert min(counts.values()) > 20


def test_same_seed_gives_the_same_files() -> None:
    assert run("model", 500, 3) == run("model", 500, 3)


def crash(kind: str, data: bytes) -> Content:
    if b"sessions" in data:
        raise KeyError(data)
    return read(kind, data)


def refuse_silently(kind: str, data: bytes) -> Content:
    raise ConfigurationError


def let_infinity_through(kind: str, data: bytes) -> Content:
    return Model("support", kind, float("inf"), ())


@pytest.mark.parametrize(
    ("reading", "words"),
    [(crash, "raised KeyError"), (refuse_silently, "0 characters"), (let_infinity_through, "not finite")],
)
def test_broken_promise_is_found(reading: Callable[[str, bytes], Content], words: str) -> None:
    with pytest.raises(BrokenPromiseError, match=words) as caught:
        try_files(random.Random(1), 200, "model", reading)
    assert caught.value.data or words == "not finite"
