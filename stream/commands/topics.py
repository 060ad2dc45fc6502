"""``groundswell topics create``, and whether the topics that there are suit the design."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import TopicAlreadyExistsError, for_code

from stream.commands.broker import administration, consumer
from stream.continuity import LogFacts
from stream.errors import ConfigurationError, TopicError
from stream.records import MAX_EVENT_BYTES, MAX_REJECT_BYTES, MAX_REJECT_KEY_BYTES
from stream.settings import TOPIC_KINDS, Settings
from stream.stores.fitness import Finding

MAX_CONTENT_BYTES: Final = 16 * 1024 * 1024
"""``max.message.bytes`` of the configuration topic."""
MAX_REJECTED_BYTES: Final = 2 * 1024 * 1024
"""``max.message.bytes`` that the topic of rejects is created with: a reject is larger than its event, by headers."""
_LEAST_EVENT_BYTES: Final = MAX_EVENT_BYTES + 4096
"""What a topic must take: an event of the largest size with key, headers and framing."""
_LEAST_REJECT_BYTES: Final = MAX_REJECT_BYTES + MAX_REJECT_KEY_BYTES + 4096
"""What the topic of rejects must take: the largest that the pipeline makes."""
_BOUNDS_SECONDS: Final = 10.0
_POLL_MS: Final = 200
_UNKNOWN_TOPIC: Final = 3
_DAY_MS: Final = 86_400_000

Configuration = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What the broker says of one topic."""

    name: str
    topic_id: str
    """UUID; empty where the broker gives none."""
    partition_count: int
    begins: tuple[int, ...] = ()
    """By partition, the offset of the first record; empty where it was not asked for, as below."""
    ends: tuple[int, ...] = ()
    """By partition, the offset after the last committed record."""

    def log(self, partition: int) -> LogFacts:
        """Return what is said of one partition, where its bounds were asked for."""
        return LogFacts(self.name, self.topic_id, self.partition_count, self.begins[partition], self.ends[partition])


def chosen_partitions(topic: str, partition_count: int, partition: int | None) -> Sequence[int]:
    """Return the partition that is asked for, or all; raise ConfigurationError where there is none such."""
    if partition is None:
        return range(partition_count)
    if not 0 <= partition < partition_count:
        message = f"there is no partition {partition}: {topic!r} has {partition_count}"
        raise ConfigurationError(message)
    return [partition]


def wanted(settings: Settings) -> dict[str, Configuration]:
    """Return by kind of topic the configuration that it is created with."""
    topics = settings.topics
    by_time = {"cleanup.policy": "delete", "retention.bytes": "-1"}
    return {
        "events": {
            **by_time,
            "retention.ms": str(topics.retention_ms("events")),
            "message.timestamp.type": "LogAppendTime",
        },
        "triggers": {**by_time, "retention.ms": str(topics.retention_ms("triggers"))},
        "rejects": {
            **by_time,
            "retention.ms": str(topics.retention_ms("rejects")),
            "max.message.bytes": str(MAX_REJECTED_BYTES),
        },
        "config": {"cleanup.policy": "compact", "max.message.bytes": str(MAX_CONTENT_BYTES)},
    }


def create(settings: Settings) -> list[str]:
    """Create the topics that are missing, and return the names of those that were created.

    Raises TopicError where one cannot be created, KafkaUnavailableError where Kafka cannot be asked. What is there
    already is left as it is: ``inspect`` says whether it suits.
    """
    created = []
    with administration(settings, "creating topics") as admin:
        for kind, configuration in wanted(settings).items():
            name = settings.topic(kind)
            options = {
                "num_partitions": 1 if kind == "config" else settings.topics.partitions,
                "replication_factor": settings.topics.replication,
                "configs": dict(configuration),
            }
            answer = admin.create_topics({name: options}, raise_errors=False)["topics"][0]
            error = for_code(answer["error_code"])
            if answer["error_code"] == 0:
                created.append(name)
            elif error is not TopicAlreadyExistsError:
                reason = answer.get("error_message") or error.__name__
                message = f"topic {name!r} was not created ({_listed(options)}): {reason}"
                raise TopicError(message)
        # A cluster knows a new topic some moments after it has agreed to it.
        admin.wait_for_topics(created)
    return created


