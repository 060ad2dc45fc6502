"""Whether a value that was parsed has the type that a field declares: nothing read from outside is believed."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, get_args, get_origin


def fits(value: object, hint: Any) -> bool:
    """Return whether ``value`` has exactly the type of ``hint``: str, bool, int (64 bits), None, unions, list, dict."""
    kind = get_origin(hint)
    if kind is UnionType:
        return any(fits(value, option) for option in get_args(hint))
    if kind is list:
        return type(value) is list and all(fits(item, get_args(hint)[0]) for item in value)
    if kind is dict:
        name, content = get_args(hint)
        return type(value) is dict and all(fits(key, name) and fits(item, content) for key, item in value.items())
    if hint is int:
        return type(value) is int and -(1 << 63) <= value < 1 << 63
    return type(value) is (NoneType if hint is None else hint)
