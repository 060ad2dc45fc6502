"""The real store over the simulated Redis, when wires break and servers fall back, fail over and move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from redis.crc import key_slot

from stream.errors import CommitRefusedError, CommitUnknownError, StoreFailedError, StoreUnavailableError
from stream.records import Commit, Header, OutboxRow, Records
from stream.spans import Spans
from stream.stores.fitness import check_server
from stream.stores.redis import RedisStore
from stream.stores.route import connected
from stream.stores.wire import Session, pack
from tests.simulation.link import LinkBrokenError
from tests.simulation.redis_server import SimulatedCluster, SimulatedRedis, encoded
from tests.simulation.redis_wire import Payload, endpoint_of

PREFIX = "{3}:"
EXEC = pack(b"EXEC")
FRESH = Header("topic", 8, "", start=100, offset=100)


def _step(header: Header, offset: int, size: int = 1) -> Commit:
    records = Records.of([(b"voter-%d" % n, b"x" * 768) for n in range(size)])
    row = OutboxRow(offset - 100, 3, b"voter-0", b"value")
    return Commit(header.offset, replace(header, offset=offset), records, {"triggers": [row]})


class Wires:
    """A link for every connection; ``strike`` is met by the next payload of the operation ``at``."""

    def __init__(self) -> None:
        self.at = ""
        self.strike: Callable[[Payload], Any] = lambda payload: payload()
        self.seen: list[str] = []

    def __call__(self, address: str) -> Wires:
        return self

    async def exchange(self, operation: str, execute: Callable[[], Any]) -> Any:
        self.seen.append(operation)
        if operation != self.at:
            return execute()
        self.at = ""
        assert isinstance(execute, Payload)
        return await self.strike(execute)


@pytest.fixture
def server() -> SimulatedRedis:
    return SimulatedRedis()


@pytest.fixture
def wires() -> Wires:
    return Wires()


@pytest.fixture
def store(server: SimulatedRedis, wires: Wires) -> RedisStore:
    return RedisStore(endpoint_of(server, wires), PREFIX)


async def test_operations_are_named_by_what_they_do(store: RedisStore, wires: Wires) -> None:
    commit = _step(await store.claim("one", FRESH), 110)
    await store.commit(commit)
    await store.load(Spans.of_texts(["ada"]))
    await store.read_together(["ada"])
    await store.outbox("triggers", 0, 10)
    await store.trim("triggers", 10)
    await store.backlog()
    await store.begin_restore(replace(FRESH, owner="two", restoring=True))
    assert [count async for count in store.clear("two")] == [0, 1]
    claiming = ["connect", "watch", "exists", "scan", "claim"]
    reading = ["connect", "mget", "exec", "zrangebyscore", "zremrangebyscore", "zcard"]
    # The look that went along with the commit is void once the header is set, so the first step goes twice.
    restoring = ["set", *["watch", "unlink"] * 2, "scan", "watch", "unlink"]
    assert wires.seen == [*claiming, "watch", "commit", *reading, *restoring]


@pytest.mark.parametrize("size", [1, 2000])
async def test_commit_cut_anywhere_before_its_end_is_not_executed(
    server: SimulatedRedis, store: RedisStore, wires: Wires, size: int
) -> None:
    header = await store.claim("one", FRESH)
    commit = _step(header, 110, size)

    places = [0, 1, 15, 40, 300, -40, -14, -1]

    async def cut(payload: Payload) -> None:
        place = places.pop(0)
        # Behind the commit goes the look for the next one.
        end = payload.data.rindex(EXEC) + len(EXEC)
        payload.part(place if place >= 0 else end + place)
        raise LinkBrokenError

    wires.strike = cut
    while places:
        wires.at = "commit"
        with pytest.raises(CommitUnknownError):
            await store.commit(commit)
        assert await store.read_header() == header
    await store.commit(commit)
    assert len(server.data.values) == size + 2


async def test_answer_that_is_lost_leaves_the_commit_done(store: RedisStore, wires: Wires) -> None:
    commit = _step(await store.claim("one", FRESH), 110)

    async def lose(payload: Payload) -> None:
        payload()
        raise LinkBrokenError

    wires.at, wires.strike = "commit", lose
    with pytest.raises(CommitUnknownError):
        await store.commit(commit)
    assert await store.read_header() == commit.header


@pytest.mark.parametrize("late_first", [True, False])
async def test_commit_executed_after_its_client_gave_up_is_barred_by_its_repetition_or_bars_it(
    store: RedisStore, wires: Wires, late_first: bool
) -> None:
    commit = _step(await store.claim("one", FRESH), 110)
    held: list[Payload] = []

    async def hold(payload: Payload) -> None:
        held.append(payload)
        raise LinkBrokenError

    wires.at, wires.strike = "commit", hold
    with pytest.raises(CommitUnknownError):
        await store.commit(commit)
    if late_first:
        assert b"*-1" not in held[0]()
        with pytest.raises(CommitRefusedError, match="stands at offset 110"):
            await store.commit(commit)
    else:
        await store.commit(commit)
        assert b"+QUEUED\r\n$-1\r\n" in held[0]()
    assert await store.read_header() == commit.header
    assert [row.sequence for row in await store.outbox("triggers", 0, 10)] == [10]


async def test_what_was_on_its_way_to_a_server_that_restarted_is_lost(
    server: SimulatedRedis, store: RedisStore, wires: Wires
) -> None:
    commit = _step(await store.claim("one", FRESH), 110)
    held: list[Payload] = []

    async def restart(payload: Payload) -> None:
        held.append(payload)
        server.restart()
        raise LinkBrokenError

    wires.at, wires.strike = "commit", restart
    with pytest.raises(CommitUnknownError):
        await store.commit(commit)
    with pytest.raises(LinkBrokenError):
        held[0]()
    assert (await store.read_header()) == replace(FRESH, owner="one")


async def test_idle_connection_to_a_server_that_restarted_is_found_broken(
    server: SimulatedRedis, store: RedisStore
) -> None:
    commit = _step(await store.claim("one", FRESH), 110)
    server.restart()
    with pytest.raises(StoreUnavailableError, match="reached"):
        await store.commit(commit)
    server.stop()
    with pytest.raises(StoreUnavailableError, match="Connect call failed"):
        await store.commit(commit)
    server.start()
    await store.commit(commit)
    assert await store.read_header() == commit.header


async def test_server_that_falls_back_has_lost_what_came_after_the_copy(
    server: SimulatedRedis, store: RedisStore
) -> None:
    first = _step(await store.claim("one", FRESH), 110)
    await store.commit(first)
    copy = server.copy()
    second = _step(first.header, 120)
    await store.commit(second)
    server.fall_back(copy)
    with pytest.raises(CommitUnknownError):
        await store.commit(_step(second.header, 130))
    assert await store.read_header() == first.header
    assert len(await store.outbox("triggers", 0, 10)) == 1
    await store.commit(_step(first.header, 130))
    assert copy.string(b"{3}:header") == first.header.to_bytes()


async def test_promotion_of_a_lagging_replica_refuses_open_sessions_and_has_the_past(
    server: SimulatedRedis, store: RedisStore
) -> None:
    first = _step(await store.claim("one", FRESH), 110)
    await store.commit(first)
    lagging = server.copy()
    second = _step(first.header, 120)
    await store.commit(second)
    server.promote(lagging)
    with pytest.raises(StoreUnavailableError, match="READONLY"):
        await store.commit(_step(second.header, 130))
    assert await store.read_header() == first.header
    with pytest.raises(CommitRefusedError, match="stands at offset 110"):
        await store.commit(_step(second.header, 130))


async def test_loading_is_waited_for_and_full_memory_is_not(server: SimulatedRedis, store: RedisStore) -> None:
    commit = _step(await store.claim("one", FRESH), 110)
    server.loading = True
    with pytest.raises(StoreUnavailableError, match="LOADING"):
        await store.commit(commit)
    server.loading, server.full = False, True
    with pytest.raises(StoreFailedError, match="OOM"):
        await store.commit(commit)
    server.full = False
    await store.commit(commit)


async def test_store_follows_its_slot_to_the_other_node_of_a_cluster(wires: Wires) -> None:
    nodes = [SimulatedRedis("redis-1", 7001), SimulatedRedis("redis-2", 7002)]
    cluster = SimulatedCluster(nodes)
    slot = key_slot(PREFIX.encode())
    store = RedisStore(endpoint_of(nodes[0], wires), PREFIX)
    first = _step(await store.claim("one", FRESH), 110, 3)
    await store.commit(first)
    old = cluster.owner(PREFIX.encode())
    new = nodes[1 - nodes.index(old)]
    second = _step(first.header, 120, 3)

    async def move(payload: Payload) -> bytes:
        cluster.move(slot, new)
        return payload()

    wires.at, wires.strike = "commit", move
    with pytest.raises(StoreUnavailableError, match="MOVED"):
        await store.commit(second)
    assert not old.data.values
    await store.commit(second)
    assert await store.read_header() == second.header
    assert {finding.level for finding in await check_server(endpoint_of(nodes[0]))} == {"ok"}


async def test_store_follows_a_failover_inside_a_cluster(wires: Wires) -> None:
    nodes = [SimulatedRedis("redis-1", 7001), SimulatedRedis("redis-2", 7002)]
    cluster = SimulatedCluster(nodes)
    store = RedisStore(endpoint_of(nodes[0], wires), PREFIX)
    first = _step(await store.claim("one", FRESH), 110, 3)
    await store.commit(first)
    primary = cluster.owner(PREFIX.encode())
    seen: list[bytes] = []

    async def promote(payload: Payload) -> bytes:
        old = primary.promote(primary.copy())
        session = next(iter(old.sessions.values()))
        # A node that was made a replica redirects reads as well, and still tells who has which slot.
        seen.append(encoded(session.execute([b"GET", PREFIX.encode()])))
        seen.append(encoded(session.execute([b"CLUSTER", b"SLOTS"])))
        return payload()

    second = _step(first.header, 120, 3)
    wires.at, wires.strike = "commit", promote
    with pytest.raises(StoreUnavailableError, match="MOVED"):
        await store.commit(second)
    assert seen[0].startswith(b"-MOVED ")
    assert seen[1].startswith(b"*2\r\n")
    await store.commit(second)
    assert await store.read_header() == second.header


async def test_nothing_is_read_from_a_server_that_was_replaced_before_the_commits_reached_its_successor(
    server: SimulatedRedis, wires: Wires
) -> None:
    first = _step(await RedisStore(endpoint_of(server, wires), PREFIX).claim("one", FRESH), 110)
    store = RedisStore(endpoint_of(server, wires), PREFIX)
    assert await store.read_header() is not None
    server.promote(server.copy())
    # The first commit's connection is the first that meets the new primary.
    await store.commit(first)
    assert await store.read_header() == first.header
    assert await store.load(Spans.of_texts(["voter-0"])) == [b"x" * 768]
    assert len(await store.outbox("triggers", 0, 10)) == 1


async def test_connection_reused_after_a_cancelled_await_reads_the_former_answer(
    server: SimulatedRedis, wires: Wires
) -> None:
    server.write(b"a", b"1")
    server.write(b"b", b"2")
    connection = await connected(endpoint_of(server, wires))

    async def delay(payload: Payload) -> bytes:
        await asyncio.sleep(0.01)
        return payload()

    wires.at, wires.strike = "get", delay
    await connection.send_packed_command(pack(b"GET", b"a"), check_health=False)
    with pytest.raises(TimeoutError):
        # redis-py closes a connection whose read is cancelled, unless it is told not to.
        await asyncio.wait_for(connection.read_response(disconnect_on_error=False), 0.001)
    assert await Session(connection, 1).ask(pack(b"GET", b"b"), 1) == [b"1"]
    await connection.disconnect()


async def test_commit_cancelled_on_its_way_is_executed_and_its_connection_dropped(
    store: RedisStore, wires: Wires
) -> None:
    commit = _step(await store.claim("one", FRESH), 110)
    on_its_way, arrive = asyncio.Event(), asyncio.Event()

    async def wait(payload: Payload) -> bytes:
        on_its_way.set()
        await arrive.wait()
        return payload()

    wires.at, wires.strike = "commit", wait
    task = asyncio.create_task(store.commit(commit))
    await on_its_way.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await store.read_header()) == replace(FRESH, owner="one")
    arrive.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await store.read_header() == commit.header


async def test_sessions_end_with_their_connections(server: SimulatedRedis, store: RedisStore) -> None:
    await store.claim("one", FRESH)
    await store.load(Spans.of_texts(["ada"]))
    assert len(server.sessions) == 2
    await store.close()
    assert not server.sessions