def facts(settings: Settings, kind: str = "events", *, bounded: bool = False) -> TopicFacts:
    """Return the id and partitions of a topic, its bounds too if ``bounded``; raise TopicError where it is missing."""
    name = settings.topic(kind)
    with administration(settings, f"looking at {name}") as admin:
        found = _described(admin, [name])[name]
    if found is None:
        raise _missing(name)
    if not bounded:
        return found
    with consumer(settings, f"reading the bounds of {name}", group_id=None, isolation_level="read_committed") as client:
        begins, ends = bounds(client, name, found.partition_count)
    return replace(found, begins=begins, ends=ends)


def bounds(client: KafkaConsumer, topic: str, partition_count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return by partition the offset of the first record and the one after the last; assigns them all."""
    places = [TopicPartition(topic, number) for number in range(partition_count)]
    begins, ends = client.beginning_offsets(places), client.end_offsets(places)
    client.assign(places)
    for place in places:
        client.seek(place, max(ends[place] - 1, begins[place]))
    # The embedded broker names the first record of the last batch, where Kafka names the one after its last: so that
    # batch is read.
    positions = begins
    deadline = time.monotonic() + _BOUNDS_SECONDS
    while any(positions[place] < ends[place] for place in places) and time.monotonic() < deadline:
        client.poll(_POLL_MS)
        positions = {place: client.position(place) for place in places}
    return tuple(begins[place] for place in places), tuple(max(ends[place], positions[place]) for place in places)


def require(settings: Settings) -> TopicFacts:
    """Return the id and partitions of the events topic; raise TopicError if any topic's settings break the design."""
    unfit = [finding for finding in inspect(settings) if finding.level == "error"]
    if unfit:
        lines = [f"{finding.subject}: {finding.found}; {finding.remedy}" for finding in unfit]
        raise TopicError("\n".join(lines))
    return facts(settings)


def inspect(settings: Settings) -> list[Finding]:
    """Look at all topics and return what was found; raise KafkaUnavailableError where Kafka cannot be asked.

    Level ``error``: a worker must not run on it; ``warning``: not as the settings say; ``note``: a limit of the
    broker's own.
    """
    names = {kind: settings.topic(kind) for kind in TOPIC_KINDS}
    with administration(settings, "looking at the topics") as admin:
        found = _described(admin, list(names.values()))
        present = [name for name, topic in found.items() if topic is not None]
        configurations = _configurations(admin, present) if present else {}
    findings = []
    events = found[names["events"]]
    for kind, name in names.items():
        topic = found[name]
        if topic is None:
            findings.append(Finding(name, "error", "missing", "groundswell topics create"))
            continue
        judged = judge(settings, kind, topic, events, configurations[name], configurations.get(names["events"], {}))
        findings += judged or [Finding(name, "ok", f"partitions: {topic.partition_count}")]
    return findings


def judge(
    settings: Settings,
    kind: str,
    topic: TopicFacts,
    events: TopicFacts | None,
    configuration: Configuration,
    events_configuration: Configuration,
) -> list[Finding]:
    """Return what does not suit about one topic, given the events topic and both their configurations."""
    findings = _judge_partitions(settings, kind, topic, events)
    mend = f"kafka-configs.sh --bootstrap-server {settings.kafka.bootstrap_servers} --alter --entity-type topics"
    mend = f"{mend} --entity-name {topic.name} --add-config"

    def differs(key: str, level: str, why: str, to: str) -> None:
        found = f"{key} is {configuration.get(key, 'not known')}: {why}"
        findings.append(Finding(topic.name, level, found, f"{mend} {key}={to}"))

    for key, value in wanted(settings)[kind].items():
        if key in configuration and configuration[key] != value and key in _WHY:
            differs(key, "error", _WHY[key], value)
    if kind == "config":
        _judge_size(configuration, MAX_CONTENT_BYTES, "a large model would not fit", differs)
        return findings
    if kind == "rejects":
        _judge_size(configuration, _LEAST_REJECT_BYTES, "a reject of 512 KiB would not fit", differs)
    else:
        _judge_size(configuration, _LEAST_EVENT_BYTES, "an event of 64 KiB would not fit", differs)
    _judge_retention(settings, kind, configuration, events_configuration, differs)
    if kind == "events" and configuration.get("unclean.leader.election.enable") == "true":
        why = "a failover may take back log that was decided upon"
        differs("unclean.leader.election.enable", "warning", why, "false")
    if kind == "events" and "max.message.bytes" not in configuration:
        # A broker that lists only what it was told keeps settings without heeding them.
        found = "the broker does not say whether it knows message.timestamp.type=LogAppendTime"
        remedy = "nothing to mend on the embedded broker, where ticks alone move the log's time"
        findings.append(Finding(topic.name, "note", found, remedy))
    return findings


_WHY: Final = {
    "cleanup.policy": "records would be lost, or kept for ever",
    "retention.bytes": "records must go by age alone, or some go before they were read",
    "message.timestamp.type": "log time must be the broker's, not the publishers'",
}


def _judge_partitions(settings: Settings, kind: str, topic: TopicFacts, events: TopicFacts | None) -> list[Finding]:
    count = topic.partition_count
    if kind == "config":
        if count == 1:
            return []
        remedy = f"delete {topic.name} and create it anew (groundswell topics create, groundswell config apply)"
        return [Finding(topic.name, "error", f"{count} partitions, expected 1", remedy)]
    if kind == "events":
        if count == settings.topics.partitions:
            return []
        remedy = f"set topics.partitions = {count}: the count is fixed for the life of a namespace"
        found = f"{count} partitions, the settings say {settings.topics.partitions}"
        return [Finding(topic.name, "warning", found, remedy)]
    if events is None or count == events.partition_count:
        return []
    found = f"{count} partitions, {events.name} has {events.partition_count}: they must be equal"
    remedy = f"delete {topic.name} and create it anew (groundswell topics create), before a worker has written to it"
    if count < events.partition_count:
        remedy = (
            f"kafka-topics.sh --bootstrap-server {settings.kafka.bootstrap_servers} --alter --topic {topic.name} "
            f"--partitions {events.partition_count}"
        )
    return [Finding(topic.name, "error", found, remedy)]


def _judge_size(configuration: Configuration, least: int, why: str, differs: Any) -> None:
    if int(configuration.get("max.message.bytes", least)) < least:
        differs("max.message.bytes", "error", f"{why}, expected at least {least}", str(max(least, MAX_REJECTED_BYTES)))


def _judge_retention(
    settings: Settings, kind: str, configuration: Configuration, events: Configuration, differs: Any
) -> None:
    """Hold triggers and rejects against the events topic as it is, and events against the settings."""
    retention_ms = int(configuration.get("retention.ms", -1))
    if kind == "events":
        expected_ms = settings.topics.retention_ms(kind)
        if retention_ms != expected_ms and "retention.ms" in configuration:
            days = settings.topics.retention_days
            why = f"the settings say topics.retention_days = {days:g}, {expected_ms} ms"
            differs("retention.ms", "warning", why, str(expected_ms))
        return
    events_ms = int(events.get("retention.ms", -1))
    least_ms = -1 if events_ms < 0 else events_ms + _DAY_MS
    if retention_ms >= 0 and (least_ms < 0 or retention_ms < least_ms):
        why = "they must be kept a day longer than events, or a restart cannot see what was sent"
        differs("retention.ms", "error", why, str(least_ms))


def _described(admin: KafkaAdminClient, names: list[str]) -> dict[str, TopicFacts | None]:
    """Return what the broker says of each topic, None for one that it does not have."""
    found: dict[str, TopicFacts | None] = dict.fromkeys(names)
    for topic in admin.describe_topics(names):
        if topic["error_code"] == _UNKNOWN_TOPIC:
            continue
        if topic["error_code"]:
            raise for_code(topic["error_code"])(topic["name"])
        found[topic["name"]] = TopicFacts(topic["name"], _identity(topic["topic_id"]), len(topic["partitions"]))
    return found


def _identity(topic_id: object) -> str:
    """Return a topic id as text, empty for the zero id of brokers that know none."""
    text = str(topic_id or "")
    return "" if not text.strip("0-") else text


def _configurations(admin: KafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found = admin.describe_configs(resources, config_filter="all")["topic"]
    return {name: {key: str(entry["value"]) for key, entry in found.get(name, {}).items()} for name in names}


def _missing(name: str) -> TopicError:
    return TopicError(f"topic {name!r} is missing: run `groundswell topics create`")


def _listed(options: Mapping[str, Any]) -> str:
    configs = ", ".join(f"{key}={value}" for key, value in options["configs"].items())
    return f"{options['num_partitions']} partitions, replication {options['replication_factor']}, {configs}"
