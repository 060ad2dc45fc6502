"""The electorate's events as the bytes of CloudEvents, and the ways in which some are broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from stream.embedded.occasions import DATA, source_of
from stream.records import EVENT_TYPES, MAX_EVENT_BYTES, MAX_VOTER_BYTES

_BEFORE_VOTER: Final = [f'","source":"{source_of(name)}","type":"{name}","subject":"' for name in EVENT_TYPES]
_AFTER_TIME: Final = [[f'Z","datacontenttype":"application/json","data":{data}}}' for data in of] for of in DATA]


def spell(
    first_id: int,
    times: NDArray[np.int64],
    voters: Sequence[str],
    kinds: NDArray[np.int64],
    variants: NDArray[np.int64],
) -> list[bytes]:
    """Return one structured-mode CloudEvent for each element: time in ms, voter id, kind code, variant of the data.

    Ids count on from ``first_id``.
    """
    moments = np.datetime_as_string(times.astype("datetime64[ms]"), unit="ms").tolist()
    rows = zip(voters, kinds.tolist(), moments, variants.tolist(), strict=True)
    return [
        (
            f'{{"specversion":"1.0","id":"e{first_id + row:09d}{_BEFORE_VOTER[kind]}{voter}'
            f'","time":"{moment}{_AFTER_TIME[kind][variant]}'
        ).encode()
        for row, (voter, kind, moment, variant) in enumerate(rows)
    ]


def _with(**changes: Any) -> Callable[[bytes], bytes]:
    """Return what changes attributes of an event; None takes one away."""

    def change(value: bytes) -> bytes:
        event = {**orjson.loads(value), **changes}
        return orjson.dumps({name: given for name, given in event.items() if given is not None})

    return change


BREAKAGES: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "not_json: cut off": lambda value: value[: len(value) // 2],
    "not_json: empty": lambda _value: b"",
    "not_cloudevent: in a list": lambda value: b"[" + value + b"]",
    "not_cloudevent: no id": _with(id=None),
    "not_cloudevent: old version": _with(specversion="0.3"),
    "unknown_type: none of ours": _with(type="social.poke"),
    "bad_subject: missing": _with(subject=None),
    "bad_subject: too long": _with(subject="x" * (MAX_VOTER_BYTES + 1)),
    "bad_time: no time": _with(time="yesterday"),
    "bad_time: clock never set": _with(time="1970-01-01T00:00:03Z"),
    "bad_data: no object": _with(data="clicked"),
    "too_large: a whole page inside": _with(data={"text": "x" * MAX_EVENT_BYTES}),
}
"""By the reason that it is rejected for and its cause: what breaks an event."""
