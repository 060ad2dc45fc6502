"""What an operator types, on the embedded services and on the real ones."""

from __future__ import annotations

import asyncio
import gzip
import io
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import UnsupportedVersionError

from stream.columns import columns_of
from stream.commands import check, config, topics, voter
from stream.commands.activating import changing
from stream.commands.config import apply, apply_first
from stream.commands.headers import read_headers
from stream.commands.init import init
from stream.commands.publish import Pace, publish
from stream.commands.watch import watch
from stream.errors import ConfigurationError, KafkaUnavailableError, StateMismatchError, TopicError
from stream.events import decode
from stream.partitioning import partition_of
from stream.records import CONFIG_ACTIVATED
from stream.settings import TOPIC_KINDS, Settings
from stream.stores.fitness import Finding
from stream.stores.redis import RedisStore
from tests.integration.deployments import MODEL, deployment, event, process, read, send


@pytest.fixture
def empty(services: tuple[str, str], tmp_path: Path) -> Iterator[Settings]:
    """A deployment without topics."""
    with deployment(*services, tmp_path) as settings:
        yield settings


@pytest.fixture
def settings(empty: Settings) -> Settings:
    """A deployment with topics."""
    topics.create(empty)
    return empty


def at_port_1(settings: Settings, key: str) -> Settings:
    changes = {"kafka": {"bootstrap_servers": "127.0.0.1:1"}, "redis": {"url": "redis://127.0.0.1:1/0"}}
    part = getattr(settings, key).model_copy(update=changes[key])
    return settings.model_copy(update={key: part})


def lines_of(settings: Settings, path: Path, packed: bytes) -> list[str]:
    path.write_bytes(packed)
    told = io.StringIO()
    publish(settings, str(path), errors=told)
    return told.getvalue().splitlines()


# --- topics ------------------------------------------------------------------------------------------------


def test_topics_are_created_once_and_suit(empty: Settings) -> None:
    names = [empty.topic(kind) for kind in TOPIC_KINDS]
    assert [(finding.subject, finding.level) for finding in topics.inspect(empty)] == [
        (name, "error") for name in names
    ]
    with pytest.raises(TopicError, match="groundswell topics create"):
        topics.require(empty)
    with pytest.raises(TopicError, match="groundswell topics create"):
        topics.facts(empty)
    assert topics.create(empty) == names
    assert topics.create(empty) == []
    assert {finding.level for finding in topics.inspect(empty)} <= {"ok", "note"}
    required = topics.require(empty)
    assert (required.name, required.partition_count) == (empty.topic("events"), 3)
    assert len(required.topic_id) == 36


def test_bounds_are_those_of_the_records(settings: Settings) -> None:
    send(settings, "events", [b"x"] * 50, partition=1)
    found = topics.facts(settings, bounded=True)
    assert (found.begins, found.ends) == ((0, 0, 0), (0, 50, 0))


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [("events", "message.timestamp.type", "CreateTime"), ("rejects", "retention.ms", "1000")],
)
def test_worker_is_kept_from_a_topic_that_was_altered(settings: Settings, kind: str, key: str, value: str) -> None:
    servers_of = settings.kafka.bootstrap_servers
    with closing(KafkaAdminClient(bootstrap_servers=servers_of)) as admin:
        resource = ConfigResource(ConfigResourceType.TOPIC, settings.topic(kind), {key: value})
        try:
            admin.alter_configs([resource])
        except Exception as error:
            pytest.skip(f"this broker does not alter topics: {error!r}")
    with pytest.raises(TopicError, match=rf"{key} is {value}.*kafka-configs.sh --bootstrap-server {servers_of}"):
        topics.require(settings)


# --- config ------------------------------------------------------------------------------------------------


def test_applied_configuration_is_in_the_topic_and_activated_in_every_partition(settings: Settings) -> None:
    applied = apply(settings)
    assert set(applied.changes.values()) == {"new"}
    assert applied.transaction
    held = {record.key: record.value for record in read(settings, "config")}
    assert held.keys() == {content.key().encode() for content in applied.contents}
    assert held[applied.contents[1].key().encode()] == MODEL.encode()
    names = set()
    for partition in range(3):
        (record,) = read(settings, "events", partition)
        decoded = decode(columns_of(partition, [0], [1], [None], [record.value], [()]), 3, 0)
        assert decoded.kinds.tolist() == [CONFIG_ACTIVATED]
        assert decoded.activations[0].contents == applied.contents
        names.add(decoded.ids[0].decode())
    assert len(names) == 3


def test_what_changed_is_told(settings: Settings, tmp_path: Path) -> None:
    first = apply(settings)
    assert set(apply(settings).changes.values()) == {"unchanged"}
    (tmp_path / "models" / "eager.json").write_text(MODEL.replace("0.0", "0.25"))
    (tmp_path / "campaigns" / "hello.toml").unlink()
    second = apply(settings)
    (model,) = second.contents
    assert second.changes == {model: "changed"}
    assert second.dropped == (first.contents[0],)
    assert {held.identity for held in config.show(settings)} == {*first.contents, model}


