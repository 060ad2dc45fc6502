"""An open loop: events at intended times, whatever becomes of them, from a process of its own.

Event ``i`` is meant to be sent ``i / rate`` seconds after the beginning, and latency counts from then: a publisher that
falls behind, or is made to wait, hides nothing (coordinated omission). One event in MARKED_EVERY is a *mark*: of a type
and a voter of its own, it alone triggers, at once, under any job with ``marked_weights``.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawArray, RawValue
from typing import Any, Final

import confluent_kafka
import numpy as np

from load_tests.job import WEIGHTS
from load_tests.workload import event, voter

MARK: Final = "donation.completed"
MARKED_EVERY: Final = 50
"""2 % of the events are triggers."""
ORDINARY: Final = 0.0001
"""The weight of the other types: however many a voter has, they trigger nothing."""
MARK_WEIGHT: Final = 9.0
VOTERS: Final = 100_000
SLICE_SECONDS: Final = 0.001
_FLUSH_SECONDS: Final = 60.0
_MOST_WAITING: Final = 2_000_000
"""Events handed over and not acknowledged: with more, the broker is behind, and so is what follows."""
_CHOSEN: Final = 1 << 20
_LATE_SLICES: Final = 1 << 20


def marked_weights() -> dict[str, float]:
    """Return the weights of a job under which marks trigger and nothing else does."""
    return {**dict.fromkeys(WEIGHTS, ORDINARY), MARK: MARK_WEIGHT}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is published: ``rate`` events a second for ``seconds``."""

    bootstrap: str
    topic: str
    rate: float
    seconds: float
    seed: int = 4

    @property
    def count(self) -> int:
        """How many events that are."""
        return int(self.rate * self.seconds)

    @property
    def marks(self) -> int:
        """How many of them are marks."""
        return -(-self.count // MARKED_EVERY)

    @property
    def voters(self) -> int:
        """How many voters there are: each is marked once at most."""
        return max(VOTERS, self.marks)


class Spelling:
    """The events of a plan, by number."""

    def __init__(self, plan: Plan) -> None:
        """Choose whose they are."""
        chance = np.random.default_rng(plan.seed)
        self._names = [voter(number).encode() for number in range(plan.voters)]
        self._marked: list[int] = chance.permutation(plan.voters).tolist()
        self._whose: list[int] = chance.integers(0, plan.voters, _CHOSEN).tolist()
        self._kinds: list[int] = chance.integers(0, len(WEIGHTS), _CHOSEN).tolist()
        self._types = list(WEIGHTS)

    def slice(self, first: int, stop: int, time_ms: int) -> list[dict[str, bytes]]:
        """Return the messages from ``first`` to before ``stop``, which happen at ``time_ms`` (ms since the epoch)."""
        moment = str(np.datetime64(time_ms, "ms"))
        messages = []
        for number in range(first, stop):
            place = number & (_CHOSEN - 1)
            if number % MARKED_EVERY:
                key, name = self._names[self._whose[place]], self._types[self._kinds[place]]
            else:
                key, name = self._names[self._marked[number // MARKED_EVERY]], MARK
            messages.append({"key": key, "value": event(number, name, key, moment)})
        return messages


def _publish(plan: Plan, begun: Any, sent: Any, late: Any) -> None:
    spelling = Spelling(plan)
    failed: list[str] = []
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": plan.bootstrap,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "queue.buffering.max.messages": 10_000_000,
            "queue.buffering.max.kbytes": 2_000_000,
            "enable.idempotence": True,
            "delivery.report.only.error": True,
        }
    )
    producer.list_topics(plan.topic)
    begun.value = time.monotonic_ns() + 50_000_000
    count = slices = 0
    while count < plan.count:
        now = time.monotonic_ns()
        due = min(int((now - begun.value) * 1e-9 * plan.rate), plan.count)
        if due > count:
            while len(producer) > _MOST_WAITING:
                producer.poll(0.01)
            messages = spelling.slice(count, due, time.time_ns() // 1_000_000)
            producer.produce_batch(plan.topic, messages, on_delivery=lambda error, _: failed.append(str(error)))
            # Of the slice's first event, once all of it was handed over.
            late[slices % _LATE_SLICES] = (time.monotonic_ns() - begun.value) * 1e-9 - count / plan.rate
            slices += 1
            count = due
            sent.value = count
        producer.poll(0)
        time.sleep(max(begun.value * 1e-9 + count / plan.rate + SLICE_SECONDS - time.monotonic(), 0.0))
    left = producer.flush(_FLUSH_SECONDS)
    if left or failed:
        message = f"{left + len(failed)} events were not written, first: {failed[:1]}"
        raise OSError(message)


class Publisher:
    """Publishes a plan in a process of its own, at its times or as soon after them as it can."""

    def __init__(self, plan: Plan) -> None:
        """Nothing runs yet."""
        self.plan = plan
        self._begun = RawValue("q", 0)
        self._sent = RawValue("q", 0)
        self._late = RawArray("d", _LATE_SLICES)
        context = multiprocessing.get_context("spawn")
        arguments = (plan, self._begun, self._sent, self._late)
        self._process = context.Process(target=_publish, args=arguments, daemon=True)

    def start(self) -> None:
        """Start, and wait until it has begun."""
        self._process.start()
        while not self._begun.value and self._process.exitcode is None:
            time.sleep(0.01)

    @property
    def sent(self) -> int:
        """How many events it has handed over."""
        return int(self._sent.value)

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return self._process.exitcode is not None

    def intended_ns(self, number: int) -> int:
        """Return when an event was meant to be sent, by the monotonic clock."""
        return int(self._begun.value + number / self.plan.rate * 1e9)

    def late_seconds(self) -> Sequence[float]:
        """Return by how much each slice's first event was sent too late, once it has ended."""
        found = np.frombuffer(self._late)
        return [float(seconds) for seconds in found[found > 0]]

    def finish(self) -> None:
        """Wait until all is written; raise OSError where it was not."""
        self._process.join(self.plan.seconds * 20 + _FLUSH_SECONDS)
        if self._process.exitcode != 0:
            message = f"the publisher ended with status {self._process.exitcode}"
            raise OSError(message)

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process.pid is not None:
            self._process.kill()
            self._process.join()
