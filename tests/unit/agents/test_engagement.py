"""All partitions of a worker: taken up, given back, and what operators see of them."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP

from stream.agents.engagement import EX_DEFECT, EX_STATE, Engagement, end_process
from stream.agents.partition import Partition
from stream.agents.surroundings import Observer
from stream.errors import StateMismatchError, StoreUnavailableError
from stream.metrics import Metrics
from stream.records import Commit, Header, OutboxRow, Records
from stream.stores.memory import Fault, MemoryServer, MemoryStore
from tests.unit.agents.worksite import TOPIC, Courier, Shelf, Site, Tape, activation, event, like, tick, turns, until

pytestmark = pytest.mark.usefixtures("kernels")


def tps(*numbers: int, topic: str = TOPIC) -> frozenset[TP]:
    return frozenset(TP(topic, number) for number in numbers)


class Office:
    """An engagement of partitions that work on Redis' twin."""

    def __init__(self, **changes: Any) -> None:
        self.server, self.shelf, self.metrics = MemoryServer(), Shelf(), Metrics()
        self.sites: dict[int, Site] = {}
        self.built: list[int] = []
        self.failures: list[BaseException] = []
        self.changes = changes
        self.engagement = Engagement(TOPIC, self._new, self.metrics, suspend_seconds=5.0, stalled_seconds=30.0)

    def _new(self, number: int, engagement: Engagement) -> Partition:
        observer = Observer(
            engagement.observe_batch,
            engagement.observe_commit,
            lambda _: None,
            lambda _: None,
            self.failures.append,
        )
        self.built.append(number)
        self.sites[number] = Site(self.server, Tape(number, 1), self.shelf, observer, **self.changes)
        return self.sites[number].partition

    async def assign(self, *numbers: int) -> dict[TP, int]:
        offsets = dict(await self.engagement.positions(tps(*numbers)))
        for tp, offset in offsets.items():
            self.sites[tp.partition].tape.seek(offset)
        return offsets

    async def work(self, number: int, *values: bytes) -> None:
        """Write rows to a partition's log, accept them, and return when they are committed."""
        site = self.sites[number]
        site.tape.write(*values)
        self.engagement.accept(site.tape.take(1000))
        await until(site.is_done)

    def series(self, name: str) -> list[str]:
        return [line for line in self.metrics.exposition().decode().splitlines() if line.startswith(name)]

    def value(self, line: str) -> float:
        (found,) = [text for text in self.metrics.exposition().decode().splitlines() if text.startswith(f"{line} ")]
        return float(found.rpartition(" ")[2])


