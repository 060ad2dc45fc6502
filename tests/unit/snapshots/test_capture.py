"""What a capture writes of a state that goes on changing, is trimmed, or changes hands meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import numpy as np
import pytest

from stream.errors import SnapshotFailedError, SnapshotStorageError
from stream.records import OutboxRow
from stream.snapshots import Capture, Manifest, MemorySnapshots, writing
from stream.snapshots import capture as captures
from stream.snapshots.format import SnapshotName
from stream.spans import Spans
from stream.stores.memory import MemoryServer, MemoryStore
from stream.stores.names import partition_prefix
from stream.stores.table import Table
from tests.unit.snapshots import kept

NAME = SnapshotName.make(kept.CREATED_MS, 5, "a")
PREFIX = partition_prefix("", 0)


async def run(capture: Capture, committed: int | Callable[[], Awaitable[int]] = 5) -> Manifest:
    async def reached() -> int:
        return committed if isinstance(committed, int) else await committed()

    return await capture.run(kept.PLACE, kept.TOPIC, kept.CREATED_MS, reached)


async def test_state_that_stands_still_is_copied_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "CHUNK_RECORDS", 64)
    monkeypatch.setattr(captures, "PAGE_VOTERS", 10)
    records = {f"voter-{n}": kept.record(n % 5) for n in range(333)}
    rows = {"triggers": [kept.row(n) for n in (3, 4, 5)], "rejects": [], "forwards": [kept.row(1)]}
    found = replace(kept.header(5, triggers=5, rejects=9, forwards=1), log_time_ms=77)
    storage = MemorySnapshots()
    name = await kept.snapshot(storage, kept.server(found, records, rows))
    content = await kept.content(storage, name)
    assert content.records == records
    assert content.rows == rows
    assert content.header == replace(found, owner="")
    assert content.manifest.unsent == {"triggers": 3, "rejects": 10, "forwards": 1}
    assert content.manifest.log_time_ms == 77
    assert content.manifest.records == 333
    # The last of the files to be written is the manifest.
    assert list(storage.files)[-1].endswith("/manifest.json")
    assert len(content.manifest.files) == 6 + 2


async def test_records_are_kept_before_their_first_change_alone() -> None:
    table = Table(10)
    slots, unknown = table.index(Spans.of_texts(["old", "new", "gone on", "other"]))
    table.fill(unknown, [kept.record(4), None, kept.record(6), kept.record(0)], 9)
    storage = MemorySnapshots()
    capture = Capture(kept.header(5), kept.store(kept.server(kept.header(5))), writer(storage))
    capture.keep(table, np.array([slots[2], -1, slots[0], slots[0], slots[1]]))
    table.records["last_offset"][slots[:2]] = 7
    capture.keep(table, slots)
    capture.keep(table, np.array([-1, -1]))
    table.records["last_offset"][slots[3]] = 8
    manifest = await run(capture)
    # One that did not exist at the offset is none of its state.
    assert (await kept.content(storage, NAME)).records == {"old": kept.record(4), "other": kept.record(0)}
    assert manifest.records == 2


def writer(storage: MemorySnapshots) -> writing.SnapshotWriter:
    return kept.catalogue(storage).writer(NAME)


class Meddled(MemoryStore):
    """A store in which something happens before each answer."""

    def __init__(self, server: MemoryServer, meddle: Callable[[str], None]) -> None:
        super().__init__(server, PREFIX)
        self._meddle = meddle

    async def voters(self, step: int = 1) -> AsyncIterator[list[str]]:
        async for page in super().voters(1):
            self._meddle("voters")
            yield page

    async def load(self, voters: Spans) -> list[bytes | None]:
        self._meddle("load")
        return await super().load(voters)

    async def outbox(self, output: str, after: int, limit: int) -> list[OutboxRow]:
        self._meddle(output)
        return await super().outbox(output, after, 2)


async def test_voters_that_came_or_went_on_after_the_offset_are_as_they_were_at_it() -> None:
    server = kept.server(kept.header(5), {name: kept.record(n) for n, name in enumerate(("a", "b", "c"))})
    table = Table(10)
    seen = 0

    def meddle(what: str) -> None:
        nonlocal seen
        if what != "load":
            return
        seen += 1
        if seen == 2:
            # b and a newcomer go on, as a batch and its commit make them: kept first, then written.
            slots, unknown = table.index(Spans.of_texts(["b", "newcomer"]))
            table.fill(unknown, [server.values[f"{PREFIX}v:b"], None], 5)
            capture.keep(table, slots)
            server.values[f"{PREFIX}v:b"] = kept.record(8, sessions=2)
            server.values[f"{PREFIX}v:newcomer"] = kept.record(9)

    storage = MemorySnapshots()
    capture = Capture(kept.header(5), Meddled(server, meddle), writer(storage))
    await run(capture)
    content = await kept.content(storage, NAME)
    assert content.records == {name: kept.record(n) for n, name in enumerate(("a", "b", "c"))}


@pytest.mark.parametrize(
    ("trimmed", "left"),
    [({2: 3}, (4, 5)), ({1: 2}, (3, 4, 5)), ({1: 1, 2: 4}, (5,)), ({2: 5}, ()), ({9: 9}, (1, 2, 3, 4, 5))],
)
async def test_rows_before_one_that_was_trimmed_meanwhile_were_sent_and_do_not_count(
    trimmed: dict[int, int], left: tuple[int, ...]
) -> None:
    server = kept.server(kept.header(5, triggers=5), rows={"triggers": [kept.row(n) for n in range(1, 8)]})
    asked = 0

    def meddle(what: str) -> None:
        nonlocal asked
        if what == "triggers":
            asked += 1
            for sequence in range(1, trimmed.get(asked, 0) + 1):
                server.outboxes[f"{PREFIX}outbox:triggers"].pop(sequence, None)

    storage = MemorySnapshots()
    await run(Capture(kept.header(5, triggers=5), Meddled(server, meddle), writer(storage)))
    content = await kept.content(storage, NAME)
    assert tuple(row.sequence for row in content.rows["triggers"]) == left
    assert content.manifest.unsent["triggers"] == (left[0] if left else 6)


@pytest.mark.parametrize(
    ("changes", "committed"),
    [({"owner": "another"}, 5), ({"restoring": True}, 5), ({"offset": 6}, 7), (None, 5)],
)
async def test_state_that_changed_hands_or_fell_back_meanwhile_gives_no_snapshot(
    changes: dict[str, object] | None, committed: int
) -> None:
    server = kept.server(kept.header(5), {"a": kept.record(1)})

    def meddle(what: str) -> None:
        if what == "forwards" or changes is None:
            server.values.pop(f"{PREFIX}header", None)
        if changes is not None:
            server.values[f"{PREFIX}header"] = replace(kept.header(5), **changes).to_bytes()  # type: ignore[arg-type]

    storage = MemorySnapshots()
    capture = Capture(kept.header(5), Meddled(server, meddle), writer(storage))
    with pytest.raises(SnapshotFailedError, match="changed hands while it was copied at offset 5"):
        await run(capture, committed)
    assert not any(name.endswith("manifest.json") for name in storage.files)


async def test_nothing_is_read_before_a_commit_has_reached_the_offset() -> None:
    server = kept.server(kept.header(5), {"a": kept.record(1)})
    read: list[str] = []
    reached = asyncio.Event()

    async def committed() -> int:
        await reached.wait()
        return 5

    running = asyncio.create_task(
        run(Capture(kept.header(5), Meddled(server, read.append), writer(MemorySnapshots())), committed)
    )
    for _ in range(20):
        await asyncio.sleep(0)
    assert read == []
    reached.set()
    await running
    assert read != []


async def test_storage_too_slow_for_the_load_ends_the_capture_and_holds_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(captures, "MOST_KEPT", 2)
    table = Table(10)
    slots, unknown = table.index(Spans.of_texts(["a", "b", "c"]))
    table.fill(unknown, [kept.record(1)] * 3, 5)
    capture = Capture(kept.header(5), kept.store(kept.server(kept.header(5))), writer(MemorySnapshots()))
    capture.keep(table, slots)
    assert not capture._kept
    with pytest.raises(SnapshotFailedError, match="too slow: 2 records changed before they could be written"):
        await run(capture)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (kept.record(1)[:-8], "has not 768 bytes"),
        (b"\xff\x7f" + kept.record(1)[2:], "has version 32767; expected up to 2"),
    ],
)
async def test_record_that_this_build_would_not_write_gives_no_snapshot(data: bytes, says: str) -> None:
    with pytest.raises(SnapshotFailedError, match=says):
        await kept.snapshot(MemorySnapshots(), kept.server(kept.header(5), {"a": data}))


async def test_still_state_with_a_record_ahead_is_damage() -> None:
    server = kept.server(kept.header(5), {"a": kept.record(5)})
    capture = Capture(kept.header(5), kept.store(server), writer(MemorySnapshots()), stands_still=True)
    with pytest.raises(SnapshotFailedError, match="a voter's record has folded in an event at or past offset 5"):
        await run(capture)


async def test_full_storage_leaves_no_snapshot() -> None:
    storage = MemorySnapshots(room_bytes=100)
    with pytest.raises(SnapshotStorageError, match="no room"):
        await kept.snapshot(storage, kept.server(kept.header(5), {"a": kept.record(1)}))
    assert await kept.catalogue(storage).complete() == []
