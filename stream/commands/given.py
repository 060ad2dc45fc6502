"""The settings by which a command works, from the flags before it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import typer

if TYPE_CHECKING:
    from stream.settings import Settings


class Given(Protocol):
    """What the flags before a command say."""

    def settings(self) -> Settings:
        """Return the settings."""
        ...


def settings_of(context: typer.Context) -> Settings:
    """Return the settings for a command that reports errors itself, so that the clients' own logs stay silent."""
    for name in ("kafka", "aiokafka"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    given: Given = context.obj
    return given.settings()


def in_partitions(numbers: Sequence[int] | None, unknown: str) -> str:
    """Return in words where something counts; None: not known, and ``unknown`` says why."""
    if numbers is None:
        return f"unknown: {unknown}"
    return f"in partitions {', '.join(map(str, numbers))}" if numbers else "no"
