"""A worker process on the batch transport: ``python -m tests.integration.batch_worker TOPIC START``.

It prints the offsets of each batch, and fails on a batch that holds the row ``b"poison"``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

import faust
from faust.types import TP

from stream.agents.engagement import end_process
from stream.transport import FAUST_SETTINGS, BatchHooks, Process
from tests.integration.outputs import BROKER


def main(topic: str, start: int) -> None:
    async def positions(assigned: frozenset[TP]) -> dict[TP, int]:
        return dict.fromkeys(assigned, start)

    async def revoked(_: frozenset[TP]) -> None:
        """Nothing is in flight."""

    async def consume(stream: Any) -> None:
        async for batches in stream:
            for columns in batches:
                rows = [columns.value(row) for row in range(len(columns))]
                os.write(1, b"rows %r\n" % columns.offsets.tolist())
                if b"poison" in rows:
                    message = f"poison in rows {columns.offsets.tolist()}"
                    raise ValueError(message)
                app.consumer.release(TP(topic, columns.partition), columns.epoch)

    directory = tempfile.TemporaryDirectory()
    app: Any = faust.App(
        f"group-{topic}", broker=f"batches://{BROKER}", web_enabled=False, datadir=directory.name, **FAUST_SETTINGS
    )
    app.batch_hooks = BatchHooks(positions, revoked, end_process, max_records=10)
    app.agent(app.topic(topic), name="batches")(consume)
    app.finalize()
    with directory:
        Process(app, loglevel="WARN").execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
