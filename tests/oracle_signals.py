"""What an event says under a taxonomy, told a second time in plain Python: for the oracle, and against the kernel.

It shares no code with the package; of ``stream.zones`` it takes the names, as data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stream.zones import ZONES

SIDES = ("own", "ally", "opponent", "press", "other")
PAGES = ("home", "issue", "donate", "volunteer", "event", "news", "about", "other")
ORIGINS = ("direct", "internal", "search", "social", "mail", "ad", "partner", "other")
DEVICES = ("phone", "tablet", "desktop", "tv", "other")
CHANNELS = ("mail", "text", "push", "social", "phone", "door", "other")
METHODS = ("", "online", "post", "other")
KNOWN_CHANNELS = {
    **{"mail": ["email", "mail"], "text": ["text"], "push": ["push"], "social": ["social"]},
    **{"phone": ["call"], "door": ["door"], "other": ["ad"]},
}
KNOWN_METHODS = {name: [name] for name in METHODS[1:]}
# RFC 3986, appendix B.
URI = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.DOTALL)
Said = dict[str, Any]


def say(kind: str, data: Mapping[str, Any] | None, taxonomy: Mapping[str, Any]) -> Said:
    """Return what is not 0 of an event's signal, by field; ``taxonomy`` is the file's table, empty where none is."""
    data = {name: value for name, value in (data or {}).items() if value is not None}
    said: Said = {"issues": [0] * 12}
    if kind.startswith("social."):
        say_account(data, taxonomy, said)
        if kind == "social.comment":
            say_words(data.get("text", ""), taxonomy, said)
    elif kind == "site.page_view":
        say_visit(data, taxonomy, said)
    elif kind.startswith("donation."):
        said["amount"] = float(data.get("amount", 0))
        if data.get("method"):
            said["method"] = METHODS.index(class_of(data["method"], taxonomy.get("methods", KNOWN_METHODS)))
    elif kind.startswith("message."):
        said["channel"] = CHANNELS.index(class_of(data["channel"], taxonomy.get("channels", KNOWN_CHANNELS)))
    elif kind == "event.rsvp":
        said["answer"] = ("", "yes", "no", "maybe").index(data.get("answer", ""))
    elif kind == "canvass.contacted":
        said["support"] = int(data.get("support", 0))
        names = [issue["name"] for issue in taxonomy.get("issues", [])]
        if data.get("issue", "").lower() in names:
            said["issues"][names.index(data["issue"].lower())] = 10
    elif kind == "profile.updated":
        say_profile(data, taxonomy, said)
    return {name: value for name, value in said.items() if value and value != [0] * 12}


def class_of(text: str, classes: Mapping[str, Sequence[str]]) -> str:
    return next((name for name, texts in classes.items() if text.lower() in map(str.lower, texts)), "other")


def say_account(data: Mapping[str, Any], taxonomy: Mapping[str, Any], said: Said) -> None:
    said["side"] = SIDES.index("other")
    name = data.get("account", "").removeprefix("@").lower()
    for table in taxonomy.get("accounts", []):
        if name in [text.removeprefix("@").lower() for text in table["names"]]:
            said["side"] = SIDES.index(table["side"])
            say_issue(table, taxonomy, said)


def say_issue(table: Mapping[str, Any], taxonomy: Mapping[str, Any], said: Said) -> None:
    if "issue" in table:
        said["issues"][[issue["name"] for issue in taxonomy["issues"]].index(table["issue"])] = 10


def say_profile(data: Mapping[str, Any], taxonomy: Mapping[str, Any], said: Said) -> None:
    lists = taxonomy.get("profile", {})
    fields = {"region": "regions", "age_band": "age_bands", "language": "languages", "source": "sources"}
    for name, key in fields.items():
        text = data.get(name, "").lower()
        tries = [text, re.split("[-_]", text)[0]] if name == "language" else [text]
        entries = [entry if isinstance(entry, list) else [entry] for entry in lists.get(key, [])]
        found = [
            place for one in tries for place, texts in enumerate(entries, 1) if one and one in map(str.lower, texts)
        ]
        if text:
            said[name] = found[0] if found else 65535 if name == "region" else 255
    if zone := data.get("time_zone", "").lower():
        names = [name.lower() for name in ZONES]
        said["zone"] = 1 + names.index(zone) if zone in names else 255


# --- words ------------------------------------------------------------------------------------------------


def words_of(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def stands_at(sought: str, words: Sequence[str], place: int) -> int:
    """Return how many words of ``sought`` stand at a place, 0 where it does not."""
    parts = words_of(sought)
    here = words[place : place + len(parts)]
    if not sought.endswith("*"):
        return len(parts) if here == parts else 0
    fits = len(here) == len(parts) and here[:-1] == parts[:-1] and here[-1].startswith(parts[-1])
    return len(parts) if fits else 0


def entries_of(lists: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, int]]:
    """Give each different word of some languages, with its weight in tenths."""
    seen: set[tuple[bool, tuple[str, ...]]] = set()
    for entry in (entry for entries in lists.values() for entry in entries):
        text, weight = entry if isinstance(entry, list) else (entry, 1.0)
        name = (text.endswith("*"), tuple(words_of(text)))
        if name not in seen:
            yield text, round(weight * 10)
        seen.add(name)


def say_words(text: str, taxonomy: Mapping[str, Any], said: Said) -> None:
    words = words_of(text)
    places = range(len(words))
    for number, issue in enumerate(taxonomy.get("issues", [])):
        for sought, weight in entries_of(issue.get("words", {})):
            said["issues"][number] += weight * sum(stands_at(sought, words, place) > 0 for place in places)
    said["issues"] = [min(weight, 255) for weight in said["issues"]]
    negated: set[int] = set()
    for sought, _ in entries_of(taxonomy.get("negations", {})):
        for place in places:
            if count := stands_at(sought, words, place):
                negated |= {place + count, place + count + 1, place + count + 2}
    sums = [0, 0]
    for is_against, key in enumerate(("for", "against")):
        for sought, weight in entries_of(taxonomy.get("stance", {}).get(key, {})):
            for place in places:
                if stands_at(sought, words, place):
                    sums[is_against != (place in negated)] += weight
    said["favour"], said["against"] = (min(total, 255) for total in sums)


# --- visits -----------------------------------------------------------------------------------------------


def parts_of(address: str) -> tuple[str | None, str, str]:
    """Return authority (None for none), path and query."""
    match = URI.fullmatch(address)
    assert match is not None
    scheme, authority, path, query = match.groups()
    if authority is None and scheme is not None:
        path = f"{scheme}:{path}"
    return authority, path, query or ""


def fits(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.lower().split("*"))), text, re.DOTALL) is not None


def say_visit(data: Mapping[str, Any], taxonomy: Mapping[str, Any], said: Said) -> None:
    address, referrer, device = (data.get(name, "") for name in ("url", "referrer", "device"))
    said["page"] = PAGES.index("other")
    if address:
        path = "/" + "/".join(part for part in parts_of(address)[1].lower().split("/") if part)
        tables = (table for table in taxonomy.get("pages", []) if any(fits(one, path) for one in table["paths"]))
        if table := next(tables, None):
            said["page"] = PAGES.index(table["class"])
            say_issue(table, taxonomy, said)
    said["origin"] = ORIGINS.index(tag_of(address, taxonomy) or host_class(referrer, taxonomy))
    said["device"] = DEVICES.index("other")
    if device:
        words = words_of(device)
        tables = (
            table
            for table in taxonomy.get("devices", [])
            if any(stands_at(word, words, place) for word in table["words"] for place in range(len(words)))
        )
        said["device"] = DEVICES.index(next(tables, {"class": "other"})["class"])
        name = 0x811C9DC5
        for byte in device.encode():
            name = ((name ^ byte) * 0x01000193) % 2**32
        said["device_bit"] = 1 + (name // 2**16 ^ name) % 16


def tag_of(address: str, taxonomy: Mapping[str, Any]) -> str | None:
    """Return the class of a landing address's campaign tag, None where it has none that is known."""
    given = [part.lower().partition("=") for part in parts_of(address)[2].split("&") if "=" in part]
    tables = taxonomy.get("tags", [])
    for table in tables:
        for name, patterns in table.items():
            for pattern in patterns if name != "parameter" else ():
                if any(key == table["parameter"] and fits(pattern, value) for key, _, value in given):
                    return str(name)
    return "other" if {key for key, _, _ in given} & {table["parameter"] for table in tables} else None


def host_class(address: str, taxonomy: Mapping[str, Any]) -> str:
    if not address:
        return "direct"
    authority = parts_of(address)[0]
    host = re.split("[/?#]", address, maxsplit=1)[0] if authority is None else authority
    host = re.sub(r":[0-9]*$", "", host.rpartition("@")[2], flags=re.ASCII).removesuffix(".").lower()
    found = [
        (len(name), origin)
        for origin, names in taxonomy.get("referrers", {}).items()
        for name in names
        if host == name or host.endswith(f".{name}")
    ]
    return max(found)[1] if found else "other"
