"""The course of a run: kind after kind strikes, and what came of it is judged from outside."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from load_tests.checker import Checker, Findings, report
from load_tests.faults.kinds import KINDS, Strike
from load_tests.faults.world import PARTITIONS, SESSION_SECONDS, World

CHECK_EVERY: Final = 8
"""Rounds between two checks."""
_ATTEMPTS: Final = 10
"""Times that a kind may strike idle in a row."""
BARE_FACTOR: Final = 1.2


@dataclass
class Round:
    """One fault, and what it met."""

    number: int
    kind: str
    strike: Strike
    refused: int
    """Commits that were refused, or whose answer did not come."""
    replayed: int
    """Rows that were done a second time, since Redis fell back."""
    ours_seconds: float
    """Longest time in which a partition got no further."""
    bare_seconds: float
    """The same of the bare consumer."""

    @property
    def struck(self) -> bool:
        """Whether it struck in the middle of work."""
        return bool(self.refused or self.replayed or self.strike.work.unsent)

    @property
    def bound_seconds(self) -> float:
        """How long a partition may stand still."""
        return BARE_FACTOR * self.bare_seconds + SESSION_SECONDS

    @property
    def is_late(self) -> bool:
        """Whether one stood still for longer."""
        return self.ours_seconds > self.bound_seconds

    def __str__(self) -> str:
        """Say it in a line."""
        work = self.strike.work
        return (
            f"round {self.number}: {self.kind}: {self.strike.what or 'done'}; {work.uncommitted} rows not committed, "
            f"{work.unsent} not sent, {self.refused} commits refused or unheard, {self.replayed} rows redone; longest "
            f"without progress {self.ours_seconds:.1f} s, bare {self.bare_seconds:.1f} s"
            f"{'' if self.struck else ' (idle)'}"
        )


@dataclass
class Result:
    """What a run did and what was found."""

    seed: int
    rounds: list[Round] = field(default_factory=list)
    idle: list[Round] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    sent: int = 0
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether nothing was wrong."""
        return self.findings.is_clean and not self.defects

    def __str__(self) -> str:
        """Say it in a table, and in lines."""
        width = max(map(len, KINDS))
        lines = [f"{'kind':{width}}  rounds  idle  longest without progress, ours  bare"]
        for kind in KINDS:
            rounds = [each for each in self.rounds if each.kind == kind]
            idle = sum(each.kind == kind for each in self.idle)
            ours = max((each.ours_seconds for each in rounds), default=0.0)
            bare = max((each.bare_seconds for each in rounds), default=0.0)
            lines.append(f"{kind:{width}}  {len(rounds):6}  {idle:4}  {ours:28.1f} s {bare:4.1f} s")
        lines.append(
            f"seed {self.seed}: {len(self.rounds)} rounds in work, {len(self.idle)} idle, {self.sent} events, "
            f"{self.seconds:.0f} s: {'all zero' if self.holds else 'FAILED'}"
        )
        return "\n".join([*lines, *(f"  ! {defect}" for defect in self.defects), report(self.findings)])


class Rotation:
    """One run: seeded moments and kinds, one world."""

    def __init__(self, directory: Path, seed: int) -> None:
        """Take a directory for all that is kept."""
        self.world = World(directory, seed)
        self.chance = random.Random(seed)
        self.result = Result(seed, defects=self.world.defects)

    def run(self, rounds: int) -> Result:
        """Do it all; nothing runs any more when it returns."""
        begun = time.monotonic()
        checker: Checker | None = None
        try:
            self.world.start()
            checker = Checker(self.world.kafka.direct, self.world.deployment.namespace, PARTITIONS)
            for number, kind in enumerate(order(rounds, self.chance), 1):
                self._round(number, kind)
                if number % CHECK_EVERY == 0 or number == rounds:
                    self._check(checker, number)
                    if not self.result.findings.is_clean:
                        break
            self.world.part()
        except TimeoutError as error:
            self.world.defects.append(f"after {len(self.result.rounds)} rounds: {error}")
        finally:
            self.world.close()
            if checker is not None:
                checker.close()
        self.result.sent = self.world.publisher.sent
        self.result.seconds = time.monotonic() - begun
        return self.result

    def _round(self, number: int, kind: str) -> None:
        for _ in range(_ATTEMPTS):
            done = self._strike(number, kind)
            print(done, flush=True)
            if done.struck:
                self.result.rounds.append(done)
                if done.is_late:
                    self.world.defects.append(f"too long without progress: {done}")
                return
            self.result.idle.append(done)
        self.world.defects.append(f"round {number}: {kind}: struck no work in {_ATTEMPTS} attempts")

    def _strike(self, number: int, kind: str) -> Round:
        world, chance = self.world, self.chance
        if chance.random() < 0.15:
            world.activate(chance.randrange(2))
        # A file that has grown from round to round would take its time to be read again.
        world.rewrite()
        time.sleep(chance.uniform(0.2, 1.0))
        before = world.refusals()
        world.watch.begin()
        strike = KINDS[kind](world, chance)
        world.settle()
        ours, bare, replayed = world.watch.longest()
        return Round(number, kind, strike, max(world.refusals() - before, 0), replayed, ours, bare)

    def _check(self, checker: Checker, number: int) -> None:
        self.world.drain()
        findings = checker.go_on(self.world.held())
        print(f"checked after round {number}: {findings.compared}", flush=True)
        if not findings.is_clean:
            self.world.defects.append(f"found after round {number}: {findings.examples}")
        self.result.findings.add(findings)
        self.world.publisher.start()


def order(rounds: int, chance: random.Random) -> list[str]:
    """Return the kinds of a run: all of them, again and again, in an order that chance gives."""
    kinds: list[str] = []
    while len(kinds) < rounds:
        kinds += chance.sample(list(KINDS), len(KINDS))
    return kinds[:rounds]
