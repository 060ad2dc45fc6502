"""A login that is refused and a certificate that cannot be accepted: one clear line, exit status 1, at once."""

from __future__ import annotations

import time

import pytest
import trustme

from tests.integration.secured import HOST, Secured, Site

pytestmark = pytest.mark.kafka

MOST_SECONDS = 60
"""Imports on a busy machine included; a client that tries on takes minutes."""

KAFKA = {
    # Setting, its value, and what is to be said; {good} is the address of the server that shows a good certificate.
    "wrong password": (
        ("kafka__sasl_password_file", "{directory}/passwords/admin"),
        "Kafka at {good} refuses the login of 'worker' by SCRAM-SHA-512: look at kafka.sasl_username and",
    ),
    "unknown user": (("kafka__sasl_username", "nobody"), "refuses the login of 'nobody' by SCRAM-SHA-512"),
    "unknown mechanism": (("kafka__sasl_mechanism", "SCRAM-SHA-256"), "offers no login by SCRAM-SHA-256: look at"),
    "expired certificate": (
        ("kafka__bootstrap_servers", "{expired}"),
        "the certificate of Kafka at {expired}, or of the authority in kafka.tls_ca_file that signed it, has expired",
    ),
    "certificate of another host": (
        ("kafka__bootstrap_servers", "{elsewhere}"),
        "the certificate of Kafka at {elsewhere} is for another host",
    ),
    "unknown authority": (
        ("kafka__tls_ca_file", "{directory}/stranger.pem"),
        "the certificate of Kafka at {good} is signed by an authority that is not trusted",
    ),
    "no TLS": (("kafka__security_protocol", "PLAINTEXT"), "{good}: it ends the connection at the first request"),
    "no login": (("kafka__security_protocol", "SSL"), "login is wanted and kafka.security_protocol (SSL)"),
}
REDIS = {
    "wrong password": (
        ("redis__password_file", "{directory}/passwords/admin"),
        "Redis at {good} answered NOAUTH: it wants other credentials than those in redis.username and redis.password",
    ),
    "expired certificate": (
        ("redis__url", "rediss://{expired}/0"),
        "the certificate of Redis at {expired}, or of the authority in redis.tls_ca_file that signed it, has expired",
    ),
    "certificate of another host": (
        ("redis__url", "rediss://{elsewhere}/0"),
        "the certificate of Redis at {elsewhere} is for another host",
    ),
    "unknown authority": (
        ("redis__tls_ca_file", "{directory}/stranger.pem"),
        "the certificate of Redis at {good} is signed by an authority that is not trusted",
    ),
    "no TLS": (
        ("redis__url", "redis://{good}/0"),
        "Redis at {good} ends the connection at the first request, as where TLS is wanted",
    ),
}


@pytest.fixture(scope="module")
def namespace(guarded: Secured, site: Site) -> str:
    """Topics that every command finds, and an authority that signed nothing here."""
    trustme.CA().cert_pem.write_to_path(str(guarded.directory / "stranger.pem"))
    return site.namespace


def filled(servers: Secured, text: str, redis: bool) -> str:
    ports = servers.redis_ports if redis else servers.ports
    at = {name: f"{HOST}:{port}" for name, port in ports.items()}
    return text.format(directory=servers.directory, **at)


def assert_one_line(servers: Secured, namespace: str, service: str, trouble: str, *words: str) -> None:
    """The command ends at once, with one line on standard error and nothing else."""
    (setting, value), said = (KAFKA if service == "Kafka" else REDIS)[trouble]
    begun = time.monotonic()
    done = servers.run("worker", namespace, *words, **{setting: filled(servers, value, service == "Redis")})
    assert time.monotonic() - begun < MOST_SECONDS
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("groundswell: ")
    assert filled(servers, said, service == "Redis") in lines[0]


@pytest.mark.parametrize("trouble", KAFKA)
def test_worker_ends_where_kafka_does_not_let_it_in(guarded: Secured, namespace: str, trouble: str) -> None:
    assert_one_line(guarded, namespace, "Kafka", trouble, "worker")


@pytest.mark.parametrize("trouble", REDIS)
def test_worker_ends_where_redis_does_not_let_it_in(guarded: Secured, namespace: str, trouble: str) -> None:
    assert_one_line(guarded, namespace, "Redis", trouble, "worker")


@pytest.mark.parametrize(
    ("words", "trouble"),
    [
        (("watch", "--max", "1"), "wrong password"),
        (("topics", "create"), "expired certificate"),
        (("config", "apply"), "certificate of another host"),
        (("verify",), "unknown authority"),
        (("restore", "--yes"), "no TLS"),
    ],
)
def test_every_command_ends_where_kafka_does_not_let_it_in(
    guarded: Secured, namespace: str, words: tuple[str, ...], trouble: str
) -> None:
    assert_one_line(guarded, namespace, "Kafka", trouble, *words)


def test_publish_ends_and_says_that_nothing_was_sent(guarded: Secured, namespace: str) -> None:
    wrong = {"kafka__sasl_password_file": str(guarded.password_file("admin"))}
    done = guarded.run("publisher", namespace, "publish", "-", **wrong)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first == "broken off: 0 sent, 0 refused"
    assert "refuses the login of 'publisher'" in second


@pytest.mark.parametrize("trouble", ["wrong password", "expired certificate"])
def test_check_says_of_both_servers_what_is_wrong(guarded: Secured, namespace: str, trouble: str) -> None:
    changes = {}
    said = []
    for redis, ((setting, value), text) in enumerate((KAFKA[trouble], REDIS[trouble])):
        changes[setting] = filled(guarded, value, bool(redis))
        said.append(filled(guarded, text, bool(redis)))
    done = guarded.run("worker", namespace, "check", **changes)
    assert done.returncode == 1
    assert done.stderr == ""
    shown = " ".join(done.stdout.split())
    assert all(text in shown for text in said), done.stdout
    assert "not fit for a worker" in shown
