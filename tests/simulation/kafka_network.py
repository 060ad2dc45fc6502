"""aiokafka itself, on simulated connections: no client is rebuilt, so what they do about errors is what they do.

Inside ``connected_to(kafka, ...)`` every AIOKafkaProducer and AIOKafkaConsumer of this process talks to that
SimulatedKafka, whatever its ``bootstrap_servers`` say; its ``client_id`` names the wire (a Link) that each of its
connections runs over, so ``{"bootstrap_servers": "kafka", "client_id": "worker-1"}`` is worker 1's way to Kafka.
aiokafka's clock is the event loop's and its chance is seeded, so that a run repeats exactly.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import ModuleType
from typing import Any, Final

import aiokafka.client
import aiokafka.cluster
import aiokafka.consumer.fetcher
import aiokafka.consumer.subscription_state
import aiokafka.producer.message_accumulator
from aiokafka.conn import CloseReason
from aiokafka.errors import KafkaConnectionError
from aiokafka.util import wait_for

from tests.simulation.kafka_broker import SimulatedKafka
from tests.simulation.kafka_requests import OPERATIONS, VERSIONS, Answer, Node, host_of
from tests.simulation.link import DirectLink, Link, LinkBrokenError

LinkFactory = Callable[[str], Link]
"""Makes the wire of one connection of the client of that name."""

_TIMED: Final = (
    aiokafka.client,
    aiokafka.cluster,
    aiokafka.consumer.fetcher,
    aiokafka.consumer.subscription_state,
    aiokafka.producer.message_accumulator,
)
_CHANCED: Final = (aiokafka.client, aiokafka.consumer.fetcher)


class LoopClock:
    """Stands where aiokafka imports ``time``: the running loop's time, which may be virtual."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    time = monotonic


