"""What a rejected row may still say: everything but the text of a comment or a reply.

What is not accepted is handed to whoever mends it, and kept for days; the words that a person wrote are nobody's there.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Any, Final

import orjson

from stream.records import EVENT_TYPES, MAX_EVENT_BYTES

_TEXTS: Final = frozenset(("social.comment", "message.replied"))
"""The types whose data has a ``text``."""
_WITHHELD: Final = frozenset(("text", "data", "data_base64"))
"""The names under which nothing stays, but for data that is an object: of that, what is under other names."""
_PLAIN_TYPES: Final = frozenset(EVENT_TYPES) - _TEXTS
_TOKEN: Final = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|[\[\]{}]|[^\s\[\]{}",:]+', re.DOTALL)
"""Of sound JSON: a string, and the colon behind it if it is a name; a bracket; a number, true, false or null."""
_TYPE: Final = re.compile(rb'"type"\s*:\s*"([a-z_.]{1,64})"')
_ATTRIBUTE: Final = re.compile(
    rb'"(?:specversion|id|source|type|subject|time|datacontenttype)"\s*:\s*"[^"\\\x00-\x1f\x80-\xff]*"'
)
_MOST_ATTRIBUTES: Final = 64
_HIDING: Final = bytes(0x78 if byte >= 0x80 or chr(byte).isalnum() else byte for byte in range(256))
"""By byte, what stands in its place: x for letters, digits and what is not ASCII."""
_SUSPICIOUS: Final = re.compile(rb"text|comment|repl|\\|[\x00\x80-\xff]", re.IGNORECASE)
_ATTRIBUTES_ONLY: Final = re.compile(rb"data\"|text|\\", re.IGNORECASE)


def without_texts(value: bytes) -> bytes:
    """Return a rejected row's value without the text of a comment or a reply, whatever is wrong with it.

    What is JSON and of another known type, said once, stays as it is. Of other JSON all that stands under a name
    ``text`` or ``data_base64``, however deep, becomes ``""``, ``0``, ``{}`` or ``[]``, and so do ``data`` that is no
    object, and a text that seems to be JSON written as a text; every other byte stays. What is no JSON, or longer than
    MAX_EVENT_BYTES, stays if it says plainly that it is of another type; else each letter and digit but those of the
    first attributes before its data becomes ``x``: brackets, quotes and places stay.
    """
    # Reading token by token what is longer would hold up all that wait.
    if len(value) > MAX_EVENT_BYTES:
        return _plain_or_masked(value)
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        return _plain_or_masked(value)
    if type(document) is not dict:
        return _masked(value) if b"\\" in value or type(document) is str else _blanked(value)
    kind = document.get("type")
    return value if type(kind) is str and kind in _PLAIN_TYPES and _has_one_type(value) else _blanked(value)


def _has_one_type(value: bytes) -> bool:
    """Return whether an object, sound JSON, has one member ``type``: parsed, only the last is seen."""
    if b"\\" not in value and value.count(b'"type"') == 1:
        return True
    depth = count = 0
    for token in _TOKEN.finditer(value):
        depth += (token[0] in b"[{") - (token[0] in b"]}")
        count += depth == 1 and token[2] is not None and _name(token[1]) == "type"
    return count == 1


def _plain_or_masked(value: bytes) -> bytes:
    types = [found[1].decode() for found in islice(_TYPE.finditer(value), 2)]
    is_plain = len(types) == 1 and types[0] in _PLAIN_TYPES and _SUSPICIOUS.search(value) is None
    return value if is_plain else _masked(value)


def _masked(value: bytes) -> bytes:
    stop = found.start() if (found := _ATTRIBUTES_ONLY.search(value)) else len(value)
    pieces: list[bytes] = []
    at = 0
    for attribute in islice(_ATTRIBUTE.finditer(value, 0, stop), _MOST_ATTRIBUTES):
        pieces += [value[at : attribute.start()].translate(_HIDING), attribute[0]]
        at = attribute.end()
    return b"".join([*pieces, value[at:].translate(_HIDING)])


def _blanked(value: bytes) -> bytes:
    """Return sound JSON with what stands under the names that are withheld emptied."""
    pieces: list[bytes] = []
    at = depth = 0
    name = ""
    for token in _TOKEN.finditer(value):
        text, colon = token[0], token[2]
        if depth:
            depth += (text in b"[{") - (text in b"]}")
            if not depth:
                at = token.start()
            continue
        if colon is not None:
            name = _name(token[1])
            continue
        # By token: of members of one name the parser shows only the last.
        is_due = name in _WITHHELD and not (name == "data" and text == b"{")
        name = ""
        if is_due or _is_encoded(text):
            pieces.append(value[at : token.start()])
            at = token.end()
            depth = int(text in (b"{", b"["))
            pieces.append(text if depth else _emptied(text))
    return b"".join([*pieces, value[at:]])


def _is_encoded(token: bytes) -> bool:
    """Return whether a token is a text that holds quotes and a word that names texts."""
    if b"\\" not in token:
        return False
    text = orjson.loads(token)
    return '"' in text and ("text" in text or "data" in text)


def _name(token: bytes) -> Any:
    return orjson.loads(token) if b"\\" in token else token[1:-1].decode()


def _emptied(token: bytes) -> bytes:
    if token.startswith(b'"'):
        return b'""'
    return token if token in (b"true", b"false", b"null") else b"0"
