"""Where a partition's state lives: the voter table in memory, Redis, and Redis' twin in memory."""

from stream.stores.endpoint import RedisEndpoint
from stream.stores.fitness import Finding, check_server
from stream.stores.memory import MemoryServer, MemoryStore
from stream.stores.names import partition_prefix
from stream.stores.redis import RedisStore
from stream.stores.table import DEFAULT_LIMIT, Table

__all__ = [
    "DEFAULT_LIMIT",
    "Finding",
    "MemoryServer",
    "MemoryStore",
    "RedisEndpoint",
    "RedisStore",
    "Table",
    "check_server",
    "partition_prefix",
]
