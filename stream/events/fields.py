"""Which data fields each type of event may carry, as tables; the JSON Schemas say the same to everyone else.

A field that is null counts as not given, and fields beside those named here are let through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.records import EVENT_TYPES, Activation, ContentId, Keys
from stream.signatures import KEY_ID, MAX_KEYS

CHANNELS: Final = ("email", "text", "push", "call", "mail", "door", "social", "ad")
ANSWERS: Final = ("yes", "no", "maybe")
MAX_AMOUNT: Final = 1e9
MAX_ENGINE: Final = 2**31 - 1
NAME: Final = re.compile("[a-z][a-z0-9_-]{0,63}")
SHA256: Final = re.compile("[0-9a-f]{64}")
FINGERPRINT: Final = re.compile("[0-9a-f]{32}")
CONTENT_KINDS: Final = ("model", "campaign", "policy")

Check = Callable[[Any], bool]

_SOCIAL = {"account": 256, "post": 256, "platform": 64, "url": 2048}
_DONATION = {"form": 256, "method": 64}
_MESSAGE = {"message": 256, "campaign": 64, "trigger": 256}
_CONSENT = {"purpose": 64, "text_version": 64}

_TEXTS: Final[Mapping[str, Mapping[str, int]]] = {
    "social.follow": _SOCIAL,
    "social.like": _SOCIAL,
    "social.share": _SOCIAL,
    "social.comment": {**_SOCIAL, "text": 10_000},
    "site.page_view": {"url": 2048, "referrer": 2048, "title": 512, "device": 64},
    "donation.started": _DONATION,
    "donation.completed": {**_DONATION, "transaction": 256},
    "signup.completed": {"form": 256, "list": 256},
    "volunteer.signed_up": {"role": 256, "shift": 256},
    "event.rsvp": {"event": 256},
    "message.delivered": _MESSAGE,
    "message.opened": _MESSAGE,
    "message.clicked": {**_MESSAGE, "url": 2048},
    "message.replied": {**_MESSAGE, "text": 10_000},
    "message.unsubscribed": {**_MESSAGE, "reason": 256},
    "canvass.contacted": {"answer": 64, "issue": 256, "canvasser": 256},
    "profile.updated": {"region": 64, "age_band": 64, "language": 64, "time_zone": 64},
    "consent.granted": _CONSENT,
    "consent.withdrawn": _CONSENT,
    "privacy.erased": {"request": 256, "reason": 256},
}
"""By type, the longest text of each text field, in characters."""


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _is_integer(value: Any) -> bool:
    # JSON knows one kind of number: 2.0 is an integer there.
    return type(value) is int or (type(value) is float and value.is_integer())


def _one_of(choices: Sequence[str]) -> Check:
    """Return the check for one of ``choices``."""
    known = frozenset(choices)
    return lambda value: type(value) is str and value in known


def _is_amount(value: Any) -> bool:
    return _is_number(value) and 0 < value <= MAX_AMOUNT


def _is_currency(value: Any) -> bool:
    return type(value) is str and len(value) == 3 and value.isascii() and value.isalpha() and value.isupper()


def _between(least: int, most: int) -> Check:
    """Return the check for an integer from ``least`` to ``most``, both included."""
    return lambda value: _is_integer(value) and least <= value <= most


def _has_texts(value: Any, patterns: Mapping[str, re.Pattern[str]]) -> bool:
    """Return whether ``value`` is an object whose members of these names are texts of these patterns."""
    if type(value) is not dict:
        return False
    texts = ((value.get(name), pattern) for name, pattern in patterns.items())
    return all(type(text) is str and pattern.fullmatch(text) is not None for text, pattern in texts)


def _is_content(value: Any) -> bool:
    return _has_texts(value, {"name": NAME, "sha256": SHA256}) and value.get("kind") in CONTENT_KINDS


def _are_contents(value: Any) -> bool:
    if type(value) is not list or not all(map(_is_content, value)):
        return False
    return len({(content["kind"], content["name"]) for content in value}) == len(value)


def _is_key(value: Any) -> bool:
    return _has_texts(value, {"id": KEY_ID, "fingerprint": FINGERPRINT})


def _are_keys(value: Any) -> bool:
    if type(value) is not list or not 1 <= len(value) <= MAX_KEYS or not all(map(_is_key, value)):
        return False
    return len({key["id"] for key in value}) == len(value)


_channel = _one_of(CHANNELS)
_money = (("amount", False, _is_amount), ("currency", False, _is_currency))
_money_given = (("amount", True, _is_amount), ("currency", True, _is_currency))
_by_channel = (("channel", True, _channel),)

_OTHERS: Final[Mapping[str, Sequence[tuple[str, bool, Check]]]] = {
    "donation.started": _money,
    "donation.completed": (*_money_given, ("recurring", False, lambda value: type(value) is bool)),
    "event.rsvp": (("answer", False, _one_of(ANSWERS)), ("guests", False, _between(0, 1000))),
    "message.delivered": _by_channel,
    "message.opened": _by_channel,
    "message.clicked": _by_channel,
    "message.replied": _by_channel,
    "message.unsubscribed": _by_channel,
    "canvass.contacted": (("support", False, _between(1, 5)),),
    "consent.granted": (("channel", False, _channel),),
    "consent.withdrawn": (("channel", False, _channel),),
    "config.activated": (("engine", True, _between(1, MAX_ENGINE)), ("contents", True, _are_contents)),
    "keys.rotated": (("keys", True, _are_keys),),
}
"""By type, the fields that are not plain text: name, whether it must be given, check of a value."""

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_TEXTS_BY_KIND: Final = tuple(_TEXTS.get(name, {}) for name in EVENT_TYPES)
_OTHERS_BY_KIND: Final = tuple(tuple(_OTHERS.get(name, ())) for name in EVENT_TYPES)
_HAS_OTHERS: Final = np.array([len(checks) > 0 for checks in _OTHERS_BY_KIND] + [False])
"""By kind code; the last element is that of -1."""
_SHORT: Final = min(limit for limits in _TEXTS.values() for limit in limits.values())
"""A text of so many characters fits whatever its field is: few values need to be looked up."""


def find_unfit(kinds: NDArray[np.int64], datas: Sequence[Any]) -> list[int]:
    """Return the rows whose data does not fit its kind, not sorted.

    ``kinds`` (kind codes, -1: any data fits) and ``datas`` (parsed JSON, None: not given) have one element a row.
    """
    unfit = []
    for row, data in enumerate(datas):
        if type(data) is dict:
            for name, value in data.items():
                if type(value) is not str or len(value) > _SHORT:
                    limit = _TEXTS_BY_KIND[kinds[row]].get(name)
                    if limit and value is not None and (type(value) is not str or len(value) > limit):
                        unfit.append(row)
                        break
        elif data is not None:
            unfit.append(row)
    for row in np.flatnonzero(_HAS_OTHERS[kinds]).tolist():
        if not _others_fit(kinds[row], datas[row]):
            unfit.append(row)
    return unfit


def _others_fit(kind: int, data: Any) -> bool:
    """Return whether the fields that are not plain text fit; data that is no object holds none of them."""
    if type(data) is not dict:
        data = _NOTHING
    for name, required, check in _OTHERS_BY_KIND[kind]:
        value = data.get(name)
        if required if value is None else not check(value):
            return False
    return True


def read_activation(data: Mapping[str, Any]) -> Activation:
    """Return the activation in the data of a ``config.activated`` event that fits."""
    contents = [ContentId(content["kind"], content["name"], content["sha256"]) for content in data["contents"]]
    return Activation(int(data["engine"]), tuple(contents))


def read_keys(data: Mapping[str, Any]) -> Keys:
    """Return the keys in the data of a ``keys.rotated`` event that fits."""
    return [[key["id"], key["fingerprint"]] for key in data["keys"]]
