"""What an answer of Redis must be to be believed: a server that breaks its own protocol is not gone on with."""

from __future__ import annotations

from typing import Any

from stream.errors import StoreFailedError


def text(answer: Any) -> bytes | None:
    """Return a string, or None for null; raise StoreFailedError for anything else."""
    if answer is not None and not isinstance(answer, bytes):
        raise _astray(answer, "a string or null")
    return answer


def texts(answer: Any) -> list[bytes]:
    """Return a list of strings; raise StoreFailedError for anything else."""
    if not isinstance(answer, list) or not all(isinstance(item, bytes) for item in answer):
        raise _astray(answer, "a list of strings")
    return answer


def texts_or_nulls(answer: Any, count: int) -> list[bytes | None]:
    """Return a list of ``count`` strings or nulls; raise StoreFailedError for anything else."""
    if not isinstance(answer, list) or len(answer) != count or not {*map(type, answer)} <= {bytes, type(None)}:
        raise _astray(answer, f"a list of {count} strings or nulls")
    return answer


def number(answer: Any) -> int:
    """Return a count; raise StoreFailedError for anything else."""
    if not isinstance(answer, int) or answer < 0:
        raise _astray(answer, "a number from 0 up")
    return answer


def page(answer: Any) -> tuple[bytes, list[bytes]]:
    """Return the next cursor (``b"0"``: at the end) and the keys of SCAN; raise StoreFailedError for anything else."""
    if not isinstance(answer, list) or len(answer) != 2 or not isinstance(answer[0], bytes) or not answer[0].isdigit():
        raise _astray(answer, "a cursor and a list of keys")
    return answer[0], texts(answer[1])


def shards(answer: Any) -> list[tuple[int, int, bytes, int]]:
    """Return first slot, last slot, host (empty: that of the node asked) and port of each stretch of CLUSTER SLOTS.

    Raises StoreFailedError for anything else.
    """
    found: list[tuple[int, int, bytes, int]] = []
    for shard in answer if isinstance(answer, list) else [None]:
        match shard:
            case [int() as first, int() as last, [bytes() | None as host, int() as port, *_], *_] if 0 < port < 1 << 16:
                found.append((first, last, host or b"", port))
            case _:
                raise _astray(answer, "stretches of slots with their nodes")
    return found


def _astray(answer: Any, expected: str) -> StoreFailedError:
    # Not the answer itself: it may name a voter.
    length = f" of {len(answer)}" if isinstance(answer, list | bytes) else ""
    return StoreFailedError(
        f"Redis answered {type(answer).__name__}{length} where {expected} was expected: is it Redis at that address, "
        "and nothing in between that changes what it says?"
    )
