"""The records that the stages hand to each other, and their layouts in memory, Redis and Kafka."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Final, get_args, get_type_hints

import numpy as np
import orjson
from numpy.typing import NDArray

from stream import layout
from stream.errors import StateMismatchError, quoted
from stream.shapes import fits
from stream.spans import Spans
from stream.versions import Entry, ModelVersion, faults

ENGINE_VERSION: Final = 1
"""Changes whenever any decision can change, from the first release on; activated through the log like a model."""

# --- event kinds -----------------------------------------------------------------------------------

ENGAGEMENT_TYPES: Final = (
    "social.follow",
    "social.like",
    "social.share",
    "social.comment",
    "site.page_view",
    "donation.started",
    "donation.completed",
    "signup.completed",
    "volunteer.signed_up",
    "event.rsvp",
    "message.delivered",
    "message.opened",
    "message.clicked",
    "message.replied",
    "message.unsubscribed",
    "canvass.contacted",
)
"""What a voter does, or has done to them, for the campaign to see."""

EVENT_TYPES: Final = (
    *ENGAGEMENT_TYPES,
    "profile.updated",
    *("consent.granted", "consent.withdrawn", "privacy.erased"),
    *("clock.tick", "config.activated", "keys.rotated"),
    "event.attended",
)
"""Every CloudEvents type; a type's place here is its kind code (int64), fixed for life."""

KIND: Final[Mapping[str, int]] = {name: code for code, name in enumerate(EVENT_TYPES)}
CONSENT_GRANTED: Final = KIND["consent.granted"]
CONSENT_WITHDRAWN: Final = KIND["consent.withdrawn"]
PRIVACY_ERASED: Final = KIND["privacy.erased"]
CLOCK_TICK: Final = KIND["clock.tick"]
CONFIG_ACTIVATED: Final = KIND["config.activated"]
KEYS_ROTATED: Final = KIND["keys.rotated"]
"""Control records are the kinds from CLOCK_TICK to here."""

# --- rejects ---------------------------------------------------------------------------------------

REJECT_REASONS: Final = (
    "",
    "too_large",
    "not_json",
    "not_cloudevent",
    "unknown_type",
    "bad_subject",
    "bad_time",
    "bad_data",
    "wrong_partition",
    "not_authorised",
)
"""The closed list of reasons; a reason's place is its code (0: not rejected)."""

REJECT: Final[Mapping[str, int]] = {name: code for code, name in enumerate(REJECT_REASONS)}

MAX_EVENT_BYTES: Final = 64 * 1024
MAX_VOTER_BYTES: Final = 64
MAX_REJECT_BYTES: Final = 512 * 1024  # what a publisher compressed may be more than any topic takes
MAX_REJECT_KEY_BYTES: Final = 64 * 1024
MAX_AHEAD_MS: Final = 24 * 3600 * 1000

# --- what step 4 says of a row -----------------------------------------------------------------------

USE_NOT: Final = 0
"""Not a voter's event, or rejected: the row touches no record."""
USE_FOLD: Final = 1
"""Folded into the voter's record, scored and decided upon."""
USE_DUPLICATE: Final = 2
"""Same source and id as one of the voter's last 16 events: dropped and counted."""
USE_SUPPRESSED: Final = 3
"""The voter withdrew consent or was erased: dropped and counted."""
USE_CONSENT: Final = 4
"""A change of consent itself: recorded, neither scored nor decided upon."""
USE_ERASE: Final = 5
"""The erasure itself: every field of the record was cleared, the mark of erasure stays."""

# --- the voter record --------------------------------------------------------------------------------

RECORD_VERSION: Final = 2
RING_LENGTH: Final = layout.RING_LENGTH
MAX_MODELS: Final = layout.MODELS
MAX_CAMPAIGNS: Final = layout.CAMPAIGNS
SESSION_GAP_MS: Final = 30 * 60 * 1000

CONSENT_UNKNOWN: Final = 0
CONSENT_YES: Final = 1
CONSENT_NO: Final = 2
CONSENT_ERASED: Final = 3

