"""``verify`` says nothing where all is right, and names the place where one byte is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import orjson
import pytest

from stream.commands.reading import Record
from stream.commands.verify import Bound, Report, verify_sources
from stream.errors import ConfigurationError
from stream.records import Header, OutboxRow
from stream.stores.memory import MemoryStore
from tests.logs import Generator
from tests.oracle_events import format_time
from tests.simulation.topics import Left, MemoryDeployment, work

LENGTH = 250


async def deployment(seed: int = 1035, place: tuple[int, int] = (0, 1), *, keep: int = 0) -> MemoryDeployment:
    """Return what a worker leaves of a log; the last ``keep`` rows of each output are not sent yet."""
    made = MemoryDeployment([Generator(seed, place).run(LENGTH)])
    await send(made, await work(made.sources(), place[0], made.store(place[0]), keep=keep))
    return made


async def send(made: MemoryDeployment, left: Left) -> None:
    for output, rows in left.sent.items():
        made.write(output, rows)


async def report_of(made: MemoryDeployment, first: Bound | None = None, stop: Bound | None = None) -> Report:
    return await verify_sources(made.sources(), (first, stop))


def changed(value: bytes) -> bytes:
    """Return ``value`` with its last digit changed."""
    place = max(value.rfind(digit) for digit in (b"1", b"2", b"3"))
    return value[:place] + b"4" + value[place + 1 :]


def voters(made: MemoryDeployment) -> list[str]:
    return [key for key in made.server.values if ":v:" in key]


async def test_nothing_differs_where_nothing_was_touched() -> None:
    report = await report_of(await deployment())
    assert report.exit_status == 0
    assert report.not_compared == []
    assert report.partitions[0].triggers > 50
    assert report.partitions[0].rejects > 10
    assert report.partitions[0].records > 5


async def test_several_partitions_are_compared_each_by_its_own_log() -> None:
    made = MemoryDeployment([Generator(seed, (number, 2)).run(LENGTH) for number, seed in enumerate((1016, 1026))])
    for number in (0, 1):
        await send(made, await work(made.sources(), number, made.store(number)))
    report = await report_of(made)
    assert report.difference is None
    assert sorted(report.partitions) == [0, 1]


async def test_rows_that_wait_in_the_outbox_count_as_present() -> None:
    made = await deployment(keep=7)
    assert len(await made.store(0).outbox("triggers", 0, 100)) == 7
    assert (await report_of(made)).difference is None


def change_one(made: MemoryDeployment) -> tuple[int, bytes]:
    """Change a byte of a trigger that was not withdrawn; return its place and its bytes."""
    records = made.topic("triggers", 0).records
    place = next(place for place, record in enumerate(records) if place > 15 and record.value)
    records[place] = replace(records[place], value=changed(records[place].value or b""))
    return place, records[place].value or b""


async def test_changed_byte_in_a_trigger_is_named_with_its_offset() -> None:
    made = await deployment()
    place, _ = change_one(made)
    report = await report_of(made)
    assert report.exit_status == 1
    assert f"triggers {place + 1}, at offset {place} of its topic" in str(report)
    assert str(report.difference).count("campaign.triggered") == 2


async def test_changed_byte_in_a_waiting_trigger_is_named() -> None:
    made = await deployment(keep=3)
    box = made.server.outboxes["{0}:outbox:triggers"]
    sequence = min(box) + 1
    row = OutboxRow.from_bytes(box[sequence])
    box[sequence] = replace(row, value=changed(row.value or b"")).to_bytes()
    assert f"triggers {sequence}, at its row in the outbox" in str(await report_of(made))


async def test_another_key_or_header_of_a_trigger_is_named() -> None:
    made = await deployment()
    records = made.topic("triggers", 0).records
    kept = records[5]
    records[5] = replace(kept, key=b"someone else")
    assert "triggers 6," in str(await report_of(made))
    records[5] = replace(kept, headers=(*kept.headers, ("more", b"")))
    assert "triggers 6," in str(await report_of(made))


@pytest.mark.parametrize("place", [0, 20, -1])
async def test_removed_trigger_is_missed(place: int) -> None:
    made = await deployment()
    records = made.topic("triggers", 0).records
    sequence = len(records) if place == -1 else place + 1
    gone = records.pop(place)
    report = await report_of(made)
    assert report.exit_status == 1
    assert f"triggers {sequence}" in str(report)
    assert "no record in its topic" in str(report)
    assert (gone.value or b"").decode() in str(report)


async def test_trigger_written_twice_is_one_too_many() -> None:
    made = await deployment()
    topic = made.topic("triggers", 0)
    twice = topic.records[3]
    topic.append(OutboxRow(0, 0, twice.key, twice.value, twice.headers))
    report = await report_of(made)
    assert f"a record too many, at offset {topic.end - 1} of its topic" in str(report)


async def test_trigger_made_up_is_one_too_many() -> None:
    made = await deployment()
    topic = made.topic("triggers", 0)
    number = b"%d" % (len(topic.records) + 1)
    topic.append(OutboxRow(0, 0, b"voter", b"{}", (("groundswell-sequence", number),)))
    report = await report_of(made)
    assert f"a record too many, at offset {topic.end - 1} of its topic" in str(report)


async def test_two_triggers_in_each_others_place_differ() -> None:
    made = await deployment()
    records = made.topic("triggers", 0).records
    records[8], records[9] = replace(records[9], offset=8), replace(records[8], offset=9)
    assert (await report_of(made)).exit_status == 1


async def test_changed_reject_is_named() -> None:
    made = await deployment()
    records = made.topic("rejects", 0).records
    records[2] = replace(records[2], headers=(("reason", b"bad_luck"), *records[2].headers[1:]))
    assert "rejects 3, at offset 2 of its topic" in str(await report_of(made))


@pytest.mark.parametrize("byte", [2, 8, 40, 170, 400, 560, 620, 700, 767])
async def test_changed_byte_in_a_record_is_named_with_voter_and_field(byte: int) -> None:
    made = await deployment()
    key = voters(made)[3]
    data = bytearray(made.server.values[key])
    data[byte] ^= 1
    made.server.values[key] = bytes(data)
    report = await report_of(made)
    assert report.exit_status == 1
    assert f"record of voter {key.partition(':v:')[2]!r}" in str(report)
    assert ", field '" in str(report)


async def test_missing_and_made_up_records_are_named() -> None:
    made = await deployment()
    key = voters(made)[0]
    kept = made.server.values.pop(key)
    assert "found:    no record" in str(await report_of(made))
    made.server.values[key] = kept
    made.server.values["{0}:v:nobody"] = kept
    report = await report_of(made)
    assert "record of voter 'nobody'" in str(report)
    assert "expected: no record" in str(report)


def _tamper(change: Callable[[Header], None]) -> Callable[[bytes], bytes]:
    def tamper(data: bytes) -> bytes:
        header = Header.from_bytes(data)
        change(header)
        return header.to_bytes()

    return tamper


HEADERS: dict[str, Callable[[bytes], bytes]] = {
    "totals": _tamper(lambda header: header.totals.update(folded=header.totals["folded"] + 1)),
    "sequences": _tamper(lambda header: header.sequences.update(forwards=7)),
    "log_time_ms": _tamper(lambda header: setattr(header, "log_time_ms", header.log_time_ms + 1)),
    "offset": _tamper(lambda header: setattr(header, "offset", header.offset + 1)),
    "slots": _tamper(lambda header: header.slots["model"].append(None)),
    "header in Redis": lambda data: data[:-1],
}


@pytest.mark.parametrize("field", HEADERS)
async def test_changed_header_is_named_with_its_field(field: str) -> None:
    made = await deployment()
    made.server.values["{0}:header"] = HEADERS[field](made.server.values["{0}:header"])
    report = await report_of(made)
    assert report.exit_status == 1
    assert field in str(report)


def withdraw(record: Record, sequence: int) -> Record:
    number = (("groundswell-sequence", b"%d" % sequence), ("groundswell-tombstone", b"1"))
    return replace(record, key=None, value=None, headers=number)


async def test_withdrawn_trigger_is_accepted_where_its_voter_is_erased_later() -> None:
    made = await deployment(1021)
    records = made.topic("triggers", 0).records
    withdrawn = [place for place, record in enumerate(records) if record.key is None]
    assert withdrawn
    assert (await report_of(made)).difference is None
    del records[withdrawn[0]]
    assert (await report_of(made)).difference is None


async def test_withdrawn_trigger_is_refused_where_its_voter_was_not_erased() -> None:
    made = await deployment()
    records = made.topic("triggers", 0).records
    erased = {row.key for row in made.logs[0].rows if b"privacy.erased" in (row.value or b"")}
    place = next(place for place, record in enumerate(records) if record.key and record.key not in erased)
    records[place] = withdraw(records[place], place + 1)
    report = await report_of(made)
    assert report.exit_status == 1
    assert f"triggers {place + 1}" in str(report)
    assert "a tombstone, and its voter was not erased later" in str(report)


async def test_tombstone_under_another_sequence_is_named() -> None:
    made = await deployment()
    records = made.topic("triggers", 0).records
    records[4] = withdraw(records[4], 6)
    assert (await report_of(made)).exit_status == 1


async def test_range_bounds_what_is_compared() -> None:
    made = await deployment()
    records = made.topic("triggers", 0).records
    _, value = change_one(made)
    offset = int(orjson.loads(value)["data"]["cause"]["offset"])
    assert (await report_of(made, Bound(offset=offset + 1))).difference is None
    until = await report_of(made, None, Bound(offset=offset))
    assert until.difference is None
    assert 0 < until.partitions[0].triggers < len(records)
    assert "the header" not in str(until)
    assert (await report_of(made, Bound(offset=offset), Bound(offset=offset + 1))).exit_status == 1
    # Not the row's own append time: an earlier row may have a later one, and a bound in time is the first that has.
    at = int(orjson.loads(value)["data"]["log_time_ms"])
    bound = Bound.parse(format_time(at))
    assert (await report_of(made, bound)).exit_status == 1
    assert (await report_of(made, Bound.parse(format_time(at + 1)))).difference is None


async def test_unusable_bound_is_refused() -> None:
    for text in ("yesterday", "2026-11-24T10:00:00", "-5"):
        with pytest.raises(ConfigurationError, match=text):
            Bound.parse(text)


async def test_log_that_no_longer_reaches_back_is_named_not_compared() -> None:
    made = await deployment()
    made.topic("events", 0).drop_before(made.logs[0].start + 30)
    report = await report_of(made)
    assert report.exit_status == 0
    assert report.partitions == {}
    assert "the log begins at" in report.not_compared[0]


async def test_triggers_that_retention_took_are_named_not_missed() -> None:
    made = await deployment()
    made.topic("triggers", 0).drop_before(10)
    report = await report_of(made)
    assert report.difference is None
    assert "triggers 1 to 10: no longer in their topic" in str(report)


async def test_state_of_another_engine_is_named_not_compared() -> None:
    made = await deployment()
    header = Header.from_bytes(made.server.values["{0}:header"])
    header.engine = 99
    made.server.values["{0}:header"] = header.to_bytes()
    report = await report_of(made)
    assert report.difference is None
    assert "decided by engine 99" in report.not_compared[0]


async def test_lost_configuration_content_is_named() -> None:
    made = await deployment()
    made.topic("config", 0).records.clear()
    assert "does not hold" in (await report_of(made)).not_compared[0]


async def test_state_that_goes_on_meanwhile_is_compared_where_it_stands() -> None:
    """The worker commits between verify's readings; every reading is compared at its own offset."""
    made = MemoryDeployment([Generator(1026, (0, 1)).run(LENGTH)])
    start, end = made.logs[0].start, made.logs[0].rows[-1].offset + 1
    await send(made, await work(made.sources(), 0, made.store(0), until=start + 100, keep=5))
    moves = [start + 130, start + 180, end]

    class MovingStore(MemoryStore):
        async def read_header(self) -> Header | None:
            header = await super().read_header()
            await self.go_on()
            return header

        async def outbox(self, output: str, after: int, limit: int) -> list[OutboxRow]:
            rows = await super().outbox(output, after, limit)
            await self.go_on()
            return rows

        async def go_on(self) -> None:
            if moves:
                await send(made, await work(made.sources(), 0, made.store(0), until=moves.pop(0), keep=2))

    moving = MovingStore(made.server, made.prefix(0))
    report = await verify_sources(replace(made.sources(), store=lambda _: moving))
    assert report.difference is None
    assert moves == []
    assert report.partitions[0].offset == end


async def test_state_that_went_back_meanwhile_is_named_not_compared() -> None:
    made = MemoryDeployment([Generator(1026, (0, 1)).run(LENGTH)])
    start = made.logs[0].start
    await work(made.sources(), 0, made.store(0), until=start + 100, keep=1000)
    replica = made.server.snapshot()
    await work(made.sources(), 0, made.store(0), keep=1000)

    class FailingOverStore(MemoryStore):
        async def read_header(self) -> Header | None:
            header = await super().read_header()
            made.server.fail_over(replica)
            return header

    failing = FailingOverStore(made.server, made.prefix(0))
    report = await verify_sources(replace(made.sources(), store=lambda _: failing))
    assert report.difference is None
    assert "went back from offset" in report.not_compared[0]
