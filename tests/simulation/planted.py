"""Bugs of the kind that the protocols exist to exclude, planted into the code to see that the simulation finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

BUGS: dict[str, Callable[[], AbstractContextManager[object]]] = {}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Let the code have a bug."""
    with BUGS[name]():
        yield
