"""Which data fields each type of event may carry, as tables; the JSON Schemas say the same to everyone else.

A field that is null counts as not given, and fields beside those named here are let through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from stream.details import (
    ACCOUNT,
    ADDRESS,
    AGE_BAND,
    CHANNEL,
    COMMENT,
    DEVICE,
    ISSUE,
    LANGUAGE,
    METHOD,
    ORIGIN,
    REFERRER,
    REGION,
    ZONE,
)
from stream.events.field_kernels import (
    AMOUNT,
    CAPITALS,
    CHOICE,
    CODE,
    DATA,
    FLAG,
    ID,
    INTEGER,
    KIND,
    NUMBER,
    OBJECT,
    PARSED,
    SAID,
    SOURCE,
    SUBJECT,
    TEXT,
    TIME,
)
from stream.records import CONTENT_KINDS, EVENT_TYPES, MAX_VOTER_BYTES, Activation, ContentId, Keys
from stream.signatures import KEY_ID, MAX_KEYS
from stream.versions import ACTIVE, CANARY, ROLES, ModelVersion

MAX_NAME_CHARACTERS: Final = 256
"""Longest ``id`` and ``source``."""
MAX_TIME_CHARACTERS: Final = 256
CHANNELS: Final = ("email", "text", "push", "call", "mail", "door", "social", "ad")
"""Of consent; a message may name any channel, and the taxonomy says what it is."""
MAX_SUPPORT: Final = 5
"""Strong support; 1: strong opposition."""
ANSWERS: Final = ("yes", "no", "maybe")
MAX_TEXT_CHARACTERS: Final = 10_000
MAX_AMOUNT: Final = 1_000_000_000
MAX_ENGINE: Final = 2**31 - 1
MAX_SINCE_MS: Final = 2**53
NAME: Final = re.compile("[a-z][a-z0-9_-]{0,63}")
SHA256: Final = re.compile("[0-9a-f]{64}")
FINGERPRINT: Final = re.compile("[0-9a-f]{32}")

Check = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """What the value of a field must be: said once, as ``field_kernels`` holds bytes to it and as parsed values are."""

    code: int
    """A rule of ``stream.events.field_kernels``."""
    check: Check
    """The same of a parsed value, which is not null."""
    least: int = 0
    most: int = 0
    choices: tuple[str, ...] = ()
    required: bool = False
    column: int = -1
    """Where the scanner leaves the value's span or code, by SUBJECT and those behind it; -1: nowhere."""


Rules = Mapping[str, Rule]
"""By name, the fields that an object may have beside others, in the order in which they mostly come."""


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _is_integer(value: Any) -> bool:
    # JSON knows one kind of number: 2.0 is an integer there.
    return type(value) is int or (type(value) is float and value.is_integer())


def _has_texts(value: Any, patterns: Mapping[str, re.Pattern[str]]) -> bool:
    """Return whether ``value`` is an object whose members of these names are texts of these patterns."""
    if type(value) is not dict:
        return False
    texts = ((value.get(name), pattern) for name, pattern in patterns.items())
    return all(type(text) is str and pattern.fullmatch(text) is not None for text, pattern in texts)


def _is_content(value: Any) -> bool:
    if not _has_texts(value, {"name": NAME, "sha256": SHA256}) or value.get("kind") not in CONTENT_KINDS:
        return False
    role, share, since_ms = role_of(value), value.get("share"), value.get("since_ms")
    if role not in ROLES or (role != ACTIVE and value["kind"] != "model"):
        return False
    has_share = _is_number(share) and 0 < share < 1 if role == CANARY else share is None
    return has_share and (since_ms is None or (_is_integer(since_ms) and 0 <= since_ms <= MAX_SINCE_MS))


def role_of(content: Mapping[str, Any]) -> Any:
    """Return the role of one of an activation's contents: the active version's where none is given."""
    role = content.get("role")
    return ACTIVE if role is None else role


def _are_contents(value: Any) -> bool:
    if type(value) is not list or not all(map(_is_content, value)):
        return False
    return len({(content["kind"], content["name"], role_of(content)) for content in value}) == len(value)


def _is_key(value: Any) -> bool:
    return _has_texts(value, {"id": KEY_ID, "fingerprint": FINGERPRINT})


def _are_keys(value: Any) -> bool:
    if type(value) is not list or not 1 <= len(value) <= MAX_KEYS or not all(map(_is_key, value)):
        return False
    return len({key["id"] for key in value}) == len(value)


def text(most: int, *, least: int = 0) -> Rule:
    """Return the rule for a text of ``least`` (0 or 1) to ``most`` characters."""
    return Rule(TEXT, lambda value: type(value) is str and least <= len(value) <= most, least, most)


