"""What an event is, told a second time in plain Python: times, checks, origins and signatures, for the oracle.

It shares no code with the package. Only the JSON Schemas are read, as data.
"""

from __future__ import annotations

import calendar
import hmac
import json
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import orjson

SCHEMAS = Path(__file__).parents[1] / "stream" / "events" / "schemas"
# fmt: off
COUNTED = (
    "social.follow", "social.like", "social.share", "social.comment",
    "site.page_view", "donation.started", "donation.completed", "signup.completed",
    "volunteer.signed_up", "event.rsvp", "message.delivered", "message.opened",
    "message.clicked", "message.replied", "message.unsubscribed", "canvass.contacted",
)
# fmt: on
CONTROL = ("clock.tick", "config.activated", "keys.rotated")
SIGNED = (*CONTROL, "privacy.erased")
TYPES = (
    *COUNTED,
    "profile.updated",
    "consent.granted",
    "consent.withdrawn",
    "privacy.erased",
    *CONTROL,
    "event.attended",
)
DAY_MS = 86400000
YEAR_2000_MS = 946684800000


# --- time ---------------------------------------------------------------------------------------------

RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)


def parse_time(text: object) -> int | None:
    """Return an RFC 3339 date-time in whole ms since the epoch, None for anything else."""
    match = RFC3339.fullmatch(text) if isinstance(text, str) else None
    if not match:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if not (year >= 1 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    ahead = 0
    if match[8]:
        if int(match[9]) > 23 or int(match[10]) > 59:
            return None
        ahead = (int(match[9]) * 60 + int(match[10])) * (1 if match[8] == "+" else -1)
    seconds = calendar.timegm((year, month, day, hour, minute, second)) - ahead * 60
    return seconds * 1000 + int(((match[7] or "") + "000")[:3])


def format_time(ms: int) -> str:
    """Return RFC 3339 in UTC with milliseconds."""
    days, rest = divmod(ms, DAY_MS)
    year = 1970
    while days >= 365 + calendar.isleap(year):
        days -= 365 + calendar.isleap(year)
        year += 1
    month = 1
    while days >= calendar.monthrange(year, month)[1]:
        days -= calendar.monthrange(year, month)[1]
        month += 1
    seconds, millis = divmod(rest, 1000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{millis:03}"
    return f"{year:04}-{month:02}-{days + 1:02}T{clock}Z"


# --- events -------------------------------------------------------------------------------------------


@cache
def validator(kind: str) -> Any:
    """Return the validator of the ``data`` member in a type's schema."""
    schema = json.loads((SCHEMAS / f"{kind}.json").read_text())
    part = {
        "$schema": schema["$schema"],
        "required": [name for name in schema["required"] if name == "data"],
        "properties": {"data": schema["properties"]["data"]},
    }
    return jsonschema.validators.validator_for(part)(part)


@dataclass
class Event:
    """An accepted event."""

    type: str
    source: str
    id: str
    voter: str
    time: int | None
    data: Any


def is_text(value: object, most: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= most


def unsigned(kind: str) -> str:
    """Return why a type does not count where nothing is signed, "" if it does: there are no keys to rotate."""
    return "unknown_type" if kind == "keys.rotated" else ""


def read_event(value: bytes | None, now: int, judge: Callable[[str], str] = unsigned) -> Event | str:
    """Return the event in a value, or the reason why it is none; ``judge`` gives one by its type alone, or ""."""
    if not value:
        return "not_json"
    if len(value) > 65536:
        return "too_large"
    try:
        fields = orjson.loads(value)
    except ValueError:
        return "not_json"
    if not isinstance(fields, dict) or fields.get("specversion") != "1.0":
        return "not_cloudevent"
    if not all(is_text(fields.get(name), most) for name, most in (("id", 256), ("source", 256), ("type", 65536))):
        return "not_cloudevent"
    # An attribute that is null is not there (CloudEvents 1.0, JSON format, 2.2).
    fields = {name: value for name, value in fields.items() if value is not None}
    if fields.get("datacontenttype", "application/json") != "application/json":
        return "not_cloudevent"
    kind = fields["type"]
    if kind not in TYPES:
        return "unknown_type"
    if refused := judge(kind):
        return refused
    voter = ""
    if kind not in CONTROL:
        voter = fields.get("subject", "")
        if not is_text(voter, 64) or len(voter.encode()) > 64:
            return "bad_subject"
        if any(ord(character) < 32 or ord(character) == 127 for character in voter):
            return "bad_subject"
    time = None
    if "time" in fields or kind == "clock.tick":
        time = parse_time(fields.get("time"))
        if time is None or time < YEAR_2000_MS:
            return "bad_time"
        if kind not in {"clock.tick", "keys.rotated"} and now > 0 and time > now + DAY_MS:
            return "bad_time"
    if not data_fits(kind, fields):
        return "bad_data"
    return Event(kind, fields["source"], fields["id"], voter, time, fields.get("data"))


def data_fits(kind: str, fields: dict[str, Any]) -> bool:
    """Return whether an event's data fits its type's schema, and names each content or key once."""
    data = {"data": fields["data"]} if "data" in fields else {}
    if not validator(kind).is_valid(data):
        return False
    named: list[object] = []
    if kind == "config.activated":
        named = [(entry["kind"], entry["name"], entry.get("role") or "active") for entry in data["data"]["contents"]]
    elif kind == "keys.rotated":
        named = [entry["id"] for entry in data["data"]["keys"]]
    return len(named) == len(set(named))


def origin_of(headers: Iterable[tuple[str, bytes | None]]) -> tuple[int, int] | None:
    """Return the place that a forwarded row was first written to, None for a row that was not forwarded."""
    for name, value in headers:
        match = re.fullmatch(rb"([0-9]{1,9}):([0-9]{1,18})", value or b"") if name == "groundswell-origin" else None
        if match:
            return int(match[1]), int(match[2])
    return None


def fingerprint_of(secret: bytes) -> str:
    """Return what a rotation and the header name a secret by."""
    return hmac.digest(secret, b"groundswell-key-1", "sha256").hex()[:32]


def signature_of(secret: bytes, parts: Sequence[bytes | None]) -> str:
    """Return the HMAC of parts, each behind its length."""
    text = b"".join(b"\xff" * 4 if part is None else struct.pack(">I", len(part)) + part for part in parts)
    return hmac.digest(secret, text, "sha256").hex()


# --- rejects ------------------------------------------------------------------------------------------

STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
SCALAR = re.compile(rb"[^\s\[\]{}\",:]+")
BLANK = re.compile(rb"[ \t\r\n]*")


def withheld(value: bytes) -> bytes:
    """Return what of a refused value goes to the rejects: no text of a comment or a reply."""
    try:
        document = orjson.loads(value if len(value) <= 65_536 else b"")
    except ValueError:
        types = re.findall(rb'"type"\s*:\s*"([a-z_.]{1,64})"', value)
        plain = len(types) == 1 and types[0].decode() in TYPES and value.isascii() and b"\0" not in value
        doubtful = any(word in value.lower() for word in (b"text", b"comment", b"repl", b"\\"))
        return value if plain and not doubtful else masked(value)
    if not isinstance(document, dict):
        return masked(value) if isinstance(document, str) or b"\\" in value else walk(value, 0, False)[0]
    members = json.loads(value, object_pairs_hook=list, parse_int=str)
    kinds = [kind for name, kind in members if name == "type"]
    if len(kinds) == 1 and isinstance(kinds[0], str) and kinds[0] in set(TYPES) - {"social.comment", "message.replied"}:
        return value
    return walk(value, 0, False)[0]


def masked(value: bytes) -> bytes:
    """Return bytes with letters and digits hidden, but for attributes that stand whole before any data."""
    ends = [place for word in (b'data"', b"text", b"\\") if (place := value.lower().find(word)) >= 0]
    end = min(ends, default=len(value))
    names = b"specversion|id|source|type|subject|time|datacontenttype"
    shown: set[int] = set()
    for found in list(re.finditer(rb'"(?:%b)"\s*:\s*"[^"\\\x00-\x1f\x80-\xff]*"' % names, value[:end]))[:64]:
        shown.update(range(*found.span()))
    return bytes(
        byte if place in shown or not (byte >= 128 or chr(byte).isalnum()) else ord("x")
        for place, byte in enumerate(value)
    )


def walk(value: bytes, at: int, is_hidden: bool) -> tuple[bytes, int]:
    """Return one JSON value from ``at`` on (with what is blank around it) as it may be shown, and where it ends."""
    begin = BLANK.match(value, at).end()  # type: ignore[union-attr]
    before, at = value[at:begin], begin
    opening = value[at : at + 1]
    if opening in (b"{", b"["):
        shown, at = before + opening, at + 1
        while (stop := BLANK.match(value, at).end()) is not None and value[stop : stop + 1] not in (b"}", b"]"):  # type: ignore[union-attr]
            hides = is_hidden
            if opening == b"{":
                colon = value.index(b":", STRING.match(value, stop).end())  # type: ignore[union-attr]
                name = orjson.loads(STRING.match(value, stop)[0])  # type: ignore[index]
                shown, at = shown + value[at : colon + 1], colon + 1
                is_object = value[at:].lstrip().startswith(b"{")
                hides = is_hidden or name in {"text", "data_base64"} or (name == "data" and not is_object)
            part, at = walk(value, at, hides)
            shown += part
            if value[at : at + 1] == b",":
                shown, at = shown + b",", at + 1
        shown += value[at : stop + 1]
        if is_hidden:
            shown = before + opening + (b"}" if opening == b"{" else b"]")
        at = stop + 1
    else:
        found = STRING.match(value, at) or SCALAR.match(value, at)
        assert found is not None
        text, at = found[0], found.end()
        if text.startswith(b'"'):
            inner = orjson.loads(text)
            text = b'""' if is_hidden or ('"' in inner and ("text" in inner or "data" in inner)) else text
        elif is_hidden and text not in (b"true", b"false", b"null"):
            text = b"0"
        shown = before + text
    end = BLANK.match(value, at).end()  # type: ignore[union-attr]
    return shown + value[at:end], end
