"""``groundswell publish``: CloudEvents, one JSON object a line, checked and written to the log by kafka-python."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TextIO

import orjson
from kafka import KafkaProducer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from stream.columns import columns_of
from stream.commands.broker import producer
from stream.commands.lines import Lines
from stream.commands.topics import facts
from stream.errors import ConfigurationError
from stream.events import decode, misfit
from stream.interfaces import Decoded
from stream.records import CLOCK_TICK, KEYS_ROTATED, MAX_EVENT_BYTES, PRIVACY_ERASED, REJECT_REASONS, Keys
from stream.settings import Settings
from stream.signatures import Signer

MEANING: Final[Mapping[str, str]] = {
    "too_large": f"longer than {MAX_EVENT_BYTES} bytes",
    "not_json": "not JSON in UTF-8",
    "not_cloudevent": 'not a CloudEvent: specversion "1.0", id, source and type are needed, and JSON data',
    "unknown_type": "its type is not one of the known ones",
    "bad_subject": "its subject is not a voter id of 1 to 64 bytes without control characters",
    "bad_time": "its time is not an RFC 3339 date-time from 2000 on, or is more than 24 h ahead",
    "bad_data": "its data does not fit its type's schema",
    "wrong_partition": "it belongs elsewhere",
    "not_authorised": "an erasure must be signed here: name the key in force by --key",
    "control": "ticks, activations and rotations of keys are written by the worker and the commands for them alone",
}
"""By reason, what is wrong with a line."""

# Idempotent: what is sent again because no answer came is neither doubled nor out of order.
_TUNED: Final = {"enable_idempotence": True, "linger_ms": 5, "batch_size": 1 << 18}
_UNSENT_MOST: Final = 20_000
_PIECE_SECONDS: Final = 0.005


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast lines go."""

    rate: float | None = None
    """Events a second; None: as fast as the broker takes them."""
    follow_time: bool = False
    """Wait between two events as long as lies between their own times ..."""
    speed: float = 1.0
    """... divided by this."""

    def __post_init__(self) -> None:
        """Raise ConfigurationError for a pace that is none."""
        for name, value in (("rate", self.rate), ("speed", self.speed)):
            if value is not None and not 0 < value < float("inf"):
                message = f"{name} is {value!r}, expected a number above 0"
                raise ConfigurationError(message)
        if self.rate is not None and self.follow_time:
            message = "a rate and following the events' own times exclude each other"
            raise ConfigurationError(message)


@dataclass(slots=True)
class Published:
    """What became of the lines."""

    sent: int = 0
    """Acknowledged by the broker."""
    refused: Counter[str] = field(default_factory=Counter)
    """By reason, lines that were not sent."""

    def __str__(self) -> str:
        """Return both in a line."""
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.refused.items()))
        return f"{self.sent:,} sent, {self.refused.total():,} refused" + (f" ({reasons})" if reasons else "")


def publish(
    settings: Settings,
    source: str,
    pace: Pace = Pace(),
    published: Published | None = None,
    errors: TextIO | None = None,
    key: str | None = None,
) -> Published:
    """Publish the lines of a file (``-``: standard input), and return what became of them.

    Refused lines are named on ``errors`` (standard error where None), which also shows the progress if it is a
    terminal. With a keyring erasures are signed, by the key of id ``key`` (needed where there are several, since only
    the state knows which is in force). Counts are kept in ``published``, if given, for whoever breaks this off.
    Raises ConfigurationError where the source is unreadable or there is no such key, TopicError where the events topic
    is missing, KafkaUnavailableError where an event was not taken.
    """
    published = Published() if published is None else published
    errors = sys.stderr if errors is None else errors
    topic = settings.topic("events")
    partition_count = facts(settings).partition_count
    signing = _Signing(settings, key)
    lines = Lines(source, MAX_EVENT_BYTES)
    try:
        with producer(settings, "publishing", **_TUNED) as client, _progress(lines, errors) as advance:
            sending = _Sending(client, topic, published)
            schedule = _Schedule(pace, sending.flush)
            for chunk in lines.chunks():
                decoded = _check(chunk, partition_count)
                for row, (number, value) in enumerate(chunk):
                    reason = _reason(decoded, row) or signing.reason(decoded, row)
                    if reason:
                        published.refused[reason] += 1
                        why = f" ({_misfit(value)})" if reason == "bad_data" else ""
                        advance(f"line {number}: {reason}: {MEANING[reason]}{why}")
                    else:
                        schedule.wait(decoded, row)
                        headers = signing.headers(decoded, row, value)
                        sending.send(decoded.voters[row], value, int(decoded.homes[row]), headers)
                sending.collect()
                advance(None)
            sending.flush()
    finally:
        lines.close()
    return published


