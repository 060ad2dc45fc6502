"""What ``stream.prefetching`` rests on in Numba, that asking for memory does nothing else, and who asks for what."""

from __future__ import annotations

import re
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

import stream.features.kernels
import stream.privacy.kernels
import stream.stores.kernels
import stream.triggers.kernels
from stream.layout import bytes_of
from stream.prefetching import AHEAD, prefetch
from stream.records import VOTER
from stream.spans import Spans
from stream.stores.index import HashIndex
from tests.contracts.kernel_cases import decide_arguments, fold_arguments, gate_arguments

compile_now: Any = numba.njit
KEY = (1, 2)


def _total(array: NDArray[np.uint64], places: NDArray[np.int64], first: int, stop: int) -> int:
    total = 0
    for place in places:
        prefetch(array, place, first, stop)
        total += array[place]
    return total


def _ask(array: NDArray[np.uint8], place: int) -> None:
    prefetch(array, place, 3, 133)


ask = compile_now(_ask)


def test_a_kernel_asks_for_memory_and_comes_to_the_same() -> None:
    total = compile_now(_total)
    array, places = np.arange(100, dtype=np.uint64), np.array([3, 99, 0, -1, 3])
    assert total(array, places, 0, 8) == _total(array, places, 0, 8)
    (code,) = total.inspect_llvm().values()
    assert "@llvm.prefetch" in code


@pytest.mark.parametrize("place", [-1, 0, 9, 10, 10**15, np.iinfo(np.int64).min, np.iinfo(np.int64).max])
@pytest.mark.parametrize("shape", [10, (10, 65), (0, 65)])
def test_no_place_does_harm(place: int, shape: Any) -> None:
    array = np.ones(shape, np.uint8)
    ask(array, place)
    assert (array == 1).all()


def test_lines_asked_for_are_those_that_the_bytes_lie_in() -> None:
    """Of 130 bytes the first of each of three lines, and the last byte, whose line may be a fourth."""

    def ask_for_fifth(array: NDArray[np.uint8]) -> None:
        prefetch(array, 5, 3, 133)

    compiled = compile_now(ask_for_fifth)
    compiled(np.zeros((9, 200), np.uint8))
    (code,) = compiled.inspect_llvm().values()
    (item,) = re.findall(r"mul i64 %\S+, 5\b\n +(%\S+) = getelementptr i8, ptr %arg.array", code)
    asked = dict(re.findall(rf"(%\S+) = getelementptr i8, ptr {re.escape(item)}, i64 (\d+)", code))
    lines = re.findall(r"call void @llvm.prefetch\S*\(ptr (%\S+), i32 0, i32 3, i32 1\)", code)
    assert [asked[line] for line in lines] == ["3", "67", "131", "132"]


def test_bytes_of_fields_are_where_they_lie() -> None:
    assert bytes_of("version", "version") == (0, 2)
    first, stop = bytes_of("ring", "counts")
    record = np.zeros(1, VOTER)
    record["ring"], record["counts"] = 2**64 - 1, np.frombuffer(b"\xff" * 8, np.float64)[0]
    assert np.flatnonzero(record.view(np.uint8)).tolist() == list(range(first, stop))
    names: Any = VOTER.names
    assert bytes_of(names[0], names[-1]) == (0, VOTER.itemsize)


class Asked:
    """Stands where a kernel's module has ``prefetch``, and writes down what is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
        self.found: list[tuple[NDArray[Any], int, int, int]] = []
        monkeypatch.setattr(module, "prefetch", lambda *asked: self.found.append(asked))

    def of(self, array: NDArray[Any]) -> list[tuple[int, int, int]]:
        return [(int(place), first, stop) for asked, place, first, stop in self.found if asked is array]


@pytest.mark.parametrize("n", [3, 40])
@pytest.mark.parametrize(
    ("module", "name", "arguments", "parts"),
    [
        (stream.privacy.kernels, "gate", gate_arguments, [bytes_of("version", "ring")]),
        (stream.features.kernels, "fold", fold_arguments, [(0, VOTER.itemsize)]),
        (
            stream.triggers.kernels,
            "decide_rows",
            decide_arguments,
            [bytes_of("armed", "armed"), bytes_of("score", "score_tag")],
        ),
    ],
)
def test_each_row_asks_for_a_later_rows_record(
    n: int, module: Any, name: str, arguments: Any, parts: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(monkeypatch, module)
    given = arguments(0, n)
    given |= {"first": 1, "stop": n - 1}
    with np.errstate(invalid="ignore", over="ignore"):
        getattr(module, name).py_func(*given.values())
    later = [int(given["slots"][min(row + AHEAD, n - 2)]) for row in range(1, n - 1)]
    assert asked.of(given["records"]) == [(slot, *part) for slot in later for part in parts]


@pytest.mark.parametrize("n", [3, 40])
def test_the_index_asks_for_a_bucket_and_then_for_the_name_that_it_leads_to(
    n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = HashIndex(100, KEY)
    voters = Spans.of_texts([f"voter-{number}" for number in range(n)])
    slots, _ = index.find(voters)
    asked = Asked(monkeypatch, stream.stores.kernels)
    with np.errstate(over="ignore"):
        monkeypatch.setattr("stream.stores.index.find_slots", stream.stores.kernels.find_slots.py_func)  # type: ignore[attr-defined]
        index.find(voters)
        key = np.array(KEY, np.uint64)
        codes = [stream.stores.kernels.siphash(voters.buffer, start, stop, key) for start, stop in spans_of(voters)]
    buckets = [int(code) & (len(index._buckets) - 1) for code in codes]
    assert asked.of(index._buckets) == [(bucket, 0, index._buckets.itemsize) for bucket in buckets]
    alone = [int(index._buckets[bucket] & np.uint64(2**32 - 1)) - 1 for bucket in buckets]
    assert asked.of(index._names) == [(slot, 0, index._names.shape[1]) for slot in alone]
    assert sum(slot == mine for slot, mine in zip(alone, slots, strict=True)) > n // 2
    order = ["bucket" if array is index._buckets else "name" for array, *_ in asked.found]
    assert order[: min(AHEAD, n)] == ["bucket"] * min(AHEAD, n)


def spans_of(voters: Spans) -> list[tuple[int, int]]:
    return list(zip(voters.starts.tolist(), voters.stops.tolist(), strict=True))
