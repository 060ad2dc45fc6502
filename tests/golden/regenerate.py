"""``python -m tests.golden.regenerate [--logs]``: write what the engine makes of the golden logs.

Only for a new engine version (records.ENGINE_VERSION): a difference under the same version is a defect. With
``--logs`` the logs themselves are made anew from their seeds.
"""

from __future__ import annotations

import asyncio
import sys

from tests.golden.golden import NAMES, derive, dump, load, log_path, spell, summary_path, triggers_path
from tests.logs import TOPIC, Generator
from tests.oracle import Partition
from tests.signed_logs import generate_signed

SEEDS = {"swinging-scores": 1026, "some-append-times": 1016, "no-append-times": 1024, "hot-voters": 1034}
SIGNED_SEEDS = {"signed": 2091}
LENGTH = 400


async def regenerate(name: str) -> None:
    """Write one log's files; the oracle must agree before anything is written."""
    log = load(name)
    triggers, summary = await derive(log)
    oracle = Partition(log.partition, log.count, log.contents, TOPIC, log.start, log.secrets)
    for row in log.rows:
        oracle.feed(row)
    expected = [row.value or b"" for row in oracle.outputs["triggers"]]
    ours = {name: value for name, value in summary["header"].items() if name != "restoring"}
    if expected != triggers or oracle.header() != ours:
        message = f"{name}: the engine and the oracle differ; nothing is written"
        raise SystemExit(message)
    triggers_path(name).write_bytes(b"".join(trigger + b"\n" for trigger in triggers))
    summary_path(name).write_text(spell(summary))
    sys.stdout.write(f"{name}: {len(log.rows)} rows, {len(triggers)} triggers\n")


def main() -> None:
    """Write every file."""
    if "--logs" in sys.argv[1:]:
        for name, seed in SEEDS.items():
            log_path(name).write_bytes(dump(Generator(seed).run(LENGTH)))
        for name, seed in SIGNED_SEEDS.items():
            log_path(name).write_bytes(dump(generate_signed(seed, LENGTH)))
    for name in NAMES:
        asyncio.run(regenerate(name))


if __name__ == "__main__":
    main()
