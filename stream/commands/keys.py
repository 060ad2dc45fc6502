"""``groundswell keys``: the secrets that sign control records, made, shown, and put in force."""

from __future__ import annotations

import asyncio
import os
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from stream.commands.control import control_records, control_writer, read_signing
from stream.commands.headers import read_headers
from stream.commands.topics import facts
from stream.errors import ConfigurationError, GroundswellError
from stream.records import Header, Keys
from stream.settings import Settings
from stream.signatures import MAX_KEYS, MIN_SECRET_BYTES, UNSIGNED, Keyring
from stream.stores.fitness import Finding
from stream.stores.redis import RedisStore

SOURCE: Final = "/groundswell/keys"


@dataclass(frozen=True, slots=True)
class Listed:
    """One key of the keyring."""

    name: str
    fingerprint: str
    in_force: tuple[int, ...] | None
    """Partitions where it counts; None where Redis was not asked."""


def new(name: str, file: Path | None) -> str:
    """Make a key of 256 random bits: the line for a keyring, or put it at a file's end and return what was done.

    A file that is not there is made for its owner alone. Raises ConfigurationError for an unusable name or file, or
    a name that the file holds.
    """
    line = f"{name}:{secrets.token_hex(MIN_SECRET_BYTES)}"
    made = Keyring.parse(line)
    if file is None:
        return line
    try:
        before = file.read_text() if file.exists() else ""
        separator = "\n" if before and not before.endswith("\n") else ""
        Keyring.parse(f"{before}{separator}{line}")
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "a") as keyring:
            keyring.write(f"{separator}{line}\n")
    except (OSError, UnicodeDecodeError) as error:
        message = f"the keyring {str(file)!r} cannot be written: {error}"
        raise ConfigurationError(message) from error
    return f"key {name} with fingerprint {made.root[0][1]} is in {file}"


def show(settings: Settings) -> list[Listed]:
    """Return the keys of the keyring, the oldest first, and where each is in force if Redis answers."""
    keyring = _keyring(settings)
    headers: Mapping[int, Header | None] | None
    try:
        partitions = facts(settings).partition_count
        headers = asyncio.run(read_headers(settings, partitions, RedisStore.read_header))
    except GroundswellError:
        headers = None
    return [Listed(name, found, _where(headers, name, found)) for name, found in keyring.named(keyring.ids)]


def _where(headers: Mapping[int, Header | None] | None, name: str, found: str) -> tuple[int, ...] | None:
    if headers is None:
        return None
    return tuple(number for number, header in headers.items() if header is not None and [name, found] in header.keys)


def rotate(settings: Settings, ids: Sequence[str], *, at_once: bool = False) -> int:
    """Put these keys, and no others, in force in every partition, the newest last; return how many partitions.

    A key in force goes only when the newest is in force everywhere already, so that nothing signed by it is still on
    its way; ``at_once`` takes it away all the same (what it signed and is not in the log yet is rejected). Raises
    ConfigurationError where that does not hold or a key is missing; errors as ``control.read_signing``'s.
    """
    keyring = _keyring(settings)
    keys = keyring.named(ids)
    if not 1 <= len(keys) <= MAX_KEYS or len({name for name, _ in keys}) != len(keys):
        message = f"{len(keys)} keys are to be in force: {', '.join(ids)}, expected 1 to {MAX_KEYS}, each once"
        raise ConfigurationError(message)
    partitions = facts(settings).partition_count
    with control_writer(settings, "rotating the keys") as writer:
        signing = read_signing(settings, partitions)
        assert signing is not None  # noqa: S101 (there is a keyring)
        if not at_once:
            refuse_haste(signing.in_force, keys)
        name = uuid.uuid4()
        values = [rotation_event(keys, f"{name}-{number}") for number in range(partitions)]
        writer.write(control_records("keys.rotated", values, signing))
    return partitions


def rotation_event(keys: Keys, name: str) -> bytes:
    """Return the ``keys.rotated`` CloudEvent (structured JSON) with ``name`` as its id."""
    event = {
        "specversion": "1.0",
        "id": name,
        "source": SOURCE,
        "type": "keys.rotated",
        "datacontenttype": "application/json",
        "data": {"keys": [{"id": key, "fingerprint": found} for key, found in keys]},
    }
    return orjson.dumps(event)


def findings(settings: Settings) -> list[Finding]:
    """Say, for ``check``, whether control records are signed."""
    keyring = settings.keyring()
    if keyring is None:
        remedy = "before a deployment begins: groundswell keys new main --file FILE, and security.keys_file = FILE"
        return [Finding("control records", "warning", f"{settings.topic('events')} {UNSIGNED}", remedy)]
    return [Finding("control records", "ok", f"signed, by a keyring of {', '.join(keyring.ids)}")]


def refuse_haste(in_force: Mapping[int, Keys], keys: Keys) -> None:
    """Raise ConfigurationError where a key would go by which records may be signed that are still on their way."""
    for number, before in in_force.items():
        lost = [name for name, found in before if [name, found] not in keys]
        if lost and keys[-1] not in before:
            message = (
                f"key {lost[0]!r} is in force in partition {number}, and {keys[-1][0]!r} is not yet: first put both in "
                f"force (`groundswell keys rotate {lost[0]} {keys[-1][0]}`), and once no partition lags behind that, "
                "rotate again; or say --at-once, and what the old key signed meanwhile is rejected"
            )
            raise ConfigurationError(message)


def _keyring(settings: Settings) -> Keyring:
    keyring = settings.keyring()
    if keyring is None:
        message = "there is no keyring: name one by security.keys_file (`groundswell keys new` makes one)"
        raise ConfigurationError(message)
    return keyring
