"""Control records into every partition at once: signed by what is in force there, in one Kafka transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaProducer
from kafka.errors import (
    IncompatibleBrokerVersion,
    InvalidProducerEpochError,
    KafkaError,
    ProducerFencedError,
    UnknownError,
    UnsupportedVersionError,
)

from stream.agents.fence import AGAIN_SECONDS
from stream.commands.broker import producer
from stream.commands.contents import Content
from stream.commands.headers import read_headers
from stream.commands.topics import MAX_CONTENT_BYTES
from stream.errors import ConfigurationError
from stream.records import Header, Keys
from stream.settings import Settings
from stream.signatures import Keyring, Signer, require_keyring
from stream.stores.redis import RedisStore

_NO_TRANSACTIONS: Final = (UnsupportedVersionError, IncompatibleBrokerVersion, UnknownError, NotImplementedError)
"""How a broker that knows no transactions answers a request for one."""
_REPLACED: Final = (ProducerFencedError, InvalidProducerEpochError)
"""How one answers a producer whose transactional id has a newer owner."""


@dataclass(frozen=True, slots=True)
class ControlRecord:
    """One record of no voter, on its way to a partition."""

    partition: int
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Signing:
    """Signs for each partition with the newest key in force there."""

    def __init__(self, keyring: Keyring, topic: str, headers: Mapping[int, Header | None]) -> None:
        """Take the partitions' headers (None: not begun, so that the oldest key is in force).

        Raises StateMismatchError where the keyring does not fit one of them.
        """
        for number, header in headers.items():
            if header is not None:
                require_keyring(header, keyring, f"{topic} partition {number}")
        self._keyring = keyring
        self._headers = headers
        self._signer = Signer(keyring, topic, time.time_ns)

    @property
    def in_force(self) -> dict[int, Keys]:
        """By partition, the keys in force."""
        return {
            number: self._keyring.root if header is None else header.keys for number, header in self._headers.items()
        }

    def sign(self, partition: int, kind: str, value: bytes) -> tuple[str, bytes]:
        """Return the header that signs a record of no key, later than the last one of its type there."""
        header = self._headers[partition]
        above = 0 if header is None else header.counters.get(kind, 0)
        return self._signer.sign(self.in_force[partition], partition, None, value, above=above)


def read_signing(settings: Settings, partitions: int) -> Signing | None:
    """Return what signs for this deployment, None without a keyring; errors as Signing's and the store's."""
    keyring = settings.keyring()
    if keyring is None:
        return None
    headers = asyncio.run(read_headers(settings, partitions, RedisStore.read_header))
    return Signing(keyring, settings.topic("events"), headers)


def control_records(kind: str, values: Sequence[bytes], signing: Signing | None) -> list[ControlRecord]:
    """Return the records for all partitions, in their order, signed where there is a keyring."""
    if signing is None:
        return [ControlRecord(number, value) for number, value in enumerate(values)]
    return [ControlRecord(number, value, (signing.sign(number, kind, value),)) for number, value in enumerate(values)]


class ControlWriter:
    """Writes control records, unless another command has claimed the writing meanwhile."""

    def __init__(self, settings: Settings, doing: str, client: KafkaProducer | None) -> None:
        """Take a producer that has begun to own the transactional id; None: the broker knows no transactions."""
        self._settings = settings
        self._doing = doing
        self._client = client

    def write(self, records: Sequence[ControlRecord], contents: Sequence[Content] = ()) -> bool:
        """Write contents, then records; return whether it was one transaction.

        Raises ConfigurationError where another command has begun since, and so may have changed what this one read.
        """
        client, sent = self._client, list[Any]()
        if client is None:
            with producer(
                self._settings, self._doing, enable_idempotence=False, **_arguments(self._settings)
            ) as client:
                _await(_send_contents(self._settings, client, contents), self._settings)
                _await(_send_records(self._settings, client, records), self._settings)
            return False
        try:
            client.begin_transaction()
            sent += _send_contents(self._settings, client, contents) + _send_records(self._settings, client, records)
            client.commit_transaction()
            _await(sent, self._settings)
        except KafkaError as error:
            if not _is_replaced(error, sent):
                raise
            message = (
                f"another command came between while {self._doing}, and may have changed what this one rests on: look "
                "at `groundswell model list`, and run this one again"
            )
            raise ConfigurationError(message) from error
        return True


@contextmanager
def control_writer(settings: Settings, doing: str) -> Iterator[ControlWriter]:
    """Claim the writing of control records for the ``with`` block; whoever claims it later takes it away.

    What is read in the block still holds when ``write`` returns: a claim waits until the transaction of the one before
    is whole or gone, and ends its right to begin or commit another (Kafka's fencing by ``transactional.id``). Not so
    where the broker knows no transactions. Raises KafkaUnavailableError, which says what was being done.
    """
    for wait_seconds in (*AGAIN_SECONDS, None):
        with producer(settings, doing, transactional_id=f"{settings.group()}.config", **_arguments(settings)) as client:
            try:
                client.init_transactions()
            except (*_NO_TRANSACTIONS, KafkaError) as error:
                if _is_unknown(error) and wait_seconds is not None:
                    # By another client: to this one the error is the end.
                    time.sleep(wait_seconds)
                    continue
                if not isinstance(error, _NO_TRANSACTIONS):
                    raise
            else:
                yield ControlWriter(settings, doing, client)
                return
        break
    yield ControlWriter(settings, doing, None)


def _arguments(settings: Settings) -> dict[str, int]:
    wait_ms = int(settings.kafka.request_timeout_seconds * 1000)
    return {"max_request_size": MAX_CONTENT_BYTES, "max_block_ms": wait_ms}


def _is_unknown(error: Exception) -> bool:
    """Return whether a broker answered UNKNOWN_SERVER_ERROR, which kafka-python says in the text of another error."""
    return isinstance(error, UnknownError) or UnknownError.__name__ in str(error)


def _is_replaced(error: KafkaError, sent: Sequence[Any]) -> bool:
    """Return whether a newer producer of the same transactional id made a transaction fail.

    Once it knows, kafka-python says so in the text of other errors.
    """
    found = [error, *(future.exception for future in sent)]
    return any(isinstance(one, _REPLACED) or _REPLACED[0].__name__ in str(one) for one in found if one is not None)


def _send_contents(settings: Settings, client: KafkaProducer, contents: Sequence[Content]) -> list[Any]:
    topic = settings.topic("config")
    return [
        client.send(topic, key=content.identity.key().encode(), value=content.data, partition=0) for content in contents
    ]


def _send_records(settings: Settings, client: KafkaProducer, records: Sequence[ControlRecord]) -> list[Any]:
    topic = settings.topic("events")
    return [
        client.send(topic, value=record.value, partition=record.partition, headers=list(record.headers))
        for record in records
    ]


def _await(sent: Sequence[Any], settings: Settings) -> None:
    for future in sent:
        future.get(timeout=settings.kafka.request_timeout_seconds)
