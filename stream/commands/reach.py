"""Whether Kafka can be reached and lets this user in, asked before a client is made that would try on and on."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from stream import handshakes
from stream.errors import KafkaUnavailableError
from stream.settings.groups import KafkaSettings

_GREETING_SECONDS: Final = 5.0

Address = tuple[str, int]


def reach(kafka: KafkaSettings) -> None:
    """Return once one of ``kafka.bootstrap_servers`` has let this user in.

    Raises KafkaUnavailableError, in one line that names the setting to look at, where a server, or a broker that it
    names, refuses the login or shows a certificate that cannot be accepted; OSError where none can be connected to.
    """
    with ThreadPoolExecutor(1, "reach") as apart:
        # In a thread of its own: the caller may be within an event loop already.
        apart.submit(asyncio.run, _reach(kafka)).result()


async def _reach(kafka: KafkaSettings) -> None:
    away: list[str] = []
    asked = [_address(server) for server in kafka.bootstrap_servers.split(",")]
    for address in asked:
        try:
            named = await _greet(kafka, address)
        except (OSError, KafkaError) as error:
            away.append(f"{_text(address)}: {_hint(error, kafka) or _reason(error)}")
            continue
        # One that is down is no reason to end; one that can never be used is, since its partitions would stand still.
        await asyncio.gather(*(_refuses(kafka, other) for other in named - {*asked}))
        return
    raise ConnectionError("; ".join(away))


async def _refuses(kafka: KafkaSettings, address: Address) -> None:
    """Raise KafkaUnavailableError if a broker refuses; nothing where it cannot be connected to."""
    try:
        await _greet(kafka, address)
    except (OSError, KafkaError):
        return


async def _greet(kafka: KafkaSettings, address: Address) -> set[Address]:
    """Connect, log in, and return the addresses of the brokers as this server names them."""
    server = f"Kafka at {_text(address)}"
    connection: AIOKafkaConnection | None = None
    try:
        connection = await create_conn(*address, request_timeout_ms=int(_GREETING_SECONDS * 1000), **kafka.security())
        answer = await asyncio.wait_for(connection.send(MetadataRequest([])), _GREETING_SECONDS)
    except (OSError, KafkaError) as error:
        refusal = _refusal(error, server, kafka)
        if refusal is None:
            raise
        raise KafkaUnavailableError(refusal) from error
    finally:
        if connection is not None:
            connection.close()
    return {(broker[1], broker[2]) for broker in answer.brokers}


def _refusal(error: Exception, server: str, kafka: KafkaSettings) -> str | None:
    """Say why a server refuses, None where it is only away."""
    if isinstance(error, SaslAuthenticationFailed):
        return (
            f"{server} refuses the login of {kafka.sasl_username!r} by {kafka.sasl_mechanism}: look at "
            "kafka.sasl_username and kafka.sasl_password (or kafka.sasl_password_file)"
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"{server} offers no login by {kafka.sasl_mechanism}: look at kafka.sasl_mechanism"
    return handshakes.failure(error, server, handshakes.KAFKA)


def _hint(error: Exception, kafka: KafkaSettings) -> str | None:
    """Say what may be wrong where a port ends the connection at the first word, as one does that expects another."""
    if not isinstance(error, KafkaConnectionError | IllegalSaslStateError | ConnectionResetError):
        return None
    return (
        f"it ends the connection at the first request, as where TLS or a login is wanted and kafka.security_protocol "
        f"({kafka.security_protocol}) says otherwise"
    )


def _reason(error: Exception) -> str:
    # asyncio gives its own words and no name to the commonest of all errors.
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError):
        return f"no answer within {_GREETING_SECONDS:g} s"
    return str(error) or type(error).__name__


def _address(server: str) -> Address:
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)


def _text(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
