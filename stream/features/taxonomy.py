"""The taxonomy: which words, accounts, pages, hosts and tags stand for what; TOML that a campaign edits, read strictly.

Reading gives each pattern (``stream.features.patterns``) what it stands for, in the order of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from stream.errors import ConfigurationError, quoted
from stream.features.patterns import (
    account_pattern,
    host_pattern,
    name_pattern,
    parameter_of,
    parameter_pattern,
    path_pattern,
    tag_pattern,
    word_pattern,
)
from stream.features.signal_kernels import (
    ACCOUNTS,
    AGE_BANDS,
    CHANNELS,
    DONATION_METHODS,
    ISSUES,
    LANGUAGES,
    REGIONS,
    SOURCES,
    ZONE_NAMES,
)
from stream.features.word_kernels import NEGATION, STANCE
from stream.signals import DEVICES, MAX_ISSUES, MESSAGE_CHANNELS, METHODS, ORIGINS, OTHER_BAND, PAGES, SIDES
from stream.strictness import at_line, name_of, read_toml, refuse_keys
from stream.zones import ZONES

MAX_TAXONOMY_BYTES: Final = 1024 * 1024
MAX_WORDS: Final = 10_000
MAX_OTHERS: Final = 10_000
"""Accounts, and so paths, hosts, tags and words for devices."""
MAX_BANDS: Final = OTHER_BAND - 1
"""Age bands, and so languages and sources."""
MAX_WEIGHT: Final = 25.5
NO_ISSUE: Final = -1
_LANGUAGE: Final = re.compile("[a-z]{2,3}")
_REFERRERS: Final = ORIGINS[1:-1]
_TAGS: Final = ORIGINS[2:-1]
_PROFILE: Final = {
    "regions": (REGIONS, MAX_OTHERS),
    "age_bands": (AGE_BANDS, MAX_BANDS),
    "languages": (LANGUAGES, MAX_BANDS),
    "sources": (SOURCES, MAX_BANDS),
}
"""By key, the byte of its names, and how many there may be."""
_CHANNELS: Final = {
    **{"mail": ["email", "mail"], "text": ["text"], "push": ["push"], "social": ["social"]},
    **{"phone": ["call"], "door": ["door"], "other": ["ad"]},
}
_METHODS: Final = {name: [name] for name in METHODS[1:]}
"""What counts where the file does not say."""
_KEYS: Final = (
    *("issues", "stance", "negations", "accounts", "pages", "referrers", "tags", "devices"),
    *("channels", "methods", "profile"),
)


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """What a file says: by pattern, what it stands for; where the first that fits decides, in the file's order."""

    issues: tuple[str, ...]
    """At most MAX_ISSUES names; an issue's index is its place."""
    words: Mapping[bytes, Mapping[int, int]]
    """By target (an issue's index, STANCE or NEGATION), a word's weight in tenths (of a stance below 0: against us)."""
    lengths: Mapping[bytes, int]
    """How many words each of ``words`` has."""
    names: Mapping[bytes, tuple[int, int]]
    """What names of all kinds stand for: an account's side and issue (NO_ISSUE for none), else a place and NO_ISSUE."""
    pages: Mapping[bytes, tuple[int, int]]
    """Class and issue (NO_ISSUE for none)."""
    referrers: Mapping[bytes, int]
    tags: Mapping[bytes, int]
    devices: Mapping[bytes, int]
    profile: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By key of the file (``regions``, ``sources``), the names by place."""


def read_taxonomy(data: bytes) -> Taxonomy:
    """Return the taxonomy in a file's bytes.

    Raises ConfigurationError, with line and key, quoting what is wrong and saying what was expected, for anything
    unusable.
    """
    fields = read_toml(data, MAX_TAXONOMY_BYTES, "a taxonomy")
    try:
        return _read(fields)
    except ConfigurationError as error:
        raise at_line(data, error) from None


def _read(fields: Mapping[str, Any]) -> Taxonomy:
    refuse_keys(fields, (), _KEYS, "a taxonomy")
    issues = _issue_names(fields)
    words, lengths = _words(fields)
    listed, profile = _profile(fields)
    return Taxonomy(
        issues=issues,
        words=words,
        lengths=lengths,
        names={
            **_accounts(fields, issues),
            **{name_pattern(ZONE_NAMES, name, "zones"): (place, NO_ISSUE) for place, name in enumerate(ZONES)},
            **{name_pattern(ISSUES, name, "issues"): (place, NO_ISSUE) for place, name in enumerate(issues)},
            **_classes(fields, "channels", MESSAGE_CHANNELS, CHANNELS, _CHANNELS),
            **_classes(fields, "methods", METHODS[1:], DONATION_METHODS, _METHODS, 1),
            **listed,
        },
        pages=_pages(fields, issues),
        referrers=_referrers(fields),
        tags=_tags(fields),
        devices=_devices(fields),
        profile=profile,
    )


def _table(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        message = f"{what} is {quoted(value)}, expected a table"
        raise ConfigurationError(message)
    return value


def _list(value: object, what: str) -> Sequence[Any]:
    if not isinstance(value, list):
        message = f"{what} is {quoted(value)}, expected a list"
        raise ConfigurationError(message)
    return value


def _tables(fields: Mapping[str, Any], key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give each table of ``[[key]]`` with its path."""
    for place, value in enumerate(_list(fields.get(key, []), key), 1):
        what = f"{key}[{place}]"
        yield what, _table(value, what)