def test_unusable_configuration_writes_nothing(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "models" / "worse.json").write_text('{"name": "worse"')
    with pytest.raises(ConfigurationError, match=r"worse\.json"):
        apply(settings)
    assert read(settings, "config") == []
    assert read(settings, "events") == []


def test_first_configuration_is_applied_once_and_then_left_as_it_is(settings: Settings, tmp_path: Path) -> None:
    first = apply_first(settings)
    assert first is not None
    assert set(first.changes.values()) == {"new"}
    assert first.partitions == 3
    written = (len(read(settings, "config")), len(read(settings, "events")))
    (tmp_path / "models" / "eager.json").write_text(MODEL.replace("0.0", "0.25"))
    assert apply_first(settings) is None
    # A file that is broken meanwhile keeps no worker from starting.
    (tmp_path / "models" / "worse.json").write_text('{"name": "worse"')
    assert apply_first(settings) is None
    assert (len(read(settings, "config")), len(read(settings, "events"))) == written


def test_first_configuration_breaks_no_other_command_off(settings: Settings) -> None:
    apply(settings)
    with changing(settings, "applying") as change:
        assert apply_first(settings) is None
        partitions, _ = change.write(change.before)
    assert partitions == 3


def test_broker_without_transactions_gets_contents_before_activations(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: KafkaProducer) -> None:
        raise UnsupportedVersionError

    monkeypatch.setattr(KafkaProducer, "init_transactions", refuse)
    applied = apply(settings)
    assert not applied.transaction
    assert "without a transaction" in str(applied)
    assert len(read(settings, "config")) == 2
    assert [len(read(settings, "events", partition)) for partition in range(3)] == [1, 1, 1]


# --- publish -----------------------------------------------------------------------------------------------


def test_published_lines_stand_in_their_partitions_byte_for_byte(settings: Settings, tmp_path: Path) -> None:
    values = [event(f"e{number}", f"voter-{number % 40}") + b" " * (number % 3) for number in range(300)]
    lines = [*values[:100], b"", b"{", *values[100:], event("late", "x" * 65)]
    assert lines_of(settings, tmp_path / "events", gzip.compress(b"\n".join(lines))) == [
        "line 102: not_json: not JSON in UTF-8",
        "line 303: bad_subject: its subject is not a voter id of 1 to 64 bytes without control characters",
    ]
    found: list[bytes] = []
    for partition in range(3):
        for record in read(settings, "events", partition):
            assert record.key is not None
            assert record.value is not None
            assert partition_of(record.key, 3) == partition
            assert orjson.loads(record.value)["subject"].encode() == record.key
            found.append(record.value)
    assert sorted(found) == sorted(values)
    of_one = [value for value in found if b'"voter-7"' in value]
    assert of_one == [value for value in values if b'"voter-7"' in value]


