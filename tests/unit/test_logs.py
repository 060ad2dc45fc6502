"""Log lines: one JSON object each, and nothing of the framework's own workings."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Iterator

import orjson
import pytest

from stream.logs import JsonFormatter, is_ours, logging_config


def record_of(
    message: str, *args: object, level: int = logging.INFO, error: BaseException | None = None
) -> logging.LogRecord:
    traces = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord("stream.agents", level, "x.py", 1, message, args, traces)
    record.created = 1_790_000_000.1236
    return record


def test_line_is_one_json_object_with_time_level_logger_and_message() -> None:
    line = JsonFormatter().format(record_of("partition %d\nclaimed", 3))
    assert "\n" not in line
    assert orjson.loads(line) == {
        "time": "2026-09-21T14:13:20.123+00:00",
        "level": "info",
        "logger": "stream.agents",
        "message": "partition 3\nclaimed",
    }


def test_exception_is_a_field_of_its_line() -> None:
    try:
        raise ValueError("wrong")  # noqa: EM101
    except ValueError as error:
        line = JsonFormatter().format(record_of("failed", error=error))
    assert "ValueError: wrong" in orjson.loads(line)["exception"]
    assert "\n" not in line


def test_text_that_is_no_utf8_costs_a_character_not_the_line() -> None:
    line = JsonFormatter().format(record_of("cannot read %s", "caf\udce9.toml"))
    assert orjson.loads(line)["message"] == "cannot read caf?.toml"


@pytest.mark.parametrize(
    ("message", "level", "expected"),
    [
        ("[^Worker]: Starting...", logging.INFO, False),
        ("[^Worker]: Cannot start", logging.WARNING, True),
        ("partition 3 claimed", logging.INFO, True),
    ],
)
def test_framework_speaks_only_of_trouble(message: str, level: int, expected: bool) -> None:
    assert is_ours(record_of(message, level=level)) is expected


@pytest.fixture
def kept_logging() -> Iterator[None]:
    """Put the loggers back as they were."""
    root, ours = logging.getLogger(), logging.getLogger("stream")
    before = list(root.handlers), root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before
    logging.getLogger("stream").setLevel(before[2])


@pytest.mark.usefixtures("kept_logging")
@pytest.mark.parametrize("style", ["console", "json"])
def test_configured_level_holds_for_ours_and_others_speak_of_warnings(
    style: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.config.dictConfig(logging_config("info", "json" if style == "json" else "console"))
    logging.getLogger("stream.agents.partition").info("ours at info")
    logging.getLogger("stream.agents.partition").debug("ours at debug")
    logging.getLogger("another.library").info("others at info")
    logging.getLogger("another.library").warning("others at warning")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "ours at info" in lines[0]
    assert "others at warning" in lines[1]
    if style == "json":
        assert [orjson.loads(line)["level"] for line in lines] == ["info", "warning"]
