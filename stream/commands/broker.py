"""kafka-python's clients as the commands use them: connected by the settings, with errors that an operator can read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import AuthorizationError, KafkaError

from stream.commands.reach import reach
from stream.errors import KafkaUnavailableError
from stream.settings import Settings


@contextmanager
def readable_errors(settings: Settings, doing: str) -> Iterator[None]:
    """Turn kafka-python's errors into KafkaUnavailableError, which says what was being done, and where."""
    try:
        yield
    except BrokenPipeError:
        # Not Kafka's: whoever read the command's output has gone.
        raise
    except (KafkaError, OSError) as error:
        servers = settings.kafka.bootstrap_servers
        message = f"Kafka at {servers} failed while {doing}: {error}"
        if isinstance(error, AuthorizationError):
            user = settings.kafka.sasl_username or "this client"
            message += f"; {user} lacks a permission: docs/security.md lists them by role"
        raise KafkaUnavailableError(message) from error


@contextmanager
def administration(settings: Settings, doing: str) -> Iterator[KafkaAdminClient]:
    """Connect an administration client for the ``with`` block."""
    with readable_errors(settings, doing):
        reach(settings.kafka)
        with KafkaAdminClient(**settings.kafka.kafka_python()) as admin:
            yield admin


@contextmanager
def consumer(settings: Settings, doing: str, **arguments: Any) -> Iterator[KafkaConsumer]:
    """Connect a consumer for the ``with`` block."""
    with readable_errors(settings, doing):
        reach(settings.kafka)
        client = KafkaConsumer(**settings.kafka.kafka_python(), **arguments)
        try:
            yield client
        finally:
            client.close()


@contextmanager
def producer(settings: Settings, doing: str, **arguments: Any) -> Iterator[KafkaProducer]:
    """Connect a producer for the ``with`` block; leaving it early drops what was not sent."""
    with readable_errors(settings, doing):
        reach(settings.kafka)
        client = KafkaProducer(**settings.kafka.kafka_python(), acks="all", **arguments)
        try:
            yield client
        except BaseException:
            client.close(timeout=0)
            raise
        client.close()