VOTER: Final = layout.VOTER
"""One voter: 768 bytes, little-endian; Redis has them packed (stores.packing)."""

assert VOTER.itemsize == 768  # noqa: S101 (a layout that all else rests on)

# --- what is active ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class ContentId:
    """One version of one thing in ``engagement.config``; its record key there is ``kind/name/sha256``."""

    kind: str
    """One of CONTENT_KINDS."""
    name: str
    sha256: str
    """Lower-case hexadecimal hash of the content's bytes: the version."""

    def key(self) -> str:
        """Return the record key in the configuration topic."""
        return f"{self.kind}/{self.name}/{self.sha256}"

    def tag(self) -> int:
        """Return the nonzero 16-bit tag of kind and name (not the version) that voter records carry.

        FNV-1a of 32 bits, the halves folded by XOR (Fowler, Noll, Vo).
        """
        value = 0x811C9DC5
        for byte in f"{self.kind}/{self.name}".encode():
            value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
        return folded_tag(value)


def folded_tag(tag: int) -> int:
    """Return a hash of 32 bits as a nonzero tag of 16."""
    return (tag >> 16 ^ tag & 0xFFFF) or 1


@dataclass(frozen=True, slots=True)
class Activation:
    """The data of a ``config.activated`` record: everything that is active from that row on."""

    engine: int
    contents: tuple[ContentId, ...] = ()
    versions: tuple[ModelVersion, ...] = ()
    """What is said of models beyond that: trials, previous versions, and since when active ones are."""


# --- the partition's header --------------------------------------------------------------------------

CONTENT_KINDS: Final = ("model", "campaign", "policy", "taxonomy")
SLOTS: Final[Mapping[str, int]] = {"model": MAX_MODELS, "campaign": MAX_CAMPAIGNS, "policy": 0, "taxonomy": 1}
"""By kind, how many contents can be active at a time."""
OUTPUTS: Final = ("triggers", "rejects", "forwards")
_TOTALS: Final = ("rows", "folded", "duplicates", "suppressed", "rejected")

Keys = list[list[str]]
"""Keys that may sign, each as ``[id, fingerprint of its secret]``, the newest last."""


