"""``groundswell features``: everything that a model may name, for a terminal, as JSON, and as the page in the docs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

import orjson

from stream.features import Feature, catalogue

_HEAD: Final = """\
# Features

`groundswell features --markdown` writes this page; a test fails where the two differ.

A model names features by these names; each event gives a row of them, the voter's state after it, of which only those
that an active model reads are computed. *Observed* features come from what the voter does, *declared* ones from what is
said of them, *derived* ones from others. What can reveal *opinion* tells, or lets one guess, what the voter thinks of a
party, a candidate or an issue.

Events count as of their own time, also when they come late. Up to 28 days late, decayed counts come out within 1e-9 of
what they would have been in time, and whole numbers exactly. What is said of sessions and responses, and the last of
several answers, follows the order of the log: a late event belongs to the latest session where it lies in it or up to
30 minutes before it, and begins none of its own. Numbers stop at what the table says, or at 65,535.

"""


def to_lines() -> str:
    """Return every feature for a terminal of any width: its name and what it is, and below that its meaning."""
    lines: list[str] = []
    for feature in catalogue():
        unit, horizon, provenance, opinion, sources = _cells(feature)
        reveals = "can reveal opinion" if opinion else ""
        facts = (unit, horizon, provenance, reveals, f"from {sources}" if sources else "")
        lines += [f"{feature.name}: {', '.join(filter(None, facts))}", f"    {feature.meaning}"]
    return "\n".join(lines)


def to_json() -> bytes:
    """Return every feature as a JSON list of objects."""
    return orjson.dumps([asdict(feature) for feature in catalogue()], option=orjson.OPT_INDENT_2)


def to_markdown() -> str:
    """Return the page of the docs."""
    titles = ("feature", "unit", "horizon", "provenance", "opinion", "from", "meaning")
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for feature in catalogue():
        lines.append(f"| {' | '.join((f'`{feature.name}`', *_cells(feature), feature.meaning))} |")
    return _HEAD + "\n".join(lines) + "\n"


def _cells(feature: Feature) -> tuple[str, ...]:
    opinion = "yes" if feature.opinion else ""
    return feature.unit, feature.horizon, feature.provenance, opinion, ", ".join(feature.sources)
