"""The job by bytewax: state in memory, its snapshots in SQLite every 10 s (its recovery store), triggers at least once.

That is less than the others promise: what is read after the last snapshot is read again, and its triggers sent again.
It is measured from the first event to the end of the dataflow, at the end of the topic.
Usage: ``python -m load_tests.peers.wax BOOTSTRAP TOPIC TRIGGERS STATE_DIRECTORY``, in the contenders' own environment
(``load_tests/peers/requirements.txt``).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from load_tests.peers.plain import Progress, State

_BATCH = 10_000
_SHARDS = 4


class Counted:
    """The job, and what was done since the first event."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.progress = Progress()

    def read(self, message: Any) -> tuple[str, tuple[dict[str, Any], int]] | None:
        """Return voter, event and append time in ms; None for a control record."""
        event = orjson.loads(message.value)
        if "subject" not in event:
            return None
        self.progress.count()
        return event["subject"], (event, message.timestamp[1])

    def take(self, state: State | None, given: tuple[dict[str, Any], int]) -> tuple[State, dict[str, Any] | None]:
        """Take one event into its voter's state; return that, and its trigger, if any."""
        return self.progress.take(state, *given)


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
    print(orjson.dumps(counted.progress.result()).decode())


if __name__ == "__main__":
    main()
