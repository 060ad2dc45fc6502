"""Triggers as CloudEvents 1.0 (structured JSON), each with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from stream.columns import Columns
from stream.interfaces import Decoded, Fired
from stream.records import EVENT_TYPES, SEQUENCE_HEADER, OutboxRow
from stream.triggers.compiling import Campaigns
from stream.triggers.spelling import each

_CONTENT_TYPE: Final = ("content-type", b"application/cloudevents+json; charset=UTF-8")
_TYPES: Final = tuple(name.encode() for name in EVENT_TYPES)


def compose(
    fired: Fired,
    contributions: Sequence[bytes],
    columns: Columns,
    decoded: Decoded,
    campaigns: Campaigns,
    topic: str,
    partition: int,
    sequence: int,
) -> list[OutboxRow]:
    """Return one outbox row for each trigger, numbered from ``sequence``.

    ``fired.rows`` are rows of ``columns`` and ``decoded``; ``contributions`` are what ``spell`` gives for each trigger;
    ``topic`` is the events topic's full name. A trigger's id is its place in the log, the same on every replay.
    """
    rows = fired.rows
    n = len(rows)
    if not n:
        return []
    numbers = range(sequence, sequence + n)
    voters, ids, sources = (list(texts.take(rows)) for texts in (decoded.voters, decoded.ids, decoded.sources))
    words = [_TYPES[kind] for kind in decoded.kinds[rows].tolist()]
    partitions, offsets, now = [partition] * n, columns.offsets[rows].tolist(), decoded.now[rows].tolist()
    before, after = fired.before.tolist(), fired.after.tolist()
    moments = [
        b',"time":"%b"' % text if known else b"" for text, known in zip(_moments(decoded.now[rows]), now, strict=True)
    ]
    # In the order of the template's places.
    facts = zip(
        *(partitions, offsets, [orjson.dumps(topic)[1:-1]] * n, partitions),
        *(_texts(voters), moments, numbers, each(before), each(after)),
        *(_texts(ids), _texts(sources), words, _moments(decoded.times[rows]), partitions, offsets),
        *(now, numbers, before, after, words, contributions),
        strict=True,
    )
    kinds = zip(fired.campaigns.tolist(), fired.canaries.tolist(), strict=True)
    templates = [campaigns.templates[kind] for kind in kinds]
    values = map(bytes.__mod__, templates, facts)
    return [
        OutboxRow(number, partition, voter, value, (_CONTENT_TYPE, (SEQUENCE_HEADER, b"%d" % number)))
        for number, voter, value in zip(numbers, voters, values, strict=True)
    ]


def _texts(texts: list[bytes]) -> list[bytes]:
    """Return each of some texts in UTF-8, at least one, as JSON."""
    return each([text.decode() for text in texts])


def _moments(times_ms: NDArray[np.int64]) -> list[bytes]:
    """Return times (ms since the epoch) as RFC 3339 in UTC with milliseconds."""
    texts: list[bytes] = times_ms.astype("datetime64[ms]").astype("S").tolist()
    return [b"%bZ" % text for text in texts]
