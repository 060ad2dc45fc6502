"""Whether rows were made as a recipe asks for them: else its card would name a command that does not make them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from stream.commands.dataset import FORMAT, DatasetOptions
from stream.commands.labels import duration_ms
from stream.errors import ConfigurationError, quoted

_OPTIONS: Final = ("every", "negatives", "split", "test", "seed")
"""Beside the label; a file says ``every`` in ms."""
_UNITS: Final = (("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000))


def require_made_so(options: DatasetOptions, meta: Mapping[str, Any], file: Path | None, whose: str) -> None:
    """Raise ConfigurationError for rows of another format, or that do not say that they were made with ``options``.

    ``options`` are those that ``whose`` (a recipe's name) asks for, ``meta`` is what the rows say of themselves;
    ``file`` is None where they were just taken from the log. What differs is quoted as asked for and as found.
    """
    where = "the rows" if file is None else str(file)
    if (found := meta.get("format")) != FORMAT:
        message = (
            f"{where}: rows of format {quoted(found)}, expected {FORMAT}; write them again by `groundswell dataset`"
        )
        raise ConfigurationError(message)
    asked = {"label": options.label, **{name: getattr(options, name) for name in _OPTIONS}}
    asked["every"] = duration_ms(options.every)
    made = {name: meta.get(name) for name in asked} | {"label": meta["label"]["text"], "every": meta.get("every_ms")}
    odd = [name for name, value in asked.items() if made[name] != value]
    if odd:
        command = replace(options, check=0).command(file or Path("rows.parquet"))
        message = (
            f"{where}: made with {_words(made, odd)}, and recipe {whose!r} asks for {_words(asked, odd)}; "
            f"`{command}` makes them"
        )
        raise ConfigurationError(message)


def _words(values: Mapping[str, Any], names: list[str]) -> str:
    return " ".join(f"--{name} {_spelled(name, values[name])}" for name in names)


def _spelled(name: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if name != "every" or not isinstance(value, int):
        return quoted(value, 300)
    return next((f"{value // unit}{letter}" for letter, unit in _UNITS if value % unit == 0), f"{value} ms")