def _place_of(value: object, choices: Sequence[str], what: str) -> int:
    if not isinstance(value, str) or value not in choices:
        message = f"{what} is {quoted(value)}, expected {', '.join(choices) or 'none, since no issue is named'}"
        raise ConfigurationError(message)
    return choices.index(value)


def _issue_of(table: Mapping[str, Any], issues: Sequence[str], what: str) -> int:
    return _place_of(table["issue"], issues, f"{what}.issue") if "issue" in table else NO_ISSUE


def _refuse_repeated(is_repeated: bool, value: object, what: str) -> None:
    if is_repeated:
        message = f"{what}: {quoted(value)} is repeated, expected it once (capitals and marks between words aside)"
        raise ConfigurationError(message)


def _refuse_many(key: str, count: int, most: int, what: str) -> None:
    if count > most:
        message = f"{key} has {count} {what}, expected at most {most}"
        raise ConfigurationError(message)


def _issue_names(fields: Mapping[str, Any]) -> tuple[str, ...]:
    names: list[str] = []
    for what, table in _tables(fields, "issues"):
        refuse_keys(table, ("name",), ("words",), what)
        name = name_of(table["name"], f"{what}.name")
        _refuse_repeated(name in names, name, f"{what}.name")
        names.append(name)
    _refuse_many("issues", len(names), MAX_ISSUES, "names")
    return tuple(names)


# --- words ------------------------------------------------------------------------------------------------


def _words(fields: Mapping[str, Any]) -> tuple[dict[bytes, dict[int, int]], dict[bytes, int]]:
    """Return what each word weighs by target, and its number of words."""
    words: dict[bytes, dict[int, int]] = {}
    lengths: dict[bytes, int] = {}
    for what, lists, target, sign in _word_lists(fields):
        for language, entries in _table(lists, what).items():
            if not _LANGUAGE.fullmatch(language):
                message = f"{what} has the language {quoted(language)}, expected two or three small letters"
                raise ConfigurationError(message)
            listed: set[bytes] = set()
            where = f"{what}.{language}"
            for entry in _list(entries, where):
                text, weight = _weighed(entry, where)
                pattern, count = word_pattern(text, where)
                _refuse_repeated(pattern in listed, text, where)
                listed.add(pattern)
                weighed = words.setdefault(pattern, {}).setdefault(target, sign * weight)
                if weighed != sign * weight:
                    found = f"{sign * weight / 10}, and {weighed / 10} where it stands before"
                    message = f"{where}: {quoted(text)} weighs {found}"
                    raise ConfigurationError(message)
                lengths[pattern] = count
    _refuse_many("issues", len(words), MAX_WORDS, "words, with those of stance and negations")
    return words, lengths


def _word_lists(fields: Mapping[str, Any]) -> Iterator[tuple[str, object, int, int]]:
    """Give each set of word lists with its path, its target and its weights' sign."""
    for issue, (what, table) in enumerate(_tables(fields, "issues")):
        yield f"{what}.words", table.get("words", {}), issue, 1
    stance = _table(fields.get("stance", {}), "stance")
    refuse_keys(stance, (), ("for", "against"), "stance")
    for key, sign in (("for", 1), ("against", -1)):
        yield f"stance.{key}", stance.get(key, {}), STANCE, sign
    yield "negations", fields.get("negations", {}), NEGATION, 1


def _weighed(entry: object, what: str) -> tuple[object, int]:
    """Return the word and weight, in tenths, of ``"word"`` or ``["word", weight]``."""
    if not isinstance(entry, list):
        return entry, 10
    weight = entry[1] if len(entry) == 2 else None
    if not isinstance(weight, bool) and isinstance(weight, int | float) and 0 < weight <= MAX_WEIGHT:
        tenths = round(weight * 10)
        if abs(weight * 10 - tenths) < 1e-9:
            return entry[0], tenths
    message = f"{what}: {quoted(entry)}, expected a word, or a word and a weight in tenths from 0.1 to {MAX_WEIGHT}"
    raise ConfigurationError(message)


# --- everything else --------------------------------------------------------------------------------------


def _accounts(fields: Mapping[str, Any], issues: Sequence[str]) -> dict[bytes, tuple[int, int]]:
    accounts: dict[bytes, tuple[int, int]] = {}
    for what, table in _tables(fields, "accounts"):
        refuse_keys(table, ("side", "names"), ("issue",), what)
        codes = _place_of(table["side"], SIDES[:-1], f"{what}.side"), _issue_of(table, issues, what)
        for name in _list(table["names"], f"{what}.names"):
            pattern = account_pattern(ACCOUNTS, name, f"{what}.names")
            _refuse_repeated(pattern in accounts, name, f"{what}.names")
            accounts[pattern] = codes
    _refuse_many("accounts", len(accounts), MAX_OTHERS, "names")
    return accounts


