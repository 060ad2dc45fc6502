"""The list of features: on a terminal, as JSON, and as the page in the docs."""

from __future__ import annotations

from pathlib import Path

import orjson

from stream.commands.features import to_json, to_lines, to_markdown
from stream.features import FEATURES

DOCS = Path(__file__).parents[3] / "docs" / "features.md"


def test_page_in_the_docs_is_what_the_command_writes() -> None:
    assert DOCS.read_text() == to_markdown(), "write it anew: groundswell features --markdown > docs/features.md"


def test_page_has_a_row_for_each_feature() -> None:
    rows = [line for line in to_markdown().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(FEATURES)
    assert {row.count(" | ") for row in rows} == {6}


def test_terminal_of_any_width_shows_every_feature_in_two_lines() -> None:
    heads, meanings = to_lines().splitlines()[::2], to_lines().splitlines()[1::2]
    assert [head.split(": ")[0] for head in heads] == list(FEATURES)
    assert "canvass.support: " in (head := heads[FEATURES.index("canvass.support")])[:17]
    assert head.endswith(", declared, can reveal opinion, from canvass.contacted")
    assert all(meaning.startswith("    ") and len(meaning) > 10 for meaning in meanings)


def test_json_says_all_of_each() -> None:
    document = orjson.loads(to_json())
    assert [item["name"] for item in document] == list(FEATURES)
    support = next(item for item in document if item["name"] == "canvass.support")
    assert support["sources"] == ["canvass.contacted"]
    assert (support["provenance"], support["opinion"]) == ("declared", True)
