"""What record version 1 wrote: the bytes that its own code made of logs, kept since."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Written:
    """The records of one log."""

    log_time_ms: int
    slots: dict[str, list[list[str] | None]]
    records: list[bytes]
    rows: list[dict[str, float]]
    """Version 1's features of each at the log's time, by name."""


@dataclass(frozen=True)
class Taken:
    """A snapshot of a partition, taken after the last row of its log."""

    contents: list[tuple[str, str, bytes]]
    """What is active: kind, name, content."""
    files: dict[str, bytes]
    """The snapshot's, by name."""
    records: dict[str, bytes]
    """By voter, what Redis held."""


@cache
def written_by_version_1() -> tuple[Written, ...]:
    """Return what was written for each of the logs; the last one is the demo's electorate."""
    document = _read("version-1.json.gz")
    names = document["features"]
    return tuple(
        Written(
            log["log_time_ms"],
            log["slots"],
            [base64.b64decode(record) for record in log["records"]],
            [dict(zip(names, row, strict=True)) for row in log["rows"]],
        )
        for log in document["logs"]
    )


@cache
def snapshot_by_version_1() -> Taken:
    """Return the snapshot that the last build of version 1 took, of a log with every type of event."""
    document = _read("version-1-snapshot.json.gz")
    return Taken(
        [(kind, name, content.encode()) for kind, name, content in document["contents"]],
        {name: base64.b64decode(data) for name, data in document["files"].items()},
        {voter: base64.b64decode(record) for voter, record in document["records"].items()},
    )


def _read(name: str) -> Any:
    return json.loads(gzip.decompress((_HERE / name).read_bytes()))
