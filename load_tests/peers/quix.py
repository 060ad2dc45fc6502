"""The job by quixstreams, exactly-once: a RocksDB store with its changelog, a transaction for each commit.

Its commit interval is quixstreams' own, 5 s. It is measured from the first event to the end of ``run``, which commits.
Usage: ``python -m load_tests.peers.quix BOOTSTRAP NAME TOPIC TRIGGERS COUNT STATE_DIRECTORY``, in the contenders' own
environment (``load_tests/peers/requirements.txt``).
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from quixstreams import Application

from load_tests.job import HALF_LIFE_MS, REARM, THRESHOLD, WEIGHTS


@dataclass
class Engagement:
    """The job, and what was done since the first event."""

    app: Application
    count: int
    events: int = 0
    triggers: int = 0
    begun: tuple[float, float] = field(default=(0.0, 0.0))

    def take(self, event: Any, _key: Any, now: int, _headers: Any, state: Any) -> dict[str, Any] | None:
        """Take one event into its voter's state; return its trigger, if any."""
        if "subject" not in event:
            return None  # a control record
        if not self.events:
            self.begun = time.perf_counter(), time.process_time()
        at = datetime.fromisoformat(event["time"]).timestamp() * 1000
        score, last, armed = state.get("voter") or (0.0, at, True)
        score = score * 2.0 ** (-(at - last) / HALF_LIFE_MS) + WEIGHTS[event["type"]]
        current = score * 2.0 ** (-(now - at) / HALF_LIFE_MS)
        trigger = None
        if armed and current >= THRESHOLD:
            armed = False
            trigger = {"voter": event["subject"], "score": current, "cause": event["id"]}
            self.triggers += 1
        elif current <= REARM:
            armed = True
        state.set("voter", (score, at, armed))
        self.events += 1
        if self.events == self.count:
            self.app.stop()
        return trigger


def main() -> None:
    """Run it, and print what was measured."""
    bootstrap, name, topic, triggers, count, directory = sys.argv[1:7]
    app = Application(
        broker_address=bootstrap,
        consumer_group=name,
        auto_offset_reset="earliest",
        state_dir=directory,
        processing_guarantee="exactly-once",
        loglevel="ERROR",
    )
    job = Engagement(app, int(count))
    events = app.dataframe(app.topic(topic, key_deserializer="bytes", value_deserializer="json"))
    decided = events.apply(job.take, stateful=True, metadata=True).filter(lambda trigger: trigger is not None)
    decided.to_topic(app.topic(triggers, key_serializer="bytes", value_serializer="json"))
    app.run()
    wall, cpu = job.begun
    result = {
        "events": job.events,
        "triggers": job.triggers,
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
