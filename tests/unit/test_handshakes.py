"""What is said of a server that speaks no TLS, or shows a certificate that cannot be accepted."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from stream import handshakes
from stream.commands.reach import reach
from stream.errors import GroundswellError, KafkaUnavailableError, StoreFailedError, StoreUnavailableError
from stream.settings import Settings
from stream.stores.route import connected
from tests.certificates import Certificate
from tests.listening import stop_listening

HOST = "localhost"
CASES = {
    "expired": "has expired: renew it",
    "elsewhere": r"is for another host \(.*'localhost'\.?\): name the server in",
    "early": "is not valid yet: compare this machine's clock",
    "stranger": r"is signed by an authority that is not trusted \(.*\): name it in \w+\.tls_ca_file",
    "plain": "does not speak TLS there: look at the port and at",
}


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


def context_of(case: str, authority: trustme.CA, directory: Path) -> ssl.SSLContext | None:
    """Return what a server of this case shows; None where it speaks no TLS."""
    if case == "plain":
        return None
    days = {"expired": (-30, -1), "early": (1, 2)}.get(case, (-30, 1))
    host = "elsewhere.example" if case == "elsewhere" else HOST
    signer = trustme.CA() if case == "stranger" else authority
    return Certificate.issue(signer, directory, case, host, days=days).server_context()


@asynccontextmanager
async def server(context: ssl.SSLContext | None, says: bytes = b"") -> AsyncIterator[int]:
    """Give the port of a server that reads a little, says something and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(says)
        writer.close()

    serving = await asyncio.start_server(serve, HOST, 0, ssl=context)
    try:
        yield serving.sockets[0].getsockname()[1]
    finally:
        await stop_listening(serving)


def settings_at(port: int, directory: Path, tls: bool = True) -> Settings:
    login = {"kafka.sasl_username": "worker", "kafka.sasl_password": "secret"}
    flags = {
        "kafka.bootstrap_servers": f"{HOST}:{port}",
        "kafka.security_protocol": "SASL_SSL" if tls else "SASL_PLAINTEXT",
        "kafka.tls_ca_file": str(directory / "ca.pem"),
        "redis.url": f"redis{'s' if tls else ''}://{HOST}:{port}/0",
        "redis.tls_ca_file": str(directory / "ca.pem"),
        **login,
    }
    return Settings.load(flags=flags)


@pytest.mark.parametrize("case", CASES)
async def test_failed_handshake_is_one_line_that_names_server_and_setting(
    case: str, authority: trustme.CA, tmp_path: Path
) -> None:
    async with server(context_of(case, authority, tmp_path), b"no TLS\r\n") as port:
        settings = settings_at(port, tmp_path)
        with pytest.raises(KafkaUnavailableError, match=CASES[case]) as of_kafka:
            await asyncio.to_thread(reach, settings.kafka)
        with pytest.raises(StoreFailedError, match=CASES[case]) as of_redis:
            await connected(settings.redis.endpoint())
    for name, raised in (("Kafka", of_kafka), ("Redis", of_redis)):
        assert f"{name} at {HOST}:{port}" in str(raised.value)
        assert len(str(raised.value).splitlines()) == 1
    assert "kafka." in str(of_kafka.value) or case == "early"
    assert "redis." in str(of_redis.value) or case == "early"


async def test_port_that_wants_tls_is_guessed_where_none_is_spoken(authority: trustme.CA, tmp_path: Path) -> None:
    context = context_of("good", authority, tmp_path)
    async with server(context) as port:
        settings = settings_at(port, tmp_path, tls=False)
        with pytest.raises(
            ConnectionError, match=r"TLS or a login is wanted and kafka\.security_protocol \(SASL_PLAIN"
        ):
            await asyncio.to_thread(reach, settings.kafka)
        with pytest.raises(StoreUnavailableError, match=r"TLS is wanted and redis\.url does not say rediss://"):
            await connected(settings.redis.endpoint())


async def test_redis_that_wants_a_clients_certificate_is_guessed(authority: trustme.CA, tmp_path: Path) -> None:
    context = context_of("good", authority, tmp_path)
    assert context is not None
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    async with server(context) as port:
        settings = settings_at(port, tmp_path)
        with pytest.raises(GroundswellError, match=r"redis\.tls_certificate_file"):
            await asyncio.wait_for(connected(settings.redis.endpoint()), 10)
        with pytest.raises(
            (GroundswellError, ConnectionError), match=r"kafka\.(tls_certificate_file|security_protocol)"
        ):
            await asyncio.to_thread(reach, settings.kafka)


def test_other_errors_are_none_of_tls() -> None:
    assert handshakes.failure(ConnectionRefusedError(111, "refused"), "Kafka at k:1", handshakes.KAFKA) is None


def test_alert_about_a_clients_certificate_points_to_it() -> None:
    error = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required")
    error.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    said = handshakes.failure(error, "Kafka at k:1", handshakes.KAFKA)
    assert said is not None
    assert "look at kafka.tls_certificate_file" in said
