"""A server that answers something else than was asked is not gone on with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream.errors import StoreFailedError
from stream.records import Commit, Header, Records
from stream.spans import Spans
from stream.stores.endpoint import RedisEndpoint
from stream.stores.redis import RedisStore
from stream.stores.route import cluster_slots
from tests.unit.stores.resp import FakeRedis, bulk

HEADER = Header("topic", 8, "one", start=100, offset=100)
ASTRAY = [b":5\r\n", b"*1\r\n:5\r\n", b"*1\r\n*0\r\n", b"%1\r\n*0\r\n:1\r\n", b"-MOVED 12\r\n", b"!\r\n"]


@pytest.mark.parametrize("answer", ASTRAY)
async def test_answer_of_another_kind_stops(answer: bytes) -> None:
    names = ("GET", "MGET", "SCAN", "ZRANGEBYSCORE", "ZCARD", "CLUSTER")
    async with FakeRedis(dict.fromkeys(names, answer)) as server:
        endpoint = RedisEndpoint(port=server.port)
        store = RedisStore(endpoint, "{3}:")
        with pytest.raises(StoreFailedError):
            await store.read_header()
        with pytest.raises(StoreFailedError):
            await store.load(Spans.of_texts(["ada", "bob"]))
        with pytest.raises(StoreFailedError):
            await anext(store.voters())
        with pytest.raises(StoreFailedError):
            await store.outbox("triggers", 0, 10)
        if answer != b":5\r\n":
            with pytest.raises(StoreFailedError):
                await store.backlog()
        with pytest.raises(StoreFailedError):
            await cluster_slots(endpoint)
        await store.close()


@pytest.mark.parametrize("answer", [b"*2\r\n$2\r\nok\r\n:1\r\n", b"+OK\r\n", b":1\r\n", b"-MOVED x\r\n"])
async def test_transaction_answered_by_something_else_stops(answer: bytes) -> None:
    well = {"WATCH": b"+OK\r\n", "GET": bulk(HEADER.to_bytes()), "MULTI": b"+OK\r\n", "MSET": b"+QUEUED\r\n"}
    async with FakeRedis({**well, "ZADD": b"+QUEUED\r\n", "EXEC": answer}) as server:
        store = RedisStore(RedisEndpoint(port=server.port), "{3}:")
        commit = Commit(100, replace(HEADER, offset=110), Records.of([(b"ada", b"x" * 768)]), {})
        with pytest.raises(StoreFailedError):
            await store.commit(commit)
        await store.close()