def test_paced_lines_all_arrive(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(b"\n".join(event(str(number), "v") for number in range(20)))
    assert publish(settings, str(tmp_path / "events"), Pace(rate=500), errors=io.StringIO()).sent == 20
    assert sum(len(read(settings, "events", partition)) for partition in range(3)) == 20


def test_publishing_without_topics_names_the_command(empty: Settings, tmp_path: Path) -> None:
    with pytest.raises(TopicError, match="groundswell topics create"):
        lines_of(empty, tmp_path / "events", event("1", "v"))


# --- watch -------------------------------------------------------------------------------------------------


def test_watch_gives_what_comes_after_it_began_or_everything(settings: Settings) -> None:
    data = {"campaign": "c", "score_before": 0.0, "score_after": 1.0, "why": "because"}
    values = [event(str(number), "v", data=data) for number in range(5)]
    send(settings, "triggers", [*values[:2], None])
    everything: list[str] = []
    assert watch(settings, everything.append, raw=True, from_beginning=True, most=2) == 2
    assert everything == [value.decode() for value in values[:2]]
    readable: list[str] = []
    assert watch(settings, readable.append, from_beginning=True, most=3) == 3
    assert "trigger 3 of partition 0 was withdrawn" in readable[2]
    begun, fresh = threading.Event(), list[str]()
    watching = threading.Thread(
        target=watch, args=(settings, fresh.append), kwargs={"raw": True, "most": 3, "ready": begun.set}, daemon=True
    )
    watching.start()
    assert begun.wait(30)
    send(settings, "triggers", list(values[2:]), partition=2)
    watching.join(30)
    assert fresh == [value.decode() for value in values[2:]]


# --- voter -------------------------------------------------------------------------------------------------


async def test_voter_is_shown_as_redis_and_the_log_have_it(settings: Settings, tmp_path: Path) -> None:
    def prepare() -> topics.TopicFacts:
        apply(settings)
        # A time of their own: the embedded broker says none.
        now = datetime.now(UTC).isoformat()
        lines = [event(name, "ada", time=now) for name in ("first", "last")]
        lines_of(settings, tmp_path / "events", b"\n".join(lines))
        return topics.facts(settings)

    topic = await asyncio.to_thread(prepare)
    partition = partition_of(b"ada", 3)
    header = await process(settings, topic, partition)
    report = await asyncio.to_thread(voter.show, settings, "ada")
    fields = {item.name: item.value for item in report.fields}
    assert (report.partition, report.offset) == (partition, header.offset)
    assert fields["social.like.decayed_1d"] == pytest.approx(2.0, rel=1e-3)
    assert fields["score.eager"] == pytest.approx(2.0, rel=1e-3)
    assert fields["armed.hello"] == "no"
    assert report.last_event is not None
    assert report.last_event["id"] == "last"
    with pytest.raises(voter.UnknownVoterError, match="'nobody'"):
        await asyncio.to_thread(voter.show, settings, "nobody")
    shown = await asyncio.to_thread(config.show, settings)
    assert {held.active_in for held in shown} == {(partition,)}


# --- init --------------------------------------------------------------------------------------------------


def headers(settings: Settings) -> list[int | None]:
    found = asyncio.run(read_headers(settings, 3, RedisStore.read_header))
    return [None if header is None else header.offset for header in found.values()]


def test_new_deployment_begins_where_it_is_told_and_only_once(settings: Settings) -> None:
    for partition in range(3):
        send(settings, "events", [event(str(number), "v") for number in range(10)], partition)
    with pytest.raises(ConfigurationError, match="offset 11 is outside"):
        init(settings, "11")
    assert headers(settings) == [None, None, None]
    assert [begun.offset for begun in init(settings, "4", partition=1)] == [4]
    assert headers(settings) == [None, 4, None]
    with pytest.raises(StateMismatchError, match="partition 1 has state already, at offset 4"):
        init(settings, "5")
    assert headers(settings) == [None, 4, None]


def test_new_deployment_begins_at_a_time(settings: Settings) -> None:
    if any(finding.level == "note" for finding in topics.inspect(settings)):
        pytest.skip("the embedded broker knows no append times")
    send(settings, "events", [event("early", "v")])
    (early,) = read(settings, "events")
    append_time_ms = early.append_time_ms
    while append_time_ms == early.append_time_ms:
        send(settings, "events", [event("late", "v")])
        append_time_ms = read(settings, "events")[-1].append_time_ms
    last = len(read(settings, "events")) - 1
    begun = init(settings, voter.moment(append_time_ms), partition=0)
    assert [(place.offset, place.end) for place in begun] == [(last, last + 1)]
    # Nothing is that late: the end.
    assert [place.offset for place in init(settings, "2199-01-01T00:00:00Z", partition=1)] == [0]


def test_partition_that_has_put_out_triggers_is_not_begun_anew(settings: Settings) -> None:
    send(settings, "triggers", [b"{}", b"{}"], partition=2)
    with pytest.raises(StateMismatchError, match="partition 2 has put out 2 triggers already"):
        init(settings, "0")
    assert headers(settings) == [None, None, None]


# --- check -------------------------------------------------------------------------------------------------


def levels(found: dict[str, list[Finding]]) -> dict[str, set[str]]:
    return {area: {finding.level for finding in findings} for area, findings in found.items()}


def test_complete_deployment_is_fit(settings: Settings) -> None:
    found = check.check(settings)
    assert check.is_fit(found)
    assert found.keys() == {"configuration", "Kafka", "topics", "Redis", "state", "kernels"}


def test_what_is_missing_is_unfit_and_the_rest_is_looked_at(empty: Settings, tmp_path: Path) -> None:
    (tmp_path / "models" / "eager.json").write_text("{}")
    found = check.check(at_port_1(empty, "redis"))
    assert not check.is_fit(found)
    by_area = levels(found)
    assert [area for area, found_levels in by_area.items() if "error" in found_levels] == [
        "configuration",
        "topics",
        "Redis",
    ]


def test_state_of_another_topic_is_unfit(settings: Settings) -> None:
    init(settings, "0")
    assert levels(check.check(settings))["state"] == {"ok"}
    with closing(KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)) as admin:
        admin.delete_topics([settings.topic("events")])
        deleted = settings.topic("events")
        for _ in range(100):
            if deleted not in admin.list_topics():
                break
    topics.create(settings)
    assert levels(check.check(settings))["state"] == {"error"}


def test_kafka_that_does_not_answer_is_said_with_its_address(empty: Settings) -> None:
    with pytest.raises(KafkaUnavailableError, match=r"Kafka at 127\.0\.0\.1:1 failed while creating topics"):
        topics.create(at_port_1(empty, "kafka"))
