"""Where Redis is and how it is reached: address, credentials, TLS and time-outs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from stream.errors import ConfigurationError

_DEFAULT_PORT = 6379


@dataclass(frozen=True, slots=True)
class RedisEndpoint:
    """How to reach Redis. With ``cluster``, ``host`` and ``port`` name any node of a Redis Cluster."""

    host: str = "127.0.0.1"
    port: int = _DEFAULT_PORT
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_ca_file: str | None = None
    """Certificate authorities to trust, PEM; the system's where None."""
    tls_certificate_file: str | None = None
    tls_key_file: str | None = None
    tls_key_password: str | None = field(default=None, repr=False)
    tls_check_hostname: bool = True
    cluster: bool = False
    connect_timeout_seconds: float = 5.0
    answer_timeout_seconds: float = 5.0
    """Bound on each piece that is sent, and then on all answers; ``stores.wire`` adds what their sizes take."""

    def __post_init__(self) -> None:
        """Raise ConfigurationError for what Redis Cluster does not know."""
        if self.cluster and self.database:
            message = f"Redis Cluster has only database 0; {self.database} was set"
            raise ConfigurationError(message)

    @classmethod
    def from_url(  # noqa: PLR0913 (one argument for each setting)
        cls,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        tls_ca_file: str | None = None,
        tls_certificate_file: str | None = None,
        tls_key_file: str | None = None,
        tls_key_password: str | None = None,
        tls_check_hostname: bool = True,
        cluster: bool = False,
        connect_timeout_seconds: float = 5.0,
        answer_timeout_seconds: float = 5.0,
    ) -> RedisEndpoint:
        """Parse ``redis://[user:password@]host[:port][/database]`` (``rediss://``: TLS).

        ``username`` and ``password`` prevail over those in the URL. Raises ConfigurationError.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or _DEFAULT_PORT
            database = int(parts.path.strip("/") or "0")
        except ValueError:
            parts = None
        if parts is None or parts.scheme not in {"redis", "rediss"} or not parts.hostname or database < 0:
            # The URL may hold a password, so only what stands after it is quoted.
            message = f"the Redis URL ...{url.rpartition('@')[2]!r} is unusable; expected redis://host:port/database"
            raise ConfigurationError(message)
        return cls(
            host=parts.hostname,
            port=port,
            database=database,
            username=username or (unquote(parts.username) if parts.username else None),
            password=password or (unquote(parts.password) if parts.password else None),
            tls=parts.scheme == "rediss",
            tls_ca_file=tls_ca_file,
            tls_certificate_file=tls_certificate_file,
            tls_key_file=tls_key_file,
            tls_key_password=tls_key_password,
            tls_check_hostname=tls_check_hostname,
            cluster=cluster,
            connect_timeout_seconds=connect_timeout_seconds,
            answer_timeout_seconds=answer_timeout_seconds,
        )

    @property
    def address(self) -> str:
        """Host and port, fit for messages."""
        return f"{self.host}:{self.port}"

    def at(self, host: str, port: int) -> RedisEndpoint:
        """Return the same for another node."""
        return replace(self, host=host, port=port)

    def connection(self) -> Connection:
        """Return a new connection, not yet connected, that retries nothing by itself.

        Time-outs on answers are the caller's: one for all answers costs less than one for each read.
        """
        common: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "db": self.database,
            "username": self.username,
            "password": self.password,
            "protocol": 2,
            "socket_timeout": None,
            "socket_connect_timeout": self.connect_timeout_seconds,
            "socket_read_size": 1 << 18,
            "socket_keepalive": True,
            "health_check_interval": 0,
            "retry": Retry(NoBackoff(), 0),
        }
        if not self.tls:
            return Connection(**common)
        return SSLConnection(
            ssl_ca_certs=self.tls_ca_file,
            ssl_certfile=self.tls_certificate_file,
            ssl_keyfile=self.tls_key_file,
            ssl_password=self.tls_key_password,
            ssl_check_hostname=self.tls_check_hostname,
            **common,
        )
