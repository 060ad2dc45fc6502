"""The demo's worker: a process of its own, its metrics, and the triggers it sends."""

from __future__ import annotations

import asyncio
import http.client
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import orjson
from aiokafka import AIOKafkaConsumer

from stream.commands.demo_view import LatestTrigger, Readings, read_metrics

SHUTDOWN_SECONDS: Final = 30
"""Of ``worker.shutdown_seconds``: the proof wants a worker that ends in good order, on a busy machine, too."""
_STOP_SECONDS: Final = 10.0 + SHUTDOWN_SECONDS
_LOG_LINES: Final = 15
_COMMAND: Final = (sys.executable, "-m", "stream", "worker")


class DemoWorker:
    """``groundswell worker`` as a child that a Ctrl-C in the terminal does not reach."""

    def __init__(self, web_port: int, directory: Path) -> None:
        """Start it in ``directory``, where its log will be, with this process's environment: it says all settings."""
        self.web_port = web_port
        self._log = directory / "worker.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 (this program itself)
                _COMMAND,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    def exit_status(self) -> int | None:
        """Return None while it runs."""
        return self._process.poll()

    async def read(self) -> Readings | None:
        """Return what its ``/metrics`` says, None while it does not answer."""
        try:
            status, text = await asyncio.to_thread(self._get, "/metrics")
        except (OSError, http.client.HTTPException):
            return None
        return read_metrics(text) if status == http.HTTPStatus.OK else None

    async def is_ready(self) -> bool:
        """Return whether its ``/readyz`` says so."""
        try:
            status, _ = await asyncio.to_thread(self._get, "/readyz")
        except (OSError, http.client.HTTPException):
            return False
        return status == http.HTTPStatus.OK

    async def stop(self) -> int:
        """Let it commit and leave (SIGTERM), kill it if it does not, and return its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End it at once, and return its exit status."""
        self._process.kill()
        return self._process.wait()

    def last_words(self) -> str:
        """Return the end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:])

    def _get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.web_port, timeout=2)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


class TriggerReader:
    """Reads the trigger topic as a subscriber does."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        """Note where to read; nothing is connected yet."""
        self.count = 0
        self._consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest", fetch_max_wait_ms=100
        )

    async def start(self) -> None:
        """Connect."""
        await self._consumer.start()

    async def read(self) -> list[LatestTrigger]:
        """Return the triggers that have come since the last call."""
        fetched = await self._consumer.getmany(timeout_ms=0)
        values = [record.value for records in fetched.values() for record in records if record.value]
        self.count += len(values)
        return [_shown(value) for value in values]

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()


def _shown(value: bytes) -> LatestTrigger:
    trigger = orjson.loads(value)
    data = trigger["data"]
    return LatestTrigger(trigger.get("time", ""), data["campaign"], trigger["subject"], data["why"])
