"""Run the rotation from the command line."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from load_tests.faults.disk import enter_own_mounts
from load_tests.faults.kinds import KINDS
from load_tests.faults.rounds import Rotation


def main() -> int:
    """Break the world for some rounds; the exit status is 0 only if nothing at all was wrong."""
    arguments = argparse.ArgumentParser(description="Break brokers, Redis, workers and wires under load, and check.")
    arguments.add_argument("--rounds", type=int, default=200, help=f"at least {len(KINDS)}: every kind occurs")
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    if given.rounds < len(KINDS):
        arguments.error(f"--rounds is {given.rounds}, expected at least {len(KINDS)}: every kind must occur")
    enter_own_mounts(["load_tests.faults", *sys.argv[1:]])
    # Ended by a signal, all that runs is taken along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    directory = Path(tempfile.mkdtemp(prefix="groundswell-faults-"))
    print(f"seed {given.seed}, {given.rounds} rounds, in {directory}", flush=True)
    result = Rotation(directory, given.seed).run(given.rounds)
    print(result, flush=True)
    if result.holds:
        shutil.rmtree(directory)
        return 0
    print(f"kept: logs of workers and servers in {directory}", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
