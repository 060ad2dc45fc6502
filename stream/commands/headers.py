"""The headers of all partitions, as they stand in Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from stream.records import Header
from stream.settings import Settings
from stream.stores.redis import RedisStore


async def read_headers(
    settings: Settings, partition_count: int, read: Callable[[RedisStore], Awaitable[Header | None]]
) -> dict[int, Header | None]:
    """Return by partition what ``read`` gives of its store, over one connection after another."""
    headers: dict[int, Header | None] = {}
    for number in range(partition_count):
        store = RedisStore(settings.redis.endpoint(), settings.key_prefix(number))
        try:
            headers[number] = await read(store)
        finally:
            await store.close()
    return headers
