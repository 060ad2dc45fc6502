"""The limit: a straight-line script that does the job with confluent-kafka, orjson, Numba and MSET. No engine.

It is not correct under faults: offset and records are two things, triggers may be doubled or lost. It is here for its
speed alone. Usage: ``python -m load_tests.peers.straight_line BOOTSTRAP REDIS_URL TOPIC TRIGGERS COUNT``; prints JSON.
"""

from __future__ import annotations

import sys
import time
import uuid
from datetime import datetime
from typing import Any

import confluent_kafka
import numpy as np
import orjson
import redis
from numpy.typing import NDArray

from load_tests.workload import HALF_LIFE_MS, REARM, THRESHOLD, WEIGHTS
from stream.compiled import kernel

RECORD_BYTES = 768
CAPACITY = 200_000


@kernel
def step(  # noqa: PLR0913, PLR0917
    slots: NDArray[np.int64],
    weights: NDArray[np.float64],
    times: NDArray[np.float64],
    scores: NDArray[np.float64],
    last: NDArray[np.float64],
    armed: NDArray[np.bool_],
    half_life_ms: float,
    threshold: float,
    rearm: float,
    after: NDArray[np.float64],
    fired: NDArray[np.bool_],
) -> None:
    """Fold each event into its voter's score, in place, and say where the threshold was crossed."""
    for i in range(len(slots)):
        j = slots[i]
        score = scores[j] * 2.0 ** (-(times[i] - last[j]) / half_life_ms) + weights[i]
        scores[j] = score
        last[j] = times[i]
        after[i] = score
        fired[i] = armed[j] and score >= threshold
        if fired[i]:
            armed[j] = False
        elif score <= rearm:
            armed[j] = True


def run(bootstrap: str, redis_url: str, topic: str, triggers: str, count: int) -> dict[str, float]:
    """Take ``count`` events from ``topic``; return events, triggers, wall and CPU seconds from the first batch on."""
    store: Any = redis.Redis.from_url(redis_url)
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
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True})
    consumer.subscribe([topic])
    index: dict[str, int] = {}
    scores, last = np.zeros(CAPACITY), np.zeros(CAPACITY)
    armed = np.ones(CAPACITY, np.bool_)
    records = np.zeros((CAPACITY, RECORD_BYTES), np.uint8)
    one = np.zeros(1)
    step(np.zeros(1, np.int64), one, one, scores, last, armed, HALF_LIFE_MS, THRESHOLD, REARM, one, armed[:1].copy())
    scores[0] = last[0] = 0.0
    seen = sent = 0
    started = cpu = 0.0
    while seen < count:
        messages = consumer.consume(10_000, 0.2)
        if not messages:
            continue
        if not seen:
            started, cpu = time.perf_counter(), time.process_time()
        n = len(messages)
        documents = [orjson.loads(message.value() or b"") for message in messages]
        voters = [document["subject"] for document in documents]
        new = [voter for voter in dict.fromkeys(voters) if voter not in index]
        if new:
            store.mget(new)
            index.update(zip(new, range(len(index), len(index) + len(new)), strict=True))
        slots = np.fromiter(map(index.__getitem__, voters), np.int64, n)
        weights = np.fromiter((WEIGHTS[document["type"]] for document in documents), np.float64, n)
        stamps = [datetime.fromisoformat(document["time"]).timestamp() * 1000 for document in documents]
        after, fired = np.empty(n), np.zeros(n, np.bool_)
        step(slots, weights, np.array(stamps), scores, last, armed, HALF_LIFE_MS, THRESHOLD, REARM, after, fired)
        for row in np.flatnonzero(fired).tolist():
            value = {"voter": voters[row], "score": float(after[row]), "cause": documents[row]["id"]}
            producer.produce(triggers, orjson.dumps(value), key=voters[row])
            sent += 1
        touched, first = np.unique(slots, return_index=True)
        records[touched, :8] = scores[touched].view(np.uint8).reshape(-1, 8)
        block = records[touched].tobytes()
        pipeline = store.pipeline(transaction=True)
        pipeline.mset(
            {voters[row]: block[k * RECORD_BYTES : (k + 1) * RECORD_BYTES] for k, row in enumerate(first.tolist())}
        )
        pipeline.set("offset", seen + n)
        pipeline.execute()
        producer.poll(0)
        seen += n
    producer.flush()
    return {
        "events": seen,
        "triggers": sent,
        "wall_seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
    }


if __name__ == "__main__":
    bootstrap, redis_url, topic, triggers, count = sys.argv[1:6]
    print(orjson.dumps(run(bootstrap, redis_url, topic, triggers, int(count))).decode())
