"""The wire between a client and a simulated server: where delays, cuts and lost answers happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

_Answer = TypeVar("_Answer")


class LinkBrokenError(Exception):
    """The connection broke: whether the request was executed, or still will be, its sender cannot know."""


class Link(Protocol):
    """One connection's wire; whoever simulates a client translates LinkBrokenError into its library's own error."""

    async def exchange(self, operation: str, execute: Callable[[], _Answer]) -> _Answer:
        """Carry a request to the server, run ``execute`` there in one step, and carry the answer back.

        ``operation`` names what is asked, for faults that strike one kind. Raises LinkBrokenError, before or after
        ``execute`` ran (it may even run later), and whatever ``execute`` raises.
        """
        ...


class DirectLink:
    """A wire without delay or fault."""

    async def exchange(self, operation: str, execute: Callable[[], _Answer]) -> _Answer:
        """Return what ``execute`` gives."""
        return execute()
