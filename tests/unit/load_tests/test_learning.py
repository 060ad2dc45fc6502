"""Training from the electorate's log, small: the same code, fewer voters, and a lower bar."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pytest

from load_tests.learning import __main__ as command
from load_tests.learning.commands import COMMAND_HEAD, CommandLine
from load_tests.learning.deployment import CommandFailedError, Ran
from load_tests.learning.table import GOAL, Line, learn, recipes
from load_tests.learning.world import BEGIN_MS, LogReader, Scale, World, live
from stream.commands.reading import Record
from stream.commands.training.recipes import Recipe
from stream.embedded.electorate import Electorate
from stream.embedded.truth import chance_of_moving, movable

SMALL = Scale(voters=1600, days=35, events_a_day=1.2, seed=4)


@cache
def world() -> World:
    return live(SMALL)


def test_log_in_memory_is_read_in_order_from_any_place() -> None:
    records = [Record(offset, 1000 + 10 * (offset // 2), b"k", b"v", ()) for offset in range(10_000)]
    reader = LogReader(records)
    assert reader.bounds() == (0, 10_000)
    reader.seek(3)
    taken = []
    while rows := reader.read(9_000):
        taken += rows
    assert taken == records[3:9_000]
    assert reader.position == 9_000
    assert [reader.offset_at(time_ms) for time_ms in (0, 1000, 1001, 1010, 10**9)] == [0, 0, 2, 2, 10_000]


def test_log_is_the_same_from_the_same_scale() -> None:
    few = Scale(voters=60, days=3)
    records = live(few).records
    assert records == live(few).records
    assert len(records) > 100
    assert [record.offset for record in records] == list(range(len(records)))
    times = [record.append_time_ms for record in records]
    assert times == sorted(times)
    assert BEGIN_MS <= times[0] < times[-1] <= BEGIN_MS + few.days * 86_400_000


def test_model_ranks_voters_nearly_as_well_as_their_truth_does(tmp_path: Path) -> None:
    [recipe] = recipes(["gives_online"])
    line, trained = learn(world(), recipe, tmp_path)
    assert line.truth > 0.8
    assert line.reached > 0.8
    assert trained.judgement.auc == line.model
    assert (tmp_path / "gives_online.json").exists()
    # What it foretells is what comes, by tenths.
    off = [abs(one.predicted - one.observed) / one.error for one in trained.judgement.bins if one.error]
    assert np.mean(off) < 2


def test_those_whom_the_letter_moves_are_found(tmp_path: Path) -> None:
    [recipe] = recipes(["persuadable"])
    line, trained = learn(world(), recipe, tmp_path)
    assert line.reached > 0.6
    assert trained.judgement.effect > 0.1
    assert trained.judgement.qini_coefficient > 0.03
    truth = world().electorate.truth
    assert 0.1 < movable(truth).mean() < 0.5
    assert abs(chance_of_moving(truth).mean() - movable(truth).mean()) < 0.05


@pytest.mark.parametrize(
    ("aucs", "status"), [((0.88, 0.87), 0), ((0.88, 0.85), 1), ((0.85, 0.88), 1), ((math.nan,), 1)]
)
def test_run_fails_where_one_model_reaches_too_little(
    aucs: tuple[float, ...], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = iter([(Line("support", 100, 50, 20, auc, 0.90), None) for auc in aucs])
    monkeypatch.setattr(command, "live", lambda _scale: World(world().electorate))
    monkeypatch.setattr(command, "recipes", lambda _names: list(aucs))
    monkeypatch.setattr(command, "learn", lambda *_given: next(lines))
    monkeypatch.setattr(sys, "argv", ["learning"])
    assert command.main() == status


@contextmanager
def nowhere() -> Iterator[tuple[str, str]]:
    yield "kafka:9092", "redis://redis:6379/0"


class Refusing:
    """A deployment whose commands are not run: each recipe has a line here, or its command fails."""

    lines: ClassVar[dict[str, CommandLine]] = {}
    taken: ClassVar[list[str]] = []
    refuses_models: ClassVar[bool] = False

    def __init__(self, kafka: str, redis_url: str) -> None:
        assert (kafka, redis_url) == ("kafka:9092", "redis://redis:6379/0")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def publish(self, weeks: Iterable[tuple[int, list[tuple[bytes, bytes]]]]) -> int:
        return len(list(weeks))

    def learn(self, _electorate: Electorate, recipe: Recipe, _out: Path) -> CommandLine:
        if recipe.name not in self.lines:
            message = f"exit status 1 of `groundswell train {recipe.name}`:\ntoo short"
            raise CommandFailedError(message)
        return self.lines[recipe.name]

    def take_in(self, name: str, _out: Path) -> str:
        self.taken.append(name)
        if self.refuses_models:
            message = "exit status 2 of `groundswell model import`:\nno such file"
            raise CommandFailedError(message)
        return ""


def took(auc: float) -> CommandLine:
    return CommandLine(
        Line("woken", 100, 50, 20, auc, 0.9), Ran("", 61.25, 31.5, 512_000_000), Ran("", 9, 8, 640_000_000)
    )


@pytest.mark.parametrize(
    ("aucs", "refuses_models", "status"),
    [
        ({"woken": 0.88, "turnout": 0.87}, False, 0),
        ({"woken": 0.7, "turnout": 0.9}, False, 1),
        ({"woken": 0.88}, False, 1),
        ({"woken": 0.88, "turnout": 0.87}, True, 1),
    ],
)
def test_live_run_fails_where_a_command_does_and_where_a_model_reaches_too_little(
    aucs: dict[str, float],
    refuses_models: bool,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Refusing, "refuses_models", refuses_models)
    monkeypatch.setattr(Refusing, "lines", {name: took(auc) for name, auc in aucs.items()})
    monkeypatch.setattr(Refusing, "taken", [])
    for name, put in (("Deployment", Refusing), ("_services", nowhere)):
        monkeypatch.setattr(command, name, put)
    monkeypatch.setattr(command, "learn_by_command", Refusing.learn)
    monkeypatch.setattr(command, "take_in", Refusing.take_in)
    monkeypatch.setattr(sys, "argv", ["learning", "turnout", "woken", "--live", "--voters", "10", "--days", "3"])
    assert command.main() == status
    said = capsys.readouterr().out
    assert "288 events of 10 voters in 3 days on kafka:9092" in said
    assert ("exit status 1 of `groundswell train turnout`" in said) == ("turnout" not in aucs)
    assert ("exit status 2 of `groundswell model import`" in said) == refuses_models
    assert Refusing.taken == [next(name for name in ("turnout", "woken") if name in aucs)]


def test_live_line_says_what_both_commands_took() -> None:
    assert len(str(took(0.88))) == len(COMMAND_HEAD)
    assert str(took(0.88)).split()[-6:] == ["61.2", "31.5", "512", "9.0", "8.0", "640"]
    assert str(took(0.7)).endswith(f"below {GOAL}")


def test_line_says_what_is_reached() -> None:
    line = Line("support", 100, 50, 20, 0.88, 0.90)
    assert abs(line.reached - 0.95) < 1e-9
    assert "below" not in str(line)
    assert f"below {GOAL}" in str(Line("support", 100, 50, 20, 0.85, 0.90))
