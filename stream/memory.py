"""The process's memory: what is freed goes back to the operating system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final


def _trimmer() -> Callable[[int], int] | None:
    """Return glibc's ``malloc_trim``; None where the C library is another, and has no such thing."""
    found: Any = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if found is None else lambda pad: int(found(pad))


_trim: Final = _trimmer()
CAN_GIVE_BACK: Final = _trim is not None


def give_back() -> bool:
    """Give freed memory back to the operating system; return whether there was any that could be.

    asyncio takes 256 KiB for whatever it may receive and keeps the few bytes that came, and lz4 as much for what it
    unpacks. Once small blocks lie between, the heap consists of holes a little too small for the next such request,
    and grows at its end. glibc gives back what lies at the end alone, and never a hole, until it is asked. Costs
    some ms for each 100 MB of holes.
    """
    return _trim is not None and _trim(0) == 1
