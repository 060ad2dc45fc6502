"""A publisher of skewed events at an even rate, in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import time
from multiprocessing.sharedctypes import RawValue
from typing import Any, Final

import confluent_kafka

from load_tests.workload import Skewed

_SLICE_SECONDS: Final = 0.02
_NICENESS: Final = 5
_FLUSH_SECONDS: Final = 90.0


class UnwrittenError(Exception):
    """Some events were not acknowledged."""


class Writing:
    """An idempotent producer that raises where anything was not written."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        """Connect; events go to the partition of their key, as Kafka's own clients choose it."""
        self._topic = topic
        self._failed: list[str] = []
        self._producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": bootstrap,
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 5,
                "queue.buffering.max.messages": 1_000_000,
                "enable.idempotence": True,
            }
        )

    def send(self, key: bytes, value: bytes) -> None:
        """Write one event, sooner or later."""
        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def serve(self, seconds: float = 0.0) -> None:
        """Hear what became of what was sent; raise UnwrittenError for what was not written."""
        self._producer.poll(seconds)
        if self._failed:
            message = f"{len(self._failed)} events were not written, first: {self._failed[0]}"
            raise UnwrittenError(message)

    def finish(self) -> None:
        """Wait until all is written; raise UnwrittenError for what was not."""
        left = self._producer.flush(_FLUSH_SECONDS)
        self.serve()
        if left:
            message = f"{left} events were not written within {_FLUSH_SECONDS:g} s"
            raise UnwrittenError(message)

    def _delivered(self, error: confluent_kafka.KafkaError | None, _: object) -> None:
        if error is not None:
            self._failed.append(str(error))


def _publish(bootstrap: str, topic: str, workload: Skewed, rate: float, stop: Any, sent: Any) -> None:
    # What is measured goes before what makes it work.
    os.nice(_NICENESS)
    writing = Writing(bootstrap, topic)
    begun, count = time.monotonic(), 0
    while not stop.value:
        due = int((time.monotonic() - begun) * rate) - count
        for key, value in workload.at(time.time_ns() // 1_000_000, max(due, 0)):
            writing.send(key, value)
        count += max(due, 0)
        sent.value = count
        writing.serve()
        time.sleep(max(begun + count / rate + _SLICE_SECONDS - time.monotonic(), 0.0))
    writing.finish()


class Publisher:
    """Publishes ``rate`` events a second from ``start`` to ``finish``, or as many as the machine allows."""

    def __init__(self, bootstrap: str, topic: str, workload: Skewed, rate: float) -> None:
        """Nothing runs yet."""
        # Without locks: one that a signal interrupts would be held for ever.
        self._stop = RawValue("b", 0)
        self._sent = RawValue("q", 0)
        arguments = (bootstrap, topic, workload, rate, self._stop, self._sent)
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_publish, args=arguments, daemon=True)

    def start(self) -> None:
        """Start to publish."""
        self._process.start()

    @property
    def sent(self) -> int:
        """How many events were sent."""
        return int(self._sent.value)

    def check(self) -> None:
        """Raise UnwrittenError if it has ended by itself."""
        if self._process.exitcode is not None and not self._stop.value:
            message = f"the publisher ended by itself with status {self._process.exitcode}"
            raise UnwrittenError(message)

    def finish(self) -> None:
        """Stop once everything is acknowledged; raise UnwrittenError where it was not."""
        self._stop.value = 1
        if self._process.pid is not None:
            self._process.join(_FLUSH_SECONDS + 10)
            if self._process.exitcode != 0:
                message = f"the publisher ended with status {self._process.exitcode}"
                raise UnwrittenError(message)
