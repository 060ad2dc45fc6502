"""Rows that go the same way at every split of a tree, as parts for explaining: what it gives one holds for all of them.

Among some hundred rows a tree of 31 leaves knows some 50: most splits send all rows of a batch one way.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel_part
from stream.scoring.rank_kernels import goes_one_way

SLOTS: Final = 512
"""Of a table of lanes by what their rows' turns come to: more than twice as many as there are lanes."""

_BITS = 64
_NONE = np.uint64(0)
_ONE = np.uint64(1)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_TOP = np.uint64(65 - SLOTS.bit_length())


@kernel_part
def write_turns(
    nodes: NDArray[Any], ranks: NDArray[np.uint8], spans: NDArray[np.int64], turns: NDArray[np.uint64]
) -> bool:
    """Write for each row a bit for each split where rows part, set if it goes right; return whether 64 are enough."""
    turns[:] = _NONE
    bit = 0
    for s in range(len(nodes)):
        column, rank = nodes[s]["column"], nodes[s]["rank"]
        if goes_one_way(spans, column, rank):
            continue
        if bit == _BITS:
            return False
        _mark(turns, ranks[column, : len(turns)], rank, _ONE << np.uint64(bit))
        bit += 1
    return True


@kernel_part
def _mark(turns: NDArray[np.uint64], ranks: NDArray[np.uint8], rank: Any, bit: Any) -> None:
    for r in range(len(turns)):
        turns[r] = turns[r] | (_NONE if ranks[r] <= rank else bit)


@kernel_part
def share_lanes(
    turns: NDArray[np.uint64],
    is_told: bool,
    first: int,
    most: int,
    slots: NDArray[np.int64],
    lane_of: NDArray[np.int64],
    row_of: NDArray[np.int64],
) -> tuple[int, int]:
    """Give the rows from ``first`` on lanes, one to all that turn alike, until there would be more than ``most``.

    Into ``lane_of`` (int64[n]) each row's, into ``row_of`` (int64[most]) each lane's first row; return the row before
    which it ended, and how many lanes there are. Where turns do not tell rows apart (``is_told``), each has its own.
    ``slots`` int64[SLOTS] is room to work in.
    """
    slots[:] = -1
    lanes = 0
    for r in range(first, len(turns)):
        slot = np.int64(turns[r] * _MIX >> _TOP)
        while slots[slot] >= 0 and turns[row_of[slots[slot]]] != turns[r]:
            slot = (slot + 1) % SLOTS
        if is_told and slots[slot] >= 0:
            lane_of[r] = slots[slot]
            continue
        if lanes == most:
            return r, lanes
        if is_told:
            slots[slot] = lanes
        lane_of[r], row_of[lanes] = lanes, r
        lanes += 1
    return len(turns), lanes