@asynccontextmanager
async def open_office(**changes: Any) -> AsyncIterator[Office]:
    office = Office(**changes)
    try:
        yield office
        assert office.failures == []
    finally:
        await office.engagement.stop()
    assert len(asyncio.all_tasks()) == 1
    assert all(site.store.closed for site in office.sites.values())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that a test adds to both clocks."""
    late = [0.0]
    monotonic, seconds = time.monotonic, time.time
    clocks = SimpleNamespace(monotonic=lambda: monotonic() + late[0], time=lambda: seconds() + late[0])
    monkeypatch.setattr("stream.agents.engagement.time", clocks)
    return late


# --- rebalances ------------------------------------------------------------------------------------------


async def test_assigned_partitions_are_claimed_and_say_where_to_read() -> None:
    async with open_office() as office:
        assert await office.assign(0, 2) == {TP(TOPIC, 0): 0, TP(TOPIC, 2): 0}
        assert await office.engagement.positions(tps(0, 2) | tps(0, topic="other")) == {
            TP(TOPIC, 0): 0,
            TP(TOPIC, 2): 0,
        }
        assert office.built == [0, 2]
        assert office.value("groundswell_claims_total") == 4


async def test_partition_that_stays_goes_on_and_one_that_leaves_is_closed() -> None:
    async with open_office() as office:
        await office.assign(0, 1)
        await office.work(0, like("ada", 1))
        await office.work(1, like("bob", 1))
        await office.engagement.revoked(tps(0, 1))
        state = office.sites[0].partition.state
        left = office.sites[1]
        assert await office.assign(0) == {TP(TOPIC, 0): 1}
        assert office.sites[0].partition.state is state
        assert left.store.closed
        assert left.partition.state is None
        assert list(office.engagement.partitions) == [0]
        assert office.series('groundswell_voters_in_memory{partition="1"}') == []


async def test_nothing_assigned_lets_go_of_everything() -> None:
    async with open_office() as office:
        await office.assign(0, 1)
        await office.work(0, like("ada", 1))
        await office.engagement.revoked(tps(0, 1))
        assert await office.assign() == {}
        assert office.engagement.partitions == {}
        assert [line for line in office.metrics.exposition().decode().splitlines() if "partition=" in line] == []
        assert len(asyncio.all_tasks()) == 1


async def test_claims_cancelled_by_a_rebalance_are_made_by_the_next() -> None:
    async with open_office() as office:
        office.server.faults += [Fault("claim", StoreUnavailableError("away")) for _ in range(1000)]
        claiming = asyncio.create_task(office.assign(0, 1))
        await turns()
        claiming.cancel()
        await asyncio.wait([claiming])
        office.server.faults.clear()
        await office.engagement.revoked(tps(0, 1))
        assert await office.assign(0, 1) == {TP(TOPIC, 0): 0, TP(TOPIC, 1): 0}
        assert office.built == [0, 1]


async def test_partition_whose_closing_was_cancelled_is_closed_by_the_next_assignment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_office() as office:
        await office.assign(0, 1)
        store, gate = office.sites[1].store, asyncio.Event()
        close = store.close

        async def slow() -> None:
            await gate.wait()
            await close()

        monkeypatch.setattr(store, "close", slow)
        leaving = asyncio.create_task(office.assign(0))
        await turns()
        leaving.cancel()
        await asyncio.wait([leaving])
        assert not store.closed
        gate.set()
        await office.assign(0)
        assert store.closed
        assert list(office.engagement.partitions) == [0]


async def test_error_in_a_claim_leaves_to_the_transport() -> None:
    async with open_office() as office:
        office.server.faults.append(Fault("claim", StateMismatchError("damage")))
        with pytest.raises(StateMismatchError, match="damage"):
            await office.assign(0)


async def test_batch_of_a_partition_that_is_gone_is_dropped() -> None:
    async with open_office() as office:
        await office.assign(0, 1)
        site = office.sites[1]
        await office.assign(0)
        site.tape.write(like("ada", 1))
        office.engagement.accept(site.tape.take(10))
        await turns()
        assert office.value("groundswell_events_total") == 0


async def test_stop_commits_what_is_pending() -> None:
    office = Office(idle_commit_seconds=3600.0)
    await office.assign(0)
    site = office.sites[0]
    site.tape.write(tick(1))
    office.engagement.accept(site.tape.take(10))
    await until(lambda: office.value("groundswell_events_total") == 1)
    assert site.header().offset == 0
    await office.engagement.stop()
    assert site.header().offset == 1
    assert len(asyncio.all_tasks()) == 1


# --- metrics ---------------------------------------------------------------------------------------------


async def test_batches_and_commits_are_counted() -> None:
    async with open_office() as office:
        await office.assign(0)
        await office.work(0, activation(office.shelf.model(), office.shelf.campaign()))
        await office.work(0, *(like("ada", n) for n in range(3)), like("ada", 0), b"broken", like("bob", 1))
        for line, expected in (
            ("groundswell_events_total", 7),
            ("groundswell_folded_total", 4),
            ("groundswell_duplicates_total", 1),
            ('groundswell_rejects_total{reason="not_json"}', 1),
            ('groundswell_triggers_total{campaign="fan"}', 1),
            ('groundswell_score_count{model="likes",role="active"}', 4),
            ('groundswell_score_bucket{le="0.95",model="likes",role="active"}', 0),
            ('groundswell_score_bucket{le="+Inf",model="likes",role="active"}', 4),
            ("groundswell_commit_seconds_count", 2),
            ("groundswell_commit_records_total", 2),
            ("groundswell_log_to_commit_seconds_count", 2),
            ('groundswell_voters_in_memory{partition="0"}', 2),
        ):
            assert office.value(line) == expected, line
        assert "ada" not in office.metrics.exposition().decode()


def rows(*sequences: int) -> list[OutboxRow]:
    return [OutboxRow(sequence, 0, b"k", b"v") for sequence in sequences]


def commit_of(header: Header, *sequences: int) -> Commit:
    """Return a commit of one record's worth of nothing, with triggers of these sequences."""
    header.sequences["triggers"] = max(sequences, default=header.sequences["triggers"])
    return Commit(header.offset, header, Records.of([]), {"triggers": rows(*sequences)} if sequences else {})


