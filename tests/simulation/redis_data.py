"""What a simulated Redis keeps: strings and sorted sets, watched by sessions, and its own matching of patterns."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from functools import lru_cache

Value = bytes | dict[bytes, float]
"""A string, or a sorted set's scores by member; an empty sorted set is no key."""


class RefusedError(Exception):
    """An error answer; its text begins with Redis' code, as ``WRONGTYPE ...``."""


WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


class Dataset:
    """Keys and values at one moment; a copy shares the values, which are replaced and never changed."""

    def __init__(self, values: dict[bytes, Value] | None = None) -> None:
        self.values: dict[bytes, Value] = {} if values is None else values

    def copy(self) -> Dataset:
        return Dataset(dict(self.values))

    def string(self, key: bytes) -> bytes | None:
        """Return a string; raise RefusedError for a sorted set."""
        value = self.values.get(key)
        if isinstance(value, dict):
            raise RefusedError(WRONG_TYPE)
        return value

    def sorted_set(self, key: bytes) -> dict[bytes, float]:
        """Return scores by member, not to be changed; raise RefusedError for a string."""
        value = self.values.get(key, {})
        if isinstance(value, bytes):
            raise RefusedError(WRONG_TYPE)
        return value

    def scan(self, cursor: int, count: int, again: int, salt: int) -> tuple[int, list[bytes]]:
        """Return the next cursor (0: at the end) and about ``count`` keys in the order of their salted hashes.

        A key that is there from the first step to the last is given at least once, whatever is written between;
        ``again`` keys of the step before come again, as they may while Redis' table grows.
        """
        order = sorted((zlib.crc32(key, salt) + 1, key) for key in self.values)
        first = next((place for place, (place_hash, _) in enumerate(order) if place_hash >= cursor), len(order))
        last = min(len(order), first + max(1, count))
        while last < len(order) and order[last][0] == order[last - 1][0]:
            last += 1
        following = order[last][0] if last < len(order) else 0
        return following, [key for _, key in order[max(0, first - again) : last]]


def in_order(scores: dict[bytes, float]) -> Iterable[tuple[bytes, float]]:
    """Give a sorted set's members with their scores, by score and then by the member's bytes."""
    return sorted(scores.items(), key=lambda item: (item[1], item[0]))


@lru_cache(maxsize=256)
def pattern(glob: bytes) -> re.Pattern[bytes]:
    """Return Redis' glob (``*``, ``?``, ``[a-z]``, ``[^a]``, backslash) as an expression for ``fullmatch``."""
    parts: list[bytes] = []
    place = 0
    while place < len(glob):
        sign = glob[place : place + 1]
        place += 1
        if sign == b"*":
            parts.append(b".*")
        elif sign == b"?":
            parts.append(b".")
        elif sign == b"[":
            end = place
            while end < len(glob) and glob[end : end + 1] != b"]":
                end += 2 if glob[end : end + 1] == b"\\" else 1
            parts.append(_choice(glob[place:end]))
            place = end + 1
        else:
            if sign == b"\\" and place < len(glob):
                sign = glob[place : place + 1]
                place += 1
            parts.append(re.escape(sign))
    return re.compile(b"".join(parts), re.DOTALL)


def _choice(inside: bytes) -> bytes:
    negated = inside.startswith(b"^")
    signs: list[bytes] = []
    place = 1 if negated else 0
    while place < len(inside):
        escaped = inside[place : place + 1] == b"\\" and place + 1 < len(inside)
        place += escaped
        first = last = inside[place : place + 1]
        if not escaped and inside[place + 1 : place + 2] == b"-" and place + 2 < len(inside):
            last = inside[place + 2 : place + 3]
            first, last = min(first, last), max(first, last)
            place += 2
        signs.append(re.escape(first) + b"-" + re.escape(last))
        place += 1
    if not signs:
        return b"." if negated else b"(?!)"
    return b"[" + (b"^" if negated else b"") + b"".join(signs) + b"]"
