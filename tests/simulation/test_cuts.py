"""Any cut into batches, any merging of commits, any crash and replay: the same bytes, and the oracle's."""

from __future__ import annotations

import functools
import random
from collections import Counter

import orjson
import pytest

from stream.records import REJECT_REASONS, OutboxRow
from tests.logs import TOPIC, Log, generate
from tests.oracle import Output, Partition
from tests.signed_logs import generate_signed
from tests.simulation.engine import Manner, Run

SEEDS = range(200)
SIGNED_SEEDS = range(1000, 1080)


@functools.cache
def log_of(seed: int) -> Log:
    return generate_signed(seed) if seed in SIGNED_SEEDS else generate(seed)


@functools.cache
def judge(seed: int) -> tuple[Partition, dict[str, list[int]]]:
    """Return what the oracle makes of a log, and by voter the offsets at which an erasure took effect."""
    log = log_of(seed)
    partition = Partition(log.partition, log.count, log.contents, TOPIC, log.start, log.secrets)
    erasures: dict[str, list[int]] = {}
    for row in log.rows:
        before = {voter for voter, record in partition.voters.items() if record.consent == 3}
        partition.feed(row)
        for voter, record in partition.voters.items():
            if record.consent == 3 and voter not in before:
                erasures.setdefault(voter, []).append(row.offset)
    return partition, erasures


def manners(seed: int) -> list[Manner]:
    """Return the runs of one log: all at once, then cut, merged, evicted and crashed at random.

    One of each log is by library code, so that both it and the compiled loops give the same header and records.
    """
    chance = random.Random(seed)
    odd = seed % 2 == 1
    return [
        Manner(),
        Manner(longest_batch=chance.choice([1, 3]), commit=0.3, limit=2, send=0.3, reference=odd),
        Manner(
            longest_batch=chance.choice([5, 20]),
            commit=0.5,
            limit=chance.choice([1, 5]),
            crash=0.2,
            send=0.2,
            reference=not odd,
        ),
    ]


def bare(rows: list[Output] | list[OutboxRow]) -> list[tuple[object, ...]]:
    return [(row.sequence, row.partition, row.key, row.value, tuple(row.headers)) for row in rows]


def triggers_as_sent(seed: int, taken_at: list[int]) -> list[tuple[object, ...]]:
    """Return the oracle's triggers; one whose voter was erased before it was taken is a tombstone of its number."""
    partition, erasures = judge(seed)
    rows: list[tuple[object, ...]] = []
    for row, taken in zip(partition.outputs["triggers"], taken_at, strict=True):
        assert row.key is not None
        if any(row.made_at < offset < taken for offset in erasures.get(row.key.decode(), [])):
            number = (("groundswell-sequence", b"%d" % row.sequence), ("groundswell-tombstone", b"1"))
            rows.append((row.sequence, row.partition, None, None, number))
        else:
            rows += bare([row])
    return rows


@pytest.mark.parametrize("seed", [*SEEDS, *SIGNED_SEEDS])
async def test_any_cut_and_any_replay_gives_the_oracles_bytes(seed: int) -> None:
    partition, _ = judge(seed)
    headers = set()
    for number, manner in enumerate(manners(seed)):
        run = Run(log_of(seed), manner, seed * 10 + number)
        await run.run()
        assert run.header() == partition.header()
        assert run.records() == partition.records()
        assert bare(run.sent.rows["rejects"]) == bare(partition.outputs["rejects"])
        assert bare(run.sent.rows["forwards"]) == bare(partition.outputs["forwards"])
        assert bare(run.sent.rows["triggers"]) == triggers_as_sent(seed, run.sent.taken_at)
        headers.add(run.header_bytes())
    assert len(headers) == 1


async def test_logs_meet_every_decision() -> None:
    """The proof above is only as good as its logs: each outcome occurs, and often."""
    reasons: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    directions: Counter[str] = Counter()
    slots_reused = replaced = 0
    for seed in SEEDS:
        partition, erasures = judge(seed)
        reasons.update(dict(row.headers)["reason"].decode() for row in partition.outputs["rejects"])
        totals.update(partition.totals)
        totals.update({name: len(rows) for name, rows in partition.outputs.items()}, erased=len(erasures))
        for row in partition.outputs["triggers"]:
            why = orjson.loads(row.value or b"")["data"]["why"]
            directions.update(word for word in ("rose", "fell") if word in why)
        slots_reused += len(partition.slots["campaign"]) > 0 and None in partition.slots["campaign"]
        replaced += any(len({tag for tag in record.campaign_tag if tag}) > 8 for record in partition.voters.values())
    assert set(reasons) == {*REJECT_REASONS[1:]} - {"not_authorised"}
    assert min(reasons.values()) >= 20
    assert totals["triggers"] >= 2_000
    assert min(directions["rose"], directions["fell"]) >= 500
    assert min(totals[name] for name in ("duplicates", "suppressed", "forwards", "erased")) >= 50
    assert slots_reused >= 10
    assert replaced >= 10


async def test_signed_logs_meet_every_forgery_and_rotations() -> None:
    reasons: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for seed in SIGNED_SEEDS:
        partition, erasures = judge(seed)
        reasons.update(dict(row.headers)["reason"].decode() for row in partition.outputs["rejects"])
        outcomes["triggers"] += len(partition.outputs["triggers"])
        outcomes["erased"] += len(erasures)
        outcomes["rotated"] += partition.keys != partition.root
        outcomes["rotations"] += "keys.rotated" in partition.counters
        outcomes["forwarded"] += len(partition.origins) > 0
    assert set(reasons) == set(REJECT_REASONS[1:])
    assert reasons["not_authorised"] >= 300
    assert outcomes["triggers"] >= 500
    assert min(outcomes[name] for name in ("erased", "rotated", "rotations", "forwarded")) >= 10


async def test_runs_meet_crashes_evictions_and_withdrawn_triggers() -> None:
    crashes = evicted = withdrawn = 0
    for seed in list(SEEDS)[:40]:
        run = Run(log_of(seed), manners(seed)[2], seed * 10 + 2)
        await run.run()
        crashes += run.crashes
        evicted += run.evicted
        withdrawn += sum(row.key is None for row in run.sent.rows["triggers"])
    assert crashes >= 20
    assert evicted >= 100
    assert withdrawn >= 5
