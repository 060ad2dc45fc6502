"""Mistakes in TOML files are said with the line of the key that they are about."""

from __future__ import annotations

import tomllib

import pytest

from stream.errors import ConfigurationError
from stream.strictness import at_line

FILE = '''# a comment = 1
name = "x"
[action]
text = """
threshold = 7
[pages]
"""
channel = "mail"

[[pages]]
class = "home"

[[ pages ]]
"class" = "shop"
paths = [
  "/a = b",
]
[pages.words]
en = []

[[pages]]
words.de = []
[profile]
zones = ['''


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name is 'x'", 2),
        ("campaign 'welcome': name is 'x'", 2),
        ("a campaign's name is 'x'", 2),
        ("a campaign has the unknown key 'name', expected", 2),
        ("action.text is 3", 4),
        ("action.threshold is 3", 3),
        ("campaign 'welcome': action 'channel' is 3", 3),
        ("action.channel: 'mail', expected", 8),
        ("pages has 3 paths", 10),
        ("pages[1].class is 'home'", 11),
        ("pages[2].paths: '/a', expected", 15),
        ("pages[2].words.en is 3", 19),
        ("pages[2].words.es is 3", 18),
        ("pages[3].words.de is 3", 22),
        ("pages[3].class is missing", 21),
        ("pages[9].class is missing", 10),
        ("profile.zones is 3", 24),
    ],
)
def test_key_has_its_line_or_that_of_what_holds_it(text: str, line: int) -> None:
    data = f"{FILE}]\n".encode()
    tomllib.loads(data.decode())
    assert str(at_line(data, ConfigurationError(text))) == f"line {line}, {text}"


@pytest.mark.parametrize("text", ["other is 3", "a campaign lacks the key 'name'", "'x' is no name", "threshold is 3"])
def test_error_that_is_about_no_key_of_the_file_is_left(text: str) -> None:
    error = ConfigurationError(text)
    assert at_line(FILE.encode(), error) is error
