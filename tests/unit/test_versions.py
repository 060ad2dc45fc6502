"""The roles of a model's versions in a partition's header: kept by it, and read with suspicion."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from stream.errors import StateMismatchError
from stream.records import Header
from stream.versions import ROLES, ModelVersion, faults

CANARY = ModelVersion("support", "a" * 64, "canary", 0.1, 1_790_000_000_000)


def header(*versions: Any) -> bytes:
    return orjson.dumps({**orjson.loads(Header("topic", 1, "me", 0, 0).to_bytes()), "versions": versions})


def test_header_keeps_versions() -> None:
    kept = [ModelVersion("support", "b" * 64, role) for role in ROLES if role != "canary"]
    entries = [version.to_entry() for version in (CANARY, *kept)]
    found = Header.from_bytes(header(*entries))
    assert [ModelVersion.of_entry(entry) for entry in found.versions] == [CANARY, *kept]
    assert Header.from_bytes(found.to_bytes()) == found


def test_header_of_before_there_were_roles_has_no_versions() -> None:
    fields = orjson.loads(header())
    del fields["versions"]
    assert Header.from_bytes(orjson.dumps(fields)).versions == []


@pytest.mark.parametrize(
    "change",
    [
        {"role": "champion"},
        {"role": 1},
        {"share": 1},
        {"share": "0.1"},
        {"share": 0.0},
        {"share": 1.0},
        {"share": float("nan")},
        {"role": "shadow"},
        {"since_ms": 0.5},
        {"name": 7},
        {"more": 1},
    ],
)
def test_header_with_a_damaged_version_is_refused(change: dict[str, Any]) -> None:
    assert list(faults([CANARY.to_entry()])) == []
    with pytest.raises(StateMismatchError, match="damaged"):
        Header.from_bytes(header({**CANARY.to_entry(), **change}))


def test_header_with_a_version_that_lacks_a_field_is_refused() -> None:
    entry = CANARY.to_entry()
    del entry["share"]
    with pytest.raises(StateMismatchError, match="expected name, sha256, role, share, since_ms"):
        Header.from_bytes(header(entry))


@pytest.mark.parametrize(
    ("versions", "reason"),
    [
        ([CANARY, CANARY], "two of one name and role"),
        ([ModelVersion(f"m{n}", "b" * 64, "shadow") for n in range(5)], "has 5 versions on trial, expected at most 4"),
        (
            [ModelVersion(f"m{n}", "b" * 64, "previous") for n in range(13)],
            "has 13 versions to go back to",
        ),
    ],
)
def test_header_with_versions_that_cannot_be_together_is_refused(versions: list[ModelVersion], reason: str) -> None:
    with pytest.raises(StateMismatchError, match=reason):
        Header.from_bytes(header(*[version.to_entry() for version in versions]))
