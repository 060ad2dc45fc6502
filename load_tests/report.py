"""What a benchmark found: rows for whoever compares runs (JSON), and a table for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal

import orjson
from rich.console import Console
from rich.table import Table

RESULTS: Final = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a result file."""

    measure: str
    """What was measured, with its unit."""
    ours: float
    reference: float | None = None
    """The same measure of whom or what ours is held against."""
    ratio: float | None = None
    """ours / reference."""
    goal: float | None = None
    """What the ratio (the measure itself, where there is no reference) must reach."""
    holds: bool | None = None


def judge(
    measure: str, ours: float, reference: float | None, goal: float, better: Literal["more", "less"] = "more"
) -> Row:
    """Return the row of a measure that has a goal: the least ratio (or measure), or with ``less`` the most."""
    ratio = None if reference is None else ours / reference
    found = ours if ratio is None else ratio
    holds = found >= goal if better == "more" else found <= goal
    return Row(measure, ours, reference, ratio, goal, holds)


def compare(measure: str, ours: float, reference: float) -> Row:
    """Return the row of a measure without a goal."""
    return Row(measure, ours, reference, ours / reference)


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Return median and range as text."""
    return f"{median(values):,.{digits}f}  ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def write(name: str, rows: Sequence[Row]) -> Path:
    """Write ``results/<name>.json`` and return where it is."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_bytes(orjson.dumps([asdict(row) for row in rows], option=orjson.OPT_INDENT_2) + b"\n")
    return path


def show(title: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table; every column but the first is set to the right."""
    table = Table(title=title, title_justify="left")
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left")
    for line in lines:
        table.add_row(*line)
    _console().print(table)


def show_rows(rows: Sequence[Row]) -> None:
    """Print result rows as a table."""
    lines = [
        (row.measure, _figure(row.ours), _figure(row.reference), _figure(row.ratio), _figure(row.goal), _held(row))
        for row in rows
    ]
    show("", ("measure", "ours", "reference", "ratio", "goal", "holds"), lines)


def _console() -> Console:
    # Where there is no terminal a table must not be squeezed into 80 columns.
    console = Console()
    return console if console.is_terminal else Console(width=160)


def _figure(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _held(row: Row) -> str:
    return {None: "", True: "[green]yes[/]", False: "[red]NO[/]"}[row.holds]
