"""What the locked dependencies bring along: known vulnerabilities, licences, and a list of them (CycloneDX).

``make audit`` runs it. Vulnerabilities come from the package index's advisories: where these cannot be asked, that is
said, and the exit status is 0 only if ``--strict`` was not given.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT: Final = Path(__file__).parents[2]
SBOM: Final = ROOT / "dist" / "sbom.cdx.json"
BIN: Final = Path(sys.executable).parent
PERMISSIVE: Final = re.compile(
    r"(MIT|0BSD|BSD(-[23]-Clause)?|Apache(-| | License,? | License, Version )2(\.0)?|ISC|PSF-2\.0|Zlib|CC0-1\.0)"
    r"( WITH LLVM-exception)?( License)?"
)
CLASSIFIED: Final = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Python Software Foundation License": "PSF-2.0",
}
ACCEPTED: Final = {
    # Used unmodified, as a library of its own that whoever runs this may replace.
    "crc32c": "LGPL-2.1-or-later",
    "orjson": "MPL-2.0 AND (Apache-2.0 OR MIT)",
    # Apache-2.0 or BSD-3-Clause, as one likes; what an object store's library (botocore) needs holds it at 2.9.
    "python-dateutil": "Dual License",
    # Permissive, and known to no list of licences.
    "venusian": "BSD-derived (Repoze)",
}
"""Licences that are not permissive, or have no usual name, by the package that was looked at."""


def exported(*words: str) -> str:
    """Return what ``uv export`` says of the locked dependencies; ``words`` choose which, and how."""
    command = [str(BIN / "uv"), "export", "--quiet", "--frozen", *words]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def bill() -> dict[str, Any]:
    """Return the runtime dependencies as a CycloneDX 1.5 document: versions, licences, and who needs whom."""
    document: dict[str, Any] = json.loads(exported("--no-dev", "--format", "cyclonedx1.5"))
    for component in document["components"]:
        # Of each, a hundred files of which one is installed.
        component.pop("externalReferences", None)
        licence = licence_of(component["name"])
        if licence is not None:
            component["licenses"] = [{"license": {"name": licence}}]
    return document


def licence_of(name: str) -> str | None:
    """Return the licence that an installed package declares, None where it is not installed on this platform."""
    try:
        metadata = distribution(name).metadata
    except PackageNotFoundError:
        return None
    fields = [value for name in ("License-Expression", "License") for value in metadata.get_all(name) or []]
    declared = next((value for value in fields if value), "")
    classified = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or [] if "License ::" in line]
    if declared and "\n" not in declared.strip() and len(declared) < 80:
        return declared.strip()
    return " AND ".join(CLASSIFIED.get(name, name) for name in classified) or "unknown"


def version_of(name: str) -> str | None:
    """Return an installed package's version, None where it is not installed on this platform."""
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None


def is_permissive(licence: str) -> bool:
    """Return whether every part of a licence's expression is permissive."""
    return all(PERMISSIVE.fullmatch(part.strip(" ()")) for part in re.split(r"\bAND\b|\bOR\b", licence))


def judge_licences(licences: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return a line for each licence that is refused, and one for each that is accepted though not permissive."""
    others = {name: licence for name, licence in licences.items() if not is_permissive(licence)}
    refused = [f"{name}: {licence}" for name, licence in others.items() if ACCEPTED.get(name) != licence]
    return refused, [f"{name}: {licence}" for name, licence in others.items() if ACCEPTED.get(name) == licence]


def judge_advisories(dependencies: Iterable[Mapping[str, Any]]) -> tuple[list[str], int]:
    """Return a line for each known vulnerability in pip-audit's report, and how many packages were not looked at."""
    found, unasked = [], 0
    for dependency in dependencies:
        unasked += "skip_reason" in dependency
        for known in dependency.get("vulns", ()):
            mended = ", ".join(known.get("fix_versions", ())) or "no version yet"
            found.append(f"{dependency['name']} {dependency.get('version')}: {known['id']}, mended in {mended}")
    return found, unasked


def advisories(requirements: str) -> list[Mapping[str, Any]] | None:
    """Return pip-audit's report on requirements (``name==version`` lines); None where no advisories can be asked."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        words = ["-r", file.name, "--no-deps", "--disable-pip", "--timeout", "10", "--format", "json"]
        command = [str(BIN / "pip-audit"), *words, "--progress-spinner", "off"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        report: list[Mapping[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        return None
    return report


def look_at_vulnerabilities(strict: bool) -> bool:
    """Say what is known of the locked versions, development's included; return whether that is good enough."""
    lines = exported("--no-emit-project", "--no-hashes", "--no-annotate", "--no-header", "--all-groups").splitlines()
    locked = {line.partition(" ;")[0] for line in lines}
    # Of some a version is locked for each Python; the installed one is looked at.
    here = sorted(line for line in locked if version_of(line.partition("==")[0]) == line.partition("==")[2])
    # One first: an index that has no advisories answers for none of them, and pip-audit would call that a success.
    report = advisories(here[0])
    if report and not judge_advisories(report)[1]:
        report = advisories("\n".join(here))
    if report is None or judge_advisories(report)[1]:
        print("vulnerabilities: NOT CHECKED: the package index here gives no advisories; run this where it does")
        return not strict
    found, _ = judge_advisories(report)
    print("\n".join(found) or f"vulnerabilities: none known in {len(report)} locked packages")
    return not found


def main() -> int:
    """Write the list, judge licences and vulnerabilities, and return the exit status."""
    arguments = argparse.ArgumentParser(description="Audit the locked dependencies.")
    arguments.add_argument("--strict", action="store_true", help="fail where vulnerabilities cannot be looked up")
    strict: bool = arguments.parse_args().strict
    document = bill()
    text = json.dumps(document, indent=1)
    problem = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    if problem is not None:
        print(f"the list of dependencies is no valid CycloneDX: {problem}", file=sys.stderr)
        return 1
    SBOM.parent.mkdir(exist_ok=True)
    SBOM.write_text(text)
    print(f"dependencies: {len(document['components'])} listed in {SBOM.relative_to(ROOT)}")
    licences = {
        item["name"]: item["licenses"][0]["license"]["name"] for item in document["components"] if "licenses" in item
    }
    refused, accepted = judge_licences(licences)
    print(f"licences: {len(licences) - len(refused) - len(accepted)} permissive")
    for line in accepted:
        print(f"  accepted: {line}")
    for line in refused:
        print(f"  REFUSED: {line}; replace the package, or look at it and add it to ACCEPTED")
    return 0 if look_at_vulnerabilities(strict) and not refused else 1


if __name__ == "__main__":
    sys.exit(main())
