"""Campaign files: what is read, and what is refused with its words quoted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import ConfigurationError
from stream.triggers import read_campaign

CONFIGS = Path(__file__).parents[3] / "configs"
FIT = {
    "name": '"welcome"',
    "model": '"support"',
    "direction": '"up"',
    "threshold": "0.6",
    "rearm": "0.4",
    "cooldown": '"7d"',
}


def content(action: str = "", **changes: str) -> bytes:
    lines = [f"{key} = {value}" for key, value in {**FIT, **changes}.items() if value]
    return "\n".join([*lines, action]).encode()


def refusal(data: bytes) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_campaign(data)
    return str(caught.value)


def test_campaign_is_read() -> None:
    campaign = read_campaign(content('[action]\nz = "1"\na = "ünï"', description='"hello"'))
    assert (campaign.name, campaign.model, campaign.direction) == ("welcome", "support", "up")
    assert (campaign.threshold, campaign.rearm, campaign.cooldown_ms) == (0.6, 0.4, 604_800_000)
    assert campaign.action == (("a", "ünï"), ("z", "1"))
    assert campaign.description == "hello"


@pytest.mark.parametrize(
    ("text", "cooldown_ms"),
    [
        ("0", 0),
        ('"45s"', 45_000),
        ('"30m"', 1_800_000),
        ('"12h"', 43_200_000),
        ('"999999999d"', 86_399_999_913_600_000),
    ],
)
def test_cooldown_is_in_log_time(text: str, cooldown_ms: int) -> None:
    assert read_campaign(content(cooldown=text)).cooldown_ms == cooldown_ms


def test_dots_in_prose_are_no_key() -> None:
    prose = "Vote at www.example.org... or e.g. by mail. " * 20
    assert read_campaign(content(description=f'"{prose}"')).description == prose


def test_whole_numbers_are_numbers() -> None:
    campaign = read_campaign(content(threshold="1", rearm="-2"))
    assert (campaign.threshold, campaign.rearm) == (1.0, -2.0)
    assert isinstance(campaign.threshold, float)


def test_rearm_may_equal_the_threshold_in_either_direction() -> None:
    for direction in ('"up"', '"down"'):
        assert read_campaign(content(direction=direction, rearm="0.6")).rearm == 0.6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"treshold": "0.6"}, "unknown key 'treshold'"),
        ({"cooldown": ""}, "lacks the key 'cooldown'"),
        ({"name": '"Welcome"'}, "name is 'Welcome', expected 1 to 64"),
        ({"name": '"wel come"'}, "'wel come'"),
        ({"name": '"welcome\\n"'}, "'welcome\\n'"),
        ({"name": "7"}, "name is 7"),
        ({"model": '"9a"'}, "model is '9a'"),
        ({"model": "[]"}, "model is []"),
        ({"direction": '"sideways"'}, "direction is 'sideways', expected 'up' or 'down'"),
        ({"direction": "{}"}, "direction is {}"),
        ({"threshold": "true"}, "threshold is True"),
        ({"threshold": "nan"}, "threshold is nan"),
        ({"rearm": "-inf"}, "rearm is -inf"),
        ({"rearm": '"0.4"'}, "rearm is '0.4'"),
        ({"rearm": "2020-01-01"}, "rearm is datetime.date"),
        ({"rearm": "0.7"}, "rearm is 0.7, expected at most the threshold 0.6"),
        ({"direction": '"down"'}, "rearm is 0.4, expected at least the threshold 0.6"),
        ({"cooldown": "7"}, "cooldown is 7, expected 0 or a string"),
        ({"cooldown": "0.0"}, "cooldown is 0.0"),
        ({"cooldown": "false"}, "cooldown is False"),
        ({"cooldown": '"7w"'}, "cooldown is '7w'"),
        ({"cooldown": '"-7d"'}, "cooldown is '-7d'"),
        ({"cooldown": '"7d\\n"'}, "cooldown is '7d\\n'"),
        ({"cooldown": '"\u0667d"'}, "cooldown is '\u0667d'"),
        ({"description": "[]"}, "description is []"),
        ({"threshold": "0x" + "f" * 5000}, "threshold is"),
    ],
)
def test_unfit_campaign_is_refused_with_the_words_quoted(changes: dict[str, str], words: str) -> None:
    text = refusal(content(**changes))
    assert words in text
    assert len(text) < 400


@pytest.mark.parametrize(
    ("action", "words"),
    [('action = "mail"', "action is 'mail', expected a table"), ("[action]\nlimit = 5", "action 'limit' is 5")],
)
def test_action_holds_nothing_but_strings(action: str, words: str) -> None:
    assert words in refusal(content(action))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "lacks the key 'name'"),
        (b"\xff", "not readable as TOML"),
        (b"name = ", "not readable as TOML"),
        (content() + b"\nname = 'again'", "not readable as TOML"),
        (b"x = " + b"[" * 30_000, "not readable as TOML"),
        (b"x = " + b"9" * 5000, "not readable as TOML"),
        (b"a." * 32_000 + b"a = 1", "a key of more than 64 parts"),
        (b"x = {" + b"'a' . " * 10_000 + b"a = 1}", "a key of more than 64 parts"),
        (b"#" * (64 * 1024 + 1), "65537 bytes is too large"),
    ],
)
def test_hostile_bytes_are_refused(data: bytes, words: str) -> None:
    text = refusal(data)
    assert words in text
    assert len(text) < 400


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_refused(data: bytes) -> None:
    refusal(data)


def test_files_in_configs_are_fit_and_watch_a_model_that_is_there() -> None:
    files = sorted((CONFIGS / "campaigns").glob("*.toml"))
    assert len(files) >= 4
    for file in files:
        campaign = read_campaign(file.read_bytes())
        assert campaign.name == file.stem
        assert (CONFIGS / "models" / f"{campaign.model}.json").exists()
