"""Relays whose connections break at any answer: what was written is unknown then, and must not be guessed."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stream.agents import relay as relay_module
from stream.agents.forwards import ForwardRelay
from stream.agents.relay import MODES, Modes, Relay
from stream.records import SEQUENCE_HEADER, OutboxRow
from tests.integration.outputs import BROKER, Outbox, end, needs_kafka, new_topic, read_topic, sequences, until
from tests.listening import stop_listening

pytestmark = [pytest.mark.kafka, needs_kafka]


class CuttingProxy:
    """Stands before the broker; now and then it swallows an answer and closes the connection."""

    def __init__(self, seed: int, chance: float) -> None:
        self.cuts = 0
        self._random = random.Random(seed)
        self._chance = chance
        self._host, port = BROKER.rsplit(":", 1)
        self._port = int(port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.own_port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.own_port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        await stop_listening(self._server)
        await end(*self._tasks)

    def heal(self) -> None:
        self._chance = 0.0

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            broker_reader, broker_writer = await asyncio.open_connection(self._host, self._port)
        except BaseException:
            writer.close()
            raise
        requests = asyncio.create_task(self._requests(reader, broker_writer))
        try:
            while True:
                size = await broker_reader.readexactly(4)
                answer = await broker_reader.readexactly(struct.unpack(">i", size)[0])
                if self._random.random() < self._chance:
                    self.cuts += 1
                    return
                writer.write(size + self._addressed(answer))
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            # Before anything is awaited: the proxy may be stopped while a connection ends by itself.
            requests.cancel()
            writer.close()
            broker_writer.close()
            await asyncio.gather(requests, writer.wait_closed(), broker_writer.wait_closed(), return_exceptions=True)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    def _addressed(self, answer: bytes) -> bytes:
        """Put the proxy's port in the place of the broker's wherever the answer names its address."""
        host = self._host.encode()
        return answer.replace(host + struct.pack(">i", self._port), host + struct.pack(">i", self.own_port))


@asynccontextmanager
async def cutting(seed: int, chance: float) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(seed, chance)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "BACKOFF_LAST_SECONDS", 0.1)


@pytest.mark.parametrize("fenced", [True, False])
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_answers_that_never_came_double_nothing_and_lose_nothing(seed: int, fenced: bool) -> None:
    topic, outbox = new_topic(), Outbox()
    async with cutting(seed, 0.12) as proxy:
        kafka = {"bootstrap_servers": f"127.0.0.1:{proxy.own_port}"}
        modes = Modes(MODES if fenced else MODES[1:])
        relay = Relay(outbox.store(), "triggers", topic, 0, kafka, f"{topic}-0", modes=modes)
        task = asyncio.create_task(relay.run())
        last = 0
        while proxy.cuts < 8:
            last = await outbox.add(20)
            relay.wake(last)
            await until(lambda: relay.backlog < 100, 40)
        proxy.heal()
        await until(lambda: relay.backlog == 0, 40)
        await end(task)
    assert sequences(read_topic(topic)) == list(range(1, last + 1))
    assert await outbox.waiting() == []


async def test_forwards_reach_each_partition_first_in_their_order() -> None:
    topic, outbox = new_topic(3), Outbox("forwards")
    async with cutting(7, 0.12) as proxy:
        relay = ForwardRelay(outbox.store(), topic, {"bootstrap_servers": f"127.0.0.1:{proxy.own_port}"})
        task = asyncio.create_task(relay.run())
        last = 0
        while proxy.cuts < 8:
            numbers = range(last + 1, last + 31)
            await outbox.commit([OutboxRow(n, n % 3, b"k", b"v", ((SEQUENCE_HEADER, b"%d" % n),)) for n in numbers])
            last = numbers[-1]
            relay.wake(last)
            await until(lambda: relay.backlog < 100, 40)
        proxy.heal()
        await until(lambda: relay.backlog == 0, 40)
        await end(task)
    for partition in range(3):
        # As the receiver takes them: what is not above the last one taken is a repeat.
        taken = [0]
        for sequence in sequences(read_topic(topic, partition)):
            if sequence > taken[-1]:
                taken.append(sequence)
        assert taken[1:] == [n for n in range(1, last + 1) if n % 3 == partition]
