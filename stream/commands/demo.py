"""``groundswell demo``: everything on this machine, an electorate that lives, and the proof at the end."""

from __future__ import annotations

import asyncio
import shlex
import signal
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import orjson
from rich.console import Console
from rich.live import Live

from stream.commands.config import apply
from stream.commands.demo_feed import Feed, Pace
from stream.commands.demo_view import Proof, Screen, line, render, summary
from stream.commands.demo_worker import SHUTDOWN_SECONDS, DemoWorker, TriggerReader
from stream.commands.keys import new as new_key
from stream.commands.topics import create
from stream.commands.verify import verify
from stream.embedded import EmbeddedServices
from stream.embedded.electorate import Calendar, Electorate
from stream.embedded.services import free_port
from stream.errors import GroundswellError
from stream.settings import Settings
from stream.settings.environment import FILE
from stream.settings.sources import PREFIX, only_settings
from stream.signatures import Signer

SECONDS: Final = 30.0
"""How long the demo runs where there is no terminal."""
ELECTORATE_MS: Final = 2 * 86_400_000
"""How much of the electorate's time is pressed into the demo; it ends at the present."""
PARTITIONS: Final = 4
INTERRUPTED: Final = 130
_REFRESH_SECONDS: Final = 0.25
_LINE_SECONDS: Final = 5.0
# A first start compiles for half a minute of two processors, which others may use as well.
_READY_SECONDS: Final = 600.0
_DRAIN_SECONDS: Final = 60.0
# Ticks come all the time, so a lag of a few rows is none.
_NO_LAG: Final = 2 * PARTITIONS


class DemoFailedError(GroundswellError):
    """The demo did not do what it is there to show."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What a person may choose."""

    seconds: float | None = None
    """None: until Ctrl-C where there is a terminal, else ``SECONDS``."""
    events_per_second: float = 5000.0
    """At an average hour of the electorate's day."""
    seed: int = 2026


def demo(options: DemoOptions, configurations: Path, console: Console) -> int:
    """Run the demo with the ``models`` and ``campaigns`` in ``configurations``, and return the exit status.

    0 only if there were triggers and ``verify`` found every one of them, and every record, to be what the log gives;
    1 if not, 130 if it was broken off. Raises DemoFailedError where a part of it ends or hangs. Call it in the main
    thread.
    """
    with EmbeddedServices() as services:
        directory = services.directory
        assert directory is not None  # noqa: S101 (the services run)
        new_key("demo", directory / "keyring")
        web_port = free_port()
        environment = {
            **services.settings(),
            f"{PREFIX}CONFIGURATION_DIRECTORY": str(configurations.absolute()),
            f"{PREFIX}TOPICS__PARTITIONS": str(PARTITIONS),
            f"{PREFIX}TOPICS__REPLICATION": "1",
            f"{PREFIX}WEB__HOST": "127.0.0.1",
            f"{PREFIX}WEB__PORT": str(web_port),
            f"{PREFIX}WORKER__SHUTDOWN_SECONDS": str(SHUTDOWN_SECONDS),
            f"{PREFIX}SECURITY__KEYS_FILE": str(directory / "keyring"),
        }
        settings_file = directory / "groundswell.toml"
        settings_file.write_text(settings_text(environment))
        with only_settings(environment):
            run = _Run(options, Settings(), console, services, settings_file)
            try:
                return asyncio.run(run.all())
            except asyncio.CancelledError:
                return INTERRUPTED


def settings_text(environment: Mapping[str, str]) -> str:
    """Return settings by their names in the environment as the lines of a settings file."""
    dotted = {name.removeprefix(PREFIX).lower().replace("__", "."): value for name, value in environment.items()}
    return "".join(f"{name} = {orjson.dumps(value).decode()}\n" for name, value in dotted.items())


def way_in(settings_file: Path, web_port: int) -> str:
    """Return how other commands reach the demo while it runs."""
    # On a line of its own, what is to be copied: wrapped behind `export` it would do nothing.
    return (
        f"In a shell without other {PREFIX} variables this leads every command here:\n"
        f"export {FILE}={shlex.quote(str(settings_file))}\n"
        f"Metrics: http://127.0.0.1:{web_port}/metrics"
    )


