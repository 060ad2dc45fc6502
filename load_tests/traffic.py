"""Traffic for a deployment under test: what is active, and a publisher that is a process of its own."""

from __future__ import annotations

import json
import multiprocessing
import time
from multiprocessing.sharedctypes import RawValue
from typing import Any, Final

import numpy as np

from load_tests.deployment import Content, Deployment, wait_until
from stream.embedded.electorate import Electorate, Flaws
from stream.embedded.occasions import DAY_MS, RHYTHM
from stream.partitioning import partition_of

VOTERS: Final = 6000
SPEED: Final = 20.0
"""Seconds of the voters' time in a second of the test's; it runs ahead of the log, which allows a day."""
_SLICE_SECONDS: Final = 0.02
_FLAWS: Final = Flaws(duplicates=0.04, late=0.05, broken=0.005, misrouted=0.01)
_FLUSH_SECONDS: Final = 60
_PAUSE, _GO, _STOP = range(3)


def _model(name: str, weights: dict[str, float], bias: float = 0.0) -> Content:
    return Content(
        "model", name, json.dumps({"name": name, "kind": "linear", "bias": bias, "weights": weights}).encode()
    )


def _campaign(name: str, model: str, direction: str, threshold: float, rearm: float) -> Content:
    lines = (f'name = "{name}"', f'model = "{model}"', f'direction = "{direction}"', f"threshold = {threshold}")
    return Content("campaign", name, "\n".join((*lines, f"rearm = {rearm}", 'cooldown = "1s"')).encode())


def configurations() -> list[list[Content]]:
    """Return what is active at first, and what is made active on the way."""
    pause = _model("pause", {"hours_since_last_seen": 1.0})
    mood = _model("mood", {"social.like.decayed_1d": 0.5, "social.share.decayed_7d": 1.0, "sessions": 0.1})
    other = _model("mood", {"social.like.decayed_1d": 0.6, "social.comment.decayed_7d": 1.0})
    back = _campaign("back", "pause", "up", 0.06, 0.02)
    quick = _campaign("quick", "pause", "down", 0.01, 0.05)
    keen = _campaign("keen", "mood", "up", 3.0, 2.5)
    # Whatever the load and its bursts, triggers never cease.
    often = _campaign("often", "pause", "up", 0.02, 0.018)
    return [[pause, mood, back, keen, often], [pause, other, back, keen, quick, often]]


class Publisher:
    """Publishes a seeded electorate's events at an even rate; a process of its own: what it costs slows nobody down."""

    def __init__(self, deployment: Deployment, seed: int, events_per_second: float) -> None:
        """Nothing runs yet."""
        context = multiprocessing.get_context("spawn")
        # Without locks: one that a signal interrupts would be held for ever.
        self._word = RawValue("b", _PAUSE)
        self._copies = RawValue("b", 1)
        self._sent = RawValue("q", 0)
        self._flushed = RawValue("b", 1)
        shared = (self._word, self._copies, self._sent, self._flushed)
        self._process = context.Process(
            target=_publish, args=(deployment, seed, events_per_second, *shared), daemon=True
        )

    def start(self) -> None:
        """Start to publish, or go on."""
        self._word.value = _GO
        if self._process.pid is None:
            self._process.start()

    @property
    def sent(self) -> int:
        """How many events were sent."""
        return int(self._sent.value)

    def send_each(self, copies: int) -> None:
        """Send each event so many times from now on, one right after the other."""
        self._copies.value = copies

    def pause(self) -> None:
        """Stop for now, once everything is acknowledged; raise TimeoutError where it is not."""
        self._flushed.value = 0
        self._word.value = _PAUSE
        wait_until("the publisher's events are acknowledged", lambda: bool(self._flushed.value), 2 * _FLUSH_SECONDS)

    def finish(self) -> None:
        """Stop, once everything is acknowledged; raise RuntimeError where it was not."""
        self._word.value = _STOP
        if self._process.pid is not None:
            self._process.join(90)
            if self._process.exitcode != 0:
                message = f"the publisher ended with status {self._process.exitcode}"
                raise RuntimeError(message)

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process.pid is not None:
            self._process.kill()
            self._process.join()


def _publish(
    deployment: Deployment, seed: int, events_per_second: float, word: Any, copies: Any, sent: Any, flushed: Any
) -> None:
    electorate = Electorate(seed, time.time_ns() // 1_000_000, voters=VOTERS, flaws=_FLAWS)
    producer = deployment.producer()
    topic = deployment.topic("events")
    step_ms = int(_SLICE_SECONDS * SPEED * 1000)
    due = time.monotonic()
    while word.value != _STOP:
        if word.value == _PAUSE:
            if not flushed.value:
                producer.flush(_FLUSH_SECONDS)
                flushed.value = 1
            time.sleep(_SLICE_SECONDS)
            due = time.monotonic()
            continue
        time.sleep(max(due - time.monotonic(), 0.0))
        # As many by night as by day, so that it does not matter when it runs.
        hour = electorate.now_ms % DAY_MS / DAY_MS * 24
        rhythm = float(np.interp(hour, np.arange(25), np.append(RHYTHM, RHYTHM[0])))
        batch = electorate.until(electorate.now_ms + step_ms, events_per_second * _SLICE_SECONDS / rhythm)
        for key, value in batch:
            for _ in range(copies.value):
                producer.send(topic, value, key=key, partition=partition_of(key, deployment.partitions))
        sent.value += len(batch) * copies.value
        # What a broken broker held up is not made up for in one go.
        due = max(due + len(batch) / events_per_second, time.monotonic() - 0.5)
    producer.flush(_FLUSH_SECONDS)
    producer.close()