def _pages(fields: Mapping[str, Any], issues: Sequence[str]) -> dict[bytes, tuple[int, int]]:
    pages: dict[bytes, tuple[int, int]] = {}
    for what, table in _tables(fields, "pages"):
        refuse_keys(table, ("class", "paths"), ("issue",), what)
        codes = _place_of(table["class"], PAGES, f"{what}.class"), _issue_of(table, issues, what)
        for path in _list(table["paths"], f"{what}.paths"):
            pattern = path_pattern(path, f"{what}.paths")
            _refuse_repeated(pattern in pages, path, f"{what}.paths")
            pages[pattern] = codes
    _refuse_many("pages", len(pages), MAX_OTHERS, "paths")
    return pages


def _referrers(fields: Mapping[str, Any]) -> dict[bytes, int]:
    table = _table(fields.get("referrers", {}), "referrers")
    refuse_keys(table, (), _REFERRERS, "referrers")
    referrers: dict[bytes, int] = {}
    for name, hosts in table.items():
        for host in _list(hosts, f"referrers.{name}"):
            pattern = host_pattern(host, f"referrers.{name}")
            _refuse_repeated(pattern in referrers, host, f"referrers.{name}")
            referrers[pattern] = ORIGINS.index(name)
    _refuse_many("referrers", len(referrers), MAX_OTHERS, "hosts")
    return referrers


def _tags(fields: Mapping[str, Any]) -> dict[bytes, int]:
    """Return the class of each parameter's values, and behind them all what a value that is unknown says."""
    tags: dict[bytes, int] = {}
    parameters: list[str] = []
    for what, table in _tables(fields, "tags"):
        refuse_keys(table, ("parameter",), _TAGS, what)
        parameter = parameter_of(table["parameter"], f"{what}.parameter")
        _refuse_repeated(parameter in parameters, parameter, f"{what}.parameter")
        parameters.append(parameter)
        for name, values in table.items():
            if name == "parameter":
                continue
            for value in _list(values, f"{what}.{name}"):
                pattern = tag_pattern(parameter, value, f"{what}.{name}")
                _refuse_repeated(pattern in tags, value, f"{what}.{name}")
                tags[pattern] = ORIGINS.index(name)
    for parameter in parameters:
        tags.setdefault(parameter_pattern(parameter), len(ORIGINS) - 1)
    _refuse_many("tags", len(tags), MAX_OTHERS, "values")
    return tags


def _devices(fields: Mapping[str, Any]) -> dict[bytes, int]:
    devices: dict[bytes, int] = {}
    for what, table in _tables(fields, "devices"):
        refuse_keys(table, ("class", "words"), (), what)
        code = _place_of(table["class"], DEVICES, f"{what}.class")
        for word in _list(table["words"], f"{what}.words"):
            pattern, _ = word_pattern(word, f"{what}.words")
            _refuse_repeated(pattern in devices, word, f"{what}.words")
            devices[pattern] = code
    _refuse_many("devices", len(devices), MAX_OTHERS, "words")
    return devices


# --- lists of names ---------------------------------------------------------------------------------------


def _classes(
    fields: Mapping[str, Any],
    key: str,
    classes: Sequence[str],
    kind: int,
    defaults: Mapping[str, list[str]],
    first: int = 0,
) -> dict[bytes, tuple[int, int]]:
    """Return the class, counted from ``first``, of each name under ``[key]``; without it what ``defaults`` say."""
    table = _table(fields.get(key, defaults), key)
    refuse_keys(table, (), classes, key)
    named: dict[bytes, tuple[int, int]] = {}
    for name, entries in table.items():
        what = f"{key}.{name}"
        for entry in _list(entries, what):
            pattern = name_pattern(kind, entry, what)
            _refuse_repeated(pattern in named, entry, what)
            named[pattern] = first + classes.index(name), NO_ISSUE
    if key in fields:
        _refuse_many(key, len(named), MAX_OTHERS, "names")
    return named


def _profile(fields: Mapping[str, Any]) -> tuple[dict[bytes, tuple[int, int]], dict[str, tuple[str, ...]]]:
    """Return the place of each name under ``[profile]``, and the names by key and place."""
    table = _table(fields.get("profile", {}), "profile")
    refuse_keys(table, (), tuple(_PROFILE), "profile")
    named: dict[bytes, tuple[int, int]] = {}
    names: dict[str, tuple[str, ...]] = {}
    for key, (kind, most) in _PROFILE.items():
        what = f"profile.{key}"
        entries = _list(table.get(key, []), what)
        _refuse_many(what, len(entries), most, "entries")
        first: list[str] = []
        for place, entry in enumerate(entries):
            texts = entry if isinstance(entry, list) and entry else [entry]
            for text in texts:
                pattern = name_pattern(kind, text, what)
                _refuse_repeated(pattern in named, text, what)
                named[pattern] = place, NO_ISSUE
            first.append(texts[0])
        names[key] = tuple(first)
    _refuse_many("profile", len(named), MAX_OTHERS, "names")
    return named, names
