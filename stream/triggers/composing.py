"""Triggers as CloudEvents 1.0 (structured JSON), each with its reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from stream.columns import Columns
from stream.interfaces import Decoded, Fired
from stream.records import EVENT_TYPES, SEQUENCE_HEADER, OutboxRow
from stream.triggers.compiling import Campaigns

_CONTENT_TYPE = ("content-type", b"application/cloudevents+json; charset=UTF-8")


def compose(
    fired: Fired,
    columns: Columns,
    decoded: Decoded,
    campaigns: Campaigns,
    topic: str,
    partition: int,
    sequence: int,
) -> list[OutboxRow]:
    """Return one outbox row for each trigger, numbered from ``sequence``.

    ``fired.rows`` are rows of ``columns`` and ``decoded``; ``topic`` is the events topic's full name. A trigger's
    id is its place in the log, the same on every replay.
    """
    rows = fired.rows
    if not len(rows):
        return []
    facts = zip(
        range(sequence, sequence + len(rows)),
        decoded.voters.take(rows),
        decoded.ids.take(rows),
        decoded.sources.take(rows),
        decoded.kinds[rows].tolist(),
        fired.campaigns.tolist(),
        fired.before.tolist(),
        fired.after.tolist(),
        columns.offsets[rows].tolist(),
        decoded.now[rows].tolist(),
        _moments(decoded.now[rows]),
        _moments(decoded.times[rows]),
        strict=True,
    )
    composed: list[OutboxRow] = []
    for number, voter, name, source, kind, slot, before, after, offset, now_ms, now, time in facts:
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"{partition}-{offset}-{campaigns.names[slot]}",
            "source": f"/{topic}/{partition}",
            "type": "campaign.triggered",
            "subject": voter.decode(),
        }
        if now_ms:
            event["time"] = now
        event["datacontenttype"] = "application/json"
        event["sequence"] = str(number)
        cause = {
            "id": name.decode(),
            "source": source.decode(),
            "type": EVENT_TYPES[kind],
            "time": time,
            "partition": partition,
            "offset": offset,
        }
        event["data"] = _data(campaigns, slot, before, after, cause, now_ms, number)
        headers = (_CONTENT_TYPE, (SEQUENCE_HEADER, b"%d" % number))
        composed.append(OutboxRow(number, partition, voter, orjson.dumps(event), headers))
    return composed


def _data(
    campaigns: Campaigns, slot: int, before: float, after: float, cause: dict[str, Any], now_ms: int, sequence: int
) -> dict[str, Any]:
    """Return the event's data, members in the order in which they are written."""
    model = campaigns.model_names[slot]
    return {
        "campaign": campaigns.names[slot],
        "campaign_version": campaigns.versions[slot],
        "model": model,
        "models": campaigns.model_versions,
        "score_before": before,
        "score_after": after,
        "cause": cause,
        "log_time_ms": now_ms,
        "sequence": sequence,
        "why": (
            f"{model} {campaigns.verbs[slot]} from {before:.4f} to {after:.4f} "
            f"and crossed {campaigns.crossings[slot]} after {cause['type']}"
        ),
        "action": campaigns.actions[slot],
    }


def _moments(times_ms: NDArray[np.int64]) -> list[str]:
    """Return times (ms since the epoch) as RFC 3339 in UTC with milliseconds."""
    return [f"{text}Z" for text in np.datetime_as_string(times_ms.astype("datetime64[ms]"), unit="ms").tolist()]
