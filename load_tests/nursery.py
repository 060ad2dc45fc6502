"""Workers held ready right before they join: forked from one process that has imported and compiled everything.

Starting Python, Faust and Numba costs seconds of CPU for each worker; forked from here a worker runs the same code from
its command line on, and joins in a fraction of that.

``python -m load_tests.nursery`` is that process: a line of JSON on its standard input is a worker's environment and log
file, one on its standard output a worker's process id, or how one ended. It ends, with all of them, with its input.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from queue import Queue
from typing import Any, Final

_REAP_SECONDS: Final = 0.1
_FORK_SECONDS: Final = 30.0


class Nursery:
    """The parent of workers, as a process of its own, for as long as the ``with`` block lasts."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._process: subprocess.Popen[str] | None = None
        self._born: Queue[int] = Queue()
        self.statuses: dict[int, int] = {}
        """By process id, how workers ended: the exit status, or less than 0 the signal."""

    def __enter__(self) -> Nursery:
        """Start it, and wait until it has everything ready; raise RuntimeError if it does not come up."""
        command = [sys.executable, "-m", "load_tests.nursery"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not self._lines().readline():
            message = f"the parent of the workers ended with status {self._process.wait()} before it was ready"
            raise RuntimeError(message)
        threading.Thread(target=self._listen, name="nursery", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """End it, with all its workers."""
        assert self._process is not None  # noqa: S101 (it was started)
        assert self._process.stdin is not None  # noqa: S101 (a pipe)
        self._process.stdin.close()
        self._process.wait()

    def fork(self, environment: Mapping[str, str], log: Path) -> int:
        """Start a worker with this environment and its output at the end of a file; return its process id."""
        assert self._process is not None  # noqa: S101 (it was started)
        assert self._process.stdin is not None  # noqa: S101 (a pipe)
        self._process.stdin.write(json.dumps({"environment": dict(environment), "log": str(log)}) + "\n")
        self._process.stdin.flush()
        return self._born.get(timeout=_FORK_SECONDS)

    def _lines(self) -> Any:
        assert self._process is not None  # noqa: S101 (it was started)
        return self._process.stdout

    def _listen(self) -> None:
        for line in self._lines():
            said = json.loads(line)
            if "status" in said:
                self.statuses[said["pid"]] = said["status"]
            else:
                self._born.put(said["pid"])


# --- the process itself ---------------------------------------------------------------------------------------


def _prepare() -> None:
    """Import what a worker imports, and compile its kernels."""
    import stream.app  # noqa: PLC0415 (this process's own work)
    import stream.commands.fitness  # noqa: PLC0415
    import stream.commands.topics  # noqa: F401, PLC0415
    from stream.agents.warmup import warm_up  # noqa: PLC0415

    asyncio.run(warm_up())


def _work(environment: Mapping[str, str], log: str) -> None:
    """Be a worker, from its command line on; does not return."""
    from stream.cli import main as command_line  # noqa: PLC0415 (imported by then)

    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["groundswell", "worker"]
    command_line()


def _fork(line: str) -> int:
    said = json.loads(line)
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        _work(said["environment"], said["log"])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stderr.flush()
        # Exit handlers are the parent's.
        os._exit(status)
    raise AssertionError


def _tell(**said: int) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Fork workers as asked, and tell how they end, until the input ends."""
    # An interrupt at the terminal is the parent's to deal with.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _prepare()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    alive: set[int] = set()
    while True:
        if select.select([sys.stdin], [], [], _REAP_SECONDS)[0]:
            line = sys.stdin.readline()
            if not line:
                break
            pid = _fork(line)
            alive.add(pid)
            _tell(pid=pid)
        for pid in list(alive):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                alive.discard(pid)
                _tell(pid=pid, status=os.waitstatus_to_exitcode(status))
    for pid in alive:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
