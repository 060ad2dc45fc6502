"""What the worker logs, for a person at a console or for a machine; never personal data."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Literal

import orjson


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339), level, logger, message, and exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line).decode()
        except orjson.JSONEncodeError:
            # Half of a surrogate pair, as in a file name that is no UTF-8: the line is worth more than the character.
            return orjson.dumps(
                {name: text.encode("utf-8", "replace").decode() for name, text in line.items()}
            ).decode()


def is_ours(record: logging.LogRecord) -> bool:
    """Return whether a record is worth an operator's time: all but the framework's notes on its own parts."""
    return record.levelno >= logging.WARNING or not record.getMessage().startswith("[^")


def logging_config(level: str, style: Literal["console", "json"]) -> dict[str, Any]:
    """Return the argument of ``logging.config.dictConfig``: to standard error, at ``level`` and above.

    Faust and aiokafka speak of their own workings at the levels below warning; that is for their authors.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "console": {"format": "%(asctime)s %(levelname)-7s %(message)s"},
            "json": {"()": JsonFormatter},
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": style, "filters": [is_ours]}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "stream": {"level": level.upper()},
            # Silenced while a command or a start reports their errors itself.
            "aiokafka": {"level": "WARNING"},
            "kafka": {"level": "WARNING"},
        },
    }
