"""The demo's screen shows what the worker's metrics say."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from rich.console import Console

from stream.commands.demo import way_in
from stream.commands.demo_view import LatestTrigger, Readings, Screen, line, read_metrics, render, sparkline
from stream.metrics import Metrics


def worked() -> Metrics:
    metrics = Metrics()
    metrics.events.inc(1200)
    metrics.duplicates.inc(24)
    metrics.suppressed.inc(3)
    metrics.forwards.inc(2)
    metrics.claims.inc(4)
    metrics.rejects.labels("not_json").inc(5)
    metrics.rejects.labels("bad_time").inc(1)
    metrics.triggers.labels("thank-donors").inc(7)
    metrics.lag.labels("0").set(10)
    metrics.lag.labels("1").set(32)
    metrics.voters.labels("0").set(100)
    metrics.voters.labels("1").set(50)
    metrics.relay_backlog.labels("triggers", "0").set(6)
    metrics.relay_backlog.labels("rejects", "1").set(1)
    metrics.observe_scores("support", np.arange(20) / 20)
    return metrics


def shown(screen: Screen, width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width, height=40, force_terminal=True, color_system=None)
    console.print(render(screen))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_readings_are_what_the_worker_exposes() -> None:
    assert read_metrics(worked().exposition().decode()) == Readings(
        events=1200,
        lag=42,
        backlog=7,
        duplicates=24,
        suppressed=3,
        forwards=2,
        voters=150,
        claims=4,
        triggers={"thank-donors": 7},
        rejects={"not_json": 5, "bad_time": 1},
    )


def test_idle_worker_reads_as_zeros() -> None:
    assert read_metrics(Metrics().exposition().decode()) == Readings()


def test_rate_is_the_growth_over_a_second() -> None:
    screen = Screen()
    for seconds, events in ((1.0, 100), (1.5, 350), (2.0, 600), (2.5, 1600), (3.0, 1600)):
        screen.take(Readings(events=events), seconds)
    assert list(screen.rates) == [500.0, 500.0, 1250.0, 1000.0]
    assert screen.rate() == 1000.0


def test_restarted_worker_never_shows_a_negative_rate() -> None:
    screen = Screen()
    screen.take(Readings(events=100), 1.0)
    screen.take(Readings(events=0), 2.0)
    assert list(screen.rates) == [0.0]


def test_screen_shows_campaigns_reasons_and_whys() -> None:
    screen = Screen(phase="running", seconds=12, electorate_time="Tue 14:05", way_in="export THIS=/that", sent=1300)
    screen.take(read_metrics(worked().exposition().decode()), 12.0)
    screen.latest.append(
        LatestTrigger(
            "2026-11-24T21:22:31.123Z",
            "thank-donors",
            "voter-000042",
            "giving rose from 0.1 to 0.7 and crossed 0.6 after donation.completed",
        )
    )
    text = shown(screen)
    assert "export THIS=/that" in text.splitlines()[1]
    for part in (
        "1,200",
        "42",
        "thank-donors",
        "not_json",
        "bad_time",
        "21:22:31",
        "voter-000042",
        "crossed 0.6 after",
    ):
        assert part in text
    assert max(len(row) for row in text.splitlines()) <= 110


def test_way_in_is_not_wrapped_where_it_is_to_be_copied() -> None:
    file = Path("/tmp/groundswell-abcdefgh/groundswell.toml")  # noqa: S108 (a name, no file)
    rows = [row.rstrip() for row in shown(Screen(way_in=way_in(file, 60_666)), 80).splitlines()]
    assert rows[1:4] == [
        "In a shell without other GROUNDSWELL_ variables this leads every command here:",
        f"export GROUNDSWELL_CONFIG={file}",
        "Metrics: http://127.0.0.1:60666/metrics",
    ]


def test_empty_screen_says_so() -> None:
    assert shown(Screen()).count("none yet") == 3


def test_narrow_terminal_cuts_off_rather_than_breaks() -> None:
    screen = Screen()
    screen.latest.append(LatestTrigger("2026-11-24T21:22:31.123Z", "c" * 30, "v" * 64, "w" * 200))
    assert max(len(row) for row in shown(screen, 60).splitlines()) <= 60


def test_line_holds_the_numbers() -> None:
    screen = Screen(phase="running", seconds=5, sent=1300)
    screen.take(read_metrics(worked().exposition().decode()), 5.0)
    assert line(screen) == (
        "  5.0 s  running: 1,300 published, 1,200 processed (0/s), lag 42, 7 triggers, 6 rejects, 24 duplicates"
    )


def test_sparkline_is_as_high_as_the_values() -> None:
    assert sparkline([0, 50, 100]) == " ▄█"
    assert sparkline([0, 0]) == "  "
    assert sparkline([]) == ""
