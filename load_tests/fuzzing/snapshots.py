"""Mutated snapshots, torn by a bad disk or made by somebody who knows how checksums are made: read, or refused."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from functools import cache
from typing import Any, Final

import orjson
import zstandard

from load_tests.fuzzing.mutation import change_bytes, change_json
from load_tests.fuzzing.promises import expect, held_to
from load_tests.fuzzing.state import TOKENS, mutate
from stream.errors import SnapshotRefusedError
from stream.records import ENGINE_VERSION, OUTPUTS, RECORD_VERSION, VOTER, Header, OutboxRow
from stream.snapshots import Manifest, MemorySnapshots, inline
from stream.snapshots.format import MANIFEST, SnapshotName
from stream.snapshots.reading import SnapshotReader
from stream.snapshots.requests import Request
from stream.snapshots.writing import SnapshotWriter

FOLDER: Final = "_/0/20261125T000000000Z-120-ab"
_NAMES: Final = (FOLDER.rpartition("/")[2].encode(), b"20260230T250000000Z-1-x", b"99999999T999999999Z-0-0")
_REQUESTS: Final = (Request("ab12").to_bytes(), Request("ab12", "failed", "no room").to_bytes())


@cache
def sound_files() -> dict[str, bytes]:
    """Return the files of one sound snapshot, by name."""
    storage = MemorySnapshots()
    asyncio.run(_write(storage))
    return storage.files


async def _write(storage: MemorySnapshots) -> None:
    writer = SnapshotWriter(storage, FOLDER, inline)
    record = RECORD_VERSION.to_bytes(2, "little") + b"\0" * (VOTER.itemsize - 2)
    await writer.add_records([f"voter-{number}" for number in range(20)], [record] * 20)
    await writer.add_rows("triggers", [OutboxRow(number, 0, b"voter-1", b"{}", (("a", b"b"),)) for number in (3, 4)])
    await writer.flush()
    header = Header("topic", 1, "", 100, 120, 1_795_555_555_000)
    manifest = Manifest(
        *("", "events", "topic", 0, 1, 120, 1_795_555_555_000, 1_795_555_556_000, ENGINE_VERSION),
        *(RECORD_VERSION, VOTER.itemsize, header.to_bytes().decode(), dict.fromkeys(OUTPUTS, 3), tuple(writer.files)),
    )
    await writer.finish(manifest)


def mutated(chance: random.Random) -> tuple[dict[str, bytes], bytes]:
    """Return a snapshot's files with one of them changed, and what was changed.

    In half of them the manifest was made anew with the right checksums, as by a hostile writer.
    """
    files = dict(sound_files())
    manifest = f"{FOLDER}/{MANIFEST}"
    name = chance.choice([manifest, *files])
    forged = chance.random() < 0.7
    if name == manifest:
        body = orjson.loads(files[name])["manifest"]
        files[name] = _signed(change_json(chance, body)) if forged else mutate(chance, (files[name],))
        return files, files[name]
    data = bytearray(files[name] if chance.random() < 0.5 else zstandard.ZstdDecompressor().decompress(files[name]))
    packed = data[:4] == files[name][:4]
    for _ in range(chance.choice((1, 1, 2, 4))):
        change_bytes(chance, data, (files[name],), TOKENS, _replace_count)
    if chance.random() < 0.002:
        data += b"\0" * (1 << 24)
    files[name] = bytes(data) if packed else zstandard.ZstdCompressor(write_checksum=True).compress(bytes(data))
    if forged:
        body = orjson.loads(files[manifest])["manifest"]
        for entry in body["files"]:
            if name.endswith(entry["name"]):
                entry.update(size=len(files[name]), sha256=hashlib.sha256(files[name]).hexdigest())
        files[manifest] = _signed(body)
    return files, files[name]


def _signed(body: Any) -> bytes:
    text = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return b'{"sha256":"%b","manifest":%b}' % (hashlib.sha256(text).hexdigest().encode(), text)


def _replace_count(chance: random.Random, data: bytearray) -> None:
    """Change what says how much there is: a frame's size, or the counts before the rows."""
    place = chance.randrange(14)
    data[place : place + 1] = bytes([chance.randrange(256)])


def try_snapshots(chance: random.Random, inputs: int) -> Counter[str]:
    """Read mutated snapshots whole, as a restoration does; and, beside them, names and requests."""
    counts: Counter[str] = Counter()
    for _ in range(inputs):
        files, data = mutated(chance)
        with held_to("snapshot", data, (SnapshotRefusedError,), counts):
            _read(MemorySnapshots(files), data)
        data = mutate(chance, _REQUESTS)
        with held_to("request", data, (), Counter()):
            request = Request.from_bytes(data)
            expect(request is None or Request.from_bytes(request.to_bytes()) == request, "another request", data)
        data = mutate(chance, _NAMES)
        with held_to("folder's name", data, (), Counter()):
            name = SnapshotName.parse(data.decode(errors="replace"))
            expect(name is None or name.text == data.decode(errors="replace"), "another name", data)
    return counts


def _read(storage: MemorySnapshots, data: bytes) -> None:
    reader = SnapshotReader(storage, FOLDER, inline)

    async def everything() -> None:
        manifest = await reader.manifest()
        expect(manifest.size >= 0 and manifest.records >= 0, "the manifest counts below nothing", data)
        async for _ in reader.check(manifest):
            pass
        found = 0
        async for records in reader.records(manifest):
            expect(all(len(record) == VOTER.itemsize for _, record in records), "a record is not of its length", data)
            found += len(records)
        expect(found == manifest.records, "the manifest counts other records", data)
        async for output, rows in reader.rows(manifest):
            expect(output in OUTPUTS and all(row.to_bytes() for row in rows), "a row cannot be written", data)

    coroutine = everything()
    try:
        coroutine.send(None)
    except StopIteration:
        return
    message = "reading waits for something"
    raise RuntimeError(message)
