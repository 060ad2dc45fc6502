"""Values replaced by their ranks among the thresholds of a column: parts for blocks of rows.

Rows are cut to singles and turned into columns once, for every model; between which bounds a column's values
lie then tells which thresholds need looking at. Most features are the same for all voters of a batch, or nearly.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel, kernel_part
from stream.scoring.rules import TO_RIGHT, ZERO_TO_RIGHT

COLUMN: Final = np.dtype(
    [
        ("place", "<i8"),  # in a feature row
        ("first", "<i8"),  # of its thresholds, or of its categories
        ("stop", "<i8"),
        ("nothing", "<f4"),  # what is no larger is missing, as NaN is; -1: NaN alone
        ("instead", "<f4"),  # what stands for a missing value; NaN: the rule says it
        ("rule", "u1"),  # a code of RULES
        ("asks", "u1"),  # 1: for categories
    ],
    align=True,
)
RANKS: Final = 255
"""Most thresholds of one column: a rank is a byte."""
TILE: Final = 32
"""Rows that are turned into columns at once: some lines of the cache are filled before they are left."""

_FOURS = TILE // 4

_ENDLESS = np.float32(np.inf)
_ONE = np.uint8(1)
_NONE = np.uint8(0)


@kernel_part
def whole_tiles(rows: int) -> int:
    """Return so many rows, made up to whole tiles."""
    return (rows + TILE - 1) // TILE * TILE


@kernel
def cut_rows(
    rows: NDArray[np.float64],
    picked: NDArray[np.int64],
    singles: NDArray[np.float32],
    bounds: NDArray[np.float32],
) -> None:
    """Write the ``picked`` rows (int64[k]) of ``rows`` (float64[n, c]) into ``singles`` float32[c, m], as ``cut`` says.

    ``m`` is a multiple of 4, and at least k made up to whole tiles.
    """
    wide = rows.shape[1]
    tile, lanes = np.empty((_FOURS, 4 * wide), np.float32), np.empty((2, 4 * wide), np.float32)
    quads, fours = tile.reshape((_FOURS, wide, 4)), singles.reshape((wide, singles.shape[1] // 4, 4))
    cut(rows, picked, tile, quads, lanes, np.empty(wide, np.bool_), fours, bounds)


@kernel_part
def cut(
    rows: NDArray[np.float64],
    picked: NDArray[np.int64],
    tile: NDArray[np.float32],
    quads: NDArray[np.float32],
    lanes: NDArray[np.float32],
    parts: NDArray[np.bool_],
    singles: NDArray[np.float32],
    bounds: NDArray[np.float32],
) -> None:
    """Write ``picked`` rows (at least one) cut to singles, by column four by four, and each column's bounds.

    ``singles`` float32[c, m / 4, 4] has room for whole tiles: behind the last row it is written again up to the end of
    its tile. ``bounds`` float32[2, c] are the least and the largest value, and infinite where any is NaN. A column of
    one value alone may be left unwritten: the bounds say it. Room to work in: ``tile`` float32[TILE / 4, 4 c] holds
    some rows, four by four, ``quads`` is the same as [TILE / 4, c, 4], ``lanes`` float32[2, 4 c] are the bounds of
    every fourth row, ``parts`` bool[c] says which columns have had two values.
    """
    last = len(picked) - 1
    lanes[0], lanes[1], parts[:] = _ENDLESS, -_ENDLESS, False
    for begin in range(0, len(picked), TILE):
        for four in range(_FOURS):
            at = begin + 4 * four
            a, b = rows[picked[min(at, last)]], rows[picked[min(at + 1, last)]]
            c, d = rows[picked[min(at + 2, last)]], rows[picked[min(at + 3, last)]]
            _cut_four(a, b, c, d, tile[four])
            _widen(tile[four], lanes[0], lanes[1])
        _join(lanes, bounds[0], bounds[1])
        for c in range(rows.shape[1]):
            if not is_one(bounds[0, c], bounds[1, c]):
                _part(rows[picked[0], c], singles[c, : begin // 4], parts[c : c + 1])
                for four in range(_FOURS):
                    _put(quads[four, c], singles[c, begin // 4 + four])


@kernel_part
def _cut_four(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    c: NDArray[np.float64],
    d: NDArray[np.float64],
    four: NDArray[np.float32],
) -> None:
    """Write the values that four rows have in each column side by side."""
    for k in range(len(a)):
        four[4 * k] = np.float32(a[k])
        four[4 * k + 1] = np.float32(b[k])
        four[4 * k + 2] = np.float32(c[k])
        four[4 * k + 3] = np.float32(d[k])


@kernel_part
def _widen(values: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32]) -> None:
    """Have each value's bounds hold it, too; endless for NaN."""
    for i in range(len(values)):
        value = values[i]
        least, most = _less(value, low[i]), _more(value, high[i])
        low[i] = least if value == value else -_ENDLESS
        high[i] = most if value == value else _ENDLESS


