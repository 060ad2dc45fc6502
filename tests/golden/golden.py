"""Fixed logs, and the exact bytes that the engine has made of them since they were fixed."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stream.commands.reading import ReadContents
from stream.commands.replay import Derived, Replay
from stream.records import ContentId, Header
from stream.signatures import Keyring, root_of
from tests.logs import TOPIC, Log
from tests.oracle import Row
from tests.simulation.topics import MemoryReader, events_of

HERE = Path(__file__).parent
NAMES = ("swinging-scores", "some-append-times", "no-append-times", "hot-voters", "signed")


def log_path(name: str) -> Path:
    return HERE / f"{name}.log.json.gz"


def triggers_path(name: str) -> Path:
    return HERE / f"{name}.triggers.jsonl"


def summary_path(name: str) -> Path:
    return HERE / f"{name}.summary.json"


def dump(log: Log) -> bytes:
    """Return a log as gzipped JSON; any byte is written as the Latin-1 character of its number."""
    fields = {
        "seed": log.seed,
        "partition": log.partition,
        "count": log.count,
        "secrets": {name: secret.decode("latin-1") for name, secret in log.secrets.items()},
        "contents": [[*key, content.decode("latin-1")] for key, content in log.contents.items()],
        "rows": [
            [
                row.offset,
                row.append_time,
                None if row.key is None else row.key.decode("latin-1"),
                None if row.value is None else row.value.decode("latin-1"),
                [[name, None if text is None else text.decode("latin-1")] for name, text in row.headers],
            ]
            for row in log.rows
        ],
    }
    return gzip.compress(json.dumps(fields, separators=(",", ":")).encode(), mtime=0)


def load(name: str) -> Log:
    """Return a log that was fixed."""
    fields: Any = json.loads(gzip.decompress(log_path(name).read_bytes()))
    log = Log(fields["seed"], fields["partition"], fields["count"], {})
    log.contents = {(kind, title, sha256): text.encode("latin-1") for kind, title, sha256, text in fields["contents"]}
    log.secrets = {name: secret.encode("latin-1") for name, secret in fields.get("secrets", {}).items()}
    for offset, append_time, key, value, headers in fields["rows"]:
        log.rows.append(
            Row(
                offset,
                append_time,
                None if key is None else key.encode("latin-1"),
                None if value is None else value.encode("latin-1"),
                tuple((title, None if text is None else text.encode("latin-1")) for title, text in headers),
            )
        )
    return log


async def derive(log: Log, *, reference: bool = False) -> tuple[list[bytes], dict[str, Any]]:
    """Return the triggers' values, and a summary of all else that the engine (or its reference) makes of a log."""
    library = ReadContents({ContentId(*key): content for key, content in log.contents.items()})
    keyring = Keyring(log.secrets) if log.secrets else None
    begin = Header.fresh("", log.count, "", log.start, root_of(keyring))
    replay = await Replay.open(
        log.partition, TOPIC, begin, MemoryReader(events_of(log)), library, keyring, reference=reference
    )
    triggers: list[bytes] = []
    digests = {output: hashlib.sha256() for output in ("triggers", "rejects", "forwards")}

    async def take(derived: Derived) -> None:
        triggers.extend(row.value or b"" for row in derived.outputs["triggers"])
        for output, digest in digests.items():
            for row in derived.outputs[output]:
                digest.update(row.to_bytes())

    await replay.to(log.rows[-1].offset + 1, take)
    records = {voter: hashlib.sha256(replay.records.get(voter) or b"").hexdigest() for voter in replay.records.voters()}
    header = {field: value for field, value in asdict(replay.header).items() if field not in {"owner", "topic_id"}}
    replay.close()
    return triggers, {
        "header": header,
        "outputs": {output: digest.hexdigest() for output, digest in digests.items()},
        "records": dict(sorted(records.items())),
    }


def spell(summary: dict[str, Any]) -> str:
    """Return a summary as it stands in its file."""
    return json.dumps(summary, indent=1, ensure_ascii=False) + "\n"