def _check(chunk: Sequence[tuple[int, bytes]], partition_count: int) -> Decoded:
    """Decode lines as the worker would, were they appended to the log now."""
    n = len(chunk)
    columns = columns_of(0, range(n), [0] * n, [None] * n, [value for _, value in chunk], [()] * n)
    return decode(columns, partition_count, time.time_ns() // 1_000_000)


def _reason(decoded: Decoded, row: int) -> str:
    if decoded.reject[row]:
        return REJECT_REASONS[decoded.reject[row]]
    return "control" if CLOCK_TICK <= decoded.kinds[row] <= KEYS_ROTATED else ""


def _misfit(value: bytes) -> str:
    """Return which field keeps an event's data from fitting its type; its value, which may be personal, stays out."""
    event = orjson.loads(value)
    return misfit(event["type"], event.get("data"))


class _Signing:
    """Signs the erasures among the events."""

    def __init__(self, settings: Settings, key: str | None) -> None:
        keyring = settings.keyring()
        if keyring is None and key is not None:
            message = f"key {key!r} is to sign, and there is no keyring: name one by security.keys_file"
            raise ConfigurationError(message)
        self._signer = None if keyring is None else Signer(keyring, settings.topic("events"), time.time_ns)
        self._keys: Keys = []
        if keyring is not None and (key is not None or len(keyring.ids) == 1):
            self._keys = keyring.named([key] if key is not None else keyring.ids)

    def reason(self, decoded: Decoded, row: int) -> str:
        """Return why an event cannot be signed that must be."""
        must = self._signer is not None and decoded.kinds[row] == PRIVACY_ERASED
        return "not_authorised" if must and not self._keys else ""

    def headers(self, decoded: Decoded, row: int, value: bytes) -> list[tuple[str, bytes]]:
        """Return the headers that an event goes with."""
        if self._signer is None or decoded.kinds[row] != PRIVACY_ERASED:
            return []
        return [self._signer.sign(self._keys, int(decoded.homes[row]), decoded.voters[row], value)]


class _Schedule:
    """Holds events back to their pace."""

    def __init__(self, pace: Pace, before_wait: Callable[[], None]) -> None:
        self._pace = pace
        self._before_wait = before_wait
        self._begin = time.monotonic()
        self._due = 0.0
        self._first_ms: int | None = None

    def wait(self, decoded: Decoded, row: int) -> None:
        """Return when the event's turn has come."""
        pace = self._pace
        if pace.rate is not None:
            due, self._due = self._due, self._due + 1.0 / pace.rate
        elif pace.follow_time:
            # Without a time of its own an event has the log's, and follows the one before it at once.
            if decoded.times[row] != decoded.now[row]:
                moment = int(decoded.times[row])
                self._first_ms = moment if self._first_ms is None else self._first_ms
                self._due = max(self._due, (moment - self._first_ms) / 1000.0 / pace.speed)
            due = self._due
        else:
            return
        ahead = self._begin + due - time.monotonic()
        if ahead > _PIECE_SECONDS:
            self._before_wait()
            time.sleep(max(self._begin + due - time.monotonic(), 0.0))


class _Sending:
    """Events on their way, and how many were acknowledged."""

    def __init__(self, client: KafkaProducer, topic: str, published: Published) -> None:
        self._client = client
        self._topic = topic
        self._published = published
        self._unsent: deque[Any] = deque()

    def send(self, key: bytes, value: bytes, partition: int, headers: list[tuple[str, bytes]]) -> None:
        self._unsent.append(self._client.send(self._topic, key=key, value=value, partition=partition, headers=headers))

    def collect(self, most: int = _UNSENT_MOST) -> None:
        """Count acknowledgements, and wait for the oldest ones while more than ``most`` are outstanding."""
        while self._unsent and (len(self._unsent) > most or self._unsent[0].is_done):
            self._unsent.popleft().get()
            self._published.sent += 1

    def flush(self) -> None:
        self._client.flush()
        self.collect(0)


@contextmanager
def _progress(lines: Lines, errors: TextIO) -> Iterator[Callable[[str | None], None]]:
    """Give what prints a refused line's text, or with None moves the bar, which only a terminal gets."""
    if not errors.isatty():

        def tell(text: str | None) -> None:
            if text is not None:
                print(text, file=errors)

        yield tell
        return
    console = Console(file=errors)
    columns = (TextColumn("publishing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("publishing", total=lines.size_bytes)

        def show(text: str | None) -> None:
            if text is not None:
                progress.console.print(text, highlight=False, markup=False, soft_wrap=True)
            else:
                progress.update(task, completed=lines.position_bytes())

        yield show