@kernel_part
def _join(lanes: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32]) -> None:
    """Write the bounds of columns, each from its four lanes'."""
    for c in range(len(low)):
        k = 4 * c
        low[c] = _less(_less(lanes[0, k], lanes[0, k + 1]), _less(lanes[0, k + 2], lanes[0, k + 3]))
        high[c] = _more(_more(lanes[1, k], lanes[1, k + 1]), _more(lanes[1, k + 2], lanes[1, k + 3]))


@kernel_part
def _put(four: NDArray[np.float32], singles: NDArray[np.float32]) -> None:
    """Copy four singles: all are read before the first is written, or each would be moved by itself."""
    a, b, c, d = four[0], four[1], four[2], four[3]
    singles[0] = a
    singles[1] = b
    singles[2] = c
    singles[3] = d


@kernel_part
def _part(value: float, before: NDArray[np.float32], part: NDArray[np.bool_]) -> None:
    """Write what a column had before it has two values for the first time."""
    if not part[0]:
        part[0] = True
        for i in range(len(before)):
            for k in range(4):
                before[i, k] = np.float32(value)


@kernel_part
def is_one(low: Any, high: Any) -> bool:
    """Return whether values between two bounds are all the same number."""
    same: bool = low == high and -_ENDLESS < low < _ENDLESS
    return same


@kernel_part
def _less(one: Any, other: Any) -> Any:
    return one if one < other else other


@kernel_part
def _more(one: Any, other: Any) -> Any:
    return one if one > other else other


@kernel_part
def is_member(value: float, members: NDArray[np.int64], rule: int) -> bool:
    """Return whether a value, cut to its integer, is one of ``members``; a missing one: whether it goes left."""
    if value != value:
        return rule != TO_RIGHT and rule != ZERO_TO_RIGHT
    # What is below -1 or far above is no category, and may be no integer either.
    if not -1.0 < value < 1e6:
        return False
    category = np.int64(value)
    for k in range(len(members)):
        if members[k] == category:
            return True
    return False


@kernel_part
def replace_missing(value: Any, nothing: Any, instead: Any) -> Any:
    """Return a value, or what stands for it where it is missing, as COLUMN has both."""
    return value if abs(value) > nothing else instead


@kernel_part
def _take(values: NDArray[np.float32], nothing: Any, instead: Any, taken: NDArray[np.float32]) -> None:
    for i in range(len(taken)):
        taken[i] = replace_missing(values[i], nothing, instead)


