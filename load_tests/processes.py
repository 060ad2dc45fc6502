"""CPU time and memory of processes: a server found by the port that it listens on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_LISTENS: Final = "0A"
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time, user and system, that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_bytes(name: str, pid: int | str = "self") -> int:
    """Return ``VmRSS`` (now) or ``VmHWM`` (at its highest) of a process; raise OSError where none is said."""
    path = Path(f"/proc/{pid}/status")
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    message = f"{path} has no {name}; this benchmark needs Linux"
    raise OSError(message)


def listener(port: int) -> int | None:
    """Return the process of this machine that listens on a TCP port; None where none is to be seen."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        path = Path(table)
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{fields[9]}]")
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and sockets & _opened(directory / "fd"):
            return int(directory.name)
    return None


def _opened(directory: Path) -> set[str]:
    """Return what a process has open; nothing of one that has ended or is another user's."""
    found: set[str] = set()
    try:
        for entry in directory.iterdir():
            found.add(str(entry.readlink()))
    except OSError:
        return found
    return found


class Others:
    """Kafka and Redis, as processes of this machine."""

    def __init__(self, kafka: str, redis_url: str) -> None:
        """Find them by their addresses."""
        # The first broker stands for all: benchmarks run on one.
        ports = (int(kafka.split(",", maxsplit=1)[0].rpartition(":")[2]), urlsplit(redis_url).port or 6379)
        self._pids = tuple(listener(port) for port in ports)

    def cpu_seconds(self) -> tuple[float, ...]:
        """Return the CPU time of Kafka and of Redis so far; one that runs elsewhere takes none from here."""
        return tuple(0.0 if pid is None else cpu_seconds(pid) for pid in self._pids)
