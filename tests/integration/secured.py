"""A Kafka and a Redis that want TLS and a login, and let each role do only what docs/security.md says."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trustme
from kafka import KafkaConsumer, TopicPartition
from redis import Redis

from load_tests.cluster import LOOPBACK, Broker, RedisServer, cluster_id, java, listens
from load_tests.deployment import Deployment, WorkerProcess, wait_until
from stream.embedded.services import free_port
from stream.records import Header
from stream.stores.names import header_key, outbox_key, partition_prefix
from tests.certificates import Certificate

ROLES: Final = ("publisher", "worker", "subscriber", "operator")
HOST: Final = "localhost"
PARTITIONS: Final = 2
START_SECONDS: Final = 180
"""A first start on a machine compiles the kernels."""
DOCUMENT: Final = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
_TOOLS: Final = {"kafka-acls.sh": "org.apache.kafka.tools.AclCommand", "kafka-configs.sh": "kafka.admin.ConfigCommand"}
_SCRAM_LOGIN: Final = "org.apache.kafka.common.security.scram.ScramLoginModule required"
_PLAIN_LOGIN: Final = "org.apache.kafka.common.security.plain.PlainLoginModule required"


def block(name: str, language: str = "sh") -> str:
    """Return a block of the document on security, as it stands there."""
    [text] = re.findall(rf"<!-- {name} -->\n```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    return str(text)


@dataclass(frozen=True)
class Secured:
    """Where the servers are, and how each role reaches them."""

    directory: Path
    ports: Mapping[str, int]
    """Of Kafka by the certificate it shows there: ``good``, ``expired`` or ``elsewhere``."""
    redis_ports: Mapping[str, int]
    """The same of Redis."""
    passwords: Mapping[str, str]

    @property
    def bootstrap(self) -> str:
        """Kafka's address."""
        return f"{HOST}:{self.ports['good']}"

    @property
    def redis_url(self) -> str:
        """The address of Redis, without a login."""
        return f"rediss://{HOST}:{self.redis_ports['good']}/0"

    @property
    def ca_file(self) -> Path:
        """The authority that signed the servers' certificates."""
        return self.directory / "ca.pem"

    def password_file(self, role: str) -> Path:
        """Return the file that holds a role's password, on both servers."""
        return self.directory / "passwords" / role

    def environment(self, role: str, namespace: str = "", **changes: str) -> dict[str, str]:
        """Return the environment under which ``groundswell`` runs as a role; ``changes`` are settings (``kafka__...``).

        The settings are those that the document shows, at these servers.
        """
        settings = {
            "namespace": namespace,
            "topics__partitions": "2",
            "kafka__bootstrap_servers": self.bootstrap,
            "kafka__security_protocol": "SASL_SSL",
            "kafka__sasl_mechanism": "SCRAM-SHA-512",
            "kafka__sasl_username": role,
            "kafka__sasl_password_file": str(self.password_file(role)),
            "kafka__tls_ca_file": str(self.ca_file),
            "redis__url": self.redis_url,
            "redis__username": role,
            "redis__password_file": str(self.password_file(role)),
            "redis__tls_ca_file": str(self.ca_file),
            **changes,
        }
        ours = {f"GROUNDSWELL_{key.upper()}": value for key, value in settings.items()}
        others = {key: value for key, value in os.environ.items() if not key.startswith("GROUNDSWELL_")}
        return {**others, "COLUMNS": "400", **ours}

    def run(self, role: str, namespace: str, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run ``groundswell`` to its end as a role."""
        return subprocess.run(
            [sys.executable, "-m", "stream", *words],
            env=self.environment(role, namespace, **changes),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def kafka(self, role: str = "admin") -> dict[str, Any]:
        """Return kafka-python's arguments for a role."""
        return {
            "bootstrap_servers": [self.bootstrap],
            "security_protocol": "SASL_SSL",
            "ssl_context": ssl.create_default_context(cafile=str(self.ca_file)),
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": role,
            "sasl_plain_password": self.passwords[role],
        }

    def redis(self, role: str = "admin") -> Redis:
        """Return a client of Redis for a role."""
        login = {"username": role, "password": self.passwords[role]}
        return Redis.from_url(self.redis_url, ssl_ca_certs=str(self.ca_file), protocol=2, **login)

    def administer(self, name: str, namespace: str = "") -> None:
        """Run a block of the document's commands as the administrator, with Kafka's and Redis' own tools."""
        reach = f"-h {HOST} -p {self.redis_ports['good']} --tls --cacert {self.ca_file} --user admin"
        variables = {
            "PATH": f"{self.directory / 'tools'}:{os.environ['PATH']}",
            "NAMESPACE": namespace,
            "BOOTSTRAP": self.bootstrap,
            "ADMIN": str(self.directory / "admin.properties"),
            "PASSWORDS": str(self.directory / "passwords"),
            "REDISCLI_AUTH": self.passwords["admin"],
            "REDIS_CLI_ARGUMENTS": reach,
        }
        run_block(name, variables)


def run_block(name: str, variables: Mapping[str, str]) -> None:
    """Run a block of the document's commands as it stands there, with these environment variables."""
    words = ["bash", "-euo", "pipefail", "-c", block(name)]
    done = subprocess.run(words, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def secured(directory: Path) -> Iterator[Secured]:
    """Start both servers for the block; their users are there, and no permission is given yet."""
    authority = trustme.CA()
    certificates = {
        "good": Certificate.issue(authority, directory, "good", HOST, LOOPBACK),
        "expired": Certificate.issue(authority, directory, "expired", HOST, days=(-30, -1)),
        "elsewhere": Certificate.issue(authority, directory, "elsewhere", "kafka.example", "redis.example"),
    }
    passwords = {role: secrets.token_hex(16) for role in ("admin", *ROLES)}
    made = Secured(
        directory,
        {name: free_port() for name in certificates},
        {name: free_port() for name in certificates},
        passwords,
    )
    authority.cert_pem.write_to_path(str(made.ca_file))
    (directory / "passwords").mkdir()
    for role, password in passwords.items():
        made.password_file(role).write_text(password + "\n")
    _write_tools(made)
    broker = Broker(1, directory / "kafka", ("-Xmx512m",), {})
    broker.port = made.ports["good"]
    broker.options = _kafka_options(made, certificates, broker.controller_port)
    stores = [_TlsRedis(made, name, certificate) for name, certificate in certificates.items()]
    broker.format(cluster_id(), f"1@{LOOPBACK}:{broker.controller_port}", {"admin": passwords["admin"]})
    servers = [broker, *stores]
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait()
        yield made
    finally:
        for server in servers:
            server.kill()


def _kafka_options(made: Secured, certificates: Mapping[str, Certificate], controller_port: int) -> dict[str, str]:
    """Return what makes a broker listen once for each certificate, for TLS and logins by SCRAM everywhere."""
    admin = f'username="admin" password="{made.passwords["admin"]}"'
    properties = {
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "inter.broker.listener.name": "GOOD",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": (
            f'{_PLAIN_LOGIN} {admin} user_admin="{made.passwords["admin"]}";'
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificates["good"].both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(made.ca_file),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": "User:admin",
    }
    listeners = {name.upper(): f"{HOST}:{port}" for name, port in made.ports.items()}
    for name, certificate in certificates.items():
        listener = f"listener.name.{name}"
        properties[f"{listener}.ssl.keystore.type"] = "PEM"
        properties[f"{listener}.ssl.keystore.location"] = str(certificate.both)
        properties[f"{listener}.scram-sha-512.sasl.jaas.config"] = f"{_SCRAM_LOGIN} {admin};"
    advertised = ",".join(f"{name}://{address}" for name, address in listeners.items())
    return {
        **properties,
        "listeners": f"{advertised},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": advertised,
        "listener.security.protocol.map": ",".join(f"{name}:SASL_SSL" for name in (*listeners, "CONTROLLER")),
    }


class _TlsRedis(RedisServer):
    """A Redis that speaks TLS alone, and knows an administrator alone."""

    def __init__(self, made: Secured, name: str, certificate: Certificate) -> None:
        options = {
            "--port": "0",
            "--tls-port": str(made.redis_ports[name]),
            "--tls-cert-file": str(certificate.chain),
            "--tls-key-file": str(certificate.key),
            "--tls-ca-cert-file": str(made.ca_file),
            "--tls-auth-clients": "no",
        }
        users = [
            "--user",
            "default",
            "off",
            "--user",
            "admin",
            "on",
            f">{made.passwords['admin']}",
            "~*",
            "&*",
            "+@all",
        ]
        super().__init__(
            f"redis-{name}",
            made.directory / f"redis-{name}",
            *(word for pair in options.items() for word in pair),
            *users,
        )
        self.port = made.redis_ports[name]

    def answers(self) -> bool:
        return listens(self.port)


def _write_tools(made: Secured) -> None:
    """Write Kafka's own command-line tools, as its distribution has them, and the administrator's login."""
    (made.directory / "tools").mkdir()
    for name, main in _TOOLS.items():
        tool = made.directory / "tools" / name
        quick = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        tool.write_text(f'#!/bin/sh\nexec {shlex.join([*java(quick), main])} "$@"\n')
        tool.chmod(0o755)
    login = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": f'{_SCRAM_LOGIN} username="admin" password="{made.passwords["admin"]}";',
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(made.ca_file),
    }
    lines = [f"{key}={value}" for key, value in login.items()]
    (made.directory / "admin.properties").write_text("\n".join([*lines, ""]))


@dataclass(frozen=True)
class Site:
    """A namespace whose permissions are those that the document's commands gave."""

    servers: Secured
    namespace: str
    directory: Path
    """Holds the configuration, the keyring, and the snapshots."""

    @property
    def keys_file(self) -> Path:
        return self.directory / "keyring"

    def settings_of(self, role: str) -> dict[str, str]:
        """Return what a role has beside its logins: only workers and operators have the keyring."""
        if role not in ("worker", "operator"):
            return {}
        return {
            "configuration_directory": str(self.directory),
            "snapshot__url": (self.directory / "snapshots").as_uri(),
            "security__keys_file": str(self.keys_file),
        }

    def topic(self, kind: str) -> str:
        return f"{self.namespace}.engagement.{kind}"

    def run(self, role: str, *words: str, status: int = 0) -> str:
        """Run a command as a role; return what it said."""
        done = self.servers.run(role, self.namespace, *words, **self.settings_of(role))
        assert done.returncode == status, (role, words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def worker(self, directory: Path, name: str) -> WorkerProcess:
        """Return a worker under its own user, not started yet."""
        deployment = Deployment(self.namespace, self.servers.bootstrap, self.servers.redis_url, PARTITIONS)
        settings = {
            **self.servers.environment("worker", self.namespace, **self.settings_of("worker")),
            "GROUNDSWELL_WORKER__IDLE_COMMIT_SECONDS": "0.3",
        }
        return WorkerProcess(deployment, directory, name, settings)

    def start(self, worker: WorkerProcess) -> None:
        worker.start()
        wait_until("the worker is ready", lambda: worker.is_ready() or worker.status is not None, START_SECONDS)
        assert worker.status is None, worker.log

    def is_drained(self) -> bool:
        """Whether all that stands in the log is committed and sent."""
        with (
            self.servers.redis() as keys,
            closing(KafkaConsumer(**self.servers.kafka(), isolation_level="read_committed")) as client,
        ):
            ends = client.end_offsets([TopicPartition(self.topic("events"), number) for number in range(PARTITIONS)])
            for place, end in ends.items():
                prefix = partition_prefix(self.namespace, place.partition)
                data: Any = keys.get(header_key(prefix))
                if data is None or Header.from_bytes(data).offset < end:
                    return False
                if any(keys.zcard(outbox_key(prefix, output)) for output in ("triggers", "rejects", "forwards")):
                    return False
        return True

    def sequences(self) -> dict[int, list[int]]:
        """Return by partition the sequences of all triggers, in their order."""
        with closing(KafkaConsumer(**self.servers.kafka(), isolation_level="read_committed")) as client:
            places = [TopicPartition(self.topic("triggers"), number) for number in range(PARTITIONS)]
            client.assign(places)
            client.seek_to_beginning()
            ends = client.end_offsets(places)
            found: dict[int, list[int]] = {number: [] for number in range(PARTITIONS)}
            while any(client.position(place) < ends[place] for place in places):
                for place, records in client.poll(200).items():
                    found[place.partition] += [int(dict(record.headers)["groundswell-sequence"]) for record in records]
        return found