def one_of(*choices: str) -> Rule:
    """Return the rule for one of some texts, each of at most 24 bytes; its code is its place among them."""
    known = frozenset(choices)
    return Rule(CHOICE, lambda value: type(value) is str and value in known, choices=choices)


def capitals(count: int) -> Rule:
    """Return the rule for so many letters from A to Z."""
    pattern = re.compile(f"[A-Z]{{{count}}}")
    return Rule(CAPITALS, lambda value: type(value) is str and pattern.fullmatch(value) is not None, most=count)


def integer(least: int, most: int) -> Rule:
    """Return the rule for a whole number from ``least`` to ``most``, both included."""
    return Rule(INTEGER, lambda value: _is_integer(value) and least <= value <= most, least, most)


def amount(most: int) -> Rule:
    """Return the rule for a number above 0 and at most ``most``."""
    return Rule(NUMBER, lambda value: _is_number(value) and 0 < value <= most, 0, most)


def parsed(check: Check) -> Rule:
    """Return the rule for what only the parsed value tells: a row that must have it is never scanned."""
    return Rule(PARSED, check)


flag: Final = Rule(FLAG, lambda value: type(value) is bool)
anything: Final = Rule(OBJECT, lambda value: type(value) is dict)


def required(rule: Rule) -> Rule:
    """Return the rule for a field that must be given."""
    return replace(rule, required=True)


def kept(rule: Rule, column: int) -> Rule:
    """Return the rule for a field whose value comes out in a column."""
    return replace(rule, column=column)


def said(most: int, place: int, *, least: int = 0) -> Rule:
    """Return the rule for a text that features read, at its place among DETAIL's."""
    return kept(text(most, least=least), SAID + place)


# --- the table: a new field is a line here, and in its type's JSON Schema -----------------------------------

ATTRIBUTES: Final[Rules] = {
    "specversion": required(one_of("1.0")),
    "id": required(kept(text(MAX_NAME_CHARACTERS, least=1), ID)),
    "source": required(kept(text(MAX_NAME_CHARACTERS, least=1), SOURCE)),
    "type": required(kept(one_of(*EVENT_TYPES), KIND)),
    "subject": kept(text(MAX_VOTER_BYTES, least=1), SUBJECT),
    "time": kept(text(MAX_TIME_CHARACTERS, least=1), TIME),
    "datacontenttype": one_of("application/json"),
    "data": kept(anything, DATA),
}
"""What an event has beside extensions: CloudEvents 1.0, JSON event format."""

_SOCIAL: Final[Rules] = {"account": said(256, ACCOUNT), "post": text(256), "platform": text(64), "url": text(2048)}
_DONATION: Final[Rules] = {"form": text(256), "method": said(64, METHOD)}
_MESSAGE: Final[Rules] = {
    "channel": required(said(64, CHANNEL, least=1)),
    "message": text(256),
    "campaign": text(64),
    "trigger": text(256),
}
_CONSENT: Final[Rules] = {"channel": one_of(*CHANNELS), "purpose": text(64), "text_version": text(64)}
_AMOUNT: Final = kept(amount(MAX_AMOUNT), AMOUNT)
_CURRENCY: Final = capitals(3)

