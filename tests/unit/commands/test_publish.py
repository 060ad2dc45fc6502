from __future__ import annotations

import io
import time
from pathlib import Path

import orjson
import pytest

from stream.commands.lines import Lines
from stream.commands.publish import MEANING, Pace, Published, _check, _misfit, _progress, _reason, _Schedule
from stream.errors import ConfigurationError
from stream.partitioning import partition_of
from stream.records import REJECT_REASONS


def event(**changes: object) -> bytes:
    fields = {"specversion": "1.0", "id": "1", "source": "/t", "type": "social.like", "subject": "voter", **changes}
    return orjson.dumps({name: value for name, value in fields.items() if value is not None})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (event(), ""),
        (event(type="privacy.erased"), ""),
        (b"{", "not_json"),
        (event(id=None), "not_cloudevent"),
        (event(type="social.shout"), "unknown_type"),
        (event(subject="x" * 65), "bad_subject"),
        (event(time="yesterday"), "bad_time"),
        (event(time="2199-01-01T00:00:00Z"), "bad_time"),
        (event(type="canvass.contacted", data={"support": 9}), "bad_data"),
        (event(data={"post": "x" * 70_000}), "too_large"),
        (event(type="clock.tick", subject=None, time="2026-11-24T00:00:00Z"), "control"),
        (event(type="config.activated", subject=None, data={"engine": 1, "contents": []}), "control"),
    ],
)
def test_line_is_refused_for_the_reason_that_the_worker_would_give(value: bytes, reason: str) -> None:
    assert _reason(_check([(1, value)], 4), 0) == reason


def test_line_whose_data_do_not_fit_is_told_by_its_field_and_not_by_its_value() -> None:
    assert _misfit(event(type="social.comment", data={"text": "secret" * 2000})) == "text does not fit"
    assert _misfit(event(type="message.opened", data={})) == "channel is not given"
    assert _misfit(event(data=[1])) == "data is no object"


def test_every_reason_has_a_meaning() -> None:
    assert set(MEANING) == {*REJECT_REASONS[1:], "control"}


def test_event_goes_where_its_voters_key_belongs() -> None:
    voters = [f"voter-{number}" for number in range(50)] + ["Zoë"]
    decoded = _check([(1, event(subject=voter)) for voter in voters], 7)
    assert decoded.homes.tolist() == [partition_of(voter.encode(), 7) for voter in voters]


@pytest.mark.parametrize(
    "arguments", [{"rate": 0.0}, {"rate": float("inf")}, {"speed": -1.0}, {"rate": 1.0, "follow_time": True}]
)
def test_pace_that_is_none_is_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        Pace(**arguments)  # type: ignore[arg-type]


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def departures(pace: Pace, values: list[bytes], clock: Clock) -> list[float]:
    decoded = _check([(number, value) for number, value in enumerate(values, 1)], 1)
    flushed: list[float] = []
    schedule = _Schedule(pace, lambda: flushed.append(clock.now))
    begin, left = clock.now, []
    for row in range(len(values)):
        schedule.wait(decoded, row)
        left.append(round(clock.now - begin, 3))
    return left


def test_rate_spaces_events_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    assert departures(Pace(rate=10), [event()] * 4, Clock(monkeypatch)) == [0, 0.1, 0.2, 0.3]


def test_gaps_between_events_own_times_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = (30, 31, 30, 35)
    values = [event(time=f"2026-01-01T00:00:{second}Z") for second in seconds]
    values.insert(2, event())
    clock = Clock(monkeypatch)
    # What has no time, or an earlier one, follows at once.
    assert departures(Pace(follow_time=True), values, clock) == [0, 1, 1, 1, 5]
    assert departures(Pace(follow_time=True, speed=10), values, clock) == [0, 0.1, 0.1, 0.1, 0.5]


def test_without_a_pace_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [event(time=f"2026-01-01T00:00:{second}Z") for second in (10, 50)]
    assert departures(Pace(), values, Clock(monkeypatch)) == [0, 0]


def test_summary_says_how_many_went_and_why_others_did_not() -> None:
    published = Published(sent=1200)
    assert str(published) == "1,200 sent, 0 refused"
    published.refused.update(["not_json", "bad_time", "not_json"])
    assert str(published) == "1,200 sent, 3 refused (1 bad_time, 2 not_json)"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_terminal_gets_a_bar_and_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b"x" * 1000)
    lines, terminal = Lines(str(path), 100), Terminal()
    text = f"line 1: not_json: {'long ' * 30}[end]"
    try:
        with _progress(lines, terminal) as advance:
            advance(None)
            advance(text)
    finally:
        lines.close()
    assert text in terminal.getvalue()
    assert "publishing" in terminal.getvalue()


def test_other_outputs_get_refused_lines_alone(tmp_path: Path) -> None:
    path, output = tmp_path / "events", io.StringIO()
    path.touch()
    lines = Lines(str(path), 100)
    with _progress(lines, output) as advance:
        advance(None)
        advance("line 1: not_json")
    lines.close()
    assert output.getvalue() == "line 1: not_json\n"
