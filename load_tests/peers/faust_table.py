"""A plain Faust agent with a Table: one event at a time, state in a changelog topic.

Usage: ``python -m load_tests.peers.faust_table BOOTSTRAP NAME TOPIC TRIGGERS COUNT PARTITIONS``. ``NAME`` is the app's:
its group, and what its changelog's name begins with.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import faust
import orjson

from load_tests.job import HALF_LIFE_MS, REARM, THRESHOLD, WEIGHTS


@dataclass
class Progress:
    """What was done since the first event."""

    events: int = 0
    triggers: int = 0
    wall: float = 0.0
    cpu: float = 0.0

    def finish(self) -> None:
        """Print what was measured, and end the process."""
        result = {
            "events": self.events,
            "triggers": self.triggers,
            "wall_seconds": time.perf_counter() - self.wall,
            "cpu_seconds": time.process_time() - self.cpu,
        }
        # Past Faust, which takes what is printed for a line of its log.
        os.write(1, b"\n" + orjson.dumps(result) + b"\n")
        os._exit(0)


def application(bootstrap: str, name: str, topic: str, triggers_topic: str, count: int, partitions: int) -> faust.App:
    """Return the app, with its one agent."""
    app = faust.App(
        name,
        broker=f"kafka://{bootstrap}",
        datadir=tempfile.mkdtemp(),
        topic_partitions=partitions,
        topic_replication_factor=1,
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
    )
    triggers = app.topic(triggers_topic, value_serializer="raw", key_serializer="raw")
    voters: Any = app.Table("voters", partitions=partitions)
    progress = Progress()

    async def engagement(stream: Any) -> None:
        async for passed in stream.events():
            if not progress.events:
                progress.wall, progress.cpu = time.perf_counter(), time.process_time()
            event = orjson.loads(passed.value)
            voter = event["subject"]
            at = datetime.fromisoformat(event["time"]).timestamp() * 1000
            score, last, armed = voters.get(voter) or (0.0, at, True)
            score = score * 2.0 ** (-(at - last) / HALF_LIFE_MS) + WEIGHTS[event["type"]]
            current = score * 2.0 ** (-(passed.message.timestamp * 1000 - at) / HALF_LIFE_MS)
            if armed and current >= THRESHOLD:
                armed = False
                value = orjson.dumps({"voter": voter, "score": current, "cause": event["id"]})
                await triggers.send(key=voter.encode(), value=value)
                progress.triggers += 1
            elif current <= REARM:
                armed = True
            voters[voter] = (score, at, armed)
            progress.events += 1
            if progress.events == count:
                await app.producer.flush()
                progress.finish()

    app.agent(app.topic(topic, value_serializer="raw", key_serializer="raw"))(engagement)
    return app


def main() -> None:
    """Run it as a Faust worker."""
    bootstrap, name, topic, triggers, count, partitions = sys.argv[1:7]
    app = application(bootstrap, name, topic, triggers, int(count), int(partitions))
    sys.argv[1:] = ["worker", "-l", "warn", "--without-web"]
    app.main()


if __name__ == "__main__":
    main()
