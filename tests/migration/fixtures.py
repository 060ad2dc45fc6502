"""Voters' records as record version 1 wrote them: the bytes that its own code made of logs, kept since."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("version-1.json.gz")


@dataclass(frozen=True)
class Written:
    """The records of one log."""

    log_time_ms: int
    slots: dict[str, list[list[str] | None]]
    records: list[bytes]
    rows: list[dict[str, float]]
    """Version 1's features of each at the log's time, by name."""


@cache
def written_by_version_1() -> tuple[Written, ...]:
    """Return what was written for each of the logs; the last one is the demo's electorate."""
    document: Any = json.loads(gzip.decompress(_FILE.read_bytes()))
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
