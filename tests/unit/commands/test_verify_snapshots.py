"""``verify`` from a snapshot: where the log's head is gone, or when only a later part is to be compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from stream.commands.verify import Bound, Report, verify_sources
from stream.records import Header
from stream.snapshots import MemorySnapshots
from stream.stores.memory import MemoryServer
from tests.logs import Generator
from tests.simulation.topics import Left, MemoryDeployment, work
from tests.unit.snapshots import kept

LENGTH = 250
PARTS = (60, 120)
"""So many rows lie before the first and the second snapshot."""


@dataclass
class Worked:
    """What a worker left, and the snapshots that were taken meanwhile."""

    deployment: MemoryDeployment
    storage: MemorySnapshots
    offsets: list[int]
    """Of the snapshots."""

    async def verify(self, first: Bound | None = None, *, snapshots: bool = True) -> Report:
        sources = self.deployment.sources()
        if snapshots:
            sources = replace(sources, snapshots=lambda _number: kept.catalogue(self.storage))
        return await verify_sources(sources, (first, None))

    @property
    def server(self) -> MemoryServer:
        return self.deployment.server


async def worked(seed: int = 1026, keep: int = 0) -> Worked:
    made = MemoryDeployment([Generator(seed, (0, 1)).run(LENGTH)])
    events = made.topic("events", 0)
    storage, offsets = MemorySnapshots(), list[int]()
    for number, rows in enumerate(PARTS):
        stop = events.records[rows].offset
        await send(made, await work(made.sources(), 0, made.store(0), until=stop, keep=keep))
        name = await kept.snapshot(storage, made.server, kept.CREATED_MS + number)
        offsets.append(name.offset)
    await send(made, await work(made.sources(), 0, made.store(0), keep=keep))
    return Worked(made, storage, offsets)


async def send(made: MemoryDeployment, left: Left) -> None:
    for output, rows in left.sent.items():
        made.write(output, rows)


def behead(made: Worked, offset: int) -> None:
    """Delete the events before an offset, as retention does."""
    made.deployment.topic("events", 0).drop_before(offset)


@pytest.mark.parametrize("seed", [1016, 1026, 7, 11])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("keep", [0, 3])
async def test_log_whose_head_is_gone_is_compared_from_the_first_snapshot_that_it_reaches(
    seed: int, place: int, keep: int
) -> None:
    made = await worked(seed, keep)
    behead(made, made.offsets[place])
    report = await made.verify()
    assert (report.difference, report.not_compared) == (None, [])
    done = report.partitions[0]
    assert done.header
    assert done.records == len([name for name in made.server.values if ":v:" in name])
    assert done.triggers > 5
    assert f", taken at offset {made.offsets[place]}, and the log up to offset {done.offset} gives" in str(report)


async def test_without_a_snapshot_that_the_log_reaches_nothing_is_compared() -> None:
    made = await worked()
    behead(made, made.offsets[0])
    (text,) = (await made.verify(snapshots=False)).not_compared
    assert "cannot be derived again, and no snapshot fits" in text
    behead(made, made.offsets[1] + 1)
    (text,) = (await made.verify()).not_compared
    assert text.count("retention passed it, a newer snapshot is needed") == 2


async def test_whole_log_is_replayed_whole_though_there_are_snapshots() -> None:
    report = await (await worked()).verify()
    assert "snapshot" not in str(report)
    assert report.exit_status == 0


@pytest.mark.parametrize(("extra", "place"), [((0, 0), 0), ((0, 5), 0), ((1, 0), 1), ((1, 9), 1)])
async def test_comparison_from_an_offset_begins_with_the_nearest_snapshot_before_it(
    extra: tuple[int, int], place: int
) -> None:
    made = await worked()
    report = await made.verify(Bound(offset=made.offsets[extra[0]] + extra[1]))
    assert report.exit_status == 0
    assert f"taken at offset {made.offsets[place]}, and the log" in str(report)


async def test_comparison_from_before_the_first_snapshot_replays_from_the_beginning() -> None:
    made = await worked()
    report = await made.verify(Bound(offset=made.offsets[0] - 1))
    assert report.exit_status == 0
    assert "snapshot" not in str(report)


async def test_state_behind_a_snapshot_is_not_compared_with_it() -> None:
    made = await worked()
    header = Header.from_bytes(made.server.values["{0}:header"])
    behead(made, made.offsets[1])
    made.server.values["{0}:header"] = replace(header, offset=made.offsets[1] - 1).to_bytes()
    (text,) = (await made.verify()).not_compared
    assert "no snapshot fits" in text


async def test_snapshot_that_was_altered_is_said_and_another_used() -> None:
    made = await worked()
    behead(made, made.offsets[0])
    first = (await kept.catalogue(made.storage).complete())[-1]
    name = f"_/0/{first.text}/voters-00000.zst"
    made.storage.files[name] = made.storage.files[name][:-1]
    report = await made.verify()
    assert report.exit_status == 0
    assert f"taken at offset {made.offsets[1]}" in str(report)


# --- differences are found as without one ------------------------------------------------------------------


def alter_trigger(made: Worked) -> None:
    topic = made.deployment.topic("triggers", 0)
    last = topic.records[-1]
    assert last.value is not None
    topic.records[-1] = replace(last, value=last.value.replace(b'"score_after":', b'"score_after": '))


def double_trigger(made: Worked) -> None:
    topic = made.deployment.topic("triggers", 0)
    topic.records.append(replace(topic.records[-1], offset=topic.end))
    topic.end += 1


def lose_reject(made: Worked) -> None:
    del made.deployment.topic("rejects", 0).records[-1]


def alter_record(made: Worked) -> None:
    name = next(name for name in made.server.values if ":v:" in name)
    data = made.server.values[name]
    made.server.values[name] = data[:-8] + bytes([data[-8] ^ 1]) + data[-7:]


def add_voter(made: Worked) -> None:
    made.server.values["{0}:v:nobody"] = kept.record(3)


def alter_header(made: Worked) -> None:
    header = Header.from_bytes(made.server.values["{0}:header"])
    header.totals["rows"] += 1
    made.server.values["{0}:header"] = header.to_bytes()


@pytest.mark.parametrize("damage", [alter_trigger, double_trigger, lose_reject, alter_record, add_voter, alter_header])
async def test_difference_behind_the_snapshot_is_found(damage: Callable[[Worked], None]) -> None:
    made = await worked()
    behead(made, made.offsets[0])
    damage(made)
    report = await made.verify()
    assert report.difference is not None
    assert report.exit_status == 1
