"""The groups of settings, and what each gives to the clients that it connects."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from stream.errors import ConfigurationError
from stream.signatures import Keyring

if TYPE_CHECKING:
    from stream.snapshots import SnapshotStorage
    from stream.stores.endpoint import RedisEndpoint

DAY_MS: Final = 86_400_000

_BOOTSTRAP_MS: Final = 10_000
"""How long kafka-python looks for a first broker: an operator waits for the answer."""

Positive = Annotated[int, Field(gt=0)]
PositiveSeconds = Annotated[float, Field(gt=0, le=86_400)]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def _secret(self, key: str) -> str | None:
        """Return a secret from the environment, or from the file that the setting ``<key>_file`` names."""
        value: SecretStr | None = getattr(self, key)
        file: Path | None = getattr(self, f"{key}_file")
        if value is not None or file is None:
            return None if value is None else value.get_secret_value()
        try:
            return file.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            message = f"{key}_file is {str(file)!r}, which cannot be read: {error}"
            raise ConfigurationError(message) from error


class KafkaSettings(_Group):
    """Where Kafka is and how it is reached."""

    bootstrap_servers: str = Field("127.0.0.1:9092", pattern=r"^\s*[^\s,]+:[0-9]+\s*(,\s*[^\s,]+:[0-9]+\s*)*$")
    """``host:port``, several separated by commas."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    tls_ca_file: Path | None = None
    """Certificate authorities to trust, PEM; the system's where none."""
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_key_password: SecretStr | None = None
    tls_key_password_file: Path | None = None
    tls_check_hostname: bool = True
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_password_file: Path | None = None
    request_timeout_seconds: Annotated[float, Field(ge=1, le=500)] = 30.0
    session_timeout_seconds: Annotated[float, Field(ge=1, le=1800)] = 10.0
    """How long the group waits for a silent worker before others take its partitions."""
    heartbeat_seconds: Annotated[float, Field(ge=0.1, le=600)] = 3.0
    """How often a worker tells the group that it lives."""

    @field_validator("bootstrap_servers")
    @classmethod
    def _closed_up(cls, servers: str) -> str:
        return "".join(servers.split())

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self._sasl and not (self.sasl_username and (self.sasl_password or self.sasl_password_file)):
            message = "SASL needs sasl_username, and sasl_password (environment only) or sasl_password_file"
            raise ValueError(message)
        if self.tls_key_file is not None and self.tls_certificate_file is None:
            message = "tls_key_file needs tls_certificate_file"
            raise ValueError(message)
        if self.heartbeat_seconds * 2 > self.session_timeout_seconds:
            message = f"heartbeat_seconds ({self.heartbeat_seconds}) must be at most half of session_timeout_seconds"
            raise ValueError(message)
        return self

    @property
    def _tls(self) -> bool:
        return self.security_protocol in {"SSL", "SASL_SSL"}

    @property
    def _sasl(self) -> bool:
        return self.security_protocol.startswith("SASL_")

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the TLS context, None without TLS; raise ConfigurationError for an unusable file."""
        if not self._tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.tls_ca_file)
            if self.tls_certificate_file is not None:
                password = self._secret("tls_key_password")
                context.load_cert_chain(self.tls_certificate_file, self.tls_key_file, password)
        except (OSError, ssl.SSLError) as error:
            files = (self.tls_ca_file, self.tls_certificate_file, self.tls_key_file)
            message = f"a TLS file of Kafka is unusable ({', '.join(str(file) for file in files if file)}): {error}"
            raise ConfigurationError(message) from error
        context.check_hostname = self.tls_check_hostname
        return context

    def aiokafka(self) -> dict[str, Any]:
        """Return the keyword arguments that connect any aiokafka client."""
        return {"bootstrap_servers": self.bootstrap_servers, **self.security()}

    def security(self) -> dict[str, Any]:
        """Return aiokafka's keyword arguments for TLS and SASL."""
        return {
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl_context(),
            **self._sasl_arguments(),
        }

    def kafka_python(self) -> dict[str, Any]:
        """Return the keyword arguments that connect any kafka-python client."""
        return {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl_context(),
            "ssl_check_hostname": self.tls_check_hostname,
            "request_timeout_ms": int(self.request_timeout_seconds * 1000),
            "bootstrap_timeout_ms": _BOOTSTRAP_MS,
            **self._sasl_arguments(),
        }

    def confluent(self) -> dict[str, Any]:
        """Return the settings that connect any client of librdkafka."""
        settings: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.security_protocol,
            "socket.timeout.ms": min(int(self.request_timeout_seconds * 1000), 300_000),
        }
        if self._tls:
            named = {
                "ssl.ca.location": self.tls_ca_file,
                "ssl.certificate.location": self.tls_certificate_file,
                "ssl.key.location": self.tls_key_file,
                "ssl.key.password": self._secret("tls_key_password"),
            }
            settings |= {key: str(value) for key, value in named.items() if value is not None}
            settings["ssl.endpoint.identification.algorithm"] = "https" if self.tls_check_hostname else "none"
        if self._sasl:
            settings["sasl.mechanism"] = self.sasl_mechanism
            settings["sasl.username"] = self.sasl_username
            settings["sasl.password"] = self._secret("sasl_password")
        return settings

    def _sasl_arguments(self) -> dict[str, Any]:
        if not self._sasl:
            return {}
        return {
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self._secret("sasl_password"),
        }


