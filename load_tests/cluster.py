"""Apache Kafka's brokers and Redis servers of a test's own: started from the jars, killed, paused, restarted.

``python -m load_tests.cluster DIRECTORY`` runs one broker and one Redis, says in the file ``addresses`` there where
they are, and stops them when it is told to end. ``.ci/services`` brings what they need.
"""

from __future__ import annotations

import argparse
import base64
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from load_tests.proxy import Proxies, Proxy
from stream.embedded.services import free_port

LOOPBACK: Final = "127.0.0.1"
WITH_ITS_STARTER: Final = ("setpriv", "--pdeathsig", "KILL")
"""Before a command: it ends with the thread that started it, however that ends."""
_ROOT: Final = Path(__file__).parents[1]
_START_SECONDS: Final = 90.0
_LIGHT: Final = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""For brokers that share two cores: what they compile costs more than it brings."""


_REWRITTEN: Final = ("--auto-aof-rewrite-min-size", "2gb")
"""As docker-compose.yml has it, and the README explains."""


class ServerError(Exception):
    """A server did not start, or is not what it should be."""


class Server(ABC):
    """One process that listens on a port; it ends with the thread that started it, however that ends."""

    def __init__(self, name: str, directory: Path, port: int) -> None:
        """Nothing runs yet; what it keeps is in ``directory``, its log beside it."""
        self.name = name
        self.directory = directory
        self.port = port
        self.log = directory.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def words(self) -> Sequence[str]:
        """The command that runs it."""

    def answers(self) -> bool:
        """Whether it does what it is there for."""
        return listens(self.port)

    def start(self) -> None:
        """Start it, and do not wait."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*WITH_ITS_STARTER, *self.words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait(self, seconds: float = _START_SECONDS) -> None:
        """Wait until it answers; raise ServerError with the end of its log where it does not."""
        end = time.monotonic() + seconds
        while not self.answers():
            if self.process is None or self.process.poll() is not None or time.monotonic() > end:
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
                message = f"{self.name} does not answer within {seconds:g} s; its log ends:\n{tail}"
                raise ServerError(message)
            time.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""
        self.end(signal.SIGKILL, 10)

    def stop(self, seconds: float = 20.0) -> None:
        """End it in order; at once where that takes longer than ``seconds``."""
        self.end(signal.SIGTERM, seconds)

    def end(self, number: signal.Signals, seconds: float) -> None:
        """Send a signal and wait for the end; kill it where that does not come."""
        if self.process is None:
            return
        self.send(number)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def pause(self) -> None:
        """Stop it where it stands."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.send(signal.SIGCONT)


class Broker(Server):
    """One Apache Kafka broker that is a controller too.

    Clients come by ``advertised``, which may be a proxy; brokers, and who must not be disturbed, by ``direct``.
    """

    def __init__(self, number: int, directory: Path, java: Sequence[str], options: Mapping[str, str]) -> None:
        """Take its number, from 1 on; nothing is formatted yet."""
        super().__init__(f"broker {number}", directory, free_port())
        self.number = number
        self.direct_port = free_port()
        self.controller_port = free_port()
        self.advertised = self.port
        self.java = java
        self.options = options
        self._settings = directory.with_suffix(".properties")

    def format(self, cluster: str, voters: str, users: Mapping[str, str] | None = None) -> None:
        """Write its settings, and prepare its directory for the cluster of this id.

        ``users``, password by name, can log in by SCRAM-SHA-512 from the first moment on.
        """
        at = {"PLAINTEXT": self.port, "DIRECT": self.direct_port, "CONTROLLER": self.controller_port}
        shown = {"PLAINTEXT": self.advertised, "DIRECT": self.direct_port}
        settings = {
            "process.roles": "broker,controller",
            "node.id": str(self.number),
            "listeners": _listeners(at),
            "advertised.listeners": _listeners(shown),
            "inter.broker.listener.name": "DIRECT",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": voters,
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in at),
            "log.dirs": str(self.directory),
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            # The cleaner looks after 15 s by itself, which whoever waits for a compaction would wait too.
            "log.cleaner.backoff.ms": "1000",
            **self.options,
        }
        self._settings.parent.mkdir(parents=True, exist_ok=True)
        self._settings.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        tool = [*java(("-XX:TieredStopAtLevel=1",)), "kafka.tools.StorageTool", "format", "-t", cluster]
        for name, password in (users or {}).items():
            tool += ["--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]"]
        done = subprocess.run([*tool, "-c", str(self._settings)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            message = f"{self.name} cannot be formatted: {done.stdout}{done.stderr}"
            raise ServerError(message)

    @property
    def words(self) -> Sequence[str]:
        """The command that runs it."""
        return [*java(self.java), "kafka.Kafka", str(self._settings)]


class Kafka:
    """A cluster of brokers; three keep each record twice at least (replication 3, ``min.insync.replicas`` 2)."""

    def __init__(self, directory: Path, count: int, proxies: Proxies | None = None) -> None:
        """Take how many there are to be, and the proxies that clients are to come by, if any. Nothing runs yet."""
        copies = str(min(count, 3))
        least = str(max(1, min(count, 3) - 1))
        options = {
            "default.replication.factor": copies,
            "min.insync.replicas": least,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": least,
        }
        if count > 1:
            options |= _QUICK_FAILOVER
        java = ("-Xmx512m",) if count == 1 else _LIGHT
        self.brokers = [Broker(number, directory / f"broker-{number}", java, options) for number in range(1, count + 1)]
        self.proxies: list[Proxy] = []
        if proxies is not None:
            self.proxies = [proxies.between(free_port(), broker.port) for broker in self.brokers]
            for broker, proxy in zip(self.brokers, self.proxies, strict=True):
                broker.advertised = proxy.port

    @property
    def bootstrap(self) -> str:
        """Where clients find it."""
        return ",".join(f"{LOOPBACK}:{broker.advertised}" for broker in self.brokers)

    @property
    def direct(self) -> str:
        """Where it is found behind all proxies."""
        return ",".join(f"{LOOPBACK}:{broker.direct_port}" for broker in self.brokers)

    def start(self) -> None:
        """Format and start all brokers, and wait until each serves."""
        cluster = cluster_id()
        voters = ",".join(f"{broker.number}@{LOOPBACK}:{broker.controller_port}" for broker in self.brokers)
        for broker in self.brokers:
            broker.format(cluster, voters)
        for broker in self.brokers:
            broker.start()
        for broker in self.brokers:
            broker.wait()

    def stop(self) -> None:
        """End all brokers; what they hold is of no more use."""
        for broker in self.brokers:
            broker.resume()
            broker.kill()


_QUICK_FAILOVER: Final = {
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "4000",
    "controller.quorum.election.timeout.ms": "1000",
    "controller.quorum.fetch.timeout.ms": "2000",
    # A cluster of a laptop's size: the defaults would fill its heap.
    "log.cleaner.dedupe.buffer.size": "16777216",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
}


class RedisServer(Server):
    """One Redis with an append-only file, written to disk each second."""

    def __init__(self, name: str, directory: Path, *options: str) -> None:
        """Nothing runs yet; ``options`` come on top of the command line."""
        super().__init__(name, directory, free_port())
        self.options = options

    @property
    def words(self) -> Sequence[str]:
        """The command that runs it."""
        at = ["--port", str(self.port), "--bind", LOOPBACK, "--dir", str(self.directory)]
        kept = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec", *_REWRITTEN]
        return ["redis-server", *at, *kept, "--maxmemory-policy", "noeviction", *self.options]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def client(self, seconds: float = 5.0) -> redis.Redis:
        """Return a client of it that waits for nothing longer than ``seconds``, and tries nothing twice."""
        return redis.Redis(
            LOOPBACK,
            self.port,
            protocol=2,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=Retry(NoBackoff(), 0),
        )

    def ask(self, *words: str) -> Any:
        """Send one command and return the answer; None where it gives none."""
        with suppress(redis.RedisError, OSError), self.client() as client:
            return client.execute_command(*words)
        return None

    def facts(self, section: str) -> Mapping[str, Any]:
        """Return the fields of a section of INFO; none where it does not answer."""
        found = self.ask("INFO", section)
        return found if isinstance(found, dict) else {}

    def answers(self) -> bool:
        """Whether it has read what it kept, and serves."""
        return bool(self.ask("PING"))

    def follow(self, primary: RedisServer) -> None:
        """Become the replica of another."""
        self.ask("REPLICAOF", LOOPBACK, str(primary.port))

    def follows(self) -> bool:
        """Whether it is a replica that has all that its primary sent."""
        facts = self.facts("replication")
        return facts.get("role") == "slave" and facts.get("master_link_status") == "up"

    def forget(self) -> None:
        """Delete what it kept; it must not run."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def cut_tail(self, count: int) -> int:
        """Cut up to ``count`` bytes off the end of its append-only file; return how many. It must not run."""
        last = max(self.directory.glob("appendonlydir/*.incr.aof"), key=lambda path: int(path.name.split(".")[2]))
        size = last.stat().st_size
        os.truncate(last, max(size - count, 0))
        return min(count, size)


