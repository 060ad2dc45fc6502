"""Which node of Redis holds a partition, and connections to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Connection
from redis.crc import key_slot
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from stream.errors import GroundswellError, StoreUnavailableError
from stream.stores.answers import shards
from stream.stores.endpoint import RedisEndpoint
from stream.stores.outcomes import is_lost, nothing_changed
from stream.stores.wire import UNREADABLE, Session, pack, unreadable


async def connected(endpoint: RedisEndpoint) -> Connection:
    """Return a connection that is open and authenticated; raise StoreUnavailableError or StoreFailedError."""
    connection = endpoint.connection()
    # redis-py leaves this method without types.
    connect: Callable[[], Awaitable[None]] = connection.connect
    try:
        async with asyncio.timeout(endpoint.connect_timeout_seconds):
            await connect()
    except (RedisError, OSError) as error:
        await connection.disconnect(nowait=True)
        raise _hinted(nothing_changed(error, endpoint.address), error, endpoint) from error
    except UNREADABLE as error:
        await connection.disconnect(nowait=True)
        raise nothing_changed(unreadable(error), endpoint.address) from None
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


def _hinted(raised: GroundswellError, error: Exception, endpoint: RedisEndpoint) -> GroundswellError:
    """Say what may be wrong where a port ends the connection at the first word, as one does that expects another."""
    context = error.__context__
    closed = is_lost(error) and isinstance(error, RedisError) and isinstance(context, ConnectionResetError | None)
    if not closed and not isinstance(error, InvalidResponse):
        return raised
    wanted = "TLS is wanted and redis.url does not say rediss://"
    if endpoint.tls:
        wanted = "a client's certificate is wanted and redis.tls_certificate_file names none"
    return StoreUnavailableError(
        f"Redis at {endpoint.address} ends the connection at the first request, as where {wanted}"
    )


class Route:
    """The node that one key's hash slot is on; without Cluster, always the endpoint itself."""

    def __init__(self, endpoint: RedisEndpoint, prefix: str) -> None:
        """``prefix`` begins with the hash tag of all the keys that are meant."""
        self._endpoint = endpoint
        self._slot = key_slot(prefix.encode())
        self._node: RedisEndpoint | None = None if endpoint.cluster else endpoint
        self._seeds: list[RedisEndpoint] = [endpoint]

    @property
    def address(self) -> str:
        """Where the last connection went, fit for messages."""
        return (self._node or self._endpoint).address

    def forget(self) -> None:
        """Look the node up again before the next connection."""
        if self._endpoint.cluster:
            self._node = None

    async def connect(self) -> Connection:
        """Return a new connection to the node; raise StoreUnavailableError or StoreFailedError."""
        if self._node is None:
            self._node = await self._find()
        try:
            return await connected(self._node)
        except StoreUnavailableError:
            self.forget()
            raise

    async def _find(self) -> RedisEndpoint:
        """Ask the known nodes, one after another, who has the slot."""
        trouble: Exception | None = None
        for seed in self._seeds:
            try:
                stretches = await cluster_slots(seed)
            except StoreUnavailableError as error:
                trouble = error
                continue
            self._seeds = list(dict.fromkeys([self._endpoint, *(node for _, _, node in stretches)]))
            for first, last, node in stretches:
                if first <= self._slot <= last:
                    return node
        message = f"no node of the Redis Cluster behind {self._endpoint.address} has slot {self._slot}"
        raise StoreUnavailableError(message) from trouble


async def cluster_slots(seed: RedisEndpoint) -> list[tuple[int, int, RedisEndpoint]]:
    """Return the cluster's ranges of slots (first, last, primary) as the node ``seed`` knows them.

    Raises StoreUnavailableError or StoreFailedError.
    """
    connection = await connected(seed)
    try:
        answers: list[Any] = await Session(connection, seed.answer_timeout_seconds).ask(pack(b"CLUSTER", b"SLOTS"), 1)
    except (RedisError, OSError) as error:
        raise nothing_changed(error, seed.address) from error
    finally:
        await connection.disconnect(nowait=True)
    if isinstance(answers[0], ResponseError):
        raise nothing_changed(answers[0], seed.address) from None
    return [
        # A node that does not know its own name answers an empty or null host: it is the one that was asked.
        (first, last, seed.at(host.decode(errors="replace") or seed.host, port))
        for first, last, host, port in shards(answers[0])
    ]
