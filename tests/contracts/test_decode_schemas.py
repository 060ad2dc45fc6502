"""The hand-written checks and the JSON Schemas say the same of every event, in both directions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.columns import columns_of
from stream.errors import StateMismatchError
from stream.events import decode, schema
from stream.interfaces import Authority
from stream.records import EVENT_TYPES, REJECT_REASONS
from stream.signatures import Keyring, Signer
from tests.oracle_events import parse_time

LOG_MS = 1_795_555_555_000
YEAR_2000_MS = 946_684_800_000
DAY_MS = 86_400_000
SHA256 = "0123456789abcdef" * 4

formats = jsonschema.FormatChecker(formats=())


@formats.checks("date-time")
def is_date_time(value: object) -> bool:
    return not isinstance(value, str) or parse_time(value) is not None


@formats.checks("voter-id")
def is_voter_id(value: object) -> bool:
    return not isinstance(value, str) or 1 <= len(value.encode()) <= 64


# fmt: off
TIMES = (
    "2026-11-24T21:25:54Z", "2026-11-24t21:25:54.123456z", "2026-11-24T23:25:54+02:00", "2000-01-01T00:00:00Z",
    "2026-11-25T21:25:55Z", "2026-11-25T21:25:55.001Z", "1999-12-31T23:59:59.9Z", "1999-12-31T23:30:00-01:00",
    "2016-12-31T23:59:60Z", "2026-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "2026-11-24 21:25:54Z", "2026-11-24",
    "2026-11-24T21:25:54", "2026-11-24T21:25:54.Z", "2026-11-24T24:00:00Z", "2026-11-24T21:25:54+24:00", "soon", "",
)
SUBJECTS = (
    "v", "voter-7", "x" * 64, "x" * 65, "ü" * 32, "ü" * 33, "🗳" * 16, "🗳" * 17,
    "", "a\0b", "a\n", "\x7f", "\x80",
)
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 5, 6, 1000, 1001, 2**31 - 1, 2**31, 2**63,
    1.0, 2.0, 0.5, 1e-300, 1e9, 1e9 + 1, 1e300,
    "", "x", "email", "EUR", "eur", "EUR\n", "ÄÖÜ", "1.0", "application/json", "yes", [], {}, [1],
    {"a": 1}, [[]], ["email"],
    "x" * 64, "x" * 65, "x" * 256, "x" * 257, "ü" * 512, "ü" * 513, "x" * 2048, "x" * 2049, "x" * 10_000, "x" * 10_001,
]
NAMES = ("support", "a", "a-b_9", "a" * 64, "a" * 65, "", "A", "9a", "a b", "a\n", "ü", 7, None)
SHAS = (SHA256, "0" * 64, "0" * 63, "0" * 65, SHA256.upper(), "0" * 63 + "\n", "0" * 64 + "\n", "g" * 64, 7, None)
KINDS = ("model", "campaign", "policy")
ROLES = ("active", "shadow", "canary", "previous", "Canary", "")
SHARES = (0.1, 0.999, 1e-300, 0, 1, 1.0, -0.1, 2, "0.1", None)
KEY_IDS = ("first", "a", "0-_b", "a" * 32, "a" * 33, "", "_a", "A", "a\n", "a:b", 7, None)
FINGERPRINTS = ("0" * 32, "0" * 31, "0" * 33, "A" * 32, "g" * 32, "0" * 32 + "\n", 7, None)
# fmt: on
SECRETS = {"root": b"a secret of thirty-two bytes or so"}
odd = st.sampled_from(ODD)
content = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["model", "campaign", "policy", "model", "engine", None]),
        "name": st.one_of(st.sampled_from(NAMES[:4]), st.sampled_from(NAMES)),
        "sha256": st.one_of(st.just(SHA256), st.sampled_from(SHAS)),
        "role": st.sampled_from(["canary", "canary", *ROLES, None]),
        "share": st.sampled_from(SHARES),
        "since_ms": st.sampled_from([None, 0, 2**53, -1]),
    },
)
key = st.fixed_dictionaries({}, optional={"id": st.sampled_from(KEY_IDS), "fingerprint": st.sampled_from(FINGERPRINTS)})
whole_key = st.fixed_dictionaries({"id": st.sampled_from(KEY_IDS[:4]), "fingerprint": st.just("0" * 32)})
whole_content = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["model", "campaign", "policy"]),
        "name": st.sampled_from(NAMES[:4]),
        "sha256": st.just(SHA256),
    },
    optional={"role": st.sampled_from([*ROLES, None]), "share": st.sampled_from(SHARES), "since_ms": st.just(5)},
)


def fitting(name: str, node: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values of one property, most of which its schema accepts, and some at its edges."""
    if "const" in node:
        return st.just(node["const"])
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if name == "time":
        return st.sampled_from(TIMES[:5])
    if name == "subject":
        return st.sampled_from(SUBJECTS[:3])
    if name == "contents":
        return st.lists(whole_content, max_size=3)
    if name == "keys":
        return st.lists(whole_key, min_size=1, max_size=3)
    if name == "currency":
        return st.sampled_from(["EUR", "USD", "ZZZ"])
    kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
    if "boolean" in kinds:
        return st.booleans()
    if "integer" in kinds:
        return st.integers(node["minimum"], node["maximum"])
    if "number" in kinds:
        return st.one_of(st.floats(0.01, node["maximum"]), st.integers(1, node["maximum"]))
    most = node["maxLength"]
    return st.one_of(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), st.just("ü" * most))


