"""``make learn``: trains every recipe from some weeks of the electorate, and prints what of the truth it reaches."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from load_tests.learning.commands import COMMAND_HEAD, learn_by_command, take_in
from load_tests.learning.deployment import CommandFailedError, Deployment
from load_tests.learning.table import HEAD, learn, recipes
from load_tests.learning.world import Scale, live, people, weeks
from load_tests.rig import ADDRESSES
from stream.commands.temporary import ended_in_order
from stream.commands.training.recipes import Recipe
from stream.embedded import EmbeddedServices


def main() -> int:
    """Run from the command line; the exit status is 1 where a model reaches too little, or a command fails."""
    parser = argparse.ArgumentParser(prog="python -m load_tests.learning", description=__doc__)
    usual = Scale()
    parser.add_argument("recipes", nargs="*", help="only these")
    parser.add_argument("--voters", type=int, default=usual.voters)
    parser.add_argument("--days", type=int, default=usual.days)
    parser.add_argument("--events-a-day", type=float, default=usual.events_a_day, help="of each voter")
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--out", type=Path, help="where model files and cards go; else nowhere")
    parser.add_argument("--command", help="what cards say that made them")
    parser.add_argument(
        "--live",
        action="store_true",
        help="by the commands as they are typed, on a live broker's log: that of the environment "
        f"({', '.join(ADDRESSES)}), else the embedded one",
    )
    given = parser.parse_args()
    if given.live and given.command:
        parser.error("--command is of no use with --live: the cards say what made them there")
    begin = time.monotonic()
    scale, chosen = Scale(given.voters, given.days, given.events_a_day, given.seed), recipes(given.recipes)
    with ended_in_order(), tempfile.TemporaryDirectory() as place:
        out = given.out or Path(place)
        passed = _by_commands(scale, chosen, out) if given.live else _in_memory(scale, chosen, out, given.command)
    print(f"{time.monotonic() - begin:.0f} s")
    return 0 if passed else 1


def _in_memory(scale: Scale, chosen: Sequence[Recipe], out: Path, command: str | None) -> bool:
    """Train from a log in memory; return whether every model reaches enough."""
    world, passed = live(scale), True
    print(f"{len(world.records):,} events of {scale.voters:,} voters in {scale.days} days", flush=True)
    print(HEAD, flush=True)
    for recipe in chosen:
        line, _ = learn(world, recipe, out, command)
        passed = passed and line.passes
        print(line, flush=True)
    return passed


def _by_commands(scale: Scale, chosen: Sequence[Recipe], out: Path) -> bool:
    """Train by the commands from a live broker's log; return whether all succeed and every model reaches enough."""
    electorate, trained = people(scale), list[str]()
    with _services() as (kafka, redis_url), Deployment(kafka, redis_url) as deployment:
        count = deployment.publish(weeks(electorate, scale))
        print(f"{count:,} events of {scale.voters:,} voters in {scale.days} days on {kafka}", flush=True)
        print(COMMAND_HEAD, flush=True)
        passed = True
        for recipe in chosen:
            try:
                line = learn_by_command(deployment, electorate, recipe, out)
            except CommandFailedError as error:
                print(f"{recipe.name:<16}{error}", flush=True)
                passed = False
                continue
            trained.append(recipe.name)
            passed = passed and line.passes
            print(line, flush=True)
        try:
            for name in trained[:1]:
                print(take_in(deployment, name, out), end="", flush=True)
        except CommandFailedError as error:
            print(error, flush=True)
            passed = False
    return passed


@contextmanager
def _services() -> Iterator[tuple[str, str]]:
    """Give where Kafka and Redis are: those that the environment names, else embedded ones."""
    kafka, redis_url = (os.environ.get(name, "") for name in ADDRESSES)
    if kafka and redis_url:
        yield kafka, redis_url
        return
    with EmbeddedServices() as services:
        yield services.bootstrap_servers, services.redis_url


if __name__ == "__main__":
    sys.exit(main())
