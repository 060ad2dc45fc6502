"""Events as anybody may write them: every field by its rule or beside it, in every spelling of RFC 8259."""

from __future__ import annotations

import random
from typing import Any, Final

import orjson

from stream.events.field_kernels import CAPITALS, CHOICE, FLAG, INTEGER, NUMBER, TEXT
from stream.events.fields import FIELDS, Rule
from stream.records import EVENT_TYPES

Members = list[tuple[str, Any]]
"""An object as it is written: names may come again."""

WHITESPACE: Final = ("", "", "", " ", "\n", "\r\n\t", "  \t ")
CHARACTERS: Final = (
    *["a", "Z", "0", " ", "-", "/", "/", "\\", '"', "{", ":", "\x7f", "\x00", "\n", "\t", "\b", "\f", "\r", "\x1f"],
    *["\x80", "ü", "ß", "\u07ff", "\u0800", "\u2028", "\ud7ff", "\ue000", "\ufeff", "\uffff", "選", "🗳", "\U0010ffff"],
)
SHORT_ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "/": "\\/",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
NUMBERS: Final = (
    *["0", "-0", "0.0", "-0.0", "1", "1.0", "5", "5.0", "5e0", "50e-1", "0.5", "-0.5", "0.05e1", "2.5", "1000", "1001"],
    *["1e3", "1000.0", "1000.5", "999999999.99", "1000000000", "1000000000.0", "1000000000.00000001", "1000000001"],
    *["1e9", "1E+9", "1e-400", "1e400", "-1e999", "1e99", "9" * 18, "9" * 19, "9" * 25, "9" * 310, "1" + "0" * 199],
    *["0." + "0" * 30 + "1", "0." + "3" * 210, "4.9999999999999999", "4.999999999999999", "5.000000000000001"],
    *["18446744073709551615", "18446744073709551616", "-9223372036854775808", "-9223372036854775809", "2147483648.0"],
    *[
        "1.0e05",
        "27.35",
        "0.1",
        "0.30",
        "123456789.123456",
        "99999999.9999999",
        "1e005",
        "1e0000000000000000000001",
        "0e5",
        "0E-0",
        "123.456e7",
    ],
)
BROKEN_NUMBERS: Final = (
    "01",
    "-01",
    "1.",
    ".5",
    "+1",
    "1e",
    "1e+",
    "-",
    "--1",
    "NaN",
    "Infinity",
    "0x1",
    "1_0",
    "1.e5",
    "nul",
)


class Written:
    """A value that is already JSON, or is meant to look like it."""

    def __init__(self, text: str) -> None:
        """Take the text as it is."""
        self.text = text


def some_text(chance: random.Random, most: int = 12) -> str:
    """Return a text of up to ``most`` characters of all lengths in UTF-8."""
    return "".join(chance.choices(CHARACTERS, k=chance.randrange(most)))


