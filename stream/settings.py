"""Settings: a TOML file, then the environment, then flags; what comes later prevails."""

from __future__ import annotations

import os
import re
import ssl
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from stream.errors import ConfigurationError, quoted

if TYPE_CHECKING:
    from stream.stores.endpoint import RedisEndpoint

PREFIX: Final = "GROUNDSWELL_"
DEFAULT_FILE: Final = Path("configs/groundswell.toml")
TOPIC_KINDS: Final = ("events", "triggers", "rejects", "config")
SECRETS: Final = frozenset({"password", "sasl_password", "tls_key_password"})
"""Keys that only the environment may hold; each has a sibling that names a file instead: ``<key>_file``."""
DAY_MS: Final = 86_400_000

_URL_PASSWORD: Final = re.compile(r"//[^/]*:[^/]*@")

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

    bootstrap_servers: str = Field("127.0.0.1:9092", min_length=1)
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
    request_timeout_ms: Annotated[int, Field(ge=1000, le=500_000)] = 30_000
    session_timeout_ms: Annotated[int, Field(ge=1000, le=1_800_000)] = 10_000
    """How long the group waits for a silent worker before others take its partitions."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self._sasl and not (self.sasl_username and (self.sasl_password or self.sasl_password_file)):
            message = "SASL needs sasl_username, and sasl_password (environment only) or sasl_password_file"
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
        return {
            "bootstrap_servers": self.bootstrap_servers,
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
            "request_timeout_ms": self.request_timeout_ms,
            **self._sasl_arguments(),
        }

    def confluent(self) -> dict[str, Any]:
        """Return the settings that connect any client of librdkafka."""
        settings: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.security_protocol,
            "socket.timeout.ms": min(self.request_timeout_ms, 300_000),
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

    def batches_url(self) -> list[str]:
        """Return Faust's broker URLs for the transport that delivers one event for each record batch."""
        return [f"batches://{server.strip()}" for server in self.bootstrap_servers.split(",")]

    def faust_credentials(self) -> Any:
        """Return Faust's broker credentials (faust.auth.Credentials), None where the connection is plain."""
        from faust import auth  # noqa: PLC0415 (slow to import, and only a worker needs it)

        context = self.ssl_context()
        if self._sasl:
            return auth.SASLCredentials(
                mechanism=self.sasl_mechanism,
                username=self.sasl_username,
                password=self._secret("sasl_password"),
                ssl_context=context,
            )
        return None if context is None else auth.SSLCredentials(context=context)

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

    web_host: str = "0.0.0.0"  # noqa: S104 (Prometheus scrapes it from another machine)
    web_port: Annotated[int, Field(ge=1, le=65_535)] = 6066
    """Of ``/metrics``, ``/healthz`` and ``/readyz``."""
    voters_in_memory: Positive = 1_000_000
    """Beyond these, over all partitions held, voters whose records are in Redis are dropped from memory."""
    batches_in_flight: Annotated[int, Field(ge=1, le=1000)] = 4
    """Fetched batches of a partition that wait or are worked on."""
    fetch_records: Annotated[int, Field(ge=1, le=100_000)] = 4000
    """Most log rows in a batch."""
    uncommitted_events: Positive = 50_000
    """Log rows of a partition that memory may be ahead of Redis."""
    idle_commit_seconds: PositiveSeconds = 3.0
    """How long rows that changed no record and no output may stay uncommitted."""
    reclaim_seconds: PositiveSeconds = 1.0
    """First wait before a partition is claimed again that another worker's token refused."""
    tick_interval_ms: Annotated[int, Field(ge=100, le=3_600_000)] = 1000
    suspend_seconds: PositiveSeconds = 3.0
    """How long a rebalance waits for the commit in flight."""
    shutdown_seconds: PositiveSeconds = 5.0
    """How long SIGTERM may take to finish the batch, commit and leave the group."""
    stalled_seconds: PositiveSeconds = 30.0
    """Without progress for so long, a partition with lag makes the worker unready."""


