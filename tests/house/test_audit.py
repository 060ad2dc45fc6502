"""What is installed at runtime is permissively licensed and listed, and an audit that could not look says so."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from tests.house import audit


@pytest.fixture(scope="module")
def licences() -> dict[str, str]:
    components = audit.bill()["components"]
    return {item["name"]: item["licenses"][0]["license"]["name"] for item in components if "licenses" in item}


def test_every_runtime_dependency_is_listed_in_its_locked_version() -> None:
    listed = {(item["name"], item["version"]) for item in audit.bill()["components"]}
    locked = tomllib.loads((audit.ROOT / "uv.lock").read_text())["package"]
    assert len(listed) > 50
    assert listed <= {(package["name"], package["version"]) for package in locked if "version" in package}
    assert {"faust-streaming", "redis", "kafka-python", "numba", "fsspec"} <= {name for name, _ in listed}
    assert not {"pytest", "mypy", "pip-audit"} & {name for name, _ in listed}


def test_no_runtime_dependency_has_a_licence_that_nobody_looked_at(licences: dict[str, str]) -> None:
    refused, accepted = audit.judge_licences(licences)
    assert refused == []
    assert {line.partition(":")[0] for line in accepted} == set(audit.ACCEPTED)


@pytest.mark.parametrize(
    ("licence", "permissive"),
    [
        ("MIT", True),
        ("Apache License, Version 2.0", True),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", True),
        ("BSD-2-Clause AND Apache-2.0 WITH LLVM-exception", True),
        ("GPL-3.0-only", False),
        ("MIT AND LGPL-2.1-or-later", False),
        ("GNU Affero General Public License v3", False),
        ("unknown", False),
    ],
)
def test_only_permissive_licences_pass(licence: str, permissive: bool) -> None:
    assert audit.is_permissive(licence) == permissive
    assert audit.judge_licences({"package": licence})[0] == ([] if permissive else [f"package: {licence}"])


def test_package_that_changes_its_accepted_licence_is_refused() -> None:
    assert audit.judge_licences({"crc32c": "GPL-3.0-only"})[0] == ["crc32c: GPL-3.0-only"]


def test_vulnerabilities_are_told_with_what_mends_them_and_packages_not_asked_about_are_counted() -> None:
    report: list[dict[str, Any]] = [
        {"name": "good", "version": "1", "vulns": []},
        {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["2.1"]}]},
        {"name": "unknown", "skip_reason": "Dependency not found"},
    ]
    assert audit.judge_advisories(report) == (["bad 2: PYSEC-2026-1, mended in 2.1"], 1)


@pytest.mark.parametrize("report", [None, [{"name": "x", "skip_reason": "Dependency not found on the index"}]])
def test_audit_without_advisories_is_no_pass_when_strict(
    report: list[dict[str, str]] | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "advisories", lambda _: report)
    assert audit.look_at_vulnerabilities(strict=False)
    assert not audit.look_at_vulnerabilities(strict=True)
    assert capsys.readouterr().out.count("NOT CHECKED") == 2


def test_known_vulnerability_fails_the_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    report = [{"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-2026-1", "fix_versions": []}]}]
    monkeypatch.setattr(audit, "advisories", lambda _: report)
    assert not audit.look_at_vulnerabilities(strict=False)
