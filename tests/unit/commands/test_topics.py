from __future__ import annotations

import pytest

from stream.commands.topics import MAX_CONTENT_BYTES, TopicFacts, judge, wanted
from stream.settings import Settings
from stream.stores.fitness import Finding

SETTINGS = Settings.load(flags={"topics.partitions": 4, "topics.retention_days": 7, "kafka.bootstrap_servers": "k:9"})
DAY_MS = 86_400_000
BROKER = {"max.message.bytes": "1048588", "unclean.leader.election.enable": "false"}


def topic(kind: str, partitions: int) -> TopicFacts:
    return TopicFacts(SETTINGS.topic(kind), "", partitions)


def judged(kind: str, changes: dict[str, str], partitions: int | None = None, events: int = 4) -> list[Finding]:
    count = partitions if partitions is not None else (1 if kind == "config" else 4)
    configuration = {**BROKER, **wanted(SETTINGS)[kind], **changes}
    return judge(
        SETTINGS, kind, topic(kind, count), topic("events", events), configuration, {**wanted(SETTINGS)["events"]}
    )


@pytest.mark.parametrize("kind", ["events", "triggers", "rejects", "config"])
def test_topic_as_it_is_created_suits(kind: str) -> None:
    assert judged(kind, {}) == []


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("events", "message.timestamp.type", "CreateTime"),
        ("events", "cleanup.policy", "compact"),
        ("events", "retention.bytes", "1000000"),
        ("events", "max.message.bytes", "65536"),
        ("triggers", "retention.bytes", "1000000"),
        ("triggers", "retention.ms", str(7 * DAY_MS)),
        ("rejects", "retention.ms", str(8 * DAY_MS - 1)),
        ("rejects", "cleanup.policy", "compact,delete"),
        # Enough for an event, not for what a reject may be.
        ("rejects", "max.message.bytes", str(512 * 1024)),
        ("config", "cleanup.policy", "delete"),
        ("config", "cleanup.policy", "compact,delete"),
        ("config", "max.message.bytes", str(MAX_CONTENT_BYTES - 1)),
    ],
)
def test_setting_that_breaks_the_design_is_an_error_with_the_command_that_mends_it(
    kind: str, key: str, value: str
) -> None:
    (finding,) = judged(kind, {key: value})
    assert finding.level == "error"
    assert f"{key} is {value}" in finding.found
    assert finding.remedy.startswith("kafka-configs.sh --bootstrap-server k:9 --alter --entity-type topics")
    assert f"--entity-name {SETTINGS.topic(kind)} --add-config {key}=" in finding.remedy


@pytest.mark.parametrize(("key", "value"), [("retention.ms", str(DAY_MS)), ("unclean.leader.election.enable", "true")])
def test_setting_that_only_differs_is_a_warning(key: str, value: str) -> None:
    assert [(finding.level, key in finding.found) for finding in judged("events", {key: value})] == [("warning", True)]


def test_triggers_are_held_against_the_retention_that_events_really_have() -> None:
    events = {**wanted(SETTINGS)["events"], "retention.ms": "-1"}
    configuration = {**BROKER, **wanted(SETTINGS)["triggers"]}
    (finding,) = judge(SETTINGS, "triggers", topic("triggers", 4), topic("events", 4), configuration, events)
    assert finding.level == "error"
    assert finding.remedy.endswith("retention.ms=-1")
    for forever in (events, {**events, "retention.ms": "1"}):
        kept = {**configuration, "retention.ms": "-1"}
        assert judge(SETTINGS, "triggers", topic("triggers", 4), topic("events", 4), kept, forever) == []


def test_partition_counts_must_be_equal() -> None:
    (fewer,) = judged("triggers", {}, partitions=2)
    assert (fewer.level, "--alter" in fewer.remedy, "--partitions 4" in fewer.remedy) == ("error", True, True)
    (more,) = judged("rejects", {}, partitions=8)
    assert (more.level, "create it anew" in more.remedy) == ("error", True)
    (several,) = judged("config", {}, partitions=2)
    assert several.level == "error"


def test_partition_count_of_the_settings_follows_the_topic() -> None:
    (finding,) = judged("events", {}, partitions=6)
    assert (finding.level, "topics.partitions = 6" in finding.remedy) == ("warning", True)


def test_broker_that_lists_only_what_it_was_told_gets_a_note() -> None:
    told = dict(wanted(SETTINGS)["events"])
    (finding,) = judge(SETTINGS, "events", topic("events", 4), topic("events", 4), told, told)
    assert (finding.level, "LogAppendTime" in finding.found) == ("note", True)
