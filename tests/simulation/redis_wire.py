"""redis-py itself, on simulated connections: its connection and parser are the real ones, and only the socket is not.

``SimulatedEndpoint`` stands where the product takes a RedisEndpoint, so that the store, its wires and its route run
unchanged. What a connection writes between two turns of the event loop is one Payload, which goes to the server by
``link.exchange(operation, payload)``; a link may call the payload (all of it is executed, and the answers come back)
or ``payload.part(n)`` (the wire was cut behind ``n`` bytes), once, and also after it told the client that the wire
broke. Either raises LinkBrokenError where the server went meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import hiredis
from redis.asyncio import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from stream.stores.endpoint import RedisEndpoint
from tests.simulation.link import DirectLink, Link, LinkBrokenError
from tests.simulation.redis_server import Session, SimulatedRedis

LinkFactory = Callable[[str], Link]
"""Makes the wire of one connection to the server at that address (``host:port``)."""

_BY_WRITE: Final = ((b"MSET", "commit"), (b"SET", "claim"), (b"UNLINK", "unlink"))


class Payload:
    """Bytes on their way to one session of a server; they are executed once, or never."""

    def __init__(self, session: Session, data: bytes) -> None:
        self.data = data
        self.operation = operation_of(data)
        self.arrived = False
        self._session = session
        self._last = False

    def __call__(self) -> bytes:
        """Execute all of it and return the answers; raises LinkBrokenError where the server has gone meanwhile."""
        return self._arrive(len(self.data))

    def part(self, length: int) -> None:
        """Execute the commands that are whole in the first ``length`` bytes, and break the connection."""
        self._last = True
        self._arrive(length)

    def abandon(self) -> None:
        """Note that the client is gone: the session, and its WATCH, end when this has arrived, if ever it does."""
        self._last = True
        if self.arrived:
            self._session.close()

    def _arrive(self, length: int) -> bytes:
        if self.arrived:
            message = f"a payload ({self.operation}) arrived twice; a connection repeats nothing"
            raise RuntimeError(message)
        self.arrived = True
        answers = self._session.receive(self.data[:length])
        if self._last:
            self._session.close()
        return answers


def operation_of(data: bytes) -> str:
    """Name what is asked: ``commit``, ``claim``, ``unlink`` or ``exec`` for a transaction, else its first command."""
    reader = hiredis.Reader()
    reader.feed(data)
    names: list[bytes] = []
    while (words := reader.gets()) is not False:
        names.append(words[0].upper())
    if b"EXEC" in names:
        return next((operation for name, operation in _BY_WRITE if name in names), "exec")
    return names[0].decode().lower() if names else "partial"


class _Socket(asyncio.Transport):
    """The client's end of a connection: what is written goes out in order, and answers come to ``protocol``."""

    def __init__(self, session: Session, link: Link, protocol: asyncio.StreamReaderProtocol) -> None:
        super().__init__()
        self._session = session
        self._link = link
        self._protocol = protocol
        self._pending: list[bytes] = []
        self._carrier: asyncio.Task[None] | None = None
        self._closing = False
        self._lost = False
        session.on_broken.append(self._break)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        self._pending.append(bytes(data))
        if self._carrier is None:
            self._carrier = asyncio.get_running_loop().create_task(self._carry())

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        for data in list_of_data:
            self.write(data)

    def close(self) -> None:
        """Close this end. What was written before still goes out, and may still be executed."""
        if not self._closing:
            self._closing = True
            self._lose(None)
            if self._carrier is None:
                self._session.close()

    abort = close

    def is_closing(self) -> bool:
        return self._closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    async def _carry(self) -> None:
        """Carry what was written to the server, and its answers back, until nothing more is to be carried."""
        payload: Payload | None = None
        try:
            while self._pending:
                data, self._pending = b"".join(self._pending), []
                payload = Payload(self._session, data)
                answers = await self._link.exchange(payload.operation, payload)
                if answers and not self._closing:
                    self._protocol.data_received(answers)
        except BaseException as error:
            self._pending.clear()
            self._closing = True
            if payload is not None:
                payload.abandon()
            self._lose(ConnectionResetError(str(error) or "the wire broke"))
            if not isinstance(error, LinkBrokenError):
                raise
        else:
            if self._closing:
                self._session.close()
        finally:
            self._carrier = None

    def _break(self) -> None:
        self._closing = True
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self._protocol.connection_lost(error)


class _Writer(asyncio.StreamWriter):
    """Says nothing where it is dropped unclosed: a killed process closes nothing."""

    def __del__(self) -> None:
        pass


class SimulatedConnection(Connection):
    """redis-py's connection to a SimulatedRedis."""

    def __init__(self, server: SimulatedRedis | None, link: Link, options: Mapping[str, Any]) -> None:
        super().__init__(**options)
        self._server = server
        self._link = link

    async def _connect(self) -> None:
        try:
            session = await self._link.exchange("connect", self._open)
        except LinkBrokenError as error:
            message = f"Connect call failed ({self.host!r}, {self.port})"
            raise ConnectionRefusedError(message) from error
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=1 << 30, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport = _Socket(session, self._link, protocol)
        protocol.connection_made(transport)
        self._reader = reader
        self._writer = _Writer(transport, protocol, reader, loop)

    def _open(self) -> Session:
        if self._server is None:
            message = f"nothing listens at {self.host}:{self.port}"
            raise LinkBrokenError(message)
        return self._server.open()

    def __del__(self, _warnings: Any = None) -> None:
        """Say nothing of a connection that a killed process left open."""


def _direct(address: str) -> Link:
    return DirectLink()


@dataclass(frozen=True, slots=True)
class SimulatedEndpoint(RedisEndpoint):
    """How to reach a SimulatedRedis: the node of that host and port among ``servers``."""

    servers: tuple[SimulatedRedis, ...] = field(default=(), compare=False)
    links: LinkFactory = field(default=_direct, compare=False)

    def connection(self) -> Connection:
        """Return a new connection, not yet connected, that retries nothing by itself."""
        server = next((each for each in self.servers if (each.host, each.port) == (self.host, self.port)), None)
        options = {
            "host": self.host,
            "port": self.port,
            "db": self.database,
            "protocol": 2,
            "socket_timeout": None,
            "socket_connect_timeout": self.connect_timeout_seconds,
            "health_check_interval": 0,
            # redis-py would read its version from its package's files, for each connection anew.
            "driver_info": None,
            "retry": Retry(NoBackoff(), 0),
        }
        return SimulatedConnection(server, self.links(self.address), options)


def endpoint_of(server: SimulatedRedis, links: LinkFactory | None = None, **settings: Any) -> SimulatedEndpoint:
    """Return the endpoint of a server, and of the other nodes of its cluster; ``settings`` are RedisEndpoint's."""
    return SimulatedEndpoint(
        host=server.host,
        port=server.port,
        cluster=server.cluster is not None,
        servers=(server,) if server.cluster is None else tuple(server.cluster.nodes),
        links=links or _direct,
        **settings,
    )
