"""What goes wrong in a run, and when: drawn from its seed, and given as a list that can be shortened."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

PUBLISH_SECONDS: Final = 6.0
ROWS: Final = (20, 40, 60)
"""Rows published to each partition: how many a seed draws from."""
FAULTS: Final = (0, 2, 4, 6, 9, 14)
"""How many faults a seed draws from."""

KINDS: Final = {
    "kill": 6,
    "kill_in_steps": 6,
    "pause": 5,
    "zombie": 5,
    "stop": 2,
    "rebalance": 3,
    "slow_rebalance": 2,
    "redis_restart": 2,
    "redis_fall_back": 3,
    "redis_promote": 3,
    "redis_moved": 2,
    "redis_away": 2,
    "redis_loads": 1,
    "redis_cuts": 6,
    "redis_slow": 2,
    "kafka_cuts": 5,
    "kafka_slow": 2,
    "kafka_refuses": 3,
    "leader_moves": 3,
    "broker_dies": 2,
    "coordinator_moves": 2,
    "markers": 2,
    "trimmed_row_lost": 1,
    "clock_jumps": 2,
    "fetch_stalls": 2,
    "out_of_range": 1,
    "tail_lost": 1,
    # New kinds go to the end, and still change what every seed draws.
    "redis_lost": 2,
    "head_deleted": 2,
    "disk_full": 2,
    "snapshot_torn": 1,
}
"""By kind, how often it is drawn."""

CUT_OPERATIONS: Final = {
    "redis_cuts": ("", "commit", "commit", "claim", "get", "mget", "zrangebyscore", "zremrangebyscore"),
    "kafka_cuts": ("", "produce", "produce", "fetch", "init_producer_id", "add_partitions_to_txn", "end_txn"),
    "zombie": (
        "steps>claimed",
        "watch>claimed",
        "commit>claimed",
        "commit>fenced",
        "zrangebyscore>read",
        "zrangebyscore>read",
        "zrangebyscore>fenced",
        "produce>refilled",
        "produce>refilled",
    ),
}


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    at: float
    """Virtual seconds from the start."""
    kind: str
    target: int
    """Which worker, partition or node, counted modulo how many there are."""
    amount: float
    """From 0 to 1: how long, how far, how bad."""
    word: str = ""
    """The operation that is struck, where one is."""

    def __str__(self) -> str:
        """Return it as it is printed."""
        word = f", {self.word}" if self.word else ""
        return f"{self.at:7.3f} s {self.kind}({self.target}, {self.amount:.3f}{word})"


@dataclass(frozen=True)
class Scenario:
    """A seed, which draws everything else; what goes wrong; and how many rows each partition's publisher writes."""

    seed: int
    faults: tuple[Fault, ...]
    rows: int


def scenario_of(seed: int) -> Scenario:
    """Return the scenario that a seed draws."""
    chance = random.Random(f"plan {seed}")
    kinds, weights = list(KINDS), list(KINDS.values())
    rows = chance.choice(ROWS)
    faults = []
    for kind in chance.choices(kinds, weights, k=chance.choice(FAULTS)):
        word = chance.choice(CUT_OPERATIONS.get(kind, ("",)))
        at = round(chance.uniform(0.3, PUBLISH_SECONDS), 3)
        faults.append(Fault(at, kind, chance.randrange(12), chance.random(), word))
    return Scenario(seed, tuple(sorted(faults, key=lambda fault: fault.at)), rows)
