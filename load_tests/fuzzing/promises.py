"""What every reader of bytes promises: a result that can be used, or one of its documented errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

LONGEST_REASON: Final = 1000


class BrokenPromiseError(Exception):
    """A reader raised what it must not, or returned what cannot be used."""

    def __init__(self, message: str, data: bytes = b"") -> None:
        """Say what was broken; ``data`` is the input that did it."""
        super().__init__(message)
        self.data = data


@contextmanager
def held_to(name: str, data: bytes, documented: tuple[type[Exception], ...], counts: Counter[str]) -> Iterator[None]:
    """Run the block with ``data``; count it as accepted, or refused with a ``documented`` error.

    Raises BrokenPromiseError for any other error, and for a reason that is empty or endless.
    """
    try:
        yield
    except documented as error:
        if not 0 < len(str(error)) <= LONGEST_REASON:
            message = f"the reason has {len(str(error))} characters for the {name} {data[:2000]!r}"
            raise BrokenPromiseError(message, data) from error
        counts[f"refused: {type(error).__name__}"] += 1
    except BrokenPromiseError:
        raise
    except Exception as error:
        message = f"reading raised {error!r:.300} for the {name} {data[:2000]!r}"
        raise BrokenPromiseError(message, data) from error
    else:
        counts["accepted"] += 1


def expect(promise: bool, what: str, data: bytes) -> None:
    """Raise BrokenPromiseError, saying ``what``, where ``promise`` is not so."""
    if not promise:
        message = f"{what} for {data[:2000]!r}"
        raise BrokenPromiseError(message, data)


Trial = Callable[..., Counter[str]]
"""Tries some inputs: gets a random.Random and their number, returns how many came to what."""