def odd_value(chance: random.Random, depth: int = 0) -> Any:
    """Return a value of any kind, nested now and then deeper than the scanner goes."""
    draw = chance.randrange(14 if depth < 3 else 9)
    if draw < 3:
        return chance.choice((None, True, False))
    if draw < 6:
        return Written(chance.choice(NUMBERS if chance.random() < 0.9 else BROKEN_NUMBERS))
    if draw < 9:
        return some_text(chance)
    if draw < 11:
        return [odd_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    if draw < 13:
        return [(some_text(chance, 5), odd_value(chance, depth + 1)) for _ in range(chance.randrange(4))]
    deep = chance.choice((5, 31, 32, 33, 40))
    return Written("[" * deep + "]" * deep if chance.random() < 0.5 else '{"a":' * deep + "1" + "}" * deep)


def by_rule(chance: random.Random, rule: Rule) -> Any:
    """Return a value that mostly fits the rule, and is often at its edges."""
    draw = chance.random()
    if draw < 0.08:
        return odd_value(chance)
    if draw < 0.12:
        return None
    if rule.code == TEXT:
        length = chance.choice((rule.most - 1, rule.most, rule.most + 1))
        return chance.choice(("x", "ü", "🗳")) * length if draw < 0.2 else some_text(chance)
    if rule.code == CHOICE:
        return chance.choice(rule.choices) + ("x" if draw < 0.2 else "")
    if rule.code == CAPITALS:
        return "EUR" if draw > 0.3 else chance.choice(("eur", "EURO", "ÄÖÜ", "US", "E R", "EUR\n", "AZZ", "A@[", ""))
    if rule.code == INTEGER and draw > 0.4:
        return chance.choice((rule.least, rule.most, rule.least - 1, rule.most + 1))
    if rule.code in (INTEGER, NUMBER):
        return Written(chance.choice(NUMBERS))
    if rule.code == FLAG:
        return chance.random() < 0.5
    return odd_value(chance)


_SAID: Final = {
    "account": ("@OurCampaign", "ourcampaign_hq", "apnews", "nobody"),
    "text": ("I don't support this tax cut", "Health care, finally!", "Ich bin dagegen: die Mieten", "no"),
    "url": ("https://x.org/issues/health?utm_medium=email", "/donate/", "https://x.org/?gclid=1#a", "/a//b"),
    "referrer": ("https://www.google.com/", "https://t.co/x", "android-app://com.google.android.gm", "x"),
    "device": ("iPhone", "Mozilla/5.0 (X11; Linux)", "toaster"),
    "channel": ("email", "SMS", "call", "ad", "pigeon"),
    "method": ("card", "Check", "cash", "barter"),
    "issue": ("health", "Climate", "chess"),
    "region": ("ward-3", "WARD-11", "elsewhere"),
    "age_band": ("18-24", "65 and over", "old"),
    "language": ("de-AT", "es_MX", "English", "tlh"),
    "time_zone": ("Europe/Vienna", "us/eastern", "Mars/Olympus"),
    "source": ("voter file", "canvass", "rumour"),
}
"""By field, what the taxonomy that comes with the package knows, and what it does not."""


def some_value(chance: random.Random, field: str, rule: Rule) -> Any:
    """Return a value of a field: something that means something, or by its rule alone."""
    if field in _SAID and rule.code == TEXT and chance.random() < 0.6:
        return chance.choice(_SAID[field])
    return by_rule(chance, rule)


def some_event(chance: random.Random) -> Members:
    """Return an event whose members mostly are as they should be, in any order, some of them twice."""
    name = chance.choice(EVENT_TYPES)
    data: Any = [
        (field, some_value(chance, field, rule)) for field, rule in FIELDS[name].items() if chance.random() < 0.9
    ]
    event: Members = [
        ("specversion", "1.0"),
        ("id", f"e-{chance.randrange(10**9)}"),
        ("source", "https://tracker.example/site"),
        ("type", name),
        ("subject", f"voter-{chance.randrange(10**6)}"),
        ("time", chance.choice(("2026-11-24T21:25:54.250+01:00", "2026-11-24T21:25:55Z"))),
        ("datacontenttype", "application/json"),
        ("data", data),
    ]
    for members in (event, data):
        if chance.random() < 0.3:
            members.append((some_text(chance, 6), odd_value(chance)))
        if chance.random() < 0.1 and members:
            place = chance.randrange(len(members))
            members.append((members[place][0], odd_value(chance)) if chance.random() < 0.5 else members[place])
        if chance.random() < 0.2:
            chance.shuffle(members)
    draw = chance.random()
    place = chance.randrange(len(event))
    if draw < 0.1:
        del event[place]
    elif draw < 0.2:
        event[place] = (event[place][0], odd_value(chance))
    elif draw < 0.3 and isinstance(event[place][1], str):
        text = event[place][1]
        event[place] = (event[place][0], text + chance.choice((some_text(chance), "x" * 70, "ü" * 240, "x" * 260)))
    return event


def write(chance: random.Random, value: Any) -> str:
    """Return JSON in one of its spellings: whitespace, escapes; a list of pairs is an object."""
    spaces = WHITESPACE if chance.random() < 0.15 else ("",)

    def space() -> str:
        return chance.choice(spaces)

    if isinstance(value, str):
        return _write_text(chance, value)
    if isinstance(value, Written):
        return value.text
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        members = [f"{space()}{write(chance, name)}{space()}:{space()}{write(chance, item)}" for name, item in value]
        return f"{{{','.join(member + space() for member in members)}}}"
    if isinstance(value, list):
        # Of what holds nothing it does not matter much what it is.
        if not value and chance.random() < 0.5:
            return f"{{{space()}}}"
        return f"[{space()}{','.join(space() + write(chance, item) + space() for item in value)}]"
    return orjson.dumps(value).decode()


def _write_text(chance: random.Random, text: str) -> str:
    share = chance.choice((0.0, 0.0, 0.0, 0.0, 0.1, 1.0))
    written = []
    for character in text:
        code = ord(character)
        if chance.random() >= share and code >= 0x20 and character not in '"\\':
            written.append(character)
        elif character in SHORT_ESCAPES and chance.random() < 0.7:
            written.append(SHORT_ESCAPES[character])
        else:
            units = character.encode("utf-16-be").hex()
            units = units.upper() if chance.random() < 0.5 else units
            written += [f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4)]
    return f'"{"".join(written)}"'