class LogSettings(_Group):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class Settings(BaseSettings):
    """All settings. Build them with ``load``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, allow_inf_nan=False
    )

    namespace: Annotated[str, Field(pattern=r"^[a-z0-9-]*$", max_length=64)] = ""
    """Prefixes topics, keys and transactional ids, so that deployments can share one Kafka and one Redis."""
    configuration_directory: Path | None = None
    """Where ``models/`` and ``campaigns/`` are; the settings file's own directory where none."""
    kafka: KafkaSettings = KafkaSettings()
    redis: RedisSettings = RedisSettings()
    topics: TopicSettings = TopicSettings()
    worker: WorkerSettings = WorkerSettings()
    log: LogSettings = LogSettings()

    _file: Path | None = PrivateAttr(None)
    _from_file: ClassVar[dict[str, Any]] = {}

    @classmethod
    def load(cls, file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
        """Return the settings of a TOML file, the environment and flags; what comes later prevails.

        ``file`` defaults to GROUNDSWELL_CONFIG, then to ``configs/groundswell.toml``, which alone may be missing.
        ``flags`` holds values by dotted key (``kafka.bootstrap_servers``). Raises ConfigurationError quoting where a
        value stands, its key and the value.
        """
        path = file or (Path(os.environ[f"{PREFIX}CONFIG"]) if os.environ.get(f"{PREFIX}CONFIG") else None)
        if path is None and DEFAULT_FILE.is_file():
            path = DEFAULT_FILE
        values = {} if path is None else _read_file(path)
        nested = _nest(flags or {})

        class Sourced(cls):  # type: ignore[misc, valid-type]
            _from_file = values

        try:
            settings = Sourced(**nested)
        except ValidationError as error:
            raise ConfigurationError(_describe(error, path, values, nested)) from None
        except SettingsError as error:
            message = f"the environment holds an unusable setting: {error}: {error.__cause__}"
            raise ConfigurationError(message) from error
        settings._file = path  # noqa: SLF001 (its own class)
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put flags before the environment before the file; the first that has a value gives it."""
        return init_settings, env_settings, _FileSource(settings_cls, cls._from_file)

    @property
    def file(self) -> Path | None:
        """The TOML file that was read, None where there was none."""
        return self._file

    @property
    def configuration(self) -> Path:
        """The directory that holds ``models/`` and ``campaigns/``."""
        if self.configuration_directory is not None:
            return self.configuration_directory
        return (self._file or DEFAULT_FILE).parent

    def topic(self, kind: str) -> str:
        """Return the full name of the topic ``events``, ``triggers``, ``rejects`` or ``config``."""
        if kind not in TOPIC_KINDS:
            message = f"there is no topic of kind {kind!r}, expected one of {', '.join(TOPIC_KINDS)}"
            raise ValueError(message)
        return f"{self.namespace}.engagement.{kind}" if self.namespace else f"engagement.{kind}"

    def group(self) -> str:
        """Return the consumer group of this deployment's workers."""
        return f"{self.namespace}.groundswell" if self.namespace else "groundswell"

    def key_prefix(self, partition: int) -> str:
        """Return what every key in Redis of a partition begins with."""
        from stream.stores.names import partition_prefix  # noqa: PLC0415 (keeps Redis' client out of settings' import)

        return partition_prefix(self.namespace, partition)

    def transactional_id(self, output: str, partition: int) -> str:
        """Return the transactional id that fences an output of a partition."""
        return f"{self.group()}.{output}.{partition}"


class _FileSource(PydanticBaseSettingsSource):
    """Values that were read from the TOML file."""

    def __init__(self, settings_cls: type[BaseSettings], values: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._values


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        message = f"the settings file {str(path)!r} cannot be read: {error}"
        raise ConfigurationError(message) from error
    except tomllib.TOMLDecodeError as error:
        message = f"{path}: not readable as TOML: {error}"
        raise ConfigurationError(message) from error
    for dotted, value in _flatten(values):
        name = dotted.rpartition(".")[2]
        if name in SECRETS or (dotted == "redis.url" and isinstance(value, str) and _URL_PASSWORD.search(value)):
            variable = PREFIX + (dotted if name in SECRETS else "redis.password").replace(".", "__").upper()
            message = f"{path}: {dotted} holds a secret, which a file that is shared must not: use {variable}"
            raise ConfigurationError(
                f"{message}, or a file of its own named by {name}_file" if name in SECRETS else message
            )
    return values


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            pairs += _flatten(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", value))
    return pairs


def _nest(flags: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for dotted, value in flags.items():
        *groups, name = dotted.split(".")
        inner = nested
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[name] = value
    return nested


def _describe(error: ValidationError, path: Path | None, values: dict[str, Any], flags: dict[str, Any]) -> str:
    """Say where each unusable value stands, its key, the value and what was expected."""
    lines = []
    for problem in error.errors(include_url=False):
        dotted = ".".join(str(part) for part in problem["loc"])
        variable = PREFIX + dotted.replace(".", "__").upper()
        if _holds(flags, problem["loc"]):
            where = "flag"
        elif variable in {name.upper() for name in os.environ}:
            where = f"environment variable {variable}"
        elif _holds(values, problem["loc"]):
            where = str(path)
        else:
            where = "settings"
        shown = (
            ""
            if dotted.rpartition(".")[2] in SECRETS or isinstance(problem["input"], dict)
            else f" = {quoted(problem['input'])}"
        )
        lines.append(f"{where}: {dotted}{shown}: {problem['msg']}")
    return "\n".join(lines)


def _holds(values: Mapping[str, Any], location: tuple[int | str, ...]) -> bool:
    inner: Any = values
    for part in location:
        if not isinstance(inner, dict) or part not in inner:
            return False
        inner = inner[part]
    return True
