"""What a TLS handshake that failed means, in words an operator can act on."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

# OpenSSL, include/openssl/x509_vfy.h: X509_V_ERR_...
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_UNTRUSTED: Final = frozenset((2, 18, 19, 20, 21))
_OTHER_HOST: Final = frozenset((62, 64))

_NO_TLS: Final = frozenset(("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING"))


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """The settings that a failed handshake with one kind of server points to."""

    ca_file: str
    certificate_file: str
    address: str
    protocol: str


KAFKA: Final = TlsSettings(
    "kafka.tls_ca_file",
    "kafka.tls_certificate_file",
    "kafka.bootstrap_servers, and in the brokers' advertised.listeners,",
    "kafka.security_protocol",
)
REDIS: Final = TlsSettings("redis.tls_ca_file", "redis.tls_certificate_file", "redis.url", "redis.url, rediss or redis")


def failure(error: BaseException, server: str, settings: TlsSettings) -> str | None:
    """Return in one line what an error met while connecting to ``server`` means, None where no TLS failed."""
    for link in _chain(error):
        if isinstance(link, ssl.SSLCertVerificationError):
            return _certificate(link, server, settings)
        if isinstance(link, ssl.SSLError):
            return _protocol(link, server, settings)
    return None


def _certificate(error: ssl.SSLCertVerificationError, server: str, settings: TlsSettings) -> str:
    code, found = error.verify_code, error.verify_message
    whose = f"the certificate of {server}"
    if code == _EXPIRED:
        return f"{whose}, or of the authority in {settings.ca_file} that signed it, has expired: renew it"
    if code == _NOT_YET_VALID:
        return f"{whose} is not valid yet: compare this machine's clock with the server's, or wait"
    if code in _OTHER_HOST:
        return f"{whose} is for another host ({found}): name the server in {settings.address} as its certificate does"
    if code in _UNTRUSTED:
        return f"{whose} is signed by an authority that is not trusted ({found}): name it in {settings.ca_file}"
    return f"{whose} is not accepted ({found}): look at it and at {settings.ca_file}"


def _protocol(error: ssl.SSLError, server: str, settings: TlsSettings) -> str:
    reason = error.reason or str(error)
    if reason in _NO_TLS:
        return f"{server} does not speak TLS there: look at the port and at {settings.protocol}"
    if "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE")):
        return f"{server} does not accept this client's certificate ({reason}): look at {settings.certificate_file}"
    return f"TLS with {server} failed ({reason}): look at {settings.protocol} and {settings.ca_file}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an error and those that led to it."""
    seen: Mapping[int, BaseException] = {}
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        yield link
        seen = {**seen, id(link): link}
        link = link.__cause__ or link.__context__
