"""What the transport asks of the application, and how it is tuned."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP, AppT

from stream.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class BatchHooks:
    """The attribute ``batch_hooks`` of the Faust app."""

    positions: Callable[[frozenset[TP]], Awaitable[Mapping[TP, int]]]
    """Claim the partitions (all that are assigned, perhaps none) and return the offset to read each from.

    Awaited after every assignment; cancelled, and called anew, when the group rebalances before it has returned.
    Nothing is fetched from a partition until it has.
    """
    revoked: Callable[[frozenset[TP]], Awaitable[None]]
    """Finish what is in flight: awaited, for ``revoke_seconds`` at most, before the group gives partitions away."""
    failed: Callable[[BaseException], None]
    """End the process, non-zero: called with whatever left an agent or stopped the fetching. May be called from the
    main thread only; it should not return."""
    in_flight_limit: int = 4
    """Batches of one partition that are fetched and not released."""
    max_records: int = 4096
    """Rows in one batch."""
    fetch_max_wait_ms: int = 50
    """How long the broker may hold a fetch for which it has nothing: a ready partition waits behind idle ones."""
    linger_ms: int = 0
    """How long the broker may hold a fetch for which it has little, while rows come; 0: not at all."""
    fetch_max_bytes: int = 1 << 20
    """Bytes of one partition in one answer of the broker (the first record batch comes whole, however large)."""
    reference: bool = False
    """Read rows by aiokafka's own ConsumerRecords, and not from the bytes of its record batches: the same, slower."""
    revoke_seconds: float = 5.0
    security: Mapping[str, Any] = field(default_factory=dict)
    """aiokafka's keywords for TLS and SASL: ``security_protocol``, ``ssl_context``, ``sasl_*``."""


def hooks_of(app: AppT) -> BatchHooks:
    """Return the app's hooks; raise ConfigurationError where it has none."""
    hooks = getattr(app, "batch_hooks", None)
    if not isinstance(hooks, BatchHooks):
        message = f"the Faust app's attribute 'batch_hooks' is {hooks!r}: the transport batches:// needs a BatchHooks"
        raise ConfigurationError(message)
    return hooks
