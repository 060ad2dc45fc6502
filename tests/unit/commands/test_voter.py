from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import orjson
import pytest
import xxhash
from rich.console import Console

from stream.commands.reading import ReadContents
from stream.commands.voter import VoterReport, moment, show
from stream.commands.voter_why import Contribution, version_for, why
from stream.errors import ConfigurationError
from stream.features import FEATURES, describe, read_rows
from stream.records import VOTER, ContentId, Header
from stream.settings import Settings
from stream.versions import ModelVersion
from tests.voters import put_social


def report(last_event: dict[str, object] | None) -> VoterReport:
    record = np.zeros(1, VOTER)
    record["version"], record["last_offset"], record["last_seen_ms"] = 2, 41, 1_795_557_751_123
    record["first_seen_s"] = 1_795_557_751
    put_social(record, "social.share", "7d", 2.5, 1_795_557_751_123)
    record["score"][0, 0], record["score_tag"][0, 0] = 0.75, ContentId("model", "support", "").tag()
    fields = describe(record[0], ["support"], [])
    return VoterReport("[bold]voter", 3, 42, 0, tuple(fields), last_event)


def rendered(shown: VoterReport, *, everything: bool = True) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(shown.to_table(everything=everything))
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


def test_fields_that_are_0_are_only_counted_unless_all_is_said() -> None:
    shown = report(None)
    few, everything = rendered(shown, everything=False), rendered(shown)
    names = [line.split()[0] for line in few.splitlines()[2:-2]]
    assert {"version", "consent", "last_seen_ms", "score.support", "social.share.decayed_7d"} <= set(names)
    assert not {"ring[0]", "days", "donation.completed.decayed_30d", "last_s.social.like"} & set(names)
    assert f"{len(shown.fields) - len(names)} fields" in few
    assert "--all" in few
    assert "--all" not in everything


def test_json_holds_the_same() -> None:
    shown = report(None)
    document = orjson.loads(shown.to_json())
    assert document["voter"] == "[bold]voter"
    assert document["last_event"] is None
    by_name = {item["name"]: item for item in document["fields"]}
    assert by_name["score.support"] == {"name": "score.support", "value": 0.75, "unit": "score"}
    assert by_name["social.share.decayed_7d"]["value"] == pytest.approx(2.5)
    assert "no longer in the log" in rendered(shown)


@pytest.mark.parametrize("voter", ["", "x" * 65, "ä" * 33])
def test_id_that_can_be_none_is_refused_before_anything_is_asked(voter: str) -> None:
    with pytest.raises(ConfigurationError, match="1 to 64"):
        show(Settings.load(flags={"kafka.bootstrap_servers": "127.0.0.1:1"}), voter)


def test_moment_that_no_calendar_holds_is_shown_in_digits() -> None:
    assert moment(1_795_557_751_123) == "2026-11-24T22:02:31.123Z"
    assert moment(2**62) == str(2**62)


DAY_MS = 86_400_000
CONTENT = ContentId("model", "support", "5" * 64)
MODEL = {
    "name": "support",
    "kind": "linear",
    "bias": 0.25,
    "weights": {"social.share.decayed_1d": 2.0, "sessions": 0.5, "session_events": 1.0, "social.like.decayed_1d": 9.0},
    "means": {"sessions": 4.0},
}


def some_record() -> np.ndarray:
    record = np.zeros(1, VOTER)
    record["first_seen_s"], record["last_seen_ms"] = 10 * DAY_MS // 1000, 12 * DAY_MS
    record["sessions"], record["session_events"] = 2, 1
    put_social(record, "social.share", "1d", 3.0, 12 * DAY_MS)
    return record


def test_features_now_are_the_counts_as_they_weigh_now() -> None:
    names = ("social.share.decayed_1d", "sessions", "session_events", "days_since_first_seen", "hours_since_last_seen")
    columns = np.array([FEATURES.index(name) for name in names])
    # The log's time may lie before the event's own.
    for record, now_ms, expected in (
        (some_record(), 13 * DAY_MS, [1.5, 2.0, 1.0, 3.0, 24.0]),
        (some_record(), 5, [3.0, 2.0, 1.0, 2.0, 0.0]),
        (np.zeros(1, VOTER), 5, [0.0] * 5),
    ):
        row = np.full((1, 5), -7.0)
        read_rows(record, now_ms, 0, 1, columns, row)
        assert row.tolist() == [expected]


def test_why_lists_all_that_contributes_strongest_first() -> None:
    reason = why(CONTENT, ReadContents({CONTENT: orjson.dumps(MODEL)}), some_record(), 13 * DAY_MS)
    assert reason.contributions == (
        Contribution("social.share.decayed_1d", 1.5, 3.0),
        Contribution("sessions", 2.0, -1.0),
        Contribution("session_events", 1.0, 1.0),
    )
    assert (reason.expected, reason.score) == (0.25 + 0.5 * 4.0, 5.25)
    shown = replace(report(None), why=reason)
    assert orjson.loads(shown.to_json())["why"]["contributions"][1] == {
        "feature": "sessions",
        "value": 2.0,
        "contribution": -1.0,
    }
    text = rendered(shown)
    assert "support gives 5.25 now: before its link 5.25, made of" in text
    assert [line.split() for line in text.splitlines()[-4:]] == [
        ["expected", "of", "anyone", "+2.25"],
        ["social.share.decayed_1d", "1.5", "+3"],
        ["sessions", "2", "-1"],
        ["session_events", "1", "+1"],
    ]


def test_trees_without_cover_cannot_say_why() -> None:
    trees = {"leaves": [2], "feature": [0], "threshold": [0.0], "missing": [0], "left": [1], "value": [0.0, 1.0]}
    fields = {"name": "support", "kind": "trees", "link": "identity", "features": [FEATURES[0]], "trees": trees}
    with pytest.raises(ConfigurationError, match="'support' does not say its training cover"):
        why(CONTENT, ReadContents({CONTENT: orjson.dumps(fields)}), some_record(), 0)
    with pytest.raises(ConfigurationError, match="does not hold model/support/5555"):
        why(CONTENT, ReadContents({}), some_record(), 0)


def test_model_that_is_not_active_is_quoted_beside_those_that_are() -> None:
    header = Header(topic_id="", partition_count=1, owner="", start=0, offset=0)
    with pytest.raises(ConfigurationError, match="no model 'suport' is active, expected one of none at all"):
        version_for(header, "suport", b"ada")
    header.slots["model"] = [["support", "5" * 64], None, ["churn", "6" * 64]]
    with pytest.raises(ConfigurationError, match="no model 'suport' is active, expected one of churn, support"):
        version_for(header, "suport", b"ada")
    assert version_for(header, "support", b"ada") == CONTENT


def test_voter_whom_a_canary_draws_is_explained_by_it() -> None:
    header = Header(topic_id="", partition_count=1, owner="", start=0, offset=0)
    header.slots["model"] = [["support", "5" * 64]]
    header.versions = [ModelVersion("support", "7" * 64, "canary", 0.5).to_entry()]
    found = {version_for(header, "support", b"voter-%d" % number).sha256 for number in range(32)}
    assert found == {"5" * 64, "7" * 64}
    drawn = xxhash.xxh3_64_intdigest(b"support\0" + b"7" * 64 + b"\0voter-1") >> 11
    assert version_for(header, "support", b"voter-1").sha256 == ("7" if drawn / 2**53 < 0.5 else "5") * 64
