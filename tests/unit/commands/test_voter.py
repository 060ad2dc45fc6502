from __future__ import annotations

import io

import numpy as np
import orjson
import pytest
from rich.console import Console

from stream.commands.voter import VoterReport, moment, show
from stream.errors import ConfigurationError
from stream.features import describe
from stream.records import VOTER, ContentId
from stream.settings import Settings


def report(last_event: dict[str, object] | None) -> VoterReport:
    record = np.zeros(1, VOTER)
    record["version"], record["last_offset"], record["last_seen_ms"] = 1, 41, 1_795_557_751_123
    record["decayed"][0, 2, 1] = 2.5
    record["score"][0, 0], record["score_tag"][0, 0] = 0.75, ContentId("model", "support", "").tag()
    fields = describe(record[0], ["support"], [])
    return VoterReport("[bold]voter", 3, 42, 0, tuple(fields), last_event)


def rendered(shown: VoterReport) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(shown.to_table())
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_every_field_is_shown_with_its_name_and_unit() -> None:
    shown = report({"id": "e1", "source": "/site", "type": "social.share", "time": None})
    text = rendered(shown)
    for item in shown.fields:
        assert item.name in text
        assert item.unit.partition(" since")[0] in text
    assert "[bold]voter, partition 3, as of offset 42 (never)" in text
    assert "1795557751123  ms: 2026-11-24T22:02:31.123Z" in text
    assert "social.share e1 from /site" in text


def test_json_holds_the_same() -> None:
    shown = report(None)
    document = orjson.loads(shown.to_json())
    assert document["voter"] == "[bold]voter"
    assert document["last_event"] is None
    by_name = {item["name"]: item for item in document["fields"]}
    assert by_name["score.support"] == {"name": "score.support", "value": 0.75, "unit": "score"}
    assert by_name["social.share.decayed_7d"]["value"] == 2.5
    assert "no longer in the log" in rendered(shown)


@pytest.mark.parametrize("voter", ["", "x" * 65, "ä" * 33])
def test_id_that_can_be_none_is_refused_before_anything_is_asked(voter: str) -> None:
    with pytest.raises(ConfigurationError, match="1 to 64"):
        show(Settings.load(flags={"kafka.bootstrap_servers": "127.0.0.1:1"}), voter)


def test_moment_that_no_calendar_holds_is_shown_in_digits() -> None:
    assert moment(1_795_557_751_123) == "2026-11-24T22:02:31.123Z"
    assert moment(2**62) == str(2**62)
