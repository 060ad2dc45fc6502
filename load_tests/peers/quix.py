"""The job by quixstreams, exactly-once: a RocksDB store with its changelog, a transaction for each commit.

Its commit interval is quixstreams' own, 5 s. It is measured from the first event to the end of ``run``, which commits.
Usage: ``python -m load_tests.peers.quix BOOTSTRAP NAME TOPIC TRIGGERS COUNT STATE_DIRECTORY``, in the contenders' own
environment (``load_tests/peers/requirements.txt``).
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import Any

from quixstreams import Application

from load_tests.peers.plain import Progress


@dataclass
class Engagement:
    """The job, until it has seen ``count`` events."""

    app: Application
    count: int
    progress: Progress = field(default_factory=Progress)

    def take(self, event: Any, _key: Any, now: int, _headers: Any, state: Any) -> dict[str, Any] | None:
        """Take one event into its voter's state; return its trigger, if any."""
        if "subject" not in event:
            return None  # a control record
        self.progress.count()
        after, trigger = self.progress.take(state.get("voter"), event, now)
        state.set("voter", after)
        if self.progress.events == self.count:
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
    print(json.dumps(job.progress.result()))


if __name__ == "__main__":
    main()
