"""All settings of a deployment, and the names that follow from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import BaseModel, Field, PrivateAttr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from stream.errors import ConfigurationError
from stream.settings.environment import FILE, require_known
from stream.settings.groups import (
    KafkaSettings,
    LogSettings,
    RedisSettings,
    SecuritySettings,
    SnapshotSettings,
    TopicSettings,
    WebSettings,
    WorkerSettings,
)
from stream.settings.sources import PREFIX, describe, nest, read_file
from stream.signatures import Keyring

if TYPE_CHECKING:
    from stream.snapshots import Catalogue, SnapshotStorage

DEFAULT_FILE: Final = Path("configs/groundswell.toml")
TOPIC_KINDS: Final = ("events", "triggers", "rejects", "config")


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
    security: SecuritySettings = SecuritySettings()
    worker: WorkerSettings = WorkerSettings()
    snapshot: SnapshotSettings = SnapshotSettings()
    web: WebSettings = WebSettings()
    log: LogSettings = LogSettings()

    _file: Path | None = PrivateAttr(None)
    _from_file: ClassVar[dict[str, Any]] = {}

    @classmethod
    def load(cls, file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
        """Return the settings of a TOML file, the environment and flags; what comes later prevails.

        ``file`` defaults to GROUNDSWELL_CONFIG, then to ``configs/groundswell.toml``, which alone may be missing.
        ``flags`` holds values by dotted key (``kafka.bootstrap_servers``). Raises ConfigurationError quoting where a
        value stands, its key and the value, and quoting a variable of the environment that is a mistyped setting.
        """
        require_known(os.environ, cls.dotted_keys())
        path = file or (Path(os.environ[FILE]) if os.environ.get(FILE) else None)
        if path is None and DEFAULT_FILE.is_file():
            path = DEFAULT_FILE
        values = {} if path is None else read_file(path)
        nested = nest(flags or {})

        class Sourced(cls):  # type: ignore[misc, valid-type]
            _from_file = values

        Sourced.__name__ = cls.__name__
        try:
            settings = Sourced(**nested)
        except ValidationError as error:
            raise ConfigurationError(describe(error, path, values, nested)) from None
        except SettingsError as error:
            message = f"the environment holds an unusable setting: {error}: {error.__cause__}"
            raise ConfigurationError(message) from error
        settings._file = path  # noqa: SLF001 (its own class)
        return settings

    @classmethod
    def dotted_keys(cls) -> list[str]:
        """Return the dotted key of every setting."""
        found = list[str]()
        for name, field in cls.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found += [f"{name}.{key}" for key in kind.model_fields]
            else:
                found.append(name)
        return found

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

    def snapshots_of(self, partition: int, storage: SnapshotStorage) -> Catalogue:
        """Return a partition's snapshots, read and written in threads."""
        from stream.snapshots import Catalogue, Place, in_thread  # noqa: PLC0415 (as above)

        return Catalogue(storage, Place(self.namespace, partition), in_thread)

    def keyring(self) -> Keyring | None:
        """Return what signs control records and checks them, None where they are not signed."""
        return self.security.keyring()

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
