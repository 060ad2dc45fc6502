"""``groundswell model list | activate | shadow | canary | rollback | retire``: the life of a model's versions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from stream.commands.activating import active_by, changing, now_ms, read_library, roles_in
from stream.commands.contents import read_content
from stream.commands.headers import read_headers
from stream.commands.reading import ReadContents
from stream.commands.roles import promoted, retired, rolled_back, shadow_of, trial_of, tried
from stream.commands.topics import facts
from stream.commands.voter import moment
from stream.errors import ConfigurationError, GroundswellError, printable, quoted
from stream.interfaces import Library
from stream.records import Activation, Header
from stream.settings import Settings
from stream.stores.redis import RedisStore
from stream.triggers import read_campaign
from stream.versions import CANARY, SHADOW, ModelVersion

SHOWN_CHARACTERS: Final = 12
_PREFIX: Final = re.compile("[0-9a-f]{4,64}")


@dataclass(frozen=True, slots=True)
class Listed:
    """One version of a model, in one role or in none."""

    name: str
    sha256: str
    role: str
    """Empty: none."""
    share: float
    since_ms: int
    """0: not known."""
    partitions: tuple[int, ...] | None
    """Where it has this role; None where Redis did not say."""
    description: str

    def to_dict(self) -> dict[str, Any]:
        """Return the version as it stands in JSON."""
        return {
            "name": self.name,
            "version": self.sha256,
            "role": self.role or None,
            "share": self.share or None,
            "since": moment(self.since_ms) if self.since_ms else None,
            "partitions": None if self.partitions is None else list(self.partitions),
            "description": self.description,
        }


@dataclass(frozen=True, slots=True)
class Changed:
    """What a command did to a model."""

    done: str
    partitions: int
    transaction: bool

    def __str__(self) -> str:
        """Return it in one line."""
        how = "in one transaction" if self.transaction else "without a transaction, which this broker does not know"
        return f"{self.done}: in {self.partitions} partitions {how}"


# --- list --------------------------------------------------------------------------------------------------


def listing(settings: Settings) -> list[Listed]:
    """Return every version of a model that the configuration topic holds, once for each role that it has."""
    library = read_library(settings)
    headers: Mapping[int, Header | None] | None
    try:
        headers = asyncio.run(read_headers(settings, facts(settings).partition_count, RedisStore.read_header))
    except GroundswellError:
        headers = None
    return listed_of(library, headers)


def listed_of(library: ReadContents, headers: Mapping[int, Header | None] | None) -> list[Listed]:
    """Return what there is, by name, in the order in which versions were first written."""
    found: dict[ModelVersion, list[int]] = {}
    for number, header in (headers or {}).items():
        for version in [] if header is None else roles_in(active_by(header)):
            found.setdefault(version, []).append(number)
    rows: list[Listed] = []
    for content in library.identities:
        if content.kind != "model":
            continue
        text = _description(library.get(content))
        roles = sorted(one for one in found if (one.name, one.sha256) == (content.name, content.sha256))
        for one in roles or [ModelVersion(content.name, content.sha256, "")]:
            where = None if headers is None else tuple(found.get(one, ()))
            rows.append(Listed(one.name, one.sha256, one.role, one.share, one.since_ms, where, text))
    return sorted(rows, key=lambda row: row.name)


def _description(content: bytes | None) -> str:
    try:
        text = orjson.loads(content or b"").get("description", "")
    except (ValueError, AttributeError):
        return ""
    return text if isinstance(text, str) else ""


def to_lines(rows: Sequence[Listed]) -> str:
    """Return a listing for a terminal of any width: a line for each version, and below it the description, if any."""
    cells = [("model", "version", "role", "share", "since", "partitions")]
    for row in rows:
        share = f"{row.share:g}" if row.share else ""
        since = moment(row.since_ms) if row.since_ms else ""
        where = "unknown" if row.partitions is None else _ranges(row.partitions)
        cells.append((row.name, row.sha256[:SHOWN_CHARACTERS], row.role, share, since, where))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, each, widths)).rstrip() for each in cells]
    for place in range(len(rows), 0, -1):
        if rows[place - 1].description:
            lines.insert(place + 1, f"    {rows[place - 1].description}")
    return "\n".join(map(printable, lines))


def _ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers in words: ``0-3, 5``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


# --- changes -----------------------------------------------------------------------------------------------


def activate(settings: Settings, name: str, version: str | None = None) -> Changed:
    """Make a version active; without one, the canary's, else the shadow's. What was active is kept to go back to."""
    with changing(settings, f"activating model {name}") as change:
        sha256 = trial_of(change.before, name) if version is None else version_of(change.library, name, version)
        done = f"model {name} {sha256[:SHOWN_CHARACTERS]} is active"
        return Changed(done, *change.write(promoted(change.before, name, sha256, now_ms())))


def try_out(settings: Settings, name: str, version: str | None, file: Path | None, share: float | None) -> Changed:
    """Have a version scored as a shadow (``share`` None), or as a canary for a share of the voters.

    The version is one that the configuration topic holds, or a file's, which is written there; of a canary the shadow's
    if neither is given. Raises ConfigurationError for a share that is not above 0 and below 1, for both, and for a
    shadow of neither.
    """
    if share is not None and not 0 < share < 1:
        message = f"--share is {share!r}, expected a number above 0 and below 1"
        raise ConfigurationError(message)
    given = (version is not None) + (file is not None)
    if given > 1 or (given == 0 and share is None):
        message = "give a version by --version, or a model file"
        raise ConfigurationError(message)
    contents = [] if file is None else [read_content("model", file)]
    for content in contents:
        if content.identity.name != name:
            message = f"{file}: name is {content.identity.name!r}, expected {name!r}"
            raise ConfigurationError(message)
    role = SHADOW if share is None else CANARY
    of_whom = "" if share is None else f" for {share:g} of the voters"
    with changing(settings, f"making a {role} of model {name}") as change:
        if contents:
            sha256 = contents[0].identity.sha256
        else:
            sha256 = shadow_of(change.before, name) if version is None else version_of(change.library, name, version)
        trial = ModelVersion(name, sha256, role, share or 0.0, now_ms())
        done = f"model {name} {sha256[:SHOWN_CHARACTERS]} is {role}{of_whom}"
        return Changed(done, *change.write(tried(change.before, trial), contents))


def roll_back(settings: Settings, name: str) -> Changed:
    """Make the version active that was so before the current one, or before the model was retired."""
    with changing(settings, f"rolling model {name} back") as change:
        after = rolled_back(change.before, name, now_ms())
        active = next(content for content in after.contents if (content.kind, content.name) == ("model", name))
        return Changed(f"model {name} is back at {active.sha256[:SHOWN_CHARACTERS]}", *change.write(after))


def retire(settings: Settings, name: str, version: str | None = None) -> Changed:
    """Take a model out of every role, or one version of it.

    Raises ConfigurationError, quoting them, while active campaigns read the model.
    """
    with changing(settings, f"retiring model {name}") as change:
        sha256 = None if version is None else version_of(change.library, name, version)
        after = retired(change.before, name, sha256, now_ms())
        if not any((content.kind, content.name) == ("model", name) for content in after.contents):
            readers = readers_of(after, name, change.library)
            if readers:
                named = ", ".join(map(repr, readers))
                message = (
                    f"model {name!r} is read by the active campaigns {named}: first take their files out of campaigns/ "
                    "and run `groundswell config apply`"
                )
                raise ConfigurationError(message)
        what = f"model {name}" if sha256 is None else f"model {name} {sha256[:SHOWN_CHARACTERS]}"
        return Changed(f"{what} is retired", *change.write(after))


def readers_of(activation: Activation, name: str, library: Library) -> list[str]:
    """Return the names of an activation's campaigns that read a model."""
    campaigns = [content for content in activation.contents if content.kind == "campaign"]
    files = {content.name: library.get(content) for content in campaigns}
    return sorted(title for title, data in files.items() if data is not None and read_campaign(data).model == name)


def version_of(library: ReadContents, name: str, prefix: str) -> str:
    """Return the sha256 of a model's one version that begins with ``prefix`` (4 digits or more).

    Raises ConfigurationError, naming those that there are, where it is none or more than one.
    """
    known = [one.sha256 for one in library.identities if (one.kind, one.name) == ("model", name)]
    found = [sha256 for sha256 in known if _PREFIX.fullmatch(prefix) and sha256.startswith(prefix)]
    if len(found) != 1:
        versions = ", ".join(sha256[:SHOWN_CHARACTERS] for sha256 in known) or "none"
        message = (
            f"--version is {quoted(prefix)}, which names {len(found)} versions of model {name!r}; the configuration "
            f"topic holds {versions}"
        )
        raise ConfigurationError(message)
    return found[0]