FIELDS: Final[Mapping[str, Rules]] = {
    "social.follow": _SOCIAL,
    "social.like": _SOCIAL,
    "social.share": _SOCIAL,
    "social.comment": {**_SOCIAL, "text": said(MAX_TEXT_CHARACTERS, COMMENT)},
    "site.page_view": {
        "url": said(2048, ADDRESS),
        "referrer": said(2048, REFERRER),
        "title": text(512),
        "device": said(512, DEVICE),
    },
    "donation.started": {"amount": _AMOUNT, "currency": _CURRENCY, **_DONATION},
    "donation.completed": {
        "amount": required(_AMOUNT),
        "currency": required(_CURRENCY),
        "recurring": flag,
        "transaction": text(256),
        **_DONATION,
    },
    "signup.completed": {"form": text(256), "list": text(256)},
    "volunteer.signed_up": {"role": text(256), "shift": text(256)},
    "event.rsvp": {"event": text(256), "answer": kept(one_of(*ANSWERS), CODE), "guests": integer(0, 1000)},
    "message.delivered": _MESSAGE,
    "message.opened": _MESSAGE,
    "message.clicked": {**_MESSAGE, "url": text(2048)},
    "message.replied": {**_MESSAGE, "text": text(MAX_TEXT_CHARACTERS)},
    "message.unsubscribed": {**_MESSAGE, "reason": text(256)},
    "canvass.contacted": {
        "answer": text(64),
        "support": kept(integer(1, MAX_SUPPORT), CODE),
        "issue": said(256, ISSUE),
        "canvasser": text(256),
    },
    "profile.updated": {
        "region": said(64, REGION),
        "age_band": said(64, AGE_BAND),
        "language": said(64, LANGUAGE),
        "time_zone": said(64, ZONE),
        "source": said(64, ORIGIN),
        # What surveys and voter files say: to learn from, so no feature reads it.
        "support": integer(1, MAX_SUPPORT),
        "turnout": flag,
    },
    "consent.granted": _CONSENT,
    "consent.withdrawn": _CONSENT,
    "privacy.erased": {"request": text(256), "reason": text(256)},
    "clock.tick": {},
    "config.activated": {"engine": required(integer(1, MAX_ENGINE)), "contents": required(parsed(_are_contents))},
    "keys.rotated": {"keys": required(parsed(_are_keys))},
    "event.attended": {"event": text(256), "guests": integer(0, 1000)},
}
"""By type, the fields of an event's data."""

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_TEXTS_BY_KIND: Final = tuple(
    {field: rule.most for field, rule in FIELDS[name].items() if rule.code == TEXT} for name in EVENT_TYPES
)
"""By kind code, the longest text of each text field."""
_OTHERS_BY_KIND: Final = tuple(
    tuple(
        (field, rule.required, rule.check) for field, rule in FIELDS[name].items() if rule.code != TEXT or rule.required
    )
    for name in EVENT_TYPES
)
"""By kind code, what else is said of fields: name, whether it must be given, check of a value."""
_SHORT: Final = min(limit for limits in _TEXTS_BY_KIND for limit in limits.values())
"""A text of so many characters fits whatever its field is: few values need to be looked up."""


def data_fits(kind: int, data: Any) -> bool:
    """Return whether an event's data (parsed JSON, None: not given) fits its kind."""
    if data is None:
        data = _NOTHING
    elif type(data) is not dict:
        return False
    limits = _TEXTS_BY_KIND[kind]
    for name, value in data.items():
        if type(value) is not str or len(value) > _SHORT:
            limit = limits.get(name)
            if limit and value is not None and (type(value) is not str or len(value) > limit):
                return False
    for name, required, check in _OTHERS_BY_KIND[kind]:
        value = data.get(name)
        if required if value is None else not check(value):
            return False
    return True


def misfit(name: str, data: Any) -> str:
    """Return what keeps data (parsed JSON, None: not given) from fitting a type, by field; empty where it fits."""
    if data is not None and type(data) is not dict:
        return "data is no object"
    for field, rule in FIELDS[name].items():
        value = (data or _NOTHING).get(field)
        if value is None and rule.required:
            return f"{field} is not given"
        if value is not None and not rule.check(value):
            return f"{field} does not fit"
    return ""


class Said(NamedTuple):
    """What of an event's data features read, as DETAIL has it."""

    texts: Mapping[int, str] = MappingProxyType({})
    """By place, those that are given."""
    code: int = 0
    amount: float = 0.0


_KEPT_BY_KIND: Final = tuple(
    tuple((field, rule) for field, rule in FIELDS[name].items() if rule.column >= 0) for name in EVENT_TYPES
)


def read_details(kind: int, data: Any) -> Said:
    """Return what features read of an event's data, which fits its kind."""
    if not data or not _KEPT_BY_KIND[kind]:
        return Said()
    texts: dict[int, str] = {}
    code, number = 0, 0.0
    for name, rule in _KEPT_BY_KIND[kind]:
        value = data.get(name)
        if value is None:
            continue
        if rule.code == TEXT:
            texts[rule.column - SAID] = value
        elif rule.code == CHOICE:
            code = 1 + rule.choices.index(value)
        elif rule.code == INTEGER:
            code = 1 + int(value) - rule.least
        else:
            number = float(value)
    return Said(texts, code, number)


def read_activation(data: Mapping[str, Any]) -> Activation:
    """Return the activation in the data of a ``config.activated`` event that fits."""
    contents: list[ContentId] = []
    versions: list[ModelVersion] = []
    for content in data["contents"]:
        kind, name, sha256, role = content["kind"], content["name"], content["sha256"], role_of(content)
        since_ms = int(content.get("since_ms") or 0)
        if role == ACTIVE:
            contents.append(ContentId(kind, name, sha256))
        if kind == "model" and (role != ACTIVE or since_ms):
            versions.append(ModelVersion(name, sha256, role, float(content.get("share") or 0.0), since_ms))
    return Activation(int(data["engine"]), tuple(contents), tuple(versions))


def read_keys(data: Mapping[str, Any]) -> Keys:
    """Return the keys in the data of a ``keys.rotated`` event that fits."""
    return [[key["id"], key["fingerprint"]] for key in data["keys"]]
