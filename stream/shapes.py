"""Whether a value that was parsed has the type that a field declares: nothing read from outside is believed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin


def fits(value: object, hint: Any) -> bool:
    """Return whether ``value`` has exactly the type of ``hint``: str, bool, int (64 bits), None, unions, list, dict."""
    return _check_of(hint)(value)


@cache
def _check_of(hint: Any) -> Callable[[Any], bool]:
    """Return what checks values against a hint: hints are few, and taking one apart costs more than a check."""
    kind, parts = get_origin(hint), [_check_of(part) for part in get_args(hint)]
    if kind is UnionType:
        return lambda value: any(part(value) for part in parts)
    if kind is list:
        return lambda value: type(value) is list and all(map(parts[0], value))
    if kind is dict:
        return lambda value: type(value) is dict and all(map(parts[0], value)) and all(map(parts[1], value.values()))
    if hint is int:
        return lambda value: type(value) is int and -(1 << 63) <= value < 1 << 63
    expected = NoneType if hint is None else hint
    return lambda value: type(value) is expected
