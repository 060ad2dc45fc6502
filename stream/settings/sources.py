"""The settings file, flags by dotted key, and errors that say where a value stands."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from stream.errors import ConfigurationError, quoted

PREFIX: Final = "GROUNDSWELL_"
SECRETS: Final = frozenset({"keys", "password", "sasl_password", "tls_key_password"})
"""Keys that only the environment may hold; each has a sibling that names a file instead: ``<key>_file``."""

_URL_PASSWORD: Final = re.compile(r"//[^/]*:[^/]*@")


def variable_of(dotted: str) -> str:
    """Return the environment variable that sets a key (``kafka.bootstrap_servers``)."""
    return PREFIX + dotted.replace(".", "__").upper()


@contextmanager
def only_settings(environment: Mapping[str, str]) -> Iterator[None]:
    """Put other settings out of the environment for a while: they are for another deployment."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(PREFIX):
            del os.environ[name]
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def read_file(path: Path) -> dict[str, Any]:
    """Return a TOML file's values; raise ConfigurationError where it is unreadable or holds a secret."""
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        message = f"the settings file {str(path)!r} cannot be read: {error}"
        raise ConfigurationError(message) from error
    except tomllib.TOMLDecodeError as error:
        message = f"{path}: not readable as TOML: {error}"
        raise ConfigurationError(message) from error
    for dotted, value in _flatten(values):
        name = dotted.rpartition(".")[2]
        if name in SECRETS or (name == "url" and isinstance(value, str) and _URL_PASSWORD.search(value)):
            variable = variable_of(dotted if dotted != "redis.url" else "redis.password")
            message = f"{path}: {dotted} holds a secret, which a file that is shared must not: use {variable}"
            raise ConfigurationError(
                f"{message}, or a file of its own named by {name}_file" if name in SECRETS else message
            )
    return values


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            pairs += _flatten(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", value))
    return pairs


def nest(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted key as nested tables."""
    nested: dict[str, Any] = {}
    for dotted, value in flags.items():
        *groups, name = dotted.split(".")
        inner = nested
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[name] = value
    return nested


def describe(error: ValidationError, path: Path | None, values: dict[str, Any], flags: dict[str, Any]) -> str:
    """Say where each unusable value stands, its key, the value and what was expected."""
    lines = []
    for problem in error.errors(include_url=False):
        dotted = ".".join(str(part) for part in problem["loc"])
        variable = variable_of(dotted)
        if _holds(flags, problem["loc"]):
            where = "flag"
        elif variable in {name.upper() for name in os.environ}:
            where = f"environment variable {variable}"
        elif _holds(values, problem["loc"]):
            where = str(path)
        else:
            where = "settings"
        shown = (
            ""
            if dotted.rpartition(".")[2] in SECRETS or isinstance(problem["input"], dict)
            else f" = {quoted(problem['input'])}"
        )
        lines.append(f"{where}: {dotted}{shown}: {problem['msg']}")
    return "\n".join(lines)


def _holds(values: Mapping[str, Any], location: tuple[int | str, ...]) -> bool:
    inner: Any = values
    for part in location:
        if not isinstance(inner, dict) or part not in inner:
            return False
        inner = inner[part]
    return True
