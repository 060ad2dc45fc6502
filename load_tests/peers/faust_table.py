"""A plain Faust agent with a Table: one event at a time, state in a changelog topic.

Usage: ``python -m load_tests.peers.faust_table BOOTSTRAP TOPIC TRIGGERS COUNT PARTITIONS``; prints JSON and ends.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import uuid
from datetime import datetime
from typing import Any

import faust
import orjson

from load_tests.workload import HALF_LIFE_MS, REARM, THRESHOLD, WEIGHTS

bootstrap, topic_name, triggers_name, count, partitions = sys.argv[1:6]
app = faust.App(
    f"faust-table-{uuid.uuid4().hex[:8]}",
    broker=f"kafka://{bootstrap}",
    datadir=tempfile.mkdtemp(),
    topic_partitions=int(partitions),
    topic_disable_leader=True,
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
)
events = app.topic(topic_name, value_serializer="raw", key_serializer="raw")
triggers = app.topic(triggers_name, value_serializer="raw", key_serializer="raw")
voters: Any = app.Table("voters", partitions=int(partitions))
progress = {"events": 0, "triggers": 0, "wall": 0.0, "cpu": 0.0}


@app.agent(events)
async def engagement(stream: Any) -> None:
    """Fold each event into its voter's score; send a trigger where the threshold is crossed."""
    async for value in stream:
        if not progress["events"]:
            progress["wall"], progress["cpu"] = time.perf_counter(), time.process_time()
        event = orjson.loads(value)
        voter = event["subject"]
        at = datetime.fromisoformat(event["time"]).timestamp() * 1000
        score, last, armed = voters.get(voter) or (0.0, at, True)
        score = score * 2.0 ** (-(at - last) / HALF_LIFE_MS) + WEIGHTS[event["type"]]
        if armed and score >= THRESHOLD:
            armed = False
            await triggers.send(
                key=voter.encode(), value=orjson.dumps({"voter": voter, "score": score, "cause": event["id"]})
            )
            progress["triggers"] += 1
        elif score <= REARM:
            armed = True
        voters[voter] = (score, at, armed)
        progress["events"] += 1
        if progress["events"] == int(count):
            result = {
                "events": progress["events"],
                "triggers": progress["triggers"],
                "wall_seconds": time.perf_counter() - progress["wall"],
                "cpu_seconds": time.process_time() - progress["cpu"],
            }
            print(orjson.dumps(result).decode(), flush=True)
            os._exit(0)


if __name__ == "__main__":
    app.main()