@kernel_part
def _count_below(thresholds: NDArray[np.float32], value: Any) -> int:
    """Return how many thresholds (ascending) lie below a value."""
    low, high = 0, len(thresholds)
    while low < high:
        middle = (low + high) // 2
        if thresholds[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@kernel_part
def _may_miss(nothing: Any, low: Any, high: Any) -> bool:
    """Return whether any of the values between two bounds may be missing."""
    has_zero = nothing >= 0.0 and low <= nothing and high >= -nothing
    return has_zero or not low > -_ENDLESS or not high < _ENDLESS


@kernel_part
def _rank(
    values: NDArray[np.float32],
    thresholds: NDArray[np.float32],
    least: int,
    above: NDArray[np.int32],
    ranks: NDArray[np.uint8],
) -> None:
    """Write above how many thresholds each value lies, if all lie above ``least`` more; NaN is above none.

    By counting, eight thresholds at a time, then four, then one: a binary search in each row takes longer. It is
    counted in ``above`` (int32[n]), whose items are as wide as the values: in bytes each comparison's outcome would
    have to be narrowed.
    """
    for i in range(len(above)):
        above[i] = np.int32(least)
    whole = len(thresholds) - len(thresholds) % 8
    for t in range(0, whole, 8):
        a, b, c, d = thresholds[t], thresholds[t + 1], thresholds[t + 2], thresholds[t + 3]
        e, f, g, h = thresholds[t + 4], thresholds[t + 5], thresholds[t + 6], thresholds[t + 7]
        for i in range(len(above)):
            value = values[i]
            first = np.int32(value > a) + np.int32(value > b) + np.int32(value > c) + np.int32(value > d)
            second = np.int32(value > e) + np.int32(value > f) + np.int32(value > g) + np.int32(value > h)
            above[i] = np.int32(above[i] + np.int32(first + second))
    rest = len(thresholds) - len(thresholds) % 4
    for t in range(whole, rest, 4):
        a, b, c, d = thresholds[t], thresholds[t + 1], thresholds[t + 2], thresholds[t + 3]
        for i in range(len(above)):
            value = values[i]
            first = np.int32(value > a) + np.int32(value > b) + np.int32(value > c) + np.int32(value > d)
            above[i] = np.int32(above[i] + first)
    for t in range(rest, len(thresholds)):
        threshold = thresholds[t]
        for i in range(len(above)):
            above[i] = np.int32(above[i] + np.int32(values[i] > threshold))
    for i in range(len(ranks)):
        ranks[i] = np.uint8(above[i])


@kernel_part
def rank_columns(
    columns: NDArray[Any],
    thresholds: NDArray[np.float32],
    members: NDArray[np.int64],
    singles: NDArray[np.float32],
    bounds: NDArray[np.float32],
    first: int,
    taken: NDArray[np.float32],
    above: NDArray[np.int32],
    ranks: NDArray[np.uint8],
    spans: NDArray[np.int64],
) -> None:
    """Write the rank of each value in every column into ``ranks`` (uint8[columns, at least n]), n = len(taken).

    Of the rows from ``first`` on of ``singles``; a missing value lies above no threshold, or above all where it goes
    right, and of categories the rank is 0 for those asked for. ``spans`` int64[columns, 2]: no rank is outside. Where
    all rows have the same one, the first alone is written. ``taken`` and ``above`` (int32, at least n) are room to work
    in.
    """
    n = len(taken)
    for c in range(len(columns)):
        column = columns[c]
        place = column["place"]
        low, high = bounds[0, place], bounds[1, place]
        is_same, may_miss = is_one(low, high), _may_miss(column["nothing"], low, high)
        own = ranks[c, : 1 if is_same else n]
        values = bounds[0, place : place + 1] if is_same else singles[place, first : first + n]
        if may_miss:
            _take(values, column["nothing"], column["instead"], taken[: len(own)])
            values = taken[: len(own)]
        spans[c, 0], spans[c, 1] = 0, 1
        if column["asks"]:
            wanted = members[column["first"] : column["stop"]]
            for i in range(len(own)):
                own[i] = _NONE if is_member(values[i], wanted, column["rule"]) else _ONE
        else:
            asked = thresholds[column["first"] : column["stop"]]
            least = 0 if may_miss else _count_below(asked, low)
            most = len(asked) if may_miss else _count_below(asked, high)
            spans[c, 0], spans[c, 1] = least, most
            _rank(values, asked[least:most], least, above[: len(own)], own)
        if is_same:
            spans[c, 0], spans[c, 1] = own[0], own[0]


@kernel_part
def goes_one_way(spans: NDArray[np.int64], column: Any, rank: Any) -> bool:
    """Return whether all rows are on one side of a split."""
    one: bool = spans[column, 0] > rank or spans[column, 1] <= rank
    return one
