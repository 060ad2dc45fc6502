from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest

from stream.records import MAX_VOTER_BYTES
from stream.spans import Spans
from stream.stores import kernels
from stream.stores.index import DictIndex, HashIndex, Index
from tests.parts import compiled

siphash = compiled(kernels.siphash)

KEYS = ((0, 0), (1, 2), (0xFEDCBA9876543210, 0x0123456789ABCDEF))


def course(index: Index, seed: int, steps: int = 120) -> list[list[int]]:
    """Find and release voters as a seed has it; return every slot that was given."""
    chance = random.Random(seed)
    pool = ["", *(f"voter-{number}" for number in range(300)), "ü" * 32, "x" * 64, "y"]
    seen: list[list[int]] = []
    for _ in range(steps):
        voters = [chance.choice(pool) for _ in range(chance.randrange(1, 40))]
        slots, fresh = index.find(Spans.of_texts(voters))
        seen += [slots.tolist(), fresh.tolist()]
        known = {slot: voter for slot, voter in zip(slots.tolist(), voters, strict=True) if voter}
        assert index.names(np.array([*known], np.int64)).texts() == [*known.values()]
        leaving = np.array([slot for slot in known if chance.random() < 0.4], np.int64)
        index.release(leaving)
        seen.append([len(index), index.high])
    return seen


@pytest.mark.parametrize("seed", range(10))
def test_slots_depend_neither_on_the_hash_nor_on_how_voters_are_found(seed: int) -> None:
    expected = course(DictIndex(), seed)
    for key in KEYS:
        assert course(HashIndex(4, key), seed) == expected


def test_a_drawn_key_gives_the_same_slots() -> None:
    assert course(HashIndex(), 1) == course(DictIndex(), 1)


def test_ids_that_share_a_bucket_are_told_apart() -> None:
    index = HashIndex(8, (0, 0))
    size = len(index._buckets)
    by_place: dict[int, list[bytes]] = {}
    for number in range(2000):
        name = b"id-%d" % number
        code = int(siphash(np.frombuffer(name, np.uint8), 0, len(name), index._key))
        by_place.setdefault(code % size, []).append(name)
    together = max(by_place.values(), key=len)[:8]
    slots, fresh = index.find(Spans.of(together))
    assert slots.tolist() == fresh.tolist() == list(range(8))
    index.release(slots[::2])
    assert index.find(Spans.of(together[1::2]))[0].tolist() == slots[1::2].tolist()


def test_the_hash_is_the_one_that_python_itself_uses() -> None:
    names = ["", *("x" * length for length in range(1, MAX_VOTER_BYTES + 1)), "voter-000017", "zoë"]
    code = f"import sys; assert sys.hash_info.algorithm == 'siphash13'; print([hash(n.encode()) for n in {names!r}])"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True
    )
    key = np.zeros(2, np.uint64)
    expected = [number % 2**64 for number in eval(done.stdout)]  # noqa: S307
    for name, code_of in zip(names[1:], expected[1:], strict=True):
        data = np.frombuffer(name.encode(), np.uint8)
        assert int(siphash(data, 0, len(data), key)) == code_of


def test_growing_keeps_every_voter() -> None:
    index = HashIndex(2)
    names = [f"voter-{number}" for number in range(5000)]
    first = [int(index.find(Spans.of_texts([name]))[0][0]) for name in names]
    assert first == list(range(5000))
    assert index.find(Spans.of_texts(names))[0].tolist() == first


@pytest.mark.parametrize("seed", range(3))
def test_kernels_equal_their_python(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = course(HashIndex(4, KEYS[2]), seed, 12)
    for name, function in vars(kernels).copy().items():
        if hasattr(function, "py_func"):
            monkeypatch.setattr(kernels, name, function.py_func)
    for name in ("find_slots", "release_slots", "rebuild_buckets"):
        monkeypatch.setattr(f"stream.stores.index.{name}", getattr(kernels, name))
    with np.errstate(over="ignore"):
        assert course(HashIndex(4, KEYS[2]), seed, 12) == compiled
