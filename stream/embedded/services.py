"""The broker and Redis of a laptop: started on free ports, gone without a trace afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from stream.embedded.binaries import broker_program, redis_program
from stream.errors import ConfigurationError

_ATTEMPTS: Final = 5
_START_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 5.0
_LOOPBACK: Final = "127.0.0.1"

_KEEPER: Final = """
while read -r line; do
  if [ "$line" = done ]; then exit 0; fi
  servers="$servers $line"
done
kill -9 $servers 2>/dev/null
rm -rf "$1"
"""
"""Learns the servers' process ids on its standard input, and clears up when that ends without a ``done``.

It ends so when this process is killed, which no handler or ``finally`` in it could notice.
"""

_API_VERSIONS: Final = b"\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff"
"""Kafka protocol: length 10, ApiVersions (18), version 0, correlation id 1, no client id."""


class EmbeddedServices:
    """A memory-only broker and Redis on free loopback ports, for as long as the ``with`` block lasts.

    Both have a session of their own, so that a Ctrl-C in the terminal reaches a worker before them.
    """

    def __init__(self) -> None:
        """Note that nothing is started yet."""
        self.bootstrap_servers = ""
        """``host:port`` of the broker, once started."""
        self.redis_url = ""
        """``redis://host:port/0``, once started."""
        self.directory: Path | None = None
        """Where the logs are while the services run."""
        self._servers: list[subprocess.Popen[bytes]] = []
        self._keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start both and wait until both answer; raise ConfigurationError with the log's end if one does not."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop both and remove what they left."""
        self.stop()

    def start(self) -> None:
        """Start both and wait until both answer; raise ConfigurationError with the log's end if one does not."""
        directory = Path(tempfile.mkdtemp(prefix="groundswell-"))
        self.directory = directory
        self._keeper = subprocess.Popen(  # noqa: S603 (fixed text, a directory of our own)
            ["/bin/sh", "-c", _KEEPER, "groundswell-keeper", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            port = self._serve("broker", broker_program(directory), _broker_arguments, _kafka_answers)
            self.bootstrap_servers = f"{_LOOPBACK}:{port}"
            port = self._serve("redis", redis_program(directory), _redis_arguments, _redis_answers)
            self.redis_url = f"redis://{_LOOPBACK}:{port}/0"
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop both and remove what they left; do nothing where nothing runs."""
        for server in self._servers:
            server.terminate()
        for server in self._servers:
            try:
                server.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        self._servers.clear()
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None
        if self._keeper is not None:
            self._tell_keeper("done")
            self._keeper.communicate()
            self._keeper = None

    def running(self) -> bool:
        """Return whether both servers are alive."""
        return len(self._servers) == 2 and all(server.poll() is None for server in self._servers)

    def settings(self) -> dict[str, str]:
        """Return the environment that lets any groundswell command use these services."""
        return {
            "GROUNDSWELL_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers,
            # The embedded broker takes half of this to let a group join.
            "GROUNDSWELL_KAFKA__SESSION_TIMEOUT_SECONDS": "6",
            "GROUNDSWELL_KAFKA__HEARTBEAT_SECONDS": "2",
            "GROUNDSWELL_REDIS__URL": self.redis_url,
        }

    def adopt(self, process_id: int) -> None:
        """Let a process that uses the services end with them if this one is killed."""
        self._tell_keeper(str(process_id))

    def _tell_keeper(self, line: str) -> None:
        if self._keeper is not None and self._keeper.stdin is not None and self._keeper.poll() is None:
            self._keeper.stdin.write(f"{line}\n".encode())
            self._keeper.stdin.flush()

    def _serve(
        self,
        name: str,
        program: Path,
        arguments: Callable[[int, Path], Sequence[str]],
        answers: Callable[[int], bool],
    ) -> int:
        """Start a server, once more on another port if it ends before it answers, and return its port."""
        assert self.directory is not None  # noqa: S101 (only start calls this)
        log = self.directory / f"{name}.log"
        for _ in range(_ATTEMPTS):
            port = free_port()
            with log.open("ab") as output:
                server = subprocess.Popen(  # noqa: S603 (a packaged program)
                    [str(program), *arguments(port, self.directory)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self.directory,
                    env={**os.environ, "RUST_LOG": "warn"},
                    start_new_session=True,
                )
            self._servers.append(server)
            self._tell_keeper(str(server.pid))
            deadline = time.monotonic() + _START_SECONDS
            while server.poll() is None and time.monotonic() < deadline:
                if answers(port):
                    return port
                time.sleep(0.02)
            self._servers.remove(server)
            server.kill()
            server.wait()
        message = f"the embedded {name} ({program}) did not start in {_ATTEMPTS} attempts; its log ends: {_tail(log)!r}"
        raise ConfigurationError(message)


def free_port() -> int:
    """Return a loopback TCP port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _broker_arguments(port: int, _directory: Path) -> Sequence[str]:
    listener = f"tcp://{_LOOPBACK}:{port}"
    return ("--listener-url", listener, "--advertised-listener-url", listener, "--storage-engine", "memory://tansu/")


def _redis_arguments(port: int, directory: Path) -> Sequence[str]:
    settings = {
        "port": str(port),
        "bind": _LOOPBACK,
        "dir": str(directory),
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
    }
    return [part for name, value in settings.items() for part in (f"--{name}", value)]


def _kafka_answers(port: int) -> bool:
    # Length, then the correlation id of the request.
    return _exchange(port, _API_VERSIONS, 8)[4:8] == b"\x00\x00\x00\x01"


def _redis_answers(port: int) -> bool:
    return _exchange(port, b"*1\r\n$4\r\nPING\r\n", 7) == b"+PONG\r\n"


def _exchange(port: int, request: bytes, length: int) -> bytes:
    """Send a request and return the first ``length`` bytes of the answer, fewer if there are none."""
    answer = b""
    try:
        with socket.create_connection((_LOOPBACK, port), timeout=1.0) as connection:
            connection.sendall(request)
            while len(answer) < length:
                part = connection.recv(length - len(answer))
                if not part:
                    break
                answer += part
    except OSError:
        pass
    return answer


def _tail(log: Path) -> str:
    return log.read_bytes()[-500:].decode(errors="replace")
