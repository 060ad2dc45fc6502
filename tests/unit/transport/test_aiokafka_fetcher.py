"""aiokafka's fetcher hands over Columns where it is as expected, and its own records where it is not."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer import fetcher as fetching
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import CorruptRecordException, OffsetOutOfRangeError, RecordTooLargeError
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.structs import TopicPartition

from load_tests.fuzzing.batch_bytes import LOG_MS, TRANSACTIONAL, Wanted, pack
from load_tests.fuzzing.batches import rows_of
from stream.columns import Columns, columns_of
from stream.transport.aiokafka_fetcher import differences, install, take
from tests.unit.transport.test_batches import ABORT, batch, marker

TP = TopicPartition("events", 0)
OUT_OF_RANGE = 1


def test_installed_aiokafka_is_as_expected() -> None:
    assert differences() == []


SOURCE = inspect.getsource(fetching)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("records = MemoryRecords(part_data[-1])", "records = MemoryRecords(part_data[-2])", "no longer says"),
        ("            fetch_offset,\n", "            fetch_offset + 1,\n", "no longer says 'partition_records = "),
        ("if records.has_next():", "if records.has_next() and records.sound():", "uses records.sound, which is new"),
        ("        isolation_level,\n    ):", "        isolation_level,\n        extra,\n    ):", "takes .* extra, exp"),
        ("def getall(self, max_records=None)", "def getall(self)", "FetchResult.getall takes self, expected"),
        ("for msg in self._partition_records:", "for msg in self.rows():", "FetchResult.getall no longer says"),
        (
            "        self._created = time.mono",
            "        self._partition_records.x = time.mono",
            "uses self._partition_rec",
        ),
        ("async def _proc_fetch_request(", "async def _process(", "_proc_fetch_request takes , expected"),
        ("state.consumed_to(", "state.consumed_up_to(", "_update_position no longer says"),
        ("if type(res_or_error) is FetchResult:", "if res_or_error.ok:", "fetched_records no longer says"),
        ("class FetchResult:", "class Result:", "FetchResult.getall takes , expected"),
        ("import asyncio", "import asyncio(", "cannot be read"),
    ],
)
def test_change_of_aiokafka_is_named(old: str, new: str, words: str) -> None:
    assert old in SOURCE
    found = differences(SOURCE.replace(old, new))
    assert found
    assert any(re.search(words, difference) for difference in found), found


def test_fetcher_that_something_else_has_changed_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    own = fetching.Fetcher._proc_fetch_request

    async def wrapped(*arguments: Any) -> Any:
        return await own(*arguments)

    monkeypatch.setattr(fetching.Fetcher, "_proc_fetch_request", wrapped)
    assert "plain function" in differences()[0]


class Broker:
    """In the place of aiokafka's client: answers each fetch with the next of some answers, then with nothing."""

    API_VERSION = 11
    _metadata_max_age_ms = 1000

    def __init__(self, answers: list[tuple[bytes, list[tuple[int, int]]]], error: int = 0) -> None:
        self._loop = asyncio.get_running_loop()
        self.answers = answers
        self.error = error
        self.positions: list[int] = []
        self.cluster = SimpleNamespace(leader_for_partition=lambda _: 0)
        self.force_metadata_update = self._loop.create_future

    async def send(self, node: int, request: Any) -> Any:
        [(topic, [(partition, position, _)])] = request.topics
        self.positions.append(position)
        if not self.answers:
            await asyncio.sleep(0.01)
        data, aborted = self.answers.pop(0) if self.answers else (b"", [])
        return SimpleNamespace(
            API_VERSION=11, topics=[(topic, [(partition, self.error, 1 << 40, 1 << 40, 0, aborted, -1, data)])]
        )


class Reading:
    """A fetcher of aiokafka on a broker that is not one, reading one partition."""

    def __init__(self, broker: Broker, max_records: int) -> None:
        self.broker = broker
        self.subscriptions = SubscriptionState()
        self.subscriptions.assign_from_user([TP])
        assert self.subscriptions.subscription is not None
        self.assignment = self.subscriptions.subscription.assignment
        self.fetcher = fetching.Fetcher(
            broker, self.subscriptions, auto_offset_reset="none", isolation_level="read_committed", prefetch_backoff=0
        )
        self.max_records = max_records

    @property
    def position(self) -> int:
        return int(self.assignment.state_value(TP).position)

    async def take(self) -> Columns | None:
        """Return what is there, whichever it is, as Columns with the position that it left."""
        before = self.position
        found = await take(self.fetcher, TP, self.max_records)
        if not found or isinstance(found[0], Columns):
            assert len(found) <= 1
            assert not found or found[0].next == self.position
            return found[0] if found else None
        lists: list[list[Any]] = [
            [getattr(record, name) for record in found] for name in ("offset", "key", "value", "headers")
        ]
        times = [record.timestamp if record.timestamp_type == 1 else 0 for record in found]
        return columns_of(0, lists[0], times, *lists[1:], start=before, next_offset=self.position)

    async def until(self, position: int) -> list[tuple[int, int, list[Any]]]:
        """Take until the fetch stands at ``position``."""
        found = []
        async with asyncio.timeout(60):
            while self.position < position:
                columns = await self.take()
                if columns is not None:
                    found.append((columns.start, columns.next, rows_of(columns)))
                await asyncio.sleep(0.001)
        return found


