"""A plain Faust agent with a Table: one event at a time, state in a changelog topic.

Usage: ``python -m load_tests.peers.faust_table BOOTSTRAP NAME TOPIC TRIGGERS COUNT PARTITIONS``. ``NAME`` is the app's:
its group, and what its changelog's name begins with.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

import faust
import orjson

from load_tests.peers.plain import Progress


def finish(progress: Progress) -> None:
    """Print what was measured, and end the process."""
    # Past Faust, which takes what is printed for a line of its log.
    os.write(1, b"\n" + orjson.dumps(progress.result()) + b"\n")
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
            progress.count()
            event = orjson.loads(passed.value)
            voter = event["subject"]
            voters[voter], trigger = progress.take(voters.get(voter), event, passed.message.timestamp * 1000)
            if trigger is not None:
                await triggers.send(key=voter.encode(), value=orjson.dumps(trigger))
            if progress.events == count:
                await app.producer.flush()
                finish(progress)

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
