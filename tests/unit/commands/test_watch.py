from __future__ import annotations

from types import SimpleNamespace

import orjson

from stream.commands.watch import readable

EVENT = {
    "specversion": "1.0",
    "id": "3-17-welcome",
    "subject": "voter-1",
    "time": "2026-11-24T21:22:31.123Z",
    "data": {
        "campaign": "welcome",
        "score_before": 0.43123,
        "score_after": 0.6123,
        "why": "support rose from 0.4312 to 0.6123 and crossed 0.6 after social.share",
    },
}


def record(value: bytes | None, headers: tuple[tuple[str, bytes], ...] = ()) -> SimpleNamespace:
    return SimpleNamespace(value=value, headers=headers, partition=3, offset=17)


def test_trigger_is_one_line_of_time_campaign_voter_scores_and_reason() -> None:
    assert readable(record(orjson.dumps(EVENT))) == (
        "2026-11-24T21:22:31.123Z  welcome  voter-1  0.4312 -> 0.6123  "
        "support rose from 0.4312 to 0.6123 and crossed 0.6 after social.share"
    )


def test_trigger_before_log_time_is_known_has_a_line_too() -> None:
    event = {name: value for name, value in EVENT.items() if name != "time"}
    assert readable(record(orjson.dumps(event))).startswith("-  ".ljust(24))


def test_withdrawn_trigger_is_shown_by_its_number() -> None:
    headers = (("groundswell-sequence", b"12"), ("groundswell-tombstone", b"1"))
    assert "trigger 12 of partition 3 was withdrawn" in readable(record(None, headers))


def test_foreign_record_is_named_by_its_place() -> None:
    for value in (b"{", b"[]", b"{}", b'{"data": {"score_before": "x"}}'):
        assert "offset 17 of partition 3 is no trigger" in readable(record(value))


def test_terminal_is_not_obeyed() -> None:
    line = readable(record(orjson.dumps({**EVENT, "subject": "a\u009b31mb\u202ec"})))
    assert "a\\x9b31mb\\u202ec" in line
    assert line.isprintable()
