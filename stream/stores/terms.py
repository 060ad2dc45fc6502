"""What a store refuses, and in which words: the same for Redis and its twin."""

from __future__ import annotations

from collections.abc import Iterable

from stream.errors import CommitRefusedError, StateMismatchError, StateMissingError
from stream.records import Commit, Header, OutboxRow


def refuse_foreign(prefix: str, header: Header | None, commit: Commit) -> None:
    """Raise CommitRefusedError unless ``header``, as it stands in the store, is still this owner's, at its offset."""
    if header is None:
        message = f"partition {prefix[:-1]} has no header any more; expected offset {commit.expected_offset}"
        raise CommitRefusedError(message)
    if header.owner != commit.header.owner:
        message = f"partition {prefix[:-1]} was claimed by {header.owner!r}; this owner is {commit.header.owner!r}"
        raise CommitRefusedError(message)
    if header.offset != commit.expected_offset:
        message = f"partition {prefix[:-1]} stands at offset {header.offset}; expected {commit.expected_offset}"
        raise CommitRefusedError(message)


def refuse_restoring(prefix: str, header: Header) -> None:
    """Raise StateMismatchError if a restoration of this partition has not come to its end."""
    if header.restoring:
        message = (
            f"partition {prefix[:-1]} is being restored, or its restoration was cut off: wait for "
            "`groundswell restore` to end, or run it (again)"
        )
        raise StateMismatchError(message)


def refuse_usurped(prefix: str, header: Header | None, owner: str) -> None:
    """Raise CommitRefusedError unless the restoration that began under the token ``owner`` is still under way."""
    if header is None or header.owner != owner or not header.restoring:
        found = "has no header any more" if header is None else f"belongs to {header.owner!r} now"
        message = f"partition {prefix[:-1]} {found}: its restoration by {owner!r} was overtaken by another"
        raise CommitRefusedError(message)


def headless(prefix: str) -> StateMismatchError:
    """Return the error for a partition that has records or outbox rows and no header."""
    message = (
        f"partition {prefix[:-1]} has voters or outbox rows in Redis but its header is missing: state was lost; "
        "run `groundswell restore`"
    )
    return StateMismatchError(message)


def stateless(prefix: str) -> StateMissingError:
    """Return the error for a partition that has nothing in Redis, where nothing may begin."""
    return StateMissingError(f"partition {prefix[:-1]} has no state in Redis")


def row_of(prefix: str, output: str, data: bytes) -> OutboxRow:
    """Return the outbox row in ``data``; raise StateMismatchError without quoting it, since it names a voter."""
    try:
        return OutboxRow.from_bytes(data)
    except (StateMismatchError, UnicodeError):
        message = (
            f"a row of {len(data)} bytes in the outbox {output} of partition {prefix[:-1]} is damaged; "
            "run `groundswell restore`"
        )
        raise StateMismatchError(message) from None


def rows_of(prefix: str, output: str, found: Iterable[bytes], after: int) -> list[OutboxRow]:
    """Return outbox rows that were asked for above the sequence ``after``; raise StateMismatchError if not in sequence.

    Whoever reads page after page would not come to an end with rows that do not ascend.
    """
    rows: list[OutboxRow] = []
    for data in found:
        row = row_of(prefix, output, data)
        rows.append(row)
        if row.sequence <= after:
            message = (
                f"the outbox {output} of partition {prefix[:-1]} holds sequence {row.sequence} behind {after}; "
                "run `groundswell restore`"
            )
            raise StateMismatchError(message)
        after = row.sequence
    return rows
