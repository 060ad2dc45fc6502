"""The main path over TLS, each role with its own user and exactly the documented permissions, and what none may do."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError
from redis.exceptions import NoPermissionError

from load_tests.deployment import WorkerProcess, wait_until
from stream.partitioning import partition_of
from stream.stores.names import header_key, partition_prefix
from tests.integration.deployments import event
from tests.integration.secured import PARTITIONS, ROLES, Secured, Site, block

pytestmark = pytest.mark.kafka

KINDS = ("events", "triggers", "rejects", "config")
BOUND_SECONDS = 60


def test_main_path_runs_with_each_role_under_its_own_permissions(site: Site, tmp_path: Path) -> None:
    assert "2 contents activated in 2 partitions in one transaction" in site.run("operator", "config", "apply")
    for role in ("operator", "worker"):
        assert "earlier owners of a partition cannot write any more" in site.run(role, "check")
    events = tmp_path / "events.jsonl"
    events.write_bytes(b"\n".join(event(f"e{number}", f"voter-{number % 40}") for number in range(400)))
    worker = site.worker(tmp_path, "first")
    try:
        site.start(worker)
        assert "400 sent, 0 refused" in site.run("publisher", "publish", str(events))
        _publish_astray(site)
        wait_until("all is committed and sent", site.is_drained, BOUND_SECONDS)
        assert b"groundswell_forwards_total 5.0" in worker.page("/metrics")[1].encode()
        assert worker.end(signal.SIGTERM, 30)[0] == 0, worker.log
        fired = site.sequences()
        assert sum(map(len, fired.values())) == 45
        said = site.run("subscriber", "watch", "--from-beginning", "--json", "--max", "45")
        assert {orjson.loads(line)["data"]["campaign"] for line in said.splitlines()} == {"hello"}
        assert _read_as_subscriber(site) == 45
        _operate(site)
        _lose_and_restore(site, worker)
    finally:
        worker.kill()
    # Each was fired once, whatever was replayed; a new owner fenced and read the tail under the worker's user.
    assert site.sequences() == fired == {number: list(range(1, len(found) + 1)) for number, found in fired.items()}
    assert "Traceback" not in worker.log


def _publish_astray(site: Site) -> None:
    """Publish rejects, and events that belong into another partition, as the publisher's own client."""
    with closing(KafkaProducer(**site.servers.kafka("publisher"), acks="all")) as producer:
        for number in range(5):
            voter = f"astray-{number}"
            astray = (partition_of(voter.encode(), PARTITIONS) + 1) % PARTITIONS
            producer.send(site.topic("events"), event(voter, voter), key=voter.encode(), partition=astray)
            producer.send(site.topic("events"), b"no json", key=b"x", partition=0)
        producer.flush(30)


def _read_as_subscriber(site: Site) -> int:
    """Read all triggers in the subscriber's own group, as a messaging system does; return how many there were."""
    arguments = {"group_id": "mail", "auto_offset_reset": "earliest", "consumer_timeout_ms": 20_000}
    with closing(KafkaConsumer(site.topic("triggers"), **site.servers.kafka("subscriber"), **arguments)) as consumer:
        count = 0
        for record in consumer:
            count += record.value is not None
            if count == 45:
                break
        consumer.commit()
    return count


def _operate(site: Site) -> None:
    """Run what an operator runs beside a worker."""
    assert "campaign hello" in site.run("operator", "config", "show")
    assert "voter-3" in site.run("operator", "voter", "show", "voter-3")
    assert "are what the log up to offset" in site.run("operator", "verify")
    assert "2 of 2 partitions have state" in site.run("operator", "check")
    # No worker runs: the operator copies the state itself.
    assert site.run("operator", "snapshot").count("from Redis: no worker is at work") == PARTITIONS


def _lose_and_restore(site: Site, worker: WorkerProcess) -> None:
    """Damage a partition's state, bring it back as the operator, and let a worker replay it and take snapshots."""
    with site.servers.redis() as keys:
        keys.delete(header_key(partition_prefix(site.namespace, 0)))
    assert " is loaded, and " in site.run("operator", "restore", "--yes")
    site.start(worker)
    wait_until("all is replayed", site.is_drained, BOUND_SECONDS)
    taken = len(site.run("operator", "snapshot", "--list").splitlines())
    site.run("operator", "snapshot")
    assert len(site.run("operator", "snapshot", "--list").splitlines()) == taken + PARTITIONS
    assert "are what the log up to offset" in site.run("operator", "verify")
    assert worker.end(signal.SIGTERM, 30)[0] == 0, worker.log


def test_new_deployment_begins_under_the_operators_permissions(guarded: Secured, site: Site) -> None:
    with site.servers.redis() as keys:
        for key in keys.scan_iter(f"{{{site.namespace}:*"):
            keys.delete(key)
    with closing(KafkaAdminClient(**guarded.kafka())) as admin:
        admin.delete_topics([site.topic("triggers"), site.topic("rejects")])
    site.run("operator", "topics", "create")
    assert "partition 1 begins at offset 0" in site.run("operator", "init", "--from", "0")