class LoopChance:
    """Stands where aiokafka imports ``random``: seeded, and blind to the order of the sets that aiokafka draws from."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def choice(self, options: Sequence[Any]) -> Any:
        return self._chance.choice(sorted(options, key=str))

    def shuffle(self, options: list[Any]) -> None:
        options.sort(key=str)
        self._chance.shuffle(options)


class SimulatedConnection:
    """One connection to one broker, as aiokafka.conn.AIOKafkaConnection: requests are answered in order."""

    def __init__(
        self,
        node: Node,
        link: Link,
        request_timeout_ms: int,
        on_close: Callable[[Any, CloseReason | None], None] | None,
    ) -> None:
        self.host, self.port = host_of(node.number), 9092
        self._node = node
        self._link = link
        self._timeout_seconds = request_timeout_ms / 1000
        self._on_close = on_close
        self._requests: deque[tuple[Any, asyncio.Future[Any]]] = deque()
        self._arrived = asyncio.Event()
        self._busy = False
        self._open = False
        self._task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Open the connection; raises OSError where the broker is down, KafkaConnectionError where the wire breaks."""
        await self._exchange("connect", self._check_up)
        self._open = True
        self._node.kafka.on_stop.append(self._stopped)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def connected(self) -> bool:
        return self._open

    def send(self, request: Any, expect_response: bool = True) -> Awaitable[Any]:
        """Queue a request; the answer comes in ``request_timeout_ms`` or as TimeoutError."""
        if not self._open:
            message = f"No connection to broker at {self.host}:{self.port}"
            raise KafkaConnectionError(message)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._requests.append((request.prepare(VERSIONS), future))
        self._arrived.set()
        if not expect_response:
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            return asyncio.sleep(0)
        answer: Awaitable[Any] = wait_for(future, self._timeout_seconds)
        return answer

    def close(self, reason: CloseReason | None = None, exc: Exception | None = None) -> asyncio.Future[None]:
        """Break the connection: who waits for an answer gets none; what was sent may still be executed."""
        closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        closed.set_result(None)
        if not self._open:
            return closed
        self._open = False
        self._node.kafka.on_stop.remove(self._stopped)
        if not self._busy and self._task is not None:
            self._task.cancel()
        for _, future in self._requests:
            if not future.done():
                error = KafkaConnectionError(f"Connection at {self.host}:{self.port} closed")
                error.__cause__ = exc
                future.set_exception(error)
        self._requests.clear()
        if self._on_close is not None:
            self._on_close(self, reason)
            self._on_close = None
        return closed

    def _stopped(self, node: int) -> None:
        if node == self._node.number:
            self.close(CloseReason.CONNECTION_BROKEN)

    def _check_up(self) -> None:
        if self._node.number in self._node.kafka.stopped:
            message = f"{self.host}:{self.port} refuses the connection"
            raise ConnectionRefusedError(message)

    async def _run(self) -> None:
        while self._open:
            self._arrived.clear()
            if not self._requests:
                await self._arrived.wait()
                continue
            request, future = self._requests[0]
            operation = OPERATIONS[request.API_KEY]
            self._busy = operation != "fetch"
            try:
                if operation == "fetch":
                    await self._await_data(request)
                    self._busy = True
                answer = await self._exchange(operation, partial(self._execute, request))
                await self._await_replicas(answer)
            except (KafkaConnectionError, OSError) as error:
                self.close(CloseReason.CONNECTION_BROKEN, error)
                return
            except asyncio.CancelledError:
                self.close(CloseReason.CONNECTION_BROKEN)
                raise
            finally:
                self._busy = False
            if not self._open:
                return
            self._requests.popleft()
            if not future.done():
                future.set_result(answer.response)

    def _execute(self, request: Any) -> Answer:
        self._check_up()
        return self._node.handle(request)

    async def _exchange(self, operation: str, execute: Callable[[], Any]) -> Any:
        try:
            return await self._link.exchange(operation, execute)
        except LinkBrokenError as error:
            message = f"Connection at {self.host}:{self.port} broken: {error!r}"
            raise KafkaConnectionError(message) from error

    async def _await_data(self, request: Any) -> None:
        """Be the broker that keeps a fetch until there is something to answer, or ``max_wait_time`` has passed."""
        loop = asyncio.get_running_loop()
        stop = loop.time() + request.max_wait_time / 1000
        while self._open and not self._node.has_data(request) and loop.time() < stop:
            await self._node.kafka.changed(stop - loop.time())

    async def _await_replicas(self, answer: Answer) -> None:
        """Be the leader that answers acks=all only when all replicas have the write, and not once it leads no more."""
        kafka = self._node.kafka
        for place, offset, refuse in answer.writes:
            log = kafka.logs[place]
            while log.high_watermark <= offset:
                if kafka.leaders[place] != self._node.number or self._node.number in kafka.stopped:
                    refuse()
                    break
                await kafka.changed(self._timeout_seconds)


@contextmanager
def connected_to(
    kafka: SimulatedKafka, link_factory: LinkFactory = lambda name: DirectLink(), seed: int = 0
) -> Iterator[None]:
    """Connect all aiokafka clients that are used meanwhile to ``kafka``."""

    async def create_conn(host: str, port: int, **options: Any) -> SimulatedConnection:
        del port
        hosts = {host_of(number): number for number in kafka.nodes}
        running = [number for number in kafka.nodes if number not in kafka.stopped]
        number = hosts.get(host, running[0] if running else kafka.nodes[0])
        connection = SimulatedConnection(
            Node(kafka, number),
            link_factory(str(options.get("client_id"))),
            int(options["request_timeout_ms"]),
            options.get("on_close"),
        )
        async with asyncio.timeout(int(options["request_timeout_ms"]) / 1000):
            await connection.connect()
        return connection

    clock, chance = LoopClock(), LoopChance(seed)
    with ExitStack() as stack:
        stack.enter_context(_replaced(aiokafka.client, "create_conn", create_conn))
        for module in _TIMED:
            stack.enter_context(_replaced(module, "time", clock))
        for module in _CHANCED:
            stack.enter_context(_replaced(module, "random", chance))
        yield


@contextmanager
def _replaced(module: ModuleType, name: str, value: object) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, original)
