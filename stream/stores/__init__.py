"""Where a partition's state lives: the voter table in memory, Redis, and Redis' twin in memory."""

from stream.stores.names import partition_prefix

__all__ = ["partition_prefix"]
