"""A commit whose answer may be lost, carried to a certain end; and reads that wait for the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from stream.errors import CommitRefusedError, CommitUnknownError, StoreUnavailableError
from stream.interfaces import PartitionStore
from stream.records import Commit

logger = logging.getLogger(__name__)

_Value = TypeVar("_Value")
_FIRST_WAIT_SECONDS = 0.02
LONGEST_WAIT_SECONDS = 0.5
"""A store that is back is asked no later than this."""


async def retrying(ask: Callable[[], Awaitable[_Value]], what: str) -> _Value:
    """Return what ``ask`` gives, asking again for as long as the store is unavailable.

    A time-out of a read changes nothing, so CommitUnknownError (of a claim: it can be repeated) counts as well.
    """
    wait = _FIRST_WAIT_SECONDS
    while True:
        try:
            return await ask()
        except (StoreUnavailableError, CommitUnknownError) as error:
            if wait >= LONGEST_WAIT_SECONDS:
                logger.warning("waiting for the store (%s): %s", what, error)
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)


async def commit_exactly_once(store: PartitionStore, commit: Commit, on_unknown: Callable[[], None]) -> None:
    """Return when ``commit`` is in the store; raise CommitRefusedError when it never will be.

    An answer that did not come is settled by reading the header on a new connection: it holds the commit's
    offset (it was executed), the one before (it was not: the same bytes go again, and should the lost ones
    arrive after all, their WATCH refuses them), or another owner's token.
    """
    wait = _FIRST_WAIT_SECONDS
    unknown = False
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await store.commit(commit)
        except (StoreUnavailableError, CommitUnknownError) as error:
            took = loop.time() - began
            if isinstance(error, CommitUnknownError):
                unknown = True
                on_unknown()
                if await _was_executed(store, commit):
                    return
            if max(wait, took) >= LONGEST_WAIT_SECONDS:
                logger.warning("a commit waits for the store: %s", error)
            # Also after a lost answer: a server that breaks the connection at every commit would be asked hotly.
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)
        except CommitRefusedError:
            if unknown and await _was_executed(store, commit):
                return
            raise
        else:
            return


async def _was_executed(store: PartitionStore, commit: Commit) -> bool:
    header = await retrying(store.read_header, "header")
    if header is not None and header.owner == commit.header.owner:
        if header.offset == commit.header.offset:
            return True
        if header.offset == commit.expected_offset:
            return False
    found = "no header" if header is None else f"offset {header.offset} of another owner or time"
    message = f"the header was to hold offset {commit.expected_offset} or {commit.header.offset}, found {found}"
    raise CommitRefusedError(message)
