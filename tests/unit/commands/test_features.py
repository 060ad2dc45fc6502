"""The list of features: on a terminal, as JSON, and as the page in the docs."""

from __future__ import annotations

import io
from pathlib import Path

import orjson
from rich.console import Console

from stream.commands.features import to_json, to_markdown, to_table
from stream.features import FEATURES

DOCS = Path(__file__).parents[3] / "docs" / "features.md"


def test_page_in_the_docs_is_what_the_command_writes() -> None:
    assert DOCS.read_text() == to_markdown(), "write it anew: groundswell features --markdown > docs/features.md"


def test_page_has_a_row_for_each_feature() -> None:
    rows = [line for line in to_markdown().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(FEATURES)
    assert {row.count(" | ") for row in rows} == {6}


def test_table_names_every_feature_whole() -> None:
    console = Console(file=io.StringIO(), width=160)
    console.print(to_table())
    assert isinstance(console.file, io.StringIO)
    words = console.file.getvalue().split()
    assert [name for name in FEATURES if name not in words] == []


def test_json_says_all_of_each() -> None:
    document = orjson.loads(to_json())
    assert [item["name"] for item in document] == list(FEATURES)
    support = next(item for item in document if item["name"] == "canvass.support")
    assert support["sources"] == ["canvass.contacted"]
    assert (support["provenance"], support["opinion"]) == ("declared", True)
