"""Faust carries one event for all that one fetch gave; its value is a list of ``stream.columns.Columns``, the batches.

A Faust app uses it by the broker URL ``batches://host:port``, ``FAUST_SETTINGS`` and an attribute ``batch_hooks``.
Whoever takes the batches (``app.consumer`` is a ``stream.transport.driver.Consumer``):

- drops a batch whose ``epoch`` is not ``consumer.epoch(tp)``: it was fetched before a seek or a rebalance;
- calls ``consumer.reseek`` where a batch's ``start`` is not the offset that it expects, and drops the batch;
- calls ``consumer.release(tp, columns.epoch)`` once it has room for another batch;
- goes on from ``next``: it lies behind the markers and gaps that follow the last row.

Whatever leaves an agent goes to ``batch_hooks.failed``, which ends the process; so an agent catches nothing in general.
"""

from stream.transport.hooks import BatchHooks
from stream.transport.startup import FAUST_SETTINGS, Process

__all__ = ["FAUST_SETTINGS", "BatchHooks", "Process"]
