"""Processes are found by where they listen, and their CPU time is read."""

from __future__ import annotations

import os
import socket
import time

from load_tests.processes import Others, cpu_seconds, listener


def test_whoever_listens_on_a_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listener(port) == os.getpid()
        others = Others(f"127.0.0.1:{port}", f"redis://127.0.0.1:{port}/0")
        assert all(seconds > 0 for seconds in others.cpu_seconds())
    assert listener(port) is None
    assert Others(f"127.0.0.1:{port}", f"redis://127.0.0.1:{port}/0").cpu_seconds() == (0.0, 0.0)


def test_cpu_time_is_that_of_the_whole_process() -> None:
    assert abs(cpu_seconds(os.getpid()) - time.process_time()) < 1.0