def cluster_id() -> str:
    """Return an id for a new cluster; one that begins with a dash would be taken for an option."""
    return base64.urlsafe_b64encode(b"g" + uuid.uuid4().bytes[1:]).decode().rstrip("=")


def listens(port: int) -> bool:
    """Whether a port of loopback takes a connection."""
    with suppress(OSError), socket.create_connection((LOOPBACK, port), 1.0):
        return True
    return False


def _listeners(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{LOOPBACK}:{port}" for name, port in ports.items())


def java(options: Sequence[str]) -> list[str]:
    """Return the command that runs a class of Apache Kafka's, up to the class's name."""
    jars = os.environ.get("GROUNDSWELL_KAFKA_JARS", str(_ROOT / ".kafka" / "libs"))
    return ["java", *options, "-cp", f"{jars}/*"]


def main() -> int:
    """Run one broker and one Redis until told to end."""
    arguments = argparse.ArgumentParser(description="Run one Apache Kafka broker and one Redis.")
    arguments.add_argument("directory", type=Path, help="where they keep what they hold, their logs and `addresses`")
    directory: Path = arguments.parse_args().directory
    # Its put may be interrupted by itself, where two signals come at once; Event.set would wait for itself.
    told: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda signalled, _: told.put(signalled))
    kafka = Kafka(directory, 1)
    store = RedisServer("redis", directory / "redis")
    try:
        store.start()
        kafka.start()
        store.wait()
        # In one step: whoever waits for the file finds it whole.
        partial = directory / "addresses.part"
        partial.write_text(f"GROUNDSWELL_TEST_KAFKA={kafka.bootstrap}\nGROUNDSWELL_TEST_REDIS={store.url}\n")
        partial.rename(directory / "addresses")
        told.get()
    finally:
        kafka.stop()
        store.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