class RedisSettings(_Group):
    """Where Redis is and how it is reached."""

    url: str = "redis://127.0.0.1:6379/0"
    """``redis://host:port/database``, ``rediss://`` for TLS."""
    cluster: bool = False
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    tls_ca_file: Path | None = None
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_key_password: SecretStr | None = None
    tls_key_password_file: Path | None = None
    tls_check_hostname: bool = True
    connect_timeout_seconds: PositiveSeconds = 5.0
    answer_timeout_seconds: PositiveSeconds = 5.0

    def endpoint(self) -> RedisEndpoint:
        """Return what the stores connect with; raise ConfigurationError for an unusable URL or file."""
        from stream.stores.endpoint import RedisEndpoint  # noqa: PLC0415 (slow to import, and not every command needs it)

        return RedisEndpoint.from_url(
            self.url,
            username=self.username,
            password=self._secret("password"),
            tls_ca_file=None if self.tls_ca_file is None else str(self.tls_ca_file),
            tls_certificate_file=None if self.tls_certificate_file is None else str(self.tls_certificate_file),
            tls_key_file=None if self.tls_key_file is None else str(self.tls_key_file),
            tls_key_password=self._secret("tls_key_password"),
            tls_check_hostname=self.tls_check_hostname,
            cluster=self.cluster,
            connect_timeout_seconds=self.connect_timeout_seconds,
            answer_timeout_seconds=self.answer_timeout_seconds,
        )


class SecuritySettings(_Group):
    """The keyring that signs control records and checks their signatures."""

    keys: SecretStr | None = None
    """Lines of ``id:secret``, the oldest first; environment only."""
    keys_file: Path | None = None
    """Or the file that holds them, readable by its owner alone."""

    def keyring(self) -> Keyring | None:
        """Return the keyring, None where there is none; raise ConfigurationError for an unusable one."""
        if self.keys is None and self.keys_file is not None:
            try:
                mode = self.keys_file.stat().st_mode & 0o777
            except OSError as error:
                message = f"security.keys_file is {str(self.keys_file)!r}, which cannot be read: {error}"
                raise ConfigurationError(message) from error
            if mode & 0o077:
                message = (
                    f"security.keys_file {str(self.keys_file)!r} has mode {mode:04o}, expected 0600: "
                    f"chmod 600 {self.keys_file}"
                )
                raise ConfigurationError(message)
        text = self._secret("keys")
        return None if text is None else Keyring.parse(text)


