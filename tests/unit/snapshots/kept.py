"""Snapshots in memory, made of plain values, and read back to plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stream.records import OUTPUTS, RECORD_VERSION, SEQUENCE_HEADER, VOTER, Header, OutboxRow
from stream.snapshots import Capture, Catalogue, Manifest, MemorySnapshots, Place, inline
from stream.snapshots.format import SnapshotName
from stream.stores.memory import MemoryServer, MemoryStore
from stream.stores.names import header_key, outbox_key, partition_prefix, voter_prefix

CREATED_MS = 1_795_000_000_123
PLACE = Place("", 0)
TOPIC = "engagement.events"


def record(last_offset: int, sessions: int = 1) -> bytes:
    """Return a voter's record that tells of one event at least."""
    made = np.zeros(1, VOTER)
    made["version"], made["last_offset"], made["sessions"] = RECORD_VERSION, last_offset, sessions
    made["ring"][0, 0] = 7
    return made.tobytes()


def row(sequence: int, value: bytes = b"{}", key: bytes = b"ada") -> OutboxRow:
    return OutboxRow(sequence, 0, key, value, ((SEQUENCE_HEADER, b"%d" % sequence),))


def header(offset: int, **sequences: int) -> Header:
    made = Header("topic-1", 1, "owner", 0, offset)
    made.sequences.update(sequences)
    return made


def server(
    found: Header, records: Mapping[str, bytes] | None = None, rows: Mapping[str, Sequence[OutboxRow]] | None = None
) -> MemoryServer:
    """Return a server that holds a partition's state."""
    prefix = partition_prefix(PLACE.namespace, PLACE.partition)
    made = MemoryServer({header_key(prefix): found.to_bytes()})
    made.values.update((voter_prefix(prefix) + voter, data) for voter, data in (records or {}).items())
    for output, some in (rows or {}).items():
        made.outboxes[outbox_key(prefix, output)] = {one.sequence: one.to_bytes() for one in some}
    return made


def store(of: MemoryServer) -> MemoryStore:
    return MemoryStore(of, partition_prefix(PLACE.namespace, PLACE.partition))


def catalogue(storage: MemorySnapshots, place: Place = PLACE) -> Catalogue:
    return Catalogue(storage, place, inline)


async def snapshot(
    storage: MemorySnapshots, of: MemoryServer, created_ms: int = CREATED_MS, place: Place = PLACE
) -> SnapshotName:
    """Take a snapshot of a server that nobody works on; return its name."""
    found = await store(of).read_header()
    assert found is not None
    name = SnapshotName.make(created_ms, found.offset, f"{len(storage.files):x}")
    capture = Capture(found, store(of), catalogue(storage, place).writer(name))

    async def committed() -> int:
        return found.offset

    await capture.run(place, TOPIC, created_ms, committed)
    return name


@dataclass
class Content:
    """What a snapshot holds."""

    manifest: Manifest
    header: Header
    records: dict[str, bytes]
    rows: dict[str, list[OutboxRow]]


async def content(storage: MemorySnapshots, name: SnapshotName, place: Place = PLACE) -> Content:
    """Read a snapshot back; a voter that comes twice must be the same both times."""
    reader = catalogue(storage, place).reader(name)
    manifest = await reader.manifest()
    assert sum([size async for size in reader.check(manifest)]) == manifest.size
    records: dict[str, bytes] = {}
    async for pairs in reader.records(manifest):
        for voter, data in pairs:
            assert records.setdefault(voter, data) == data
    rows: dict[str, list[OutboxRow]] = {output: [] for output in OUTPUTS}
    async for output, some in reader.rows(manifest):
        rows[output] += some
    return Content(manifest, manifest.state(), records, rows)
