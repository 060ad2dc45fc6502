"""``make learn``: trains every recipe from some weeks of the electorate, and prints what of the truth it reaches."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from load_tests.learning.table import HEAD, learn, recipes
from load_tests.learning.world import Scale, live


def main() -> int:
    """Run from the command line; the exit status is 1 where a model reaches too little."""
    parser = argparse.ArgumentParser(prog="python -m load_tests.learning", description=__doc__)
    usual = Scale()
    parser.add_argument("recipes", nargs="*", help="only these")
    parser.add_argument("--voters", type=int, default=usual.voters)
    parser.add_argument("--days", type=int, default=usual.days)
    parser.add_argument("--events-a-day", type=float, default=usual.events_a_day, help="of each voter")
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--out", type=Path, help="where model files and cards go; else nowhere")
    parser.add_argument("--command", help="what cards say that made them")
    given = parser.parse_args()
    begin = time.monotonic()
    world = live(Scale(given.voters, given.days, given.events_a_day, given.seed))
    print(f"{len(world.records):,} events of {given.voters:,} voters in {given.days} days", flush=True)
    print(HEAD, flush=True)
    passed = True
    with tempfile.TemporaryDirectory() as place:
        for recipe in recipes(given.recipes):
            line, _ = learn(world, recipe, given.out or Path(place), given.command)
            passed = passed and line.passes
            print(line, flush=True)
    print(f"{time.monotonic() - begin:.0f} s")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
