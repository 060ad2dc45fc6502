"""What ``stream.prefetching`` rests on in Numba, and that asking for memory does nothing else."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from stream.layout import bytes_of
from stream.prefetching import prefetch
from stream.records import VOTER

compile_now: Any = numba.njit


def _total(array: NDArray[np.uint64], places: NDArray[np.int64], first: int, stop: int) -> int:
    total = 0
    for place in places:
        prefetch(array, place, first, stop)
        total += array[place]
    return total


def test_a_kernel_asks_for_memory_and_comes_to_the_same() -> None:
    total = compile_now(_total)
    array, places = np.arange(100, dtype=np.uint64), np.array([3, 99, 0, -1, 3])
    assert total(array, places, 0, 8) == _total(array, places, 0, 8)
    (code,) = total.inspect_llvm().values()
    assert "@llvm.prefetch" in code


@pytest.mark.parametrize("place", [-1, 0, 9, 10, 10**15, np.iinfo(np.int64).min, np.iinfo(np.int64).max])
@pytest.mark.parametrize("shape", [10, (10, 65)])
def test_no_place_does_harm(place: int, shape: Any) -> None:
    def ask(array: NDArray[np.uint8], place: int) -> None:
        prefetch(array, place, 0, 768)

    array = np.ones(shape, np.uint8)
    compile_now(ask)(array, place)
    assert (array == 1).all()


def test_lines_asked_for_are_those_that_the_bytes_lie_in() -> None:
    """Of 130 bytes the first of each of three lines, and the last byte, whose line may be a fourth."""

    def ask(array: NDArray[np.uint8]) -> None:
        prefetch(array, 1, 3, 133)

    compiled = compile_now(ask)
    compiled(np.zeros((3, 200), np.uint8))
    (code,) = compiled.inspect_llvm().values()
    kernel = code[: code.index("\n}")]
    assert kernel.count("call void @llvm.prefetch") == 4


def test_bytes_of_fields_are_where_they_lie() -> None:
    assert bytes_of("version", "version") == (0, 2)
    first, stop = bytes_of("ring", "counts")
    record = np.zeros(1, VOTER)
    record["ring"], record["counts"] = 2**64 - 1, np.frombuffer(b"\xff" * 8, np.float64)[0]
    assert np.flatnonzero(record.view(np.uint8)).tolist() == list(range(first, stop))
    assert bytes_of(VOTER.names[0], VOTER.names[-1])[1] <= VOTER.itemsize  # type: ignore[index]
