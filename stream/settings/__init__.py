"""Settings: a TOML file, then the environment, then flags; what comes later prevails."""

from stream.settings.deployment import TOPIC_KINDS, Settings
from stream.settings.groups import (
    KafkaSettings,
    LogSettings,
    RedisSettings,
    SecuritySettings,
    TopicSettings,
    WebSettings,
    WorkerSettings,
)
from stream.settings.sources import PREFIX

__all__ = [
    "PREFIX",
    "TOPIC_KINDS",
    "KafkaSettings",
    "LogSettings",
    "RedisSettings",
    "SecuritySettings",
    "Settings",
    "TopicSettings",
    "WebSettings",
    "WorkerSettings",
]
