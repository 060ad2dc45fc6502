"""The job by bytewax: state in memory, its snapshots in SQLite every 10 s (its recovery store), triggers at least once.

That is less than the others promise: what is read after the last snapshot is read again, and its triggers sent again.
It is measured from the first event to the end of the dataflow, at the end of the topic.
Usage: ``python -m load_tests.peers.wax BOOTSTRAP TOPIC TRIGGERS STATE_DIRECTORY``, in the contenders' own environment
(``load_tests/peers/requirements.txt``).
"""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from load_tests.job import HALF_LIFE_MS, REARM, THRESHOLD, WEIGHTS

_BATCH = 10_000
_SHARDS = 4


class Counted:
    """What was done since the first event."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.events = 0
        self.triggers = 0
        self.begun = (0.0, 0.0)

    def read(self, message: Any) -> tuple[str, tuple[dict[str, Any], int]] | None:
        """Return voter, event and append time in ms; None for a control record."""
        event = orjson.loads(message.value)
        if "subject" not in event:
            return None
        if not self.events:
            self.begun = time.perf_counter(), time.process_time()
        self.events += 1
        return event["subject"], (event, message.timestamp[1])

    def take(
        self, state: tuple[float, float, bool] | None, given: tuple[dict[str, Any], int]
    ) -> tuple[tuple[float, float, bool], dict[str, Any] | None]:
        """Take one event into its voter's state; return that, and its trigger, if any."""
        event, now = given
        at = datetime.fromisoformat(event["time"]).timestamp() * 1000
        score, last, armed = state or (0.0, at, True)
        score = score * 2.0 ** (-(at - last) / HALF_LIFE_MS) + WEIGHTS[event["type"]]
        current = score * 2.0 ** (-(now - at) / HALF_LIFE_MS)
        trigger = None
        if armed and current >= THRESHOLD:
            armed = False
            trigger = {"voter": event["subject"], "score": current, "cause": event["id"]}
            self.triggers += 1
        elif current <= REARM:
            armed = True
        return (score, at, armed), trigger


def _message(keyed: tuple[str, dict[str, Any] | None]) -> KafkaSinkMessage[bytes, bytes] | None:
    voter, trigger = keyed
    return None if trigger is None else KafkaSinkMessage(voter.encode(), orjson.dumps(trigger))


def main() -> None:
    """Run it, and print what was measured."""
    bootstrap, topic, triggers, directory = sys.argv[1:5]
    counted = Counted()
    flow = Dataflow("engagement")
    source = KafkaSource([bootstrap], [topic], tail=False, batch_size=_BATCH)
    events = op.filter_map("read", op.input("events", flow, source), counted.read)
    decided = op.stateful_map("take", events, counted.take)
    op.output("triggers", op.filter_map("spell", decided, _message), KafkaSink([bootstrap], triggers))
    init_db_dir(Path(directory), _SHARDS)
    cli_main(flow, recovery_config=RecoveryConfig(directory))
    wall, cpu = counted.begun
    result = {
        "events": counted.events,
        "triggers": counted.triggers,
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
    }
    print(orjson.dumps(result).decode())


if __name__ == "__main__":
    main()
