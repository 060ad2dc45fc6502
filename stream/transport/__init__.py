"""Faust carries one event for each fetched batch; its value is a ``stream.records.Columns``.

A Faust app uses it by the broker URL ``batches://host:port``, ``FAUST_SETTINGS`` and an attribute ``batch_hooks``.
"""

from stream.transport.hooks import BatchHooks
from stream.transport.startup import FAUST_SETTINGS

__all__ = ["FAUST_SETTINGS", "BatchHooks"]
