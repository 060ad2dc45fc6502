"""The process's memory: few holes come to be in it, and what is freed goes back to the operating system."""

from __future__ import annotations

import ctypes
import gc
from asyncio import selector_events
from collections.abc import Callable
from typing import Any, Final

RECEIVE_BYTES: Final = 32 * 1024


def _trimmer() -> Callable[[int], int] | None:
    """Return glibc's ``malloc_trim``; None where the C library is another, and has no such thing."""
    found: Any = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if found is None else lambda pad: int(found(pad))


_trim: Final = _trimmer()
CAN_GIVE_BACK: Final = _trim is not None


def receive_less() -> None:
    """Have asyncio's connections, all those made later, take ``RECEIVE_BYTES`` for whatever they may receive.

    By itself each takes 256 KiB, keeps the few bytes that came, and gives back the rest. Once small blocks lie between,
    the heap consists of holes a little too small for the next such request, and grows at its end for hours.
    """
    transport: Any = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]  # noqa: SLF001
    transport.max_size = RECEIVE_BYTES


def give_back() -> bool:
    """Give freed memory back to the operating system; return whether there was any that could be.

    glibc gives back what lies at the heap's end alone, and never a hole, until it is asked. Costs some ms for each
    100 MB of holes.
    """
    return _trim is not None and _trim(0) == 1


def settle() -> None:
    """Let Python look for unreachable objects only among those that come from here on.

    What a start leaves stays to the end, and each batch's documents would make Python look through all of it again and
    again: measured at a third of the worker's CPU.
    """
    gc.collect()
    gc.freeze()
