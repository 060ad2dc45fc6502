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


def unsaid(options: DatasetOptions, meta: Mapping[str, Any], file: Path | None, whose: str) -> tuple[str, ...]:
    """Return the options of which rows do not say how they were made with them, given what they say of themselves.

    ``options`` are those that ``whose`` (a recipe's name) asks for; ``file`` is None where the rows were just taken
    from the log. Raises ConfigurationError, quoting both, where an option differs, and for rows of another format.
    """
    where = "the rows" if file is None else str(file)
    if (found := meta.get("format", FORMAT)) != FORMAT:
        message = (
            f"{where}: rows of format {quoted(found)}, expected {FORMAT}; write them again by `groundswell dataset`"
        )
        raise ConfigurationError(message)
    asked = {"label": options.label, **{name: getattr(options, name) for name in _OPTIONS}}
    asked["every"] = duration_ms(options.every)
    said = {**meta, "label": meta["label"]["text"], "every": meta.get("every_ms")}
    made = {name: said[name] for name in asked if said.get(name) is not None}
    odd = [name for name, value in made.items() if value != asked[name]]
    if odd:
        command = replace(options, check=0).command(file or Path("rows.parquet"))
        message = (
            f"{where}: made with {_words(made, odd)}, and recipe {whose!r} asks for {_words(asked, odd)}; "
            f"`{command}` makes them"
        )
        raise ConfigurationError(message)
    return tuple(name for name in asked if name not in made)


def _words(values: Mapping[str, Any], names: list[str]) -> str:
    return " ".join(f"--{name} {_spelled(name, values[name])}" for name in names)


def _spelled(name: str, value: Any) -> str:
    if name != "every" or not isinstance(value, int):
        return quoted(value, 300)
    return next((f"{value // unit}{letter}" for letter, unit in _UNITS if value % unit == 0), f"{value} ms")
