"""What this project relies on in its transport and the group, over the simulated one and Faust's on Apache Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.contracts.groups import (
    ALL,
    HEARTBEAT_SECONDS,
    OFFSETS,
    SESSION_SECONDS,
    Entry,
    Limits,
    Scenario,
    Site,
    Tested,
    judge,
    play_on_apache,
    play_simulated,
)
from tests.contracts.kafka_clusters import BROKER
from tests.integration.outputs import until

SOON = SESSION_SECONDS - 1.0
"""Seconds in which nobody's session ends: what happens in time was told, and not found out."""

Play = Callable[[Scenario], None]


@pytest.fixture(
    params=[
        pytest.param(play_simulated, id="simulated"),
        pytest.param(play_on_apache, id="apache", marks=pytest.mark.kafka),
    ]
)
def play(request: pytest.FixtureRequest) -> Play:
    if request.param is play_on_apache and not BROKER:
        pytest.skip("GROUNDSWELL_TEST_KAFKA is not set")
    chosen: Play = request.param
    return chosen


def share(first: Tested, second: Tested) -> bool:
    """Return whether each holds something, and both together each partition once."""
    one, other = first.holds(), second.holds()
    return bool(one and other) and not one & other and one | other == ALL


def told(diary: list[Entry], member: Tested) -> list[str]:
    """Return what a member was told, without its batches."""
    return [entry.what for entry in diary if entry.member == member.name and entry.batch is None]


def test_every_partition_has_one_holder_as_members_come_and_go(play: Play) -> None:
    async def scenario(site: Site) -> None:
        first, second = site.member("first"), site.member("second")
        await first.start()
        await until(lambda: first.holds() == ALL)
        await second.start()
        await until(lambda: share(first, second), SOON)
        await second.leave()
        await until(lambda: first.holds() == ALL, SOON)
        await until(lambda: all(map(first.has_read, ALL)))
        judge(site.diary)

    play(scenario)


@pytest.mark.parametrize(("work_seconds", "answer"), [(1.0, "revoked"), (3600.0, "given up")])
def test_partition_goes_to_another_once_its_holder_has_answered_or_had_its_time(
    play: Play, work_seconds: float, answer: str
) -> None:
    async def scenario(site: Site) -> None:
        first = site.member("first", Limits(revoke_seconds=2.0))
        first.work_seconds = work_seconds
        await first.start()
        await until(lambda: first.holds() == ALL)
        second = site.member("second")
        await second.start()
        await until(lambda: share(first, second), SOON)
        assert told(site.diary, first)[:4] == ["asked", "revoking", answer, "asked"]
        assert told(site.diary, second) == ["asked"]
        judge(site.diary)

    play(scenario)


def test_batches_follow_from_the_position_given_and_from_each_seek(play: Play) -> None:
    async def scenario(site: Site) -> None:
        first, second = site.member("first"), site.member("second")
        first.starts = {0: 7, 1: 0, 2: 100}
        second.starts = {0: 40, 1: 41, 2: 42}
        await first.start()
        await until(lambda: all(map(first.has_read, ALL)))
        epoch = first.epoch(0)
        await first.reseek(0, 3)
        await until(lambda: first.epoch(0) > epoch and first.has_read(0))
        assert first.of(0)[0].start == 3
        epochs = {partition: first.epoch(partition) for partition in ALL}
        first.starts = {0: 30, 1: 31, 2: 32}
        await second.start()
        await until(lambda: share(first, second))
        members = {partition: first if partition in first.holds() else second for partition in ALL}
        await until(lambda: all(member.has_read(partition) for partition, member in members.items()))
        for partition, member in members.items():
            assert member.of(partition)[0].start == member.starts[partition]
            assert first.epoch(partition) > epochs[partition]
        judge(site.diary)

    play(scenario)


def test_no_more_batches_are_out_than_may_be_and_those_before_a_seek_do_not_count(play: Play) -> None:
    async def scenario(site: Site) -> None:
        member = site.member("first", Limits(in_flight_limit=3, max_records=10))
        member.kept = frozenset({0})
        await member.start()
        await until(lambda: member.has_read(1) and len(member.of(0)) >= 3)
        # Another partition was read to its end meanwhile, in more batches than may be out.
        assert len(member.of(1)) > 3
        assert len(member.of(0)) == 3
        member.release(member.of(0)[0])
        await until(lambda: len(member.of(0)) == 4)
        old, epoch = member.of(0), member.epoch(0)
        await member.reseek(0, 0)
        await until(lambda: member.epoch(0) > epoch and len(member.of(0)) == 3)
        for batch in old:
            member.release(batch)
        epoch = member.epoch(1)
        await member.reseek(1, 0)
        await until(lambda: member.epoch(1) > epoch and member.has_read(1))
        assert len(member.of(0)) == 3
        member.kept = frozenset()
        for batch in member.of(0):
            member.release(batch)
        await until(lambda: member.has_read(0))
        assert sum(map(len, member.of(0))) == len(OFFSETS)
        judge(site.diary)

    play(scenario)


def test_silent_member_loses_its_partitions_after_its_session_and_is_told_once_it_is_heard(play: Play) -> None:
    async def scenario(site: Site) -> None:
        clock = asyncio.get_running_loop().time
        first, second = site.member("first"), site.member("second")
        await first.start()
        await second.start()
        await until(lambda: share(first, second))
        before, since = len(site.diary), clock()
        epochs = {partition: first.epoch(partition) for partition in first.holds()}
        first.vanish()
        await until(lambda: second.holds() == ALL, SESSION_SECONDS + 10)
        assert clock() - since > SESSION_SECONDS - 2 * HEARTBEAT_SECONDS
        assert told(site.diary[before:], first) == ["silent"]
        first.speak()
        await until(lambda: share(first, second), SOON)
        assert told(site.diary[before:], first)[:4] == ["silent", "revoking", "revoked", "asked"]
        assert all(first.epoch(partition) > epoch for partition, epoch in epochs.items())
        judge(site.diary)

    play(scenario)