@asynccontextmanager
async def reading(
    *answers: bytes, aborted: Any = (), error: int = 0, max_records: int = 4, fast: bool = True, position: int = 0
) -> AsyncIterator[Reading]:
    reader = Reading(Broker([(data, list(aborted)) for data in answers], error), max_records)
    if fast:
        assert install(reader.fetcher, max_records)
    reader.assignment.state_value(TP).seek(position)
    try:
        yield reader
    finally:
        await reader.fetcher.close()


def answers() -> list[bytes]:
    """Return a log's answers: compressed and not, aborted, with markers and gaps, and one cut by its size."""
    gap = pack(Wanted(36, [], 3), b"", LOG_MS, LOG_MS)
    cut = batch(40, 9, codec=3)
    return [
        batch(0, 10, codec=3) + batch(10, 10),
        batch(20, 4, attributes=TRANSACTIONAL, producer_id=7) + marker(24, ABORT) + batch(25, 4, codec=1),
        marker(29, ABORT),
        batch(30, 6, codec=4) + gap + cut[:-5],
        cut,
    ]


@pytest.mark.parametrize("max_records", [1, 3, 4, 4096])
async def test_columns_are_those_of_aiokafkas_records(max_records: int) -> None:
    found, positions = [], []
    for fast in (True, False):
        async with reading(*answers(), aborted=[(7, 20)], max_records=max_records, fast=fast) as reader:
            found.append(await reader.until(49))
            positions.append(reader.broker.positions[:5])
    assert found[0] == found[1]
    assert positions[0] == positions[1] == [0, 20, 29, 30, 40]
    offsets = [row[0] for _, _, rows in found[0] for row in rows]
    assert offsets == [*range(20), *range(25, 29), *range(30, 36), *range(40, 49)]


async def test_next_fetch_begins_with_the_last_columns() -> None:
    async with reading(batch(0, 3), batch(3, 3)) as reader:
        while not await reader.take():
            await asyncio.sleep(0.001)
        # Nothing has been asked for since, and yet the answer is let go.
        assert TP not in reader.fetcher._records
        await asyncio.sleep(0.05)
        assert reader.broker.positions[:2] == [0, 3]


async def test_seek_drops_what_was_fetched() -> None:
    async with reading(batch(0, 10), batch(0, 10)) as reader:
        while (columns := await reader.take()) is None:
            await asyncio.sleep(0.001)
        assert columns.offsets.tolist() == [0, 1, 2, 3]
        reader.fetcher.seek_to(TP, 2)
        assert [start for start, _, _ in await reader.until(10)] == [2, 6]


async def test_message_sets_come_as_aiokafkas_records() -> None:
    builder: Any = LegacyRecordBatchBuilder(1, 0, 1 << 20)
    for offset in range(3):
        builder.append(offset, timestamp=LOG_MS, key=b"k", value=b"%d" % offset)
    async with reading(bytes(builder.build()), batch(3, 2)) as reader:
        rows = [row for _, _, rows in await reader.until(5) for row in rows]
    assert [(row[0], row[3]) for row in rows] == [(n, b"%d" % n) for n in range(5)]


async def test_damage_is_raised_to_whoever_takes() -> None:
    data = bytearray(batch(0, 3))
    data[-1] ^= 1
    async with reading(bytes(data)) as reader:
        with pytest.raises(CorruptRecordException, match=r"events partition 0, offset 0: .* checksum"):
            await reader.until(1)


async def test_errors_of_the_broker_are_aiokafkas_own() -> None:
    async with reading(b"", error=OUT_OF_RANGE, position=9) as reader:
        with pytest.raises(OffsetOutOfRangeError):
            await reader.until(10)
    async with reading(batch(0, 3)[:-1]) as reader:
        with pytest.raises(RecordTooLargeError):
            await reader.until(2)


async def test_other_fetchers_stay_as_they_are() -> None:
    before = dict(vars(fetching))
    async with reading(batch(0, 1)), reading(batch(0, 1), fast=False) as other:
        async with asyncio.timeout(60):
            while not (found := await take(other.fetcher, TP, 4)):
                await asyncio.sleep(0.001)
    assert not isinstance(found[0], Columns)
    assert vars(fetching) == before
    assert "_proc_fetch_request" not in vars(other.fetcher)


async def test_another_aiokafka_costs_speed_and_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fetching.FetchResult, "getall", None)
    monkeypatch.setattr("stream.transport.aiokafka_fetcher.differences", lambda: ["getall is another", "so is x"])
    fetcher = SimpleNamespace()
    with caplog.at_level(logging.WARNING):
        assert not install(fetcher, 4)
    assert vars(fetcher) == {}
    [record] = caplog.records
    assert "ConsumerRecords" in record.getMessage()
    assert "getall is another; so is x" in record.getMessage()