class _Run:
    """One demo, from topics to proof."""

    def __init__(
        self, options: DemoOptions, settings: Settings, console: Console, services: EmbeddedServices, file: Path
    ) -> None:
        self._settings = settings
        self._console = console
        self._services = services
        self._directory = file.parent
        self._screen = Screen(way_in=way_in(file, settings.web.port))
        self._begin = time.monotonic()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[int] | None = None
        self._seconds = options.seconds
        if self._seconds is None and not console.is_terminal:
            self._seconds = SECONDS
        begin_ms = time.time_ns() // 1_000_000 - ELECTORATE_MS
        self._electorate = Electorate(options.seed, begin_ms, calendar=Calendar(register_ms=begin_ms))
        pace = Pace(options.events_per_second, ELECTORATE_MS, SECONDS if self._seconds is None else self._seconds)
        topic, keyring = settings.topic("events"), settings.keyring()
        assert keyring is not None  # noqa: S101 (the demo has made one)
        sign = partial(Signer(keyring, topic, time.time_ns).sign, keyring.root)
        self._feed = Feed(self._electorate, pace, services.bootstrap_servers, topic, PARTITIONS, sign)

    async def all(self) -> int:
        """Run every phase and return the exit status."""
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        loop.add_signal_handler(signal.SIGTERM, self._break_off)
        async with AsyncExitStack() as stack:
            await asyncio.to_thread(create, self._settings)
            await asyncio.to_thread(apply, self._settings)
            if not self._console.is_terminal:
                self._console.print(self._screen.way_in, highlight=False, soft_wrap=True)
            worker = DemoWorker(self._settings.web.port, self._directory)
            stack.callback(worker.kill)
            self._services.adopt(worker.pid)
            triggers = TriggerReader(self._services.bootstrap_servers, self._settings.topic("triggers"))
            await triggers.start()
            stack.push_async_callback(triggers.stop)
            await self._live(worker, triggers)
            status = await worker.stop()
            if status != 0:
                self._fail(f"the worker ended with exit status {status} when it was asked to stop", worker)
            self._screen.latest.extend(await triggers.read())
            return await self._prove(triggers.count)

    # --- ending ----------------------------------------------------------------------------------------

    def _interrupted(self) -> None:
        if self._ended.is_set():
            self._break_off()
        self._ended.set()

    def _break_off(self) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        if self._task is not None:
            self._task.cancel()

    def _fail(self, what: str, worker: DemoWorker) -> NoReturn:
        message = f"{what}; the worker's log ends:\n{worker.last_words()}"
        raise DemoFailedError(message)

    # --- phases ----------------------------------------------------------------------------------------

    async def _live(self, worker: DemoWorker, triggers: TriggerReader) -> None:
        """Show the screen while the worker starts, runs and drains."""
        showing = asyncio.create_task(self._show(worker, triggers))
        feeding: asyncio.Task[None] | None = None
        try:
            await self._until_ready(worker)
            feeding = asyncio.create_task(self._feed.run())
            self._screen.phase = "running"
            end = None if self._seconds is None else time.monotonic() + self._seconds
            while not self._ended.is_set() and (end is None or time.monotonic() < end):
                self._look(worker, showing, feeding)
                await asyncio.sleep(_REFRESH_SECONDS / 2)
            self._feed.end()
            self._screen.phase = "draining"
            await feeding
            await self._drain(worker)
        finally:
            running = [task for task in (showing, feeding) if task is not None]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _look(self, worker: DemoWorker, *tasks: asyncio.Task[None]) -> None:
        """Raise what ended a task, or DemoFailedError if the worker or a service ended."""
        for task in tasks:
            if task.done():
                task.result()
        if (status := worker.exit_status()) is not None:
            self._fail(f"the worker ended by itself with exit status {status}", worker)
        if not self._services.running():
            self._fail("the embedded broker or Redis ended by itself", worker)

    async def _until_ready(self, worker: DemoWorker) -> None:
        self._screen.phase = "starting the worker (a first start compiles its kernels)"
        end = time.monotonic() + _READY_SECONDS
        while not (self._screen.readings.claims >= PARTITIONS and await worker.is_ready()):
            self._look(worker)
            if time.monotonic() > end:
                self._fail(f"the worker was not ready in {_READY_SECONDS:.0f} s", worker)
            await asyncio.sleep(_REFRESH_SECONDS)

    async def _drain(self, worker: DemoWorker) -> None:
        """Wait until the worker has processed and sent everything."""
        end = time.monotonic() + _DRAIN_SECONDS
        while True:
            readings = await worker.read()
            if readings is not None and readings.events >= self._feed.sent and readings.is_idle(_NO_LAG):
                self._screen.readings, self._screen.sent = readings, self._feed.sent
                return
            self._look(worker)
            if time.monotonic() > end:
                self._fail(f"the worker was not done {_DRAIN_SECONDS:.0f} s after the last event", worker)
            await asyncio.sleep(_REFRESH_SECONDS)

    async def _show(self, worker: DemoWorker, triggers: TriggerReader) -> None:
        """Keep the screen up to date until cancelled."""
        is_live = self._console.is_terminal
        spoken = 0.0
        with Live(console=self._console, auto_refresh=False, screen=True) if is_live else nullcontext() as live:
            while True:
                screen = self._screen
                screen.seconds = time.monotonic() - self._begin
                moment = datetime.fromtimestamp(self._electorate.now_ms / 1000, UTC)
                screen.electorate_time = f"{moment:%a %H:%M}"
                screen.sent = self._feed.sent
                readings = await worker.read()
                if readings is not None:
                    screen.take(readings, time.monotonic() - self._begin)
                screen.latest.extend(await triggers.read())
                if live is not None:
                    live.update(render(screen), refresh=True)
                elif screen.seconds - spoken >= _LINE_SECONDS:
                    spoken = screen.seconds
                    self._console.print(line(screen), highlight=False, soft_wrap=True)
                await asyncio.sleep(_REFRESH_SECONDS)

    async def _prove(self, received: int) -> int:
        """Replay the log, compare, print the summary, and return the exit status."""
        self._console.print("Replaying the log, and comparing every trigger, reject and record with it ...")
        begin = time.monotonic()
        report = await asyncio.to_thread(verify, self._settings)
        proof = Proof(report, PARTITIONS, received, time.monotonic() - begin)
        self._console.print(summary(self._screen, proof), highlight=False)
        return 0 if proof.holds else 1