async def test_time_to_a_trigger_is_told_once_for_each_commit_when_its_last_trigger_is_sent() -> None:
    async with open_office() as office:
        await office.assign(0)
        header = office.sites[0].header()
        for sequences in ((1, 2), (), (3, 4, 5)):
            office.engagement.observe_commit(0, commit_of(header, *sequences), 0.01, 1_000)
        count = "groundswell_log_to_trigger_seconds_count"
        for sent, expected in ((rows(1), 0), (rows(2, 3), 1), (rows(4), 1), (rows(5), 2), (rows(6), 2)):
            office.engagement.observe_sent("rejects", 0, sent)
            office.engagement.observe_sent("triggers", 0, sent)
            assert office.value(count) == expected
        assert office.value('groundswell_relay_sent_total{output="triggers"}') == 6


async def test_time_to_a_trigger_leaves_out_the_pause_before_it(clock: list[float]) -> None:
    async with open_office() as office:
        await office.assign(0)
        header = office.sites[0].header()
        header.sequences["triggers"] = 5
        start_ms = time.time_ns() // 1_000_000
        office.engagement.observe_commit(0, commit_of(header), 0.01, start_ms)
        clock[0] += 3600
        office.engagement.observe_commit(0, commit_of(header, 6), 0.01, start_ms + 3_600_000)
        office.engagement.observe_sent("triggers", 0, rows(6))
        assert office.value("groundswell_log_to_trigger_seconds_count") == 1
        assert office.value("groundswell_log_to_trigger_seconds_sum") < 60


async def test_trigger_whose_answer_was_lost_is_not_counted_with_the_next(clock: list[float]) -> None:
    async with open_office() as office:
        await office.assign(0)
        site, start_ms = office.sites[0], time.time_ns() // 1_000_000
        [triggers] = [couriers["triggers"] for couriers in site.couriers]
        office.engagement.observe_commit(0, commit_of(site.header(), 1), 0.01, start_ms)
        site.carries.set()
        triggers.wake(1)
        await until(lambda: triggers.backlog == 0)
        office.engagement.complaints({})
        clock[0] += 3600
        office.engagement.observe_commit(0, commit_of(site.header(), 2), 0.01, start_ms + 3_600_000)
        office.engagement.observe_sent("triggers", 0, rows(2))
        assert office.value("groundswell_log_to_trigger_seconds_count") == 2
        assert office.value("groundswell_log_to_trigger_seconds_sum") < 60


async def test_triggers_of_a_former_claim_are_not_counted() -> None:
    async with open_office() as office:
        await office.assign(0)
        site = office.sites[0]
        office.engagement.observe_commit(0, commit_of(site.header(), 1), 0.01, 1_000)
        await MemoryStore(office.server, site.prefix).claim("other", None)
        site.tape.write(like("ada", 1))
        office.engagement.accept(site.tape.take(1))
        await until(lambda: site.tape.sought)
        site.carries.set()
        office.engagement.observe_sent("triggers", 0, rows(1))
        assert office.value("groundswell_log_to_trigger_seconds_count") == 0


async def test_triggers_of_a_former_claim_that_are_never_sent_hold_up_no_others() -> None:
    async with open_office() as office:
        await office.assign(0)
        header = office.sites[0].header()
        office.engagement.observe_commit(0, commit_of(replace(header, owner="former"), 100), 0.01, 1_000)
        office.engagement.observe_commit(0, commit_of(header, 85), 0.01, 1_000)
        office.engagement.observe_sent("triggers", 0, rows(85))
        assert office.value("groundswell_log_to_trigger_seconds_count") == 1


async def test_backlog_is_shown_while_nothing_is_sent_and_after_an_answer_was_lost() -> None:
    async with open_office() as office:
        await office.assign(0)
        site = office.sites[0]
        await office.work(0, activation(office.shelf.model(), office.shelf.campaign()))
        await office.work(0, *(like("ada", n) for n in range(3)))
        office.engagement.complaints({})
        line = 'groundswell_relay_backlog{output="triggers",partition="0"}'
        assert office.value(line) == 1
        # Sent, though nobody was told so: trimmed after an answer that did not come.
        site.carries.set()
        await until(lambda: site.couriers[0]["triggers"].backlog == 0)
        office.engagement.complaints({})
        assert office.value(line) == 0


