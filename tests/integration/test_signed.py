"""A signed deployment on Apache Kafka and Redis: forgeries are rejected, keys rotate under a worker, verify follows."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaProducer

from load_tests.deployment import Deployment, WorkerProcess, wait_until
from stream.commands.config import apply
from stream.commands.keys import new, rotate, show
from stream.commands.publish import publish
from stream.commands.topics import create, facts
from stream.commands.verify import verify
from stream.errors import ConfigurationError, StateMismatchError
from stream.partitioning import partition_of
from stream.settings import Settings
from tests.integration.deployments import deployment, event, read, servers

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(servers() is None, reason="GROUNDSWELL_TEST_KAFKA and GROUNDSWELL_TEST_REDIS are not set"),
]
COUNT = 3
SECONDS = 120
FIRST, SECOND = new("first", None), new("second", None)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    where = servers()
    assert where is not None
    with deployment(*where, tmp_path) as made:
        create(made)
        yield made


def under(settings: Settings, *keys: str) -> Settings:
    """Return the settings with these keys in the keyring."""
    flags = {
        "namespace": settings.namespace,
        "kafka.bootstrap_servers": settings.kafka.bootstrap_servers,
        "redis.url": settings.redis.url,
        "topics.partitions": COUNT,
        "configuration_directory": str(settings.configuration),
    }
    return Settings.load(flags={**flags, "security.keys": "\n".join(keys)} if keys else flags)


def worker_of(settings: Settings, directory: Path, name: str, *keys: str) -> WorkerProcess:
    made = Deployment(settings.namespace, settings.kafka.bootstrap_servers, settings.redis.url, COUNT)
    variables = {
        # Ticks move the log's end every second: a commit of ticks alone must come before the next ones.
        "GROUNDSWELL_WORKER__IDLE_COMMIT_SECONDS": "0.3",
        # For so long the group waits for a worker that ended without leaving it.
        "GROUNDSWELL_KAFKA__SESSION_TIMEOUT_SECONDS": "6",
    }
    if keys:
        variables["GROUNDSWELL_SECURITY__KEYS"] = "\n".join(keys)
    return WorkerProcess(made, directory, name, variables)


def forge(settings: Settings, *values: tuple[int, bytes | None, bytes]) -> None:
    """Write records (partition, key, value) that nobody has signed."""
    with closing(KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)) as producer:
        for partition, key, value in values:
            producer.send(settings.topic("events"), key=key, value=value, partition=partition)
        producer.flush()


def voters_at(partition: int, count: int) -> list[str]:
    names = (f"voter-{number}" for number in range(1000))
    return [name for name in names if partition_of(name.encode(), COUNT) == partition][:count]


def erasure(voter: str) -> bytes:
    return event(f"erase-{voter}", voter, type="privacy.erased")


def reasons_of(settings: Settings) -> Counter[bytes]:
    rows = [row for partition in range(COUNT) for row in read(settings, "rejects", partition)]
    return Counter(dict(row.headers)["reason"] for row in rows)


def test_forgeries_are_rejected_and_keys_rotate_under_a_running_worker(settings: Settings, tmp_path: Path) -> None:
    signed = under(settings, FIRST, SECOND)
    assert apply(signed).partitions == COUNT
    ada, bob = voters_at(0, 2)
    stray = voters_at(1, 1)[0]
    worker = worker_of(settings, tmp_path, "signed", FIRST, SECOND)
    worker.start()
    try:
        wait_until("the worker is ready", lambda: worker.is_ready() or worker.status is not None, SECONDS)
        assert worker.status is None, worker.log
        nothing = {"engine": 1, "contents": []}
        forge(
            settings,
            (0, None, event("a-1", "", type="config.activated", data=nothing)),
            (0, ada.encode(), erasure(ada)),
            (0, None, event("t-1", "", type="clock.tick", time="2026-11-25T00:00:00Z")),
            (2, stray.encode(), event("s-1", stray)),
            (0, ada.encode(), event("l-1", ada)),
            (0, bob.encode(), event("l-2", bob)),
        )
        erasures = tmp_path / "erasures.jsonl"
        erasures.write_bytes(erasure(bob) + b"\n")
        assert publish(signed, str(erasures)).refused == {"not_authorised": 1}
        assert publish(signed, str(erasures), key="first").sent == 1
        made = worker.deployment
        wait_until(
            "the stray event is folded at home", lambda: bool((made.header(1) or {})["totals"]["folded"]), SECONDS
        )
        with pytest.raises(ConfigurationError, match="first put both in force"):
            rotate(signed, ["second"])
        for ids in (["first", "second"], ["second"]):
            rotate(signed, ids)
            wait_until(
                f"{ids} are in force",
                lambda ids=ids: all([key for key, _ in (made.header(n) or {})["keys"]] == ids for n in range(COUNT)),  # type: ignore[misc]
                SECONDS,
            )
        apply(signed)
        forge(settings, (0, ada.encode(), event("l-3", ada)))
        wait_until("all is processed", lambda: made.is_drained() or worker.status is not None, SECONDS)
        assert worker.status is None, worker.log
        worker.end(signal.SIGTERM, 60)
    finally:
        worker.kill()
    assert "nobody signs" not in worker.log
    [first, second] = show(signed)
    assert (first.in_force, second.in_force) == ((), tuple(range(COUNT)))
    assert reasons_of(settings)[b"not_authorised"] >= 3
    header = made.header(0) or {}
    assert header["slots"]["model"][0][0] == "eager"
    assert header["totals"]["folded"] == 3
    held = made.held(0).records
    assert held[bob][2] == 3, "erased by who may"
    assert held[ada][2] != 3, "not erased by who may not"
    report = verify(signed, progress=False)
    assert report.difference is None, str(report)
    assert report.not_compared == []
    for keys, says in (([SECOND], "key 'first'"), ([FIRST], "key 'second'"), ([], "no keyring is set")):
        with pytest.raises(StateMismatchError, match=says):
            verify(under(settings, *keys), progress=False)


def test_worker_whose_keyring_does_not_fit_the_state_ends_and_names_the_key(settings: Settings, tmp_path: Path) -> None:
    signed = under(settings, FIRST)
    assert facts(signed).partition_count == COUNT
    log = {}
    for name, keys in (("good", [FIRST]), ("without", []), ("other", [SECOND])):
        worker = worker_of(settings, tmp_path, name, *keys)
        worker.start()
        try:
            wait_until(name, lambda worker=worker: worker.is_ready() or worker.status is not None, SECONDS)  # type: ignore[misc]
            log[name] = worker.log
            if name == "good":
                assert worker.status is None, worker.log
                worker.end(signal.SIGTERM, 60)
            else:
                wait_until("it ends", lambda worker=worker: worker.status is not None, SECONDS)  # type: ignore[misc]
                log[name] = worker.log
        finally:
            worker.kill()
    assert "nobody signs" in log["without"]
    assert "takes control records signed by key 'first' only, and no keyring is set" in log["without"]
    assert "key 'first' with fingerprint" in log["other"]
    assert (worker.deployment.header(0) or {})["keys"][0][0] == "first"
