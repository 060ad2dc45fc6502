"""A rejected row as it goes to the rejects."""

from __future__ import annotations

from stream.columns import Columns
from stream.events.withholding import without_texts
from stream.records import MAX_REJECT_BYTES, MAX_REJECT_KEY_BYTES


def rejected(
    columns: Columns, row: int, reason: str, topic: str, now_ms: int
) -> tuple[bytes | None, bytes, tuple[tuple[str, bytes], ...]]:
    """Return key, value and headers: the row's bytes without a comment's text, the reason, and where it was read.

    ``topic`` is the events' and ``now_ms`` the log's time. Of what no broker would take again only the beginning goes,
    with its ``length``: a row that cannot be sent would hold up all that follow.
    """
    key, value = columns.key(row), columns.value(row)
    headers: tuple[tuple[str, bytes], ...] = (
        ("reason", reason.encode()),
        ("topic", topic.encode()),
        ("partition", b"%d" % columns.partition),
        ("offset", b"%d" % columns.offsets[row]),
        ("time", b"%d" % now_ms),
    )
    if len(value) > MAX_REJECT_BYTES or (key is not None and len(key) > MAX_REJECT_KEY_BYTES):
        headers = (*headers, ("length", b"%d" % len(value)))
        key = None if key is None else key[:MAX_REJECT_KEY_BYTES]
        value = value[:MAX_REJECT_BYTES]
    return key, without_texts(value), headers
