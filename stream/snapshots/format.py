"""How a snapshot is written: data files of compressed rows, and a manifest that says what they are.

A snapshot is a folder. Data files are zstd frames (RFC 8878) with zstd's own checksum; the manifest, written last,
names each with its size and SHA-256. A folder without a manifest is no snapshot.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, get_type_hints

import orjson
import zstandard

from stream.errors import SnapshotFailedError, SnapshotRefusedError, StateMismatchError, quoted
from stream.records import ENGINE_VERSION, OUTPUTS, RECORD_VERSION, VOTER, Header, OutboxRow
from stream.shapes import fits

FORMAT: Final = 1
"""Changes whenever an older build could not read what is written."""
MANIFEST: Final = "manifest.json"
VOTERS: Final = "voters"
"""Kind of the files that hold voters' records; the others' kinds are the outputs."""

_LEVEL: Final = 1
"""Records are half noise (hashes, floats): a higher level costs much and gains a few per cent."""
_COUNTS: Final = struct.Struct(">II")
_LENGTH: Final = struct.Struct(">I")
_NAME: Final = re.compile(r"(\d{8}T\d{9})Z-(\d+)-([0-9a-z]+)")
_MOST_RAW_BYTES: Final = 1 << 26
"""Several times what a file holds: a frame that says more would take memory before its first byte was believed."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One data file, as the manifest names it."""

    name: str
    kind: str
    rows: int
    size: int
    """Bytes as they stand in the file."""
    sha256: str
    """Of these bytes, lower-case hexadecimal."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot is of, and what it is made of."""

    namespace: str
    topic: str
    topic_id: str
    partition: int
    partition_count: int
    offset: int
    """The state is that before the event of this offset."""
    log_time_ms: int
    created_ms: int
    """When it was begun, by the clock of whoever took it."""
    engine: int
    record_version: int
    record_bytes: int
    header: str
    """The partition's header at ``offset``, without an owner, as it would stand in Redis."""
    unsent: dict[str, int]
    """By output, the sequence of the first row that was not known to be sent; rows before it do not count."""
    files: tuple[FileEntry, ...]
    format: int = FORMAT

    @property
    def size(self) -> int:
        """Bytes of all data files."""
        return sum(entry.size for entry in self.files)

    @property
    def records(self) -> int:
        """Rows of voters' records; a voter may have two, then of the same bytes."""
        return sum(entry.rows for entry in self.files if entry.kind == VOTERS)

    def state(self) -> Header:
        """Return the header."""
        return Header.from_bytes(self.header.encode())

    def to_bytes(self) -> bytes:
        """Return the manifest as it stands in its file: JSON, under the SHA-256 of itself."""
        body = orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)
        return b'{"sha256":"%b","manifest":%b}' % (hashlib.sha256(body).hexdigest().encode(), body)

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Manifest:
        """Parse a manifest; raise SnapshotRefusedError, naming ``where``, if it is torn, altered or of the future."""
        try:
            document: Any = orjson.loads(data)
            body, said = document["manifest"], document["sha256"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            message = f"{where} is torn: its manifest of {len(data)} bytes is none ({type(error).__name__})"
            raise SnapshotRefusedError(message) from None
        version = body.get("format") if isinstance(body, dict) else None
        if type(version) is int and version > FORMAT:
            message = f"{where} has format {version}, and this build reads up to {FORMAT}: use the build that wrote it"
            raise SnapshotRefusedError(message)
        found = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
        if said != found:
            message = f"{where} was altered: its manifest has SHA-256 {found}, and says {quoted(said)}"
            raise SnapshotRefusedError(message)
        if version != FORMAT:
            message = f"{where} has format {quoted(version)}, expected {FORMAT}"
            raise SnapshotRefusedError(message)
        return cls._from_fields(body, where)

    @classmethod
    def _from_fields(cls, body: dict[str, Any], where: str) -> Manifest:
        try:
            manifest = cls(**{**body, "files": tuple(FileEntry(**entry) for entry in body["files"])})
            _refuse_misfits(manifest)
            header = manifest.state()
        except (TypeError, KeyError, AttributeError, StateMismatchError) as error:
            message = f"{where} is damaged: its manifest has not the fields of one ({type(error).__name__})"
            raise SnapshotRefusedError(message) from None
        same = (header.topic_id, header.partition_count, header.offset, header.engine)
        if same != (manifest.topic_id, manifest.partition_count, manifest.offset, manifest.engine):
            message = f"{where} is damaged: its manifest and the header in it do not say the same"
            raise SnapshotRefusedError(message)
        return manifest

    def refuse_unusable(self, where: str) -> None:
        """Raise SnapshotRefusedError where this build could not go on from it."""
        if self.engine != ENGINE_VERSION:
            message = (
                f"{where} was decided by engine {self.engine}, and this build is engine {ENGINE_VERSION}: use the "
                "build of that engine, or another snapshot"
            )
            raise SnapshotRefusedError(message)
        if self.record_version > RECORD_VERSION or self.record_bytes != VOTER.itemsize:
            message = (
                f"{where} holds records of version {self.record_version} with {self.record_bytes} bytes, and this "
                f"build reads up to version {RECORD_VERSION} with {VOTER.itemsize}: use the build that wrote it"
            )
            raise SnapshotRefusedError(message)


def _refuse_misfits(manifest: Manifest) -> None:
    """Raise TypeError where a field is of another type than it declares, or counts below nothing."""
    parts: tuple[Manifest | FileEntry, ...] = (manifest, *manifest.files)
    for part in parts:
        for name, hint in get_type_hints(type(part)).items():
            if name != "files" and not fits(getattr(part, name), hint):
                raise TypeError(name)
    if any(min(entry.rows, entry.size) < 0 for entry in manifest.files):
        raise TypeError(FileEntry)


@dataclass(frozen=True, slots=True)
class SnapshotName:
    """A snapshot's folder: when it was begun, its offset, and a token that no other has."""

    created_ms: int
    offset: int
    token: str
    text: str = field(compare=False)

    @classmethod
    def make(cls, created_ms: int, offset: int, token: str) -> SnapshotName:
        """Return the name of a snapshot; names of one partition sort by time."""
        moment = datetime.fromtimestamp(created_ms // 1000, UTC)
        text = f"{moment:%Y%m%dT%H%M%S}{created_ms % 1000:03d}Z-{offset}-{token}"
        return cls(created_ms, offset, token, text)

    @classmethod
    def parse(cls, text: str) -> SnapshotName | None:
        """Return the name in ``text``, None where it is none."""
        match = _NAME.fullmatch(text)
        if match is None:
            return None
        try:
            moment = datetime.strptime(match[1][:15] + "+0000", "%Y%m%dT%H%M%S%z")
        except ValueError:
            return None
        return cls(int(moment.timestamp()) * 1000 + int(match[1][15:]), int(match[2]), match[3], text)


# --- data files --------------------------------------------------------------------------------------


def pack_records(voters: Sequence[str], records: Sequence[bytes]) -> bytes:
    """Return a file's bytes: count, length of the names, names by line feed, then 768 bytes each; compressed.

    Raises SnapshotFailedError for a name or a record that could not be read back.
    """
    names = "\n".join(voters).encode()
    if names.count(b"\n") != max(len(voters) - 1, 0) or set(map(len, records)) - {VOTER.itemsize}:
        message = "a voter's record in Redis has not the bytes of one; run `groundswell verify`"
        raise SnapshotFailedError(message)
    return _compress(b"".join((_COUNTS.pack(len(voters), len(names)), names, *records)))


def unpack_records(data: bytes) -> list[tuple[str, bytes]]:
    """Return what pack_records was given, as pairs; raise ValueError where ``data`` is none of its files."""
    raw = _decompress(data)
    count, length = _COUNTS.unpack_from(raw)
    start = _COUNTS.size + length
    voters = raw[_COUNTS.size : start].decode().split("\n") if count else []
    if len(voters) != count or len(raw) != start + count * VOTER.itemsize:
        message = "the counts do not fit"
        raise ValueError(message)
    size = VOTER.itemsize
    return [(voter, raw[start + place * size : start + (place + 1) * size]) for place, voter in enumerate(voters)]


def pack_rows(rows: Sequence[OutboxRow]) -> bytes:
    """Return a file's bytes: each row's length and its bytes as in Redis; compressed."""
    parts: list[bytes] = []
    for row in rows:
        data = row.to_bytes()
        parts += (_LENGTH.pack(len(data)), data)
    return _compress(b"".join(parts))


def unpack_rows(data: bytes) -> list[OutboxRow]:
    """Return what pack_rows was given; raise ValueError where ``data`` is none of its files."""
    raw, place = _decompress(data), 0
    rows: list[OutboxRow] = []
    while place < len(raw):
        (length,) = _LENGTH.unpack_from(raw, place)
        place += _LENGTH.size + length
        if place > len(raw):
            message = "the last row is cut off"
            raise ValueError(message)
        rows.append(OutboxRow.from_bytes(raw[place - length : place]))
    return rows


def _compress(raw: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(raw)


def _decompress(data: bytes) -> bytes:
    size = zstandard.frame_content_size(data)
    if not 0 <= size <= _MOST_RAW_BYTES:
        message = f"it says that it holds {size} bytes"
        raise ValueError(message)
    return zstandard.ZstdDecompressor().decompress(data)


KINDS: Final = (VOTERS, *OUTPUTS)