async def test_backlog_is_not_shown_before_the_outbox_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_office() as office:
        await office.assign(0)
        triggers = office.sites[0].couriers[0]["triggers"]
        monkeypatch.setattr(Courier, "sent_through", None)
        triggers.wake(1_000_000)
        office.engagement.complaints({})
        assert office.series("groundswell_relay_backlog{") == []


async def test_what_the_taxonomy_does_not_list_is_counted_by_what_it_is() -> None:
    async with open_office() as office:
        await office.assign(0)
        opened = [event("message.opened", "ada", f"m{n}", {"channel": "pigeon"}) for n in range(2)]
        await office.work(0, event("social.follow", "ada", "f", {"account": "nobody"}), *opened)
        counted = {"side": 1, "channel": 2, "page": 0}
        assert {name: office.value(f'groundswell_unknown_total{{field="{name}"}}') for name in counted} == counted


async def test_late_news_of_a_partition_that_is_gone_brings_no_series_back() -> None:
    async with open_office() as office:
        await office.assign(0, 1)
        await office.work(1, like("ada", 1))
        header, outcome = office.sites[1].header(), (await outcomes(1))[0]
        await office.assign(0)
        office.engagement.observe_batch(1, outcome, 0.1)
        office.engagement.observe_commit(1, commit_of(header, 1), 0.1, 1_000)
        office.engagement.observe_sent("triggers", 1, rows(1))
        office.engagement.complaints({0: 10, 1: 10})
        assert [line for line in office.metrics.exposition().decode().splitlines() if 'partition="1"' in line] == []


async def outcomes(number: int) -> list[Any]:
    """Return what one like of one voter comes to."""
    site = Site(MemoryServer(), Tape(number), Shelf())
    await site.open()
    await site.work(like("ada", 1))
    await site.partition.close()
    return site.outcomes


# --- readiness -------------------------------------------------------------------------------------------


async def test_worker_is_not_ready_before_its_first_claims_are_done(clock: list[float]) -> None:
    async with open_office() as office:
        assert "assigned nothing yet" in office.engagement.complaints({})[0]
        office.server.faults += [Fault("claim", StoreUnavailableError("away")) for _ in range(1000)]
        claiming = asyncio.create_task(office.assign(0))
        await turns()
        assert len(office.engagement.complaints({0: 5})) == 1
        office.server.faults.clear()
        await claiming
        assert office.engagement.complaints({0: 5}) == []


async def test_worker_left_without_a_partition_stands_by_ready(clock: list[float]) -> None:
    async with open_office() as office:
        await office.assign()
        assert office.engagement.complaints({}) == []
        clock[0] += 3600
        assert office.engagement.complaints({}) == []


async def test_group_that_comes_to_no_assignment_makes_unready(clock: list[float]) -> None:
    async with open_office() as office:
        await office.assign(0)
        await office.engagement.revoked(tps(0))
        assert office.engagement.complaints({}) == []
        clock[0] += 31
        assert office.engagement.complaints({}) == ["the group has not assigned partitions for 31 s"]
        await office.assign(0)
        assert office.engagement.complaints({}) == []


async def test_claim_that_hangs_makes_unready(clock: list[float]) -> None:
    async with open_office() as office:
        await office.assign(0)
        office.server.faults += [Fault("read_header", StoreUnavailableError("away")) for _ in range(1000)]
        claiming = asyncio.create_task(office.assign(0, 1))
        await turns()
        assert office.engagement.complaints({0: 9, 1: 9}) == []
        clock[0] += 31
        lines = office.engagement.complaints({0: 9, 1: 9})
        assert lines == ["partition 0 is not claimed after 31 s", "partition 1 is not claimed after 31 s"]
        office.server.faults.clear()
        await claiming
        assert office.engagement.complaints({0: 0, 1: 0}) == []


async def test_lag_without_a_commit_makes_unready_however_much_is_processed(clock: list[float]) -> None:
    async with open_office() as office:
        await office.assign(0)
        await office.work(0, like("ada", 1))
        site = office.sites[0]
        site.store.gate.clear()
        site.tape.write(like("ada", 2), like("ada", 3))
        office.engagement.accept(site.tape.take(1))
        await until(lambda: office.value("groundswell_events_total") == 2)
        clock[0] += 31
        assert office.engagement.complaints({0: 3}) == ["partition 0 stands at 1 of 3 for 31 s"]
        assert office.value('groundswell_lag_events{partition="0"}') == 1
        site.store.gate.set()
        await until(lambda: site.partition.committed_offset == 2)
        assert office.engagement.complaints({0: 3}) == []


