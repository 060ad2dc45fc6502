"""``groundswell config apply`` and ``config show``: models and campaigns into the log, and what is known of them."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import orjson
from kafka import KafkaProducer
from kafka.errors import IncompatibleBrokerVersion, UnknownError, UnsupportedVersionError

from stream.commands.broker import producer, readable_errors
from stream.commands.contents import Content, activation_of, read_contents
from stream.commands.reading import KafkaReader
from stream.commands.topics import MAX_CONTENT_BYTES, facts
from stream.errors import GroundswellError
from stream.records import CONTENT_KINDS, Activation, ContentId, Header
from stream.settings import Settings
from stream.stores.redis import RedisStore

SOURCE: Final = "/groundswell/config"
_NO_TRANSACTIONS: Final = (UnsupportedVersionError, IncompatibleBrokerVersion, UnknownError, NotImplementedError)
"""How a broker that knows no transactions answers a request for one."""


@dataclass(frozen=True, slots=True)
class Held:
    """One version of one content in the configuration topic."""

    identity: ContentId
    size_bytes: int
    offset: int
    active_in: tuple[int, ...] | None = None
    """Partitions whose state has it active; None where Redis was not asked."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What ``apply`` did."""

    contents: tuple[ContentId, ...]
    changes: dict[ContentId, str] = field(default_factory=dict)
    """By content, ``new``, ``changed`` or ``unchanged`` since it was last applied."""
    dropped: tuple[ContentId, ...] = ()
    """The last versions of what the topic knows and is not active from here on."""
    partitions: int = 0
    transaction: bool = True
    """False: the broker knows no transactions, so contents were written first, then the activations."""

    def __str__(self) -> str:
        """Return what changed, one line each."""
        lines = [
            f"{self.changes[content]:>9}  {content.kind} {content.name}  {content.sha256[:12]}"
            for content in self.contents
        ]
        lines += [f"{'inactive':>9}  {content.kind} {content.name}  {content.sha256[:12]}" for content in self.dropped]
        how = "in one transaction" if self.transaction else "without a transaction, which this broker does not know"
        lines.append(f"{len(self.contents)} contents activated in {self.partitions} partitions {how}")
        return "\n".join(lines)


def apply(settings: Settings, directory: Path | None = None) -> Applied:
    """Prove the files of ``directory`` (the settings' own where None) and activate them, and only them.

    Raises ConfigurationError before anything is written, TopicError where a topic is missing,
    KafkaUnavailableError where it could not be written, or no answer came: apply it again, twice does no harm.
    """
    contents = read_contents(directory or settings.configuration)
    partitions = facts(settings).partition_count
    facts(settings, "config")
    last = _last_versions(read_topic(settings))
    activation = activation_of(contents)
    transaction = _write(settings, contents, activation, partitions)
    names = {(content.kind, content.name) for content in activation.contents}
    return Applied(
        activation.contents,
        {content: _change(content, last) for content in activation.contents},
        tuple(sorted(content for key, content in last.items() if key not in names)),
        partitions,
        transaction,
    )


def activation_event(activation: Activation, name: str) -> bytes:
    """Return the ``config.activated`` CloudEvent (structured JSON) with ``name`` as its id."""
    contents = [
        {"kind": content.kind, "name": content.name, "sha256": content.sha256} for content in activation.contents
    ]
    event = {
        "specversion": "1.0",
        "id": name,
        "source": SOURCE,
        "type": "config.activated",
        "datacontenttype": "application/json",
        "data": {"engine": activation.engine, "contents": contents},
    }
    return orjson.dumps(event)


def read_topic(settings: Settings) -> list[Held]:
    """Return what the configuration topic holds, in its order; what is not what its key names is passed over."""
    held: list[Held] = []
    with readable_errors(settings, "reading the configuration topic"):
        reader = KafkaReader(settings.kafka.kafka_python(), settings.topic("config"), 0)
        try:
            first, stop = reader.bounds()
            reader.seek(first)
            while records := reader.read(stop):
                for record in records:
                    value = record.value or b""
                    kind, _, rest = (record.key or b"").decode(errors="replace").partition("/")
                    name, _, sha256 = rest.partition("/")
                    if kind in CONTENT_KINDS and hashlib.sha256(value).hexdigest() == sha256:
                        identity = ContentId(kind, name, sha256)
                        held.append(Held(identity, len(value), record.offset))
        finally:
            reader.close()
    return held


def show(settings: Settings) -> list[Held]:
    """Return every version in the configuration topic, once each, and where it is active if Redis answers."""
    facts(settings, "config")
    latest = {held.identity: held for held in read_topic(settings)}
    active = asyncio.run(_active(settings, facts(settings).partition_count))
    return [
        replace(held, active_in=None if active is None else tuple(active.get(held.identity, ())))
        for held in sorted(latest.values(), key=lambda held: (held.identity.kind, held.identity.name, held.offset))
    ]


async def _active(settings: Settings, partitions: int) -> dict[ContentId, list[int]] | None:
    active: dict[ContentId, list[int]] = {}
    for number in range(partitions):
        store = RedisStore(settings.redis.endpoint(), settings.key_prefix(number))
        try:
            header = await store.read_header()
        except GroundswellError:
            return None
        finally:
            await store.close()
        for content in contents_of(header):
            active.setdefault(content, []).append(number)
    return active


def contents_of(header: Header | None) -> list[ContentId]:
    """Return what is active by a partition's header."""
    if header is None:
        return []
    return [
        ContentId(kind, item[0], item[1]) for kind in CONTENT_KINDS for item in header.slots[kind] if item is not None
    ]


def _last_versions(held: Sequence[Held]) -> dict[tuple[str, str], ContentId]:
    return {(item.identity.kind, item.identity.name): item.identity for item in held}


def _change(content: ContentId, last: dict[tuple[str, str], ContentId]) -> str:
    before = last.get((content.kind, content.name))
    if before is None:
        return "new"
    return "unchanged" if before == content else "changed"


def _write(settings: Settings, contents: Sequence[Content], activation: Activation, partitions: int) -> bool:
    """Write contents and activations; return whether it was one transaction."""
    arguments = {
        "max_request_size": MAX_CONTENT_BYTES,
        "max_block_ms": int(settings.kafka.request_timeout_seconds * 1000),
    }
    doing = "applying the configuration"
    with producer(settings, doing, transactional_id=f"{settings.group()}.config", **arguments) as client:
        try:
            client.init_transactions()
        except _NO_TRANSACTIONS:
            pass
        else:
            client.begin_transaction()
            sent = _send_contents(settings, client, contents) + _send_activations(
                settings, client, activation, partitions
            )
            client.commit_transaction()
            _await(sent, settings)
            return True
    with producer(settings, doing, enable_idempotence=False, **arguments) as client:
        _await(_send_contents(settings, client, contents), settings)
        _await(_send_activations(settings, client, activation, partitions), settings)
    return False


def _send_contents(settings: Settings, client: KafkaProducer, contents: Sequence[Content]) -> list[Any]:
    topic = settings.topic("config")
    return [
        client.send(topic, key=content.identity.key().encode(), value=content.data, partition=0) for content in contents
    ]


def _send_activations(settings: Settings, client: KafkaProducer, activation: Activation, partitions: int) -> list[Any]:
    topic, name = settings.topic("events"), uuid.uuid4()
    return [
        client.send(topic, value=activation_event(activation, f"{name}-{number}"), partition=number)
        for number in range(partitions)
    ]


def _await(sent: Sequence[Any], settings: Settings) -> None:
    for future in sent:
        future.get(timeout=settings.kafka.request_timeout_seconds)
