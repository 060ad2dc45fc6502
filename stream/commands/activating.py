"""What is active by the log's end, and its next activation, into every partition in one Kafka transaction."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from stream.activation import activate, active_contents
from stream.commands.broker import readable_errors
from stream.commands.contents import Content, prove
from stream.commands.control import ControlWriter, control_records, control_writer, read_signing
from stream.commands.headers import read_headers
from stream.commands.reading import KafkaReader, PartitionReader, ReadContents, Record, columns_from
from stream.commands.topics import facts
from stream.continuity import LogFacts, lost, misfit
from stream.errors import ConfigurationError, StateMismatchError
from stream.events import decode
from stream.interfaces import Authority, Library
from stream.records import Activation, Header
from stream.settings import Settings
from stream.signatures import Keyring, root_of
from stream.stores.redis import RedisStore
from stream.versions import ACTIVE, CANARY, ModelVersion

SOURCE: Final = "/groundswell/config"
# A text in JSON may be spelled with escapes, which only the parser can tell.
_TOLD_BY: Final = (b"config.activated", b"keys.rotated", b"\\u")


def activation_event(activation: Activation, name: str) -> bytes:
    """Return the ``config.activated`` CloudEvent (structured JSON) with ``name`` as its id."""
    contents: list[dict[str, Any]] = [asdict(content) for content in activation.contents if content.kind != "model"]
    for one in roles_in(activation):
        role = {"role": one.role} if one.role != ACTIVE else {}
        share = {"share": one.share} if one.role == CANARY else {}
        since = {"since_ms": one.since_ms} if one.since_ms else {}
        contents.append({"kind": "model", "name": one.name, "sha256": one.sha256, **role, **share, **since})
    event = {
        "specversion": "1.0",
        "id": name,
        "source": SOURCE,
        "type": "config.activated",
        "datacontenttype": "application/json",
        "data": {"engine": activation.engine, "contents": contents},
    }
    return orjson.dumps(event)


def roles_in(activation: Activation) -> list[ModelVersion]:
    """Return the models' versions that have a role by an activation, the active ones first."""
    said = {(one.name, one.sha256): one for one in activation.versions if one.role == ACTIVE}
    active = [
        said.get((content.name, content.sha256), ModelVersion(content.name, content.sha256, ACTIVE))
        for content in activation.contents
        if content.kind == "model"
    ]
    return [*active, *(one for one in activation.versions if one.role != ACTIVE)]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of what is active, that rests on what is so now."""

    library: ReadContents
    """The configuration topic."""
    before: Activation
    """What is active once all that stands in the log has been processed."""
    settings: Settings
    writer: ControlWriter

    def write(self, after: Activation, contents: Sequence[Content] = ()) -> tuple[int, bool]:
        """Write contents, then the activation into every partition; return how many, and whether in one transaction.

        Raises ConfigurationError where a worker would reject it, and where another command came between; other errors
        as ``control.read_signing``'s.
        """
        prove(after, self.library.and_these({content.identity: content.data for content in contents}))
        partitions = facts(self.settings).partition_count
        name = uuid.uuid4()
        values = [activation_event(after, f"{name}-{number}") for number in range(partitions)]
        records = control_records("config.activated", values, read_signing(self.settings, partitions))
        return partitions, self.writer.write(records, contents)


@contextmanager
def changing(settings: Settings, doing: str) -> Iterator[Change]:
    """Begin a change of what is active, which another command that begins later breaks off.

    Errors as ``control.control_writer``'s, ``read_library``'s and ``last_activation``'s.
    """
    facts(settings, "config")
    with control_writer(settings, doing) as writer:
        library = read_library(settings)
        yield Change(library, last_activation(settings, library), settings, writer)


def now_ms() -> int:
    """Return the time, in ms since the epoch: since when a version has its role, for those who ask."""
    return time.time_ns() // 1_000_000


def read_library(settings: Settings) -> ReadContents:
    """Return the configuration topic as it stands now."""
    facts(settings, "config")
    with readable_errors(settings, "reading the configuration topic"):
        reader = KafkaReader(settings.kafka.kafka_python(), settings.topic("config"), 0)
        try:
            return ReadContents.read(reader)
        finally:
            reader.close()


def last_activation(settings: Settings, library: Library) -> Activation:
    """Return what is active once all that stands in the log has been processed.

    Every activation goes to every partition, so one tells: the first one's header in Redis, and the activations in its
    log behind that. Raises StoreUnavailableError where Redis does not answer, KafkaUnavailableError where Kafka does
    not, and StateMismatchError where header and log do not meet: what was active between them is not known.
    """
    topic = facts(settings)
    found = asyncio.run(read_headers(settings, 1, RedisStore.read_header))[0]
    with readable_errors(settings, "reading what the log activates"):
        reader = KafkaReader(settings.kafka.kafka_python(), topic.name, 0)
        try:
            keyring, (begin, end) = settings.keyring(), reader.bounds()
            if found is None and begin > 0:
                raise lost(0, begin)
            header = found or Header.fresh("", topic.partition_count, "", 0, root_of(keyring))
            wrong = misfit(header, LogFacts(topic.name, topic.topic_id, topic.partition_count, begin, end))
            if wrong is not None:
                message = f"the state of partition 0 {wrong.found}; {wrong.mend}"
                raise StateMismatchError(message)
            return active_by(follow(header, reader, library, topic.name, keyring))
        finally:
            reader.close()


def follow(header: Header, log: PartitionReader, library: Library, topic: str, keyring: Keyring | None) -> Header:
    """Return a header as the activations and rotations in the log behind it leave it; nothing else is moved.

    Raises ConfigurationError for an activation of what the library lacks: it was written meanwhile.
    """
    header = deepcopy(header)
    _, stop = log.bounds()
    log.seek(header.offset)
    while records := log.read(stop):
        told = [record for record in records if _may_tell(record)]
        if told:
            _take(header, told, library, topic, keyring)
    return header


def active_by(header: Header) -> Activation:
    """Return what is active by a header."""
    return Activation(header.engine, tuple(active_contents(header)), tuple(map(ModelVersion.of_entry, header.versions)))


def _may_tell(record: Record) -> bool:
    return any(word in (record.value or b"") for word in _TOLD_BY)


def _take(header: Header, told: Sequence[Record], library: Library, topic: str, keyring: Keyring | None) -> None:
    """Move a header past those of some records that activate or rotate."""
    columns = columns_from(0, told, told[0].offset, told[-1].offset + 1)
    counters: Mapping[str, int] = header.counters
    authority = None if keyring is None else Authority(topic, keyring, header.keys, counters)
    decoded = decode(columns, header.partition_count, header.log_time_ms, authority, reference=True)
    for row in sorted(decoded.activations):
        activation = decoded.activations[row]
        missing = next((content for content in activation.contents if library.get(content) is None), None)
        if missing is not None:
            message = f"{missing.key()} was activated meanwhile, by another command: run this one again"
            raise ConfigurationError(message)
        activate(header, activation, library)
    if decoded.authority is not None:
        header.keys, header.counters = decoded.authority.keys, dict(decoded.authority.counters)
