"""What RedisStore leaves in Redis, byte for byte, and reads there: packed records, plain ones, headers of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from stream.errors import StateMismatchError
from stream.records import VOTER, Commit, Header, Records
from stream.spans import Spans
from stream.stores.redis import RedisStore
from tests.oracle_record import packed
from tests.simulation.redis_server import SimulatedRedis
from tests.simulation.redis_wire import endpoint_of

PREFIX = "{3}:"
ADA, HEADER = b"{3}:v:ada", b"{3}:header"
FRESH = Header("topic", 8, "", start=100, offset=100)


def record(last_offset: int) -> bytes:
    made = np.zeros(1, VOTER)
    made["version"], made["last_offset"] = 2, last_offset
    return bytes(made.tobytes())


def step(header: Header, offset: int) -> Commit:
    records = Records.of([(b"ada", record(offset - 1))])
    return Commit(header.offset, replace(header, offset=offset), records, {})


@pytest.fixture
def server() -> SimulatedRedis:
    return SimulatedRedis()


@pytest.fixture(params=[False, True], ids=["kernel", "reference"])
def store(server: SimulatedRedis, request: Any) -> RedisStore:
    return RedisStore(endpoint_of(server), PREFIX, reference=request.param)


async def test_commits_and_restorations_write_packed_records(server: SimulatedRedis, store: RedisStore) -> None:
    header = await store.claim("one", FRESH)
    await store.commit(step(header, 110))
    assert server.data.values[ADA] == packed(record(109))
    restoring = replace(header, offset=120, restoring=True)
    await store.begin_restore(restoring)
    await store.fill_restore("one", [("ada", record(119)), ("zoë", record(118))], {})
    assert server.data.values[ADA] == packed(record(119))
    assert server.data.values["{3}:v:zoë".encode()] == packed(record(118))


async def test_plain_record_is_read_and_packed_when_it_changes(server: SimulatedRedis, store: RedisStore) -> None:
    header = await store.claim("one", FRESH)
    server.write(ADA, record(99))
    assert await store.load(Spans.of_texts(["ada", "bob"])) == [record(99), None]
    assert await store.read_together(["bob", "ada"]) == (header, [None, record(99)])
    await store.commit(step(header, 110))
    assert server.data.values[ADA] == packed(record(109))
    assert await store.load(Spans.of_texts(["ada", "bob"])) == [record(109), None]
    assert (await store.read_together(["ada"]))[1] == [record(109)]


async def test_header_that_the_store_wrote_itself_is_not_parsed_again(store: RedisStore) -> None:
    first = step(await store.claim("one", FRESH), 110)
    await store.commit(first)
    with patch.object(Header, "from_bytes", side_effect=AssertionError):
        await store.commit(step(first.header, 120))
    assert await store.read_header() == replace(first.header, offset=120)


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]"])
@pytest.mark.parametrize("commits", [0, 1, 2])
async def test_damaged_header_stops_whatever_was_written_before(
    server: SimulatedRedis, store: RedisStore, damaged: bytes, commits: int
) -> None:
    header = await store.claim("one", FRESH)
    for number in range(commits):
        commit = step(header, 110 + number)
        await store.commit(commit)
        header = commit.header
    server.write(HEADER, damaged)
    with pytest.raises(StateMismatchError, match="damaged"):
        await store.commit(step(header, 130))