# --- what none may do ------------------------------------------------------------------------------------------------


WRITABLE = {
    "publisher": {"events"},
    "worker": {"events", "triggers", "rejects"},
    "subscriber": set(),
    "operator": {"events", "config"},
}
READABLE = {"publisher": set(), "worker": set(KINDS), "subscriber": {"triggers"}, "operator": set(KINDS)}


def _is_refused(attempt: Callable[[], Any]) -> bool:
    try:
        attempt()
    except TopicAuthorizationFailedError:
        return True
    return False


@pytest.mark.parametrize("role", ROLES)
def test_role_writes_and_reads_its_topics_and_no_others(site: Site, role: str) -> None:
    kafka = site.servers.kafka(role)
    with closing(KafkaProducer(**kafka, acks="all", enable_idempotence=False, max_block_ms=10_000)) as producer:
        for kind in KINDS:

            def write(topic: str = site.topic(kind)) -> None:
                # Neither key nor value are anything to decide by.
                producer.send(topic, b"-", key=b"-", partition=0).get(20)

            refused = _is_refused(write)
            assert refused == (kind not in WRITABLE[role]), (role, "writes", kind)
    with closing(KafkaConsumer(**kafka, group_id=None)) as consumer:
        for kind in KINDS:
            place = TopicPartition(site.topic(kind), 0)

            def read(place: TopicPartition = place) -> None:
                if not consumer.partitions_for_topic(place.topic):
                    # The client only logs why it sees no partitions of a topic that is there.
                    raise TopicAuthorizationFailedError(place.topic)
                consumer.assign([place])
                consumer.seek_to_beginning(place)
                consumer.poll(2000)

            assert _is_refused(read) == (kind not in READABLE[role]), (role, "reads", kind)


@pytest.mark.parametrize("role", ["publisher", "worker", "subscriber"])
def test_only_operators_create_topics(site: Site, role: str) -> None:
    said = site.servers.run(role, f"{site.namespace}-x", "topics", "create")
    assert said.returncode == 1
    assert "was not created" in said.stderr or "Authoriz" in said.stderr
    assert len(said.stderr.splitlines()) == 1, said.stderr


@pytest.mark.parametrize("role", ["publisher", "worker", "subscriber"])
def test_only_operators_activate_configuration(site: Site, role: str) -> None:
    said = site.servers.run(role, site.namespace, "config", "apply", **site.settings_of("operator"))
    assert said.returncode == 1, said.stdout
    assert len(said.stderr.splitlines()) == 1, said.stderr
    assert "Authoriz" in said.stderr


def test_subscriber_reads_under_its_own_group_alone(site: Site) -> None:
    arguments = {**site.servers.kafka("subscriber"), "group_id": f"{site.namespace}.groundswell"}
    consumer = KafkaConsumer(site.topic("triggers"), **arguments)
    with closing(consumer), pytest.raises(GroupAuthorizationFailedError):
        consumer.poll(10_000)


def test_no_role_but_the_worker_takes_its_fences(site: Site) -> None:
    for role in ("publisher", "subscriber", "operator"):
        name = f"{site.namespace}.groundswell.triggers.0"
        producer = KafkaProducer(**site.servers.kafka(role), transactional_id=name, max_block_ms=10_000)
        with closing(producer), pytest.raises(KafkaError, match="Authoriz"):
            producer.init_transactions()


@pytest.mark.parametrize("role", ["worker", "operator"])
@pytest.mark.parametrize(
    "command",
    [
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
        ("ACL", "LIST"),
        ("GET", "{another:0}:header"),
        ("SET", "{another:0}:header", "x"),
        ("EVAL", "return 1", "0"),
        ("SHUTDOWN",),
    ],
)
def test_users_of_redis_reach_their_own_keys_by_their_own_commands_alone(
    site: Site, role: str, command: tuple[str, ...]
) -> None:
    with site.servers.redis(role) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command)


def test_only_operators_delete_from_redis(site: Site) -> None:
    key = f"{partition_prefix(site.namespace, 0)}v:nobody"
    with site.servers.redis("worker") as client, pytest.raises(NoPermissionError):
        client.execute_command("UNLINK", key)
    with site.servers.redis("operator") as client:
        assert client.execute_command("UNLINK", key) == 0


@pytest.mark.parametrize("role", ["publisher", "subscriber"])
def test_redis_knows_neither_publishers_nor_subscribers(site: Site, role: str) -> None:
    with site.servers.redis(role) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_document_shows_the_settings_that_the_suite_runs_under(site: Site) -> None:
    names = set()
    group = ""
    for line in block("settings", "toml").splitlines():
        group = line.strip("[]") if line.startswith("[") else group
        if " = " in line:
            names.add(f"GROUNDSWELL_{group}__{line.split(' = ')[0]}".upper())
    given = {name for name in site.servers.environment("worker") if name.startswith("GROUNDSWELL_")}
    assert names == given - {"GROUNDSWELL_NAMESPACE", "GROUNDSWELL_TOPICS__PARTITIONS"}