class TopicSettings(_Group):
    """What the topics are created with, and must still have when a worker starts."""

    partitions: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Of events, triggers and rejects alike; fixed for the life of a namespace."""
    replication: Annotated[int, Field(ge=-1, le=32_767)] = -1
    """Copies of each partition; -1: what the broker is set to."""
    retention_days: Annotated[float, Field(gt=0, le=36_500)] = 7.0
    """Of events; triggers and rejects are kept a day longer."""

    def retention_ms(self, kind: str) -> int:
        """Return how long a topic of this kind keeps its records."""
        return int(self.retention_days * DAY_MS) + (0 if kind == "events" else DAY_MS)


class WorkerSettings(_Group):
    """How one worker runs."""

    voters_in_memory: Positive = 650_000
    """Beyond these, over all partitions held, voters whose records are in Redis are dropped from memory."""
    batches_in_flight: Annotated[int, Field(ge=1, le=1000)] = 8
    """Fetched batches of a partition that wait or are worked on."""
    batch_events: Annotated[int, Field(ge=1, le=100_000)] = 8192
    """Most log rows in a batch."""
    fetch_linger_ms: Annotated[int, Field(ge=0, le=1000)] = 40
    """How long Kafka may collect rows for one answer while rows come steadily: larger batches cost less for each."""
    read_ahead_events: Annotated[int, Field(ge=0, le=100_000)] = 1024
    """Batches of so many log rows are read in a thread of their own, ahead of their turn; 0: none are."""
    halve_scoring: bool = True
    """Whether a second thread takes half of the rows of a large batch that models of trees score."""
    uncommitted_events: Positive = 400_000
    """Log rows of a partition that memory may be ahead of Redis."""
    outbox_rows: Positive = 100_000
    """Committed rows of a partition's output that Kafka has not taken, before processing waits for the sending."""
    idle_commit_seconds: PositiveSeconds = 3.0
    """How long rows that changed no record and no output may stay uncommitted."""
    reclaim_seconds: PositiveSeconds = 1.0
    """First wait before a partition is claimed again that another worker's token refused."""
    tick_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 1.0
    """How often a tick is written to each partition."""
    suspend_seconds: PositiveSeconds = 3.0
    """How long a rebalance waits for the commit in flight."""
    shutdown_seconds: PositiveSeconds = 5.0
    """How long SIGTERM may take to finish the batch, commit and leave the group."""
    stalled_seconds: PositiveSeconds = 30.0
    """Without progress for so long, a partition with lag or unsent outputs makes the worker unready."""
    reference: bool = False
    """Fetch, decode, index and pack by library code in the place of compiled loops: slower, and the same bytes."""
    profile: bool = False
    """Print at the end, step by step, where the processor's time went."""
    garbage_objects: Annotated[int, Field(ge=700)] = 50_000
    """Objects that come to be, less those that go, before Python looks for unreachable ones among them."""
    switch_ms: Annotated[float, Field(ge=0.05, le=1000)] = 0.5
    """How long a thread waits for the interpreter's lock before its holder is asked for it."""


class SnapshotSettings(_Group):
    """Where snapshots of the state are kept, how often they are taken, and how long they stay."""

    url: str | None = None
    """A directory or an object store, as fsspec names it (``file:///var/lib/groundswell``); no snapshots without."""
    interval_minutes: Annotated[float, Field(ge=0.05, le=10_080)] = 15.0
    """How often a worker takes one of each partition that it holds."""
    keep_count: Positive = 24
    """At most so many of each partition, the newest."""
    keep_days: Annotated[float, Field(gt=0, le=36_500)] = 7.0
    """None older than this, except each partition's newest."""

    def storage(self) -> SnapshotStorage | None:
        """Return where snapshots are kept, None where nowhere; raise ConfigurationError for an unusable URL."""
        from stream.snapshots import FileSnapshots  # noqa: PLC0415 (slow to import, and not every command needs it)

        return None if self.url is None else FileSnapshots(self.url)


class WebSettings(_Group):
    """Where ``/metrics``, ``/healthz`` and ``/readyz`` are served."""

    enabled: bool = True
    host: str = "0.0.0.0"  # noqa: S104 (Prometheus scrapes it from another machine)
    port: Annotated[int, Field(ge=1, le=65_535)] = 6066


class LogSettings(_Group):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"
