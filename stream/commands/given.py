"""The settings by which a command works, from the flags before it."""

from __future__ import annotations

import logging
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
