"""Which control records and forwards count: those signed by a key that is in force at their place in the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.columns import Columns
from stream.events.fields import read_keys
from stream.events.kernels import NOT_A_TIME
from stream.interfaces import Authority
from stream.records import (
    CLOCK_TICK,
    CONFIG_ACTIVATED,
    EVENT_TYPES,
    KEYS_ROTATED,
    PRIVACY_ERASED,
    REJECT,
)
from stream.signatures import check_signature

_NOT_AUTHORISED: Final = REJECT["not_authorised"]
_UNKNOWN_TYPE: Final = REJECT["unknown_type"]
_COUNTED: Final = (CONFIG_ACTIVATED, KEYS_ROTATED)
"""What an old record of would change something: of all others one that comes again is harmless by itself."""


def authorise(
    columns: Columns,
    kinds: NDArray[np.int64],
    times: NDArray[np.int64],
    unfit: NDArray[np.uint8],
    datas: Mapping[int, Any],
    authority: Authority | None,
    reject: NDArray[np.int64],
) -> tuple[Authority | None, NDArray[np.bool_]]:
    """Give ``not_authorised`` to each control record and each forward that lacks a valid signature, in place.

    ``kinds``, ``times``, ``unfit`` (1: data does not fit) and ``datas`` (by row, of control records) are as step 1 has
    them before log time is known, as is ``reject``; a reason that is there gives way, since nothing that a forged
    forward says may count. Returns the authority after the rows, and the rows whose counter says that they were taken
    just before: they change nothing.
    Without an authority (a deployment that is not signed) nothing is looked at, and there are no keys to rotate.

    Raises StateMismatchError where a rotation puts a key in force that the keyring lacks.
    """
    again = np.zeros(len(columns), np.bool_)
    if authority is None:
        for row in datas:
            if kinds[row] == KEYS_ROTATED:
                reject[row] = _UNKNOWN_TYPE
                kinds[row] = -1
        return None, again
    control = (kinds >= CLOCK_TICK) & (kinds <= KEYS_ROTATED)
    looked_at = control | (kinds == PRIVACY_ERASED) | (columns.origin_partitions >= 0)
    for row in np.flatnonzero(looked_at).tolist():
        counter = _counter(columns, row, authority)
        kind = int(kinds[row])
        last = authority.counters.get(EVENT_TYPES[kind], 0) if kind in _COUNTED else 0
        if counter == 0 or counter < last:
            reject[row] = _NOT_AUTHORISED
            kinds[row] = -1
        elif counter == last:
            again[row] = True
        elif kind in _COUNTED:
            authority = authority.counted(EVENT_TYPES[kind], counter)
            if kind == KEYS_ROTATED and not unfit[row] and times[row] != NOT_A_TIME:
                data: Mapping[str, Any] = datas[row]
                where = f"{authority.topic} partition {columns.partition}, from offset {columns.offsets[row]} on"
                authority = authority.rotated(read_keys(data), where)
    return authority, again


def _counter(columns: Columns, row: int, authority: Authority) -> int:
    """Return the counter of a row's valid signature, 0 where it has none."""
    return check_signature(
        authority.keyring,
        authority.keys,
        columns.signature(row),
        authority.topic,
        columns.partition,
        columns.key(row),
        columns.value(row) if columns.value_starts[row] >= 0 else None,
        (int(columns.origin_partitions[row]), int(columns.origin_offsets[row])),
    )
