"""The proxy breaks a wire exactly where it is told to, and is invisible where it is not."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from load_tests.deployment import wait_until
from load_tests.proxy import Proxies, Proxy, Trap, is_commit, produces_to
from stream.embedded.services import free_port

COMMIT = b"*1\r\n$5\r\nMULTI\r\n" + b"x" * 5000


class Echo(socketserver.ThreadingTCPServer):
    """Sends back what it hears, behind its mark, and remembers it."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, mark: bytes) -> None:
        self.heard = b""
        self.mark = mark
        super().__init__(("127.0.0.1", 0), Answerer)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Answerer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Echo)
        try:
            while data := self.request.recv(1 << 16):
                self.server.heard += data
                self.request.sendall(self.server.mark + data)
        except OSError:
            pass


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo(b"") as server:
        yield server
        server.shutdown()


@pytest.fixture
def proxy(echo: Echo) -> Proxy:
    return Proxies().between(free_port(), echo.port)


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def receive(wire: socket.socket, count: int) -> bytes:
    """Return up to ``count`` bytes, fewer where the wire is cut."""
    data = b""
    try:
        while len(data) < count and (part := wire.recv(count - len(data))):
            data += part
    except ConnectionError:
        pass
    return data


def exchange(proxy: Proxy, data: bytes = b"ping") -> bytes:
    with connect(proxy) as wire:
        wire.sendall(data)
        return receive(wire, len(data))


def test_what_is_not_broken_comes_through_whole(proxy: Proxy) -> None:
    data = bytes(range(256)) * 4096
    with connect(proxy) as wire:
        threading.Thread(target=wire.sendall, args=(data,)).start()
        assert receive(wire, len(data)) == data


@pytest.mark.parametrize("after", [1, 100, 5000])
def test_a_commit_is_cut_after_as_many_bytes_as_told(proxy: Proxy, echo: Echo, after: int) -> None:
    trap = Trap(is_commit, after)
    proxy.arm(trap)
    with connect(proxy) as wire:
        wire.sendall(b"PING\r\n")
        assert receive(wire, 6) == b"PING\r\n"
        wire.sendall(COMMIT)
        receive(wire, len(COMMIT) * 2)
    assert trap.sprung.wait(5)
    wait_until("what came through is heard", lambda: len(echo.heard) >= 6 + after, 5)
    assert echo.heard == b"PING\r\n" + COMMIT[:after]
    assert exchange(proxy, COMMIT) == COMMIT


def test_an_answer_is_cut_after_its_request_was_heard(proxy: Proxy, echo: Echo) -> None:
    trap = Trap(is_commit, 7, answers=True)
    proxy.arm(trap)
    assert exchange(proxy, COMMIT) == COMMIT[:7]
    assert trap.sprung.is_set()
    assert echo.heard == COMMIT


def test_only_a_write_to_the_named_topic_is_recognized() -> None:
    body = b"\x00\x00\x00\x07client\x00\x00triggers"
    write = b"\x00\x00\x01\x00" + b"\x00\x00\x00\x07" + body
    fetch = b"\x00\x00\x01\x00" + b"\x00\x01\x00\x07" + body
    assert produces_to("triggers")(write)
    assert not produces_to("rejects")(write)
    assert not produces_to("triggers")(fetch)


def test_a_cut_breaks_what_is_open_and_lets_new_ones_in(proxy: Proxy) -> None:
    with connect(proxy) as wire:
        wire.sendall(b"ping")
        assert receive(wire, 4) == b"ping"
        proxy.cut()
        assert receive(wire, 1) == b""
    assert exchange(proxy) == b"ping"


def test_connections_lead_to_another_server_once_told(proxy: Proxy) -> None:
    with connect(proxy) as wire, Echo(b"other:") as other:
        wire.sendall(b"ping")
        assert receive(wire, 4) == b"ping"
        proxy.lead_to(other.port)
        assert receive(wire, 1) == b""
        with connect(proxy) as second:
            second.sendall(b"ping")
            assert receive(second, 10) == b"other:ping"
        other.shutdown()


def test_a_silent_wire_holds_bytes_back_and_then_gives_them(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as wire:
        proxy.stop_flow()
        wire.sendall(b"ping")
        wire.settimeout(0.2)
        with pytest.raises(TimeoutError):
            wire.recv(1)
        assert echo.heard == b""
        proxy.resume_flow()
        wire.settimeout(5)
        assert receive(wire, 4) == b"ping"


def test_a_slow_wire_takes_its_time_and_heals(proxy: Proxy) -> None:
    proxy.delay_seconds = 0.1
    begun = time.monotonic()
    assert exchange(proxy) == b"ping"
    assert time.monotonic() - begun >= 0.2
    proxy.heal()
    proxy.bytes_per_second = 10_000.0
    begun = time.monotonic()
    assert exchange(proxy, b"x" * 2000) == b"x" * 2000
    assert time.monotonic() - begun >= 0.4


def test_a_server_that_is_gone_is_a_connection_that_breaks(echo: Echo, proxy: Proxy) -> None:
    echo.shutdown()
    echo.server_close()
    assert exchange(proxy) == b""
