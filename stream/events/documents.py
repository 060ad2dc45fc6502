"""What describes the events to people and their tools: a JSON Schema for each type, one AsyncAPI document."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Final

import orjson

from stream.records import EVENT_TYPES

TRIGGER_TYPE: Final = "campaign.triggered"


def schema_names() -> tuple[str, ...]:
    """Return every CloudEvents type that has a JSON Schema: the events' types by kind code, then the trigger's."""
    return (*EVENT_TYPES, TRIGGER_TYPE)


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a whole CloudEvent of the type ``name``; a fresh copy at each call.

    What a schema cannot say: a voter id's 64 bytes (``format: voter-id``), how far from the log a time may be,
    and that an activation holds each kind and name once in each role. Raises KeyError for a type that there is not.
    """
    if name not in schema_names():
        message = f"there is no event type {name!r}; there are {', '.join(schema_names())}"
        raise KeyError(message)
    return _document(f"schemas/{name}.json")


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of all topics; its messages refer to the schemas by relative path."""
    return _document("asyncapi.json")


@cache
def _read(path: str) -> bytes:
    return files("stream.events").joinpath(path).read_bytes()


def _document(path: str) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(_read(path))
    return document
