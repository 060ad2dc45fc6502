"""The limit: a straight-line script that does the job with confluent-kafka, orjson, Numba and MSET. No engine.

It is not correct under faults: a kill loses or doubles triggers, and nothing keeps a second one out. It is here for its
speed alone.
Usage: ``python -m load_tests.peers.straight_line BOOTSTRAP REDIS_URL KEY_PREFIX TOPIC TRIGGERS COUNT [OBJECTS]``. With
OBJECTS, Python looks for garbage as seldom as in the worker (its setting ``worker.garbage_objects``).
"""

from __future__ import annotations

import gc
import sys
import time
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import confluent_kafka
import numpy as np
import orjson
import redis
from numpy.typing import NDArray

from load_tests.job import HALF_LIFE_MS, REARM, THRESHOLD, WEIGHTS
from stream.compiled import kernel

RECORD: Final = np.dtype([("score", "<f8"), ("last_ms", "<f8"), ("armed", "?"), ("reserved", "u1", (751,))])
assert RECORD.itemsize == 768  # noqa: S101 (what the other does)
CAPACITY: Final = 200_000
BATCH: Final = 10_000


@kernel
def step(
    slots: NDArray[np.int64],
    weights: NDArray[np.float64],
    times: NDArray[np.float64],
    now: NDArray[np.float64],
    records: NDArray[Any],
    after: NDArray[np.float64],
    fired: NDArray[np.bool_],
) -> None:
    """Fold each event into its voter's score, in place, and say where the threshold was crossed."""
    for i in range(len(slots)):
        j = slots[i]
        r = records[j]
        score = r["score"] * 2.0 ** (-(times[i] - r["last_ms"]) / HALF_LIFE_MS) + weights[i]
        r["score"] = score
        r["last_ms"] = times[i]
        score *= 2.0 ** (-(now[i] - times[i]) / HALF_LIFE_MS)
        after[i] = score
        fired[i] = r["armed"] and score >= THRESHOLD
        if fired[i]:
            r["armed"] = False
        elif score <= REARM:
            r["armed"] = True


class Clients:
    """What a straight-line script has beside its records: clients of Kafka and Redis, and an index of voters."""

    def __init__(self, bootstrap: str, redis_url: str, prefix: str, triggers: str) -> None:
        """Connect."""
        self.store: Any = redis.Redis.from_url(redis_url)
        self.prefix = prefix
        self.triggers = triggers
        self.producer = confluent_kafka.Producer(
            {"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True}
        )
        self.index: dict[str, int] = {}
        self.keys: list[str] = []
        self.sent = 0

    def read(self, messages: Sequence[Any]) -> tuple[list[dict[str, Any]], list[str], NDArray[np.float64]]:
        """Return a batch's events, the voter of each and its append time in ms."""
        read = [(orjson.loads(message.value()), message.timestamp()[1]) for message in messages]
        # Control records have no subject.
        documents = [document for document, _ in read if "subject" in document]
        now = np.array([stamp for document, stamp in read if "subject" in document], np.float64)
        return documents, [document["subject"] for document in documents], now

    def slots(self, voters: Sequence[str]) -> NDArray[np.int64]:
        """Return each voter's slot; those not seen before are looked up in Redis, in one go."""
        new = [voter for voter in dict.fromkeys(voters) if voter not in self.index]
        if new:
            keys = [self.prefix + voter for voter in new]
            self.store.mget(keys)
            self.index.update(zip(new, range(len(self.keys), len(self.keys) + len(new)), strict=True))
            self.keys += keys
        return np.fromiter(map(self.index.__getitem__, voters), np.int64, len(voters))

    def send(self, voter: str, value: bytes) -> None:
        """Send one trigger."""
        self.producer.produce(self.triggers, value, key=voter)
        self.sent += 1

    def save(self, records: NDArray[Any], touched: NDArray[np.int64], events: int) -> None:
        """Write the touched records and how far it came, in one transaction; a batch without events touches none."""
        size = records.dtype.itemsize
        block = records[touched].tobytes()
        pipeline = self.store.pipeline(transaction=True)
        if len(touched):
            places = enumerate(touched.tolist())
            pipeline.mset({self.keys[slot]: block[k * size : (k + 1) * size] for k, slot in places})
        pipeline.incrby(self.prefix + "events", events)
        pipeline.execute()
        self.producer.poll(0)


class Script(Clients):
    """The script's state: every voter's record in memory."""

    def __init__(self, bootstrap: str, redis_url: str, prefix: str, triggers: str) -> None:
        """Connect, and compile the kernel."""
        super().__init__(bootstrap, redis_url, prefix, triggers)
        self.records = np.zeros(CAPACITY, RECORD)
        one = np.zeros(1)
        step(np.zeros(1, np.int64), one, one, one, self.records, one, np.zeros(1, np.bool_))
        self.records[:] = np.zeros((), RECORD)
        self.records["armed"] = True

    def take(self, messages: Sequence[Any]) -> int:
        """Take a batch through decoding, scoring, sending and storing; return how many events it held."""
        documents, voters, now = self.read(messages)
        n = len(documents)
        slots = self.slots(voters)
        weights = np.fromiter((WEIGHTS[document["type"]] for document in documents), np.float64, n)
        stamps = [datetime.fromisoformat(document["time"]).timestamp() * 1000 for document in documents]
        after, fired = np.empty(n), np.zeros(n, np.bool_)
        step(slots, weights, np.array(stamps), now, self.records, after, fired)
        for row in np.flatnonzero(fired).tolist():
            value = {"voter": voters[row], "score": float(after[row]), "cause": documents[row]["id"]}
            self.send(voters[row], orjson.dumps(value))
        self.save(self.records, np.unique(slots), n)
        return n


class Takes(Protocol):
    """What ``run`` needs of a script."""

    producer: Any
    sent: int

    def take(self, messages: Sequence[Any]) -> int:
        """Take a batch; return how many events it held."""


def run(script: Takes, bootstrap: str, topic: str, count: int) -> dict[str, float]:
    """Take ``count`` events from ``topic``; return events, triggers, wall and CPU seconds from the first batch on."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.min.bytes": 1,
            "fetch.queue.backoff.ms": 5,
            "queued.min.messages": 400_000,
            "queued.max.messages.kbytes": 1_000_000,
        }
    )
    consumer.subscribe([topic])
    seen = 0
    started = cpu = 0.0
    while seen < count:
        messages = consumer.consume(BATCH, 0.2)
        if messages:
            if not seen:
                started, cpu = time.perf_counter(), time.process_time()
            seen += script.take(messages)
    script.producer.flush()
    return {
        "events": seen,
        "triggers": script.sent,
        "wall_seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
    }


def main() -> None:
    """Run and print what was measured."""
    bootstrap, redis_url, prefix, topic, triggers, count, *garbage_objects = sys.argv[1:]
    script = Script(bootstrap, redis_url, prefix, triggers)
    if garbage_objects:
        gc.collect()
        gc.freeze()
        gc.set_threshold(int(garbage_objects[0]))
    result = run(script, bootstrap, topic, int(count))
    print(orjson.dumps(result).decode())


if __name__ == "__main__":
    main()
