"""kafka-python's clients as the commands use them: connected by the settings, with errors that an operator can read."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from stream.errors import KafkaUnavailableError
from stream.settings import Settings

_REACH_SECONDS: Final = 5.0


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
        raise KafkaUnavailableError(message) from error


def _reach(settings: Settings) -> None:
    """Raise OSError where no server lets itself be connected to: kafka-python's clients would try on and on."""
    refused = []
    for server in settings.kafka.bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_SECONDS):
                return
        except (OSError, ValueError) as error:
            refused.append(f"{server.strip()}: {error}")
    raise ConnectionError("; ".join(refused))


@contextmanager
def administration(settings: Settings, doing: str) -> Iterator[KafkaAdminClient]:
    """Connect an administration client for the ``with`` block."""
    with readable_errors(settings, doing):
        _reach(settings)
        with KafkaAdminClient(**settings.kafka.kafka_python()) as admin:
            yield admin


@contextmanager
def consumer(settings: Settings, doing: str, **arguments: Any) -> Iterator[KafkaConsumer]:
    """Connect a consumer for the ``with`` block."""
    with readable_errors(settings, doing):
        _reach(settings)
        client = KafkaConsumer(**settings.kafka.kafka_python(), **arguments)
        try:
            yield client
        finally:
            client.close()


@contextmanager
def producer(settings: Settings, doing: str, **arguments: Any) -> Iterator[KafkaProducer]:
    """Connect a producer for the ``with`` block; leaving it early drops what was not sent."""
    with readable_errors(settings, doing):
        _reach(settings)
        client = KafkaProducer(**settings.kafka.kafka_python(), acks="all", **arguments)
        try:
            yield client
        except BaseException:
            client.close(timeout=0)
            raise
        client.close()