@dataclass(slots=True)
class Header:
    """What a partition's commit carries beside the records it touched; one value in Redis."""

    topic_id: str
    partition_count: int
    owner: str
    """Random token of the worker that claimed the partition; not part of any decision."""
    start: int
    """Offset at which this deployment began to read the log."""
    offset: int
    """Next offset to process."""
    log_time_ms: int = 0
    engine: int = ENGINE_VERSION
    slots: dict[str, list[list[str] | None]] = field(default_factory=lambda: {kind: [] for kind in CONTENT_KINDS})
    """By kind, the active contents as ``[name, sha256]`` by slot; null: a free slot."""
    sequences: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTPUTS, 0))
    """By output, the sequence of its last row; they count from 1 without a gap."""
    origins: dict[str, int] = field(default_factory=dict)
    """By partition (decimal), the origin offset of the last forwarded event taken from it."""
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_TOTALS, 0))
    """Aggregates of the whole partition since ``start``."""
    versions: list[Entry] = field(default_factory=list)
    """The last activation's ``versions``, in order."""
    restoring: bool = False
    root: Keys = field(default_factory=list)
    """The key in force at ``start``; none: control records of this deployment are not signed."""
    keys: Keys = field(default_factory=list)
    """The keys in force now."""
    counters: dict[str, int] = field(default_factory=dict)
    """By type of control record, the signature's counter of the last one taken: an older one changes nothing."""

    @classmethod
    def fresh(cls, topic_id: str, partition_count: int, owner: str, start: int, root: Keys) -> Header:
        """Return the header of a partition that begins at the offset ``start``."""
        return cls(topic_id, partition_count, owner, start, start, root=deepcopy(root), keys=deepcopy(root))

    def to_bytes(self) -> bytes:
        """Return the header as it stands in Redis: JSON with sorted keys."""
        return orjson.dumps({name: getattr(self, name) for name in self.__slots__}, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """Parse a header; raise StateMismatchError, naming the field and quoting what was found, if it is none."""
        fault: str | None
        try:
            fields: Any = orjson.loads(data)
            header = cls(**fields)
            # A header of before there were taxonomies has none active.
            header.slots = {"taxonomy": [], **header.slots} if type(header.slots) is dict else header.slots
            fault = next(header._faults(), None)
        except (orjson.JSONDecodeError, TypeError) as error:
            fault = f"{str(error)[:200]}: {data[:120]!r}"
        if fault is not None:
            message = f"a partition's header in Redis is damaged ({fault}); run `groundswell restore`"
            raise StateMismatchError(message)
        return header

    def _faults(self) -> Iterator[str]:
        """Say which fields are of another type, or cannot be what a commit wrote."""
        for name, hint in _header_types().items():
            if not fits(getattr(self, name), hint):
                expected = str(hint) if get_args(hint) else hint.__name__
                yield f"{name} is {quoted(getattr(self, name))}, expected {expected}"
        for name, least in (("partition_count", 1), ("start", 0), ("offset", 0)):
            if getattr(self, name) < least:
                yield f"{name} is {getattr(self, name)}, expected at least {least}"
        for name, keys in (("slots", CONTENT_KINDS), ("sequences", OUTPUTS), ("totals", _TOTALS)):
            if set(getattr(self, name)) != set(keys):
                yield f"{name} has the keys {quoted(sorted(getattr(self, name)))}, expected {', '.join(keys)}"
        for name, counts in (("sequences", self.sequences), ("totals", self.totals)):
            if min(counts.values()) < 0:
                yield f"{name} is {quoted(counts)}, expected numbers from 0 up"
        for kind, slots in self.slots.items():
            if len(slots) > SLOTS[kind] or any(slot is not None and len(slot) != 2 for slot in slots):
                yield f"slots.{kind} is {quoted(slots)}, expected at most {SLOTS[kind]} of [name, sha256] or null"
        yield from faults(self.versions)
        for name, pairs in (("root", self.root), ("keys", self.keys)):
            if any(len(pair) != 2 for pair in pairs):
                yield f"{name} is {quoted(pairs)}, expected pairs of [id, fingerprint]"
        for partition in self.origins:
            if not partition.isascii() or not partition.isdecimal():
                yield f"origins has the key {quoted(partition)}, expected a partition's number"


@cache
def _header_types() -> dict[str, Any]:
    return get_type_hints(Header)


# --- outputs -----------------------------------------------------------------------------------------

SEQUENCE_HEADER: Final = "groundswell-sequence"
"""Kafka header of every output record: its sequence in its partition and output, decimal ASCII, from 1."""
TOMBSTONE_HEADER: Final = "groundswell-tombstone"
"""Kafka header of an output withdrawn before it was sent; the value is empty (null key too)."""

_ROW: Final = struct.Struct(">QiiI")
_LAST_HEADER: Final = b'["%b","%%d"]]' % SEQUENCE_HEADER.encode()
"""Ends a row in Redis whose last header is its sequence, as it is of all but tombstones."""


@dataclass(slots=True)
class OutboxRow:
    """One record on its way to an output topic (not changed any more); in Redis a sorted set's member, by sequence."""

    sequence: int
    partition: int
    """Partition of the output topic that it goes to."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()

    def to_bytes(self) -> bytes:
        """Return the row as it stands in Redis: sequence, partition, key length (-1: null), value length, bytes.

        Big-endian 64, 32, 32 and 32 bits (value length 0xFFFFFFFF: null), key, value, then the headers as JSON
        pairs of name and Latin-1 text.
        """
        key = b"" if self.key is None else self.key
        value = b"" if self.value is None else self.value
        key_length = -1 if self.key is None else len(key)
        value_length = 0xFFFFFFFF if self.value is None else len(value)
        head = _ROW.pack(self.sequence, self.partition, key_length, value_length)
        if self.headers and self.headers[-1] == (SEQUENCE_HEADER, b"%d" % self.sequence):
            headers = _pack_leading(self.headers[:-1]) + _LAST_HEADER % self.sequence
        else:
            headers = _pack_headers(self.headers)
        return b"".join((head, key, value, headers))

    @classmethod
    def from_bytes(cls, data: bytes) -> OutboxRow:
        """Parse a row; raise StateMismatchError if it is damaged."""
        try:
            sequence, partition, key_length, value_length = _ROW.unpack_from(data)
            if key_length < -1:
                raise ValueError(key_length)
            position = _ROW.size
            key = None if key_length < 0 else data[position : position + key_length]
            position += max(key_length, 0)
            value = None if value_length == 0xFFFFFFFF else data[position : position + value_length]
            position += 0 if value is None else value_length
            last = _LAST_HEADER % sequence
            if data.endswith(last):
                headers = (*_unpack_leading(data[position : -len(last)]), (SEQUENCE_HEADER, b"%d" % sequence))
            else:
                headers = _unpack_headers(data[position:])
        except (struct.error, orjson.JSONDecodeError, ValueError, TypeError, AttributeError) as error:
            # Neither the bytes nor what the parser says of them: they name a voter.
            kind = type(error).__name__
            message = f"an outbox row of {len(data)} bytes in Redis is damaged ({kind}); run `groundswell restore`"
            raise StateMismatchError(message) from None
        return cls(sequence, partition, key, value, headers)

    def tombstone(self) -> OutboxRow:
        """Return what is sent in this row's place when it was withdrawn before it was sent."""
        headers = ((SEQUENCE_HEADER, b"%d" % self.sequence), (TOMBSTONE_HEADER, b"1"))
        return OutboxRow(self.sequence, self.partition, None, None, headers)


def _pack_headers(headers: tuple[tuple[str, bytes], ...]) -> bytes:
    return orjson.dumps([(name, text.decode("latin-1")) for name, text in headers])


@lru_cache(64)
def _pack_leading(headers: tuple[tuple[str, bytes], ...]) -> bytes:
    """Return the headers before a row's sequence, the same in all triggers, up to where _LAST_HEADER begins."""
    return _pack_headers((*headers, (SEQUENCE_HEADER, b"0"))).removesuffix(_LAST_HEADER % 0)


def _unpack_headers(data: bytes) -> tuple[tuple[str, bytes], ...]:
    """Return the headers in a row's end; raise ValueError or TypeError if it is damaged."""
    pairs = orjson.loads(data)
    if not fits(pairs, list[list[str]]):
        raise TypeError
    return tuple([(name, text.encode("latin-1")) for name, text in pairs])


@lru_cache(64)
def _unpack_leading(data: bytes) -> tuple[tuple[str, bytes], ...]:
    """Return the headers before a row's sequence, the same in all triggers; errors as _unpack_headers'."""
    return _unpack_headers(data + _LAST_HEADER % 0)[:-1]


@dataclass(frozen=True, slots=True)
class Records:
    """Voters with their records' bytes, one row for each, each voter once; not changed any more."""

    voters: Spans
    values: NDArray[np.uint8]
    """uint8[n, 768]."""

    @classmethod
    def of(cls, pairs: Sequence[tuple[bytes, bytes]]) -> Records:
        """Lay voters and records, 768 bytes each, into arrays."""
        # Not read-only, as an array over bytes is: kernels would be compiled once more.
        values = np.frombuffer(bytearray(b"".join([value for _, value in pairs])), np.uint8)
        return cls(Spans.of([voter for voter, _ in pairs]), values.reshape(len(pairs), VOTER.itemsize))

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.values)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Give each voter with the record's bytes."""
        return zip(self.voters, map(np.ndarray.tobytes, self.values), strict=True)


@dataclass(slots=True)
class Commit:
    """One atomic step: what a partition's batches changed since the last one."""

    expected_offset: int
    """The offset that the header in the store must hold, beside this owner's token."""
    header: Header
    """A copy, not changed any more."""
    records: Records
    outbox: dict[str, list[OutboxRow]]
    """By output, in sequence."""
    erased: frozenset[str] = frozenset()
    """Voters whose unsent triggers are withdrawn in the same step."""