def breaking(name: str, node: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values of one property, most of which its schema refuses."""
    special: dict[str, st.SearchStrategy[Any]] = {
        "time": st.sampled_from(TIMES),
        "subject": st.sampled_from(SUBJECTS),
        "contents": st.lists(st.one_of(content, content, odd), max_size=3),
        "keys": st.lists(st.one_of(key, key, odd), max_size=9),
    }
    edges = st.just("x" * (node["maxLength"] + 1)) if "maxLength" in node else odd
    return st.one_of(special.get(name, odd), odd, edges)


@st.composite
def objects(draw: st.DrawFn, node: dict[str, Any]) -> dict[str, Any]:
    """Return an object with most of the schema's properties, now and then one of them broken or missing."""
    made: dict[str, Any] = {}
    broken = draw(st.sampled_from([*node["properties"], *[None] * len(node["properties"])]))
    for name, inner in node["properties"].items():
        required = name in node.get("required", ())
        if name == broken:
            choice = breaking(name, inner)
            if draw(st.booleans()):
                continue
        elif not required and draw(st.integers(0, 3)) == 0:
            continue
        else:
            choice = (
                objects(inner) if "properties" in inner else st.just({}) if name == "data" else fitting(name, inner)
            )
        made[name] = draw(choice)
    if draw(st.integers(0, 3)) == 0:
        made["extension"] = draw(odd)
    return made


def fits(validator: Any, event: dict[str, Any]) -> bool:
    """Return what the schema says, and of what it cannot say: times' bounds, contents named once."""
    if not validator.is_valid(event):
        return False
    time = parse_time(event.get("time"))
    if time is not None and time < YEAR_2000_MS:
        return False
    if time is not None and event["type"] not in {"clock.tick", "keys.rotated"} and time > LOG_MS + DAY_MS:
        return False
    contents = event["data"]["contents"] if event["type"] == "config.activated" else []
    keys = event["data"]["keys"] if event["type"] == "keys.rotated" else []
    return len({(item["kind"], item["name"], item.get("role") or "active") for item in contents}) == len(
        contents
    ) and len({item["id"] for item in keys}) == len(keys)


def judged(raw: bytes, name: str) -> str:
    """Return why decoding refuses an event, "" where it does not; a rotation of keys is signed before."""
    if name != "keys.rotated":
        return REJECT_REASONS[decode(columns_of(0, [0], [LOG_MS], [None], [raw], [()]), 1, 0).reject[0]]
    keyring = Keyring(SECRETS)
    authority = Authority("events", keyring, keyring.root, {})
    header = Signer(keyring, "events", lambda: 1).sign(keyring.root, 0, None, raw)
    try:
        decoded = decode(columns_of(0, [0], [LOG_MS], [None], [raw], [[header]]), 1, 0, authority)
    except StateMismatchError:
        # It fits, and puts keys in force that nobody has.
        return ""
    return REJECT_REASONS[decoded.reject[0]]


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_checks_and_schema_agree(name: str) -> None:
    document = schema(name)
    validator = jsonschema.Draft202012Validator(document, format_checker=formats)
    seen: Counter[str] = Counter()

    @settings(derandomize=True, max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    @given(objects(document))
    def agree(event: dict[str, Any]) -> None:
        raw = orjson.dumps(event, option=orjson.OPT_NON_STR_KEYS)
        said = judged(raw, name)
        assert (said == "") == fits(validator, orjson.loads(raw)), (said, event)
        seen[said] += 1

    agree()
    assert 0 < seen[""] < seen.total(), "events that all fit, or none, say nothing"


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_each_field_at_each_odd_value_is_judged_alike(name: str) -> None:
    document = schema(name)
    validator = jsonschema.Draft202012Validator(document, format_checker=formats)
    good: dict[str, Any] = {
        "specversion": "1.0",
        "id": "e",
        "source": "s",
        "type": name,
        "subject": "v",
        "time": TIMES[0],
        "data": {"engine": 1, "contents": [], "keys": [{"id": "first", "fingerprint": "0" * 32}]},
    }
    fields = document["properties"]["data"].get("properties", {})
    if "amount" in fields:
        good["data"] = {"amount": 5, "currency": "EUR"}
    elif "channel" in fields:
        good["data"] = {"channel": "email"}
    assert fits(validator, good)
    events = [
        {**good, attribute: value} for attribute in document["properties"] for value in ODD if attribute != "type"
    ]
    events += [{**good, "data": {**good["data"], field: value}} for field in fields for value in ODD]
    if "contents" in fields:
        sound = {"kind": "model", "name": "support", "sha256": SHA256}
        odds = {"kind": ["campaign", "policy", "engine", *ODD], "name": [*NAMES, *ODD], "sha256": [*SHAS, *ODD]}
        odds |= {"role": [*ROLES, *ODD], "share": [*SHARES, *ODD], "since_ms": [0, 2**53, 2**53 + 1, *ODD]}
        one = [[{**sound, name: value}] for name, edges in odds.items() for value in edges]
        one += [[{**sound, "role": "canary", "share": share}] for share in [*SHARES, *ODD]]
        one += [[{**sound, "kind": kind, "role": role, "share": 0.5}] for kind in KINDS for role in [*ROLES, None]]
        one += [[{**sound, "kind": kind, "role": role}] for kind in KINDS for role in [*ROLES, None]]
        one += [[sound, {**sound, "role": role}] for role in ("active", "shadow", "previous", None)]
        events += [{**good, "data": {"engine": 1, "contents": contents}} for contents in [*one, [sound, sound], [{}]]]
    if "keys" in fields:
        sound = {"id": "first", "fingerprint": "0" * 32}
        odds = {"id": [*KEY_IDS, *ODD], "fingerprint": [*FINGERPRINTS, *ODD]}
        one = [[{**sound, name: value}] for name, edges in odds.items() for value in edges]
        nine = [{**sound, "id": f"k{number}"} for number in range(9)]
        events += [{**good, "data": {"keys": keys}} for keys in [*one, [], [sound, sound], [{}], nine[:8], nine]]
    values = [orjson.dumps(event) for event in events]
    n = len(events)
    if name == "keys.rotated":
        said = [judged(value, name) for value in values]
    else:
        decoded = decode(columns_of(0, range(n), [LOG_MS] * n, [None] * n, values, [()] * n), 1, 0)
        said = [REJECT_REASONS[code] for code in decoded.reject.tolist()]
    for event, reason in zip(events, said, strict=True):
        assert (reason == "") == fits(validator, event), (reason, event)
    reasons = set(said)
    assert reasons >= {"", "not_cloudevent", "bad_time", "bad_data"}