async def test_partition_without_lag_is_never_late(clock: list[float]) -> None:
    async with open_office() as office:
        await office.assign(0)
        await office.work(0, like("ada", 1))
        for _ in range(3):
            clock[0] += 31
            assert office.engagement.complaints({0: 1}) == []
        # New rows have their full time from when they came.
        assert office.engagement.complaints({0: 2}) == []
        clock[0] += 31
        assert len(office.engagement.complaints({0: 2})) == 1


async def test_standstill_is_told_by_partition_and_ends_with_a_commit(clock: list[float]) -> None:
    async with open_office() as office:
        await office.assign(0, 1)
        ends = {0: 2, 1: 0}

        def standstills() -> list[float]:
            office.engagement.complaints(ends)
            return [office.value(f'groundswell_standstill_seconds{{partition="{number}"}}') // 1 for number in (0, 1)]

        await office.work(0, like("ada", 1))
        clock[0] += 400
        assert standstills() == [400, 0]
        # Behind still, and further than before, but on its way.
        ends[0] = 1000
        await office.work(0, like("ada", 2))
        assert standstills() == [0, 0]
        clock[0] += 7
        assert standstills() == [7, 0]
        ends[0] = 2
        assert standstills() == [0, 0]


async def test_standstill_is_told_of_a_first_claim_that_hangs(clock: list[float]) -> None:
    async with open_office() as office:
        office.server.faults += [Fault("claim", StoreUnavailableError("away")) for _ in range(1000)]
        claiming = asyncio.create_task(office.assign(0))
        await turns()
        clock[0] += 400
        office.engagement.complaints({0: 5})
        assert office.value('groundswell_standstill_seconds{partition="0"}') // 1 == 400
        office.server.faults.clear()
        await claiming


async def test_backlog_that_stands_still_makes_unready_however_it_grows(clock: list[float]) -> None:
    async with open_office() as office:
        await office.assign(0)
        triggers = office.sites[0].couriers[0]["triggers"]

        def complaints() -> list[str]:
            return office.engagement.complaints({0: 0})

        assert complaints() == []
        clock[0] += 31
        triggers.wake(2)
        assert complaints() == []
        clock[0] += 31
        triggers.wake(9)
        assert complaints() == ["partition 0 has sent its triggers through 0 of 9 and no more for 31 s"]
        line = 'groundswell_relay_standstill_seconds{output="triggers",partition="0"}'
        assert office.value(line) // 1 == 31
        # What is sent slowly is sent.
        triggers.carry(through=5)
        assert complaints() == []
        clock[0] += 31
        assert complaints() == ["partition 0 has sent its triggers through 5 of 9 and no more for 31 s"]
        triggers.carry(through=9)
        for _ in range(2):
            assert complaints() == []
            assert office.value(line) == 0
            clock[0] += 31


# --- the end ---------------------------------------------------------------------------------------------


class Ended(Exception):  # noqa: N818 (it stands for the process' end)
    pass


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Statuses that the process would have ended with."""
    statuses: list[int] = []

    def end(status: int) -> None:
        statuses.append(status)
        raise Ended

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    return statuses


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def test_state_that_does_not_fit_ends_the_process_with_its_own_words(
    ends: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Ended):
        end_process(StateMismatchError("partition 3 stands elsewhere: run `groundswell restore`"))
    assert ends == [EX_STATE]
    assert "stopped: partition 3 stands elsewhere: run `groundswell restore`" in caplog.text


def test_defect_ends_the_process_with_its_place_and_without_what_it_quotes(
    ends: list[int], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Ended):
        end_process(raised(ValueError("bad value ada@example.org"), raised(KeyError("ada@example.org"))))
    assert ends == [EX_DEFECT]
    assert "stopped by a defect: ValueError" in caplog.text
    assert "raised after KeyError" in caplog.text
    assert "in raised" in caplog.text
    captured = capsys.readouterr()
    assert "ada@example.org" not in caplog.text + captured.err + captured.out


def test_trouble_with_kafka_keeps_its_words(ends: list[int], caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Ended):
        end_process(raised(KafkaConnectionError("no broker at 127.0.0.1:9092")))
    assert ends == [EX_DEFECT]
    assert "no broker at 127.0.0.1:9092" in caplog.text
