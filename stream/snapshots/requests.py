"""How an operator's command asks the worker that holds a partition for a snapshot, and what it is answered."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

STATES: Final = ("asked", "begun", "taken", "failed")
_TOKEN: Final = re.compile(r"[0-9a-z]{1,32}")


@dataclass(frozen=True, slots=True)
class Request:
    """What stands beside a partition's state in Redis while somebody waits for a snapshot of it."""

    token: str
    """Chosen by whoever asks; the snapshot's name ends in it."""
    state: str = STATES[0]
    text: str = ""
    """What came of it."""

    def to_bytes(self) -> bytes:
        """Return the request as it stands in Redis."""
        return orjson.dumps(asdict(self))

    @property
    def is_open(self) -> bool:
        """Whether it still waits; one that was begun by an owner that is gone does as well."""
        return self.state in STATES[:2]

    @classmethod
    def from_bytes(cls, data: bytes | None) -> Request | None:
        """Return the request in ``data``, None where there is none that can be read."""
        try:
            fields: Any = orjson.loads(data or b"null")
            request = cls(**fields)
        except (orjson.JSONDecodeError, TypeError):
            return None
        is_sound = all(isinstance(text, str) for text in (request.token, request.state, request.text))
        return request if is_sound and _TOKEN.fullmatch(request.token) and request.state in STATES else None
