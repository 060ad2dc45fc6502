"""The life of a model in one log: ten changes at their places, and any cut of it gives the oracle's bytes."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from stream.commands.verify import verify_sources
from stream.records import Header
from tests.logs import TOPIC, Generator, Log
from tests.oracle import Partition
from tests.simulation.engine import Manner, Run
from tests.simulation.test_cuts import bare, manners
from tests.simulation.topics import MemoryDeployment, work

SEEDS = range(2000, 2020)
EVERY = 40


class LifeGenerator(Generator):
    """Writes a log of one partition in which models come, are tried, promoted, taken back and retired."""

    def __init__(self, seed: int, place: tuple[int, int] | None = None) -> None:
        super().__init__(seed, place)
        self.named: dict[tuple[str, int], dict[str, Any]] = {
            (name, number): self.draw_model(name) for name in ("support", "turnout") for number in range(3)
        }
        self.on = {name: [self.draw_campaign(f"{name}-{n}", name) for n in range(3)] for name in ("support", "turnout")}

    def contents(self, *roles: tuple[str, int, str]) -> list[dict[str, Any]]:
        """Return models' versions in their roles, and the campaigns on those that are active."""
        entries = [{**self.named[name, number], "role": role} for name, number, role in roles]
        for entry in entries:
            if entry["role"] == "canary":
                entry["share"] = self.trying.choice([0.3, 0.5])
        active = [name for name, _, role in roles if role == "active"]
        return entries + [campaign for name in active for campaign in self.on[name]]

    def changes(self) -> list[list[dict[str, Any]]]:
        """Return what is active after each change."""
        support, turnout = ("support", 0, "active"), ("turnout", 0, "active")
        newer, former = ("support", 1, "active"), ("support", 0, "previous")
        return [
            self.contents(support, turnout),
            self.contents(support, turnout, ("support", 1, "shadow")),
            self.contents(support, turnout, ("support", 1, "canary")),
            self.contents(support, turnout, ("support", 1, "canary"), ("turnout", 1, "canary")),
            self.contents(newer, former, turnout, ("turnout", 1, "canary")),
            self.contents(newer, former, turnout, ("turnout", 2, "shadow")),
            self.contents(support, ("support", 1, "previous"), turnout, ("turnout", 2, "shadow")),
            self.contents(support, ("support", 1, "previous"), ("turnout", 0, "previous")),
            self.contents(support, ("support", 2, "canary"), ("turnout", 0, "previous")),
            self.contents(support, turnout),
            self.contents(support, turnout, ("support", 2, "canary"), ("turnout", 2, "shadow")),
        ]

    def live(self) -> Log:
        """Write the changes, each with events behind it."""
        for number, entries in enumerate(self.changes()):
            self.pass_time()
            fields = {"specversion": "1.0", "id": f"life{number}", "source": "/config", "type": "config.activated"}
            self.write(self.spell({**fields, "data": {"engine": 1, "contents": entries}}))
            for _ in range(EVERY):
                self.pass_time()
                self.write_event(self.event(self.voter()))
        return self.log


def judge(log: Log) -> Partition:
    partition = Partition(log.partition, log.count, log.contents, TOPIC, log.start, log.secrets)
    for row in log.rows:
        partition.feed(row)
    return partition


@pytest.mark.parametrize("seed", SEEDS)
async def test_log_of_ten_changes_gives_the_oracles_bytes_however_it_is_cut(seed: int) -> None:
    log = LifeGenerator(seed).live()
    partition = judge(log)
    cuts = [*manners(seed), Manner(longest_batch=random.Random(seed).choice([2, EVERY, 3 * EVERY]))]
    for number, manner in enumerate(cuts):
        run = Run(log, manner, seed * 10 + number)
        await run.run()
        assert run.header() == partition.header()
        assert run.records() == partition.records()
        assert bare(run.sent.rows["triggers"]) == bare(partition.outputs["triggers"])
        assert bare(run.sent.rows["rejects"]) == bare(partition.outputs["rejects"])


async def test_verify_passes_over_a_log_of_ten_changes_and_sees_a_role_that_is_not_the_logs() -> None:
    made = MemoryDeployment([LifeGenerator(SEEDS[0], (0, 1)).live()])
    for output, rows in (await work(made.sources(), 0, made.store(0))).sent.items():
        made.write(output, rows)
    report = await verify_sources(made.sources())
    assert (report.exit_status, report.not_compared) == (0, [])
    assert report.partitions[0].triggers > 20
    header = Header.from_bytes(made.server.values["{0}:header"])
    header.versions[0]["share"] = 0.75
    made.server.values["{0}:header"] = header.to_bytes()
    assert "field 'versions'" in str(await verify_sources(made.sources()))


def test_lives_meet_triggers_of_canaries_and_none_of_shadows() -> None:
    by_role = {"active": 0, "canary": 0}
    for seed in SEEDS:
        maker = LifeGenerator(seed)
        log = maker.live()
        begins = [row.offset for row in log.rows if b"life" in (row.value or b"") and b"config" in (row.value or b"")]
        changes = [orjson.loads(row.value or b"")["data"]["contents"] for row in log.rows if row.offset in begins]
        assert len(changes) == 11
        for trigger in judge(log).outputs["triggers"]:
            data = orjson.loads(trigger.value or b"")["data"]
            active = changes[sum(offset < trigger.made_at for offset in begins) - 1]
            roles = {(entry["name"], entry["sha256"]): entry["role"] for entry in active if "role" in entry}
            assert all(roles[item] in by_role for item in data["models"].items())
            by_role[roles[data["model"], data["models"][data["model"]]]] += 1
    assert min(by_role.values()) >= 50
