"""Parts of kernels (``stream.compiled.kernel_part``) as kernels of their own, so that tests call what is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from stream.compiled import kernel

_Part = TypeVar("_Part", bound=Callable[..., Any])


def compiled(part: _Part) -> _Part:
    """Return ``part`` as a kernel that takes the same arguments."""

    def call(*arguments: Any) -> Any:
        return part(*arguments)

    return cast("_Part", kernel(call))
