"""What a rejected row may still say: everything but the text of a comment or a reply.

What is not accepted is handed to whoever mends it, and kept for days; the words that a person wrote are nobody's there.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from stream.records import EVENT_TYPES

_TEXTS: Final = frozenset(("social.comment", "message.replied"))
"""The types whose data has a ``text``."""
_PLAIN_TYPES: Final = frozenset(EVENT_TYPES) - _TEXTS
_TOKEN: Final = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|[\[\]{}]|[^\s\[\]{}",:]+', re.DOTALL)
"""Of sound JSON: a string, and the colon behind it if it is a name; a bracket; a number, true, false or null."""
_TYPE: Final = re.compile(rb'"type"\s*:\s*"([a-z_.]{1,64})"')
_ATTRIBUTE: Final = re.compile(
    rb'"(?:specversion|id|source|type|subject|time|datacontenttype)"\s*:\s*"[^"\\\x00-\x1f\x80-\xff]*"'
)
_HIDING: Final = bytes(0x78 if byte >= 0x80 or chr(byte).isalnum() else byte for byte in range(256))
"""By byte, what stands in its place: x for letters, digits and what is not ASCII."""
_SUSPICIOUS: Final = re.compile(rb"text|comment|repl|\\|[\x00\x80-\xff]", re.IGNORECASE)
_ATTRIBUTES_ONLY: Final = re.compile(rb"data\"|text|\\", re.IGNORECASE)


def without_texts(value: bytes) -> bytes:
    """Return a rejected row's value without the text of a comment or a reply, whatever is wrong with it.

    What is JSON and of another known type stays as it is. Of other JSON all that stands under a name ``text``, however
    deep, becomes ``""``, ``0``, ``{}`` or ``[]``, and so do data that is no object, and a text that seems to be JSON
    written as a text; every other byte stays. What is no JSON stays if it says plainly that it is of another type; else
    each letter and digit but those of the attributes before its data becomes ``x``: brackets, quotes and places stay.
    """
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value if _is_plainly_another(value) else _masked(value)
    if type(document) is not dict:
        return _masked(value) if b"\\" in value or type(document) is str else _blanked(value, {"text"})
    kind = document.get("type")
    if type(kind) is str and kind in _PLAIN_TYPES:
        return value
    return _blanked(
        value, {"text", "data_base64"} if type(document.get("data")) is dict else {"text", "data", "data_base64"}
    )


def _is_plainly_another(value: bytes) -> bool:
    types = _TYPE.findall(value)
    return len(types) == 1 and types[0].decode() in _PLAIN_TYPES and _SUSPICIOUS.search(value) is None


def _masked(value: bytes) -> bytes:
    stop = found.start() if (found := _ATTRIBUTES_ONLY.search(value)) else len(value)
    pieces: list[bytes] = []
    at = 0
    for attribute in _ATTRIBUTE.finditer(value, 0, stop):
        pieces += [value[at : attribute.start()].translate(_HIDING), attribute[0]]
        at = attribute.end()
    return b"".join([*pieces, value[at:].translate(_HIDING)])


def _blanked(value: bytes, names: set[str]) -> bytes:
    """Return sound JSON with what stands under some names emptied."""
    pieces: list[bytes] = []
    at = depth = 0
    is_due = False
    for token in _TOKEN.finditer(value):
        text, colon = token[0], token[2]
        if depth:
            depth += (text in b"[{") - (text in b"]}")
            if not depth:
                at = token.start()
        elif colon is not None:
            is_due = _name(token[1]) in names
        elif is_due:
            is_due = False
            pieces.append(value[at : token.start()])
            at = token.end()
            if text in (b"{", b"["):
                pieces.append(text)
                depth = 1
            else:
                pieces.append(_emptied(text))
        elif _is_encoded(text):
            pieces += [value[at : token.start()], b'""']
            at = token.end()
    return b"".join([*pieces, value[at:]])


def _is_encoded(token: bytes) -> bool:
    """Return whether a token is a text that holds quotes and the word that names texts."""
    if b"\\" not in token:
        return False
    text = orjson.loads(token)
    return '"' in text and "text" in text


def _name(token: bytes) -> Any:
    return orjson.loads(token) if b"\\" in token else token[1:-1].decode()


def _emptied(token: bytes) -> bytes:
    if token.startswith(b'"'):
        return b'""'
    return token if token in (b"true", b"false", b"null") else b"0"
