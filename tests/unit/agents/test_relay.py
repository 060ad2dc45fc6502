"""What a relay does before it reaches a broker, and while it reaches none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from stream.agents.forwards import ForwardRelay
from stream.agents.relay import OutboxRelay, Relay
from stream.columns import ORIGIN_HEADER
from stream.errors import CommitRefusedError, StateMismatchError, StoreFailedError, StoreUnavailableError
from stream.records import SEQUENCE_HEADER, Commit, Header, OutboxRow, Records
from stream.signatures import Keyring, Signer
from stream.stores.memory import Fault, MemoryServer, MemoryStore
from tests.signed_logs import SECRETS, sign

PREFIX = "{0}:"
NOWHERE = {"bootstrap_servers": "127.0.0.1:1"}


async def server_with(sequence: int, rows: Sequence[int]) -> MemoryServer:
    """Return a server that committed up to ``sequence``, of which ``rows`` are still in both outboxes."""
    server = MemoryServer()
    store = MemoryStore(server, PREFIX)
    header = await store.claim("owner", Header("topic", 1, "", 0, 0))
    header.sequences = {"triggers": sequence, "rejects": 0, "forwards": sequence}
    waiting = [OutboxRow(number, 0, b"k", b"v", ()) for number in rows]
    await store.commit(Commit(0, header, Records.of([]), {"triggers": waiting, "forwards": waiting}))
    return server


def relays(server: MemoryServer) -> list[OutboxRelay]:
    store = MemoryStore(server, PREFIX)
    return [
        Relay(store, "triggers", "engagement.triggers", 0, NOWHERE, "triggers-0"),
        ForwardRelay(store, "engagement.events", NOWHERE),
    ]


async def until_logged(caplog: pytest.LogCaptureFixture, text: str, count: int = 1) -> None:
    async with asyncio.timeout(20):
        while caplog.text.count(text) < count:
            await asyncio.sleep(0.005)


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    async with asyncio.timeout(6):
        await asyncio.wait([task])
    assert task.cancelled()
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("which", [0, 1])
async def test_empty_outbox_opens_no_connection(which: int, caplog: pytest.LogCaptureFixture) -> None:
    relay = relays(await server_with(7, []))[which]
    task = asyncio.create_task(relay.run())
    relay.wake(7)
    # Until it has looked, nothing tells how much of what is committed was sent.
    assert relay.sent_through is None
    for _ in range(20):
        await asyncio.sleep(0)
    assert relay.sent_through == 7
    assert relay.backlog == 0
    assert len(asyncio.all_tasks()) == 2
    await stopped(task)
    assert "starts again" not in caplog.text


@pytest.mark.parametrize("which", [0, 1])
async def test_broker_that_is_away_is_tried_again_and_the_rows_stay(
    which: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = await server_with(7, [5, 6, 7])
    relay = relays(server)[which]
    task = asyncio.create_task(relay.run())
    await until_logged(caplog, "starts again", 3)
    assert (relay.sent_through, relay.backlog) == (4, 3)
    relay.wake(9)
    assert (relay.sent_through, relay.backlog) == (4, 5)
    await stopped(task)
    assert "starts again in 0.05 s (attempt 1, backlog 3)" in caplog.text
    assert "starts again in 0.20 s (attempt 3, backlog 3)" in caplog.text
    assert [row.sequence for row in await MemoryStore(server, PREFIX).outbox("triggers", 0, 9)] == [5, 6, 7]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("error", [StateMismatchError("damaged"), StoreFailedError("out of memory")])
async def test_error_that_no_retry_mends_ends_the_relay(which: int, error: Exception) -> None:
    server = await server_with(7, [7])
    server.faults.append(Fault("outbox", error))
    with pytest.raises(type(error), match=str(error)):
        async with asyncio.timeout(5):
            await relays(server)[which].run()


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("loss", ["fallen back", "emptied"])
async def test_store_that_has_lost_committed_rows_is_no_store_whose_rows_were_sent(which: int, loss: str) -> None:
    """They would never be sent, and an outbox that is believed full keeps the next commit from being refused."""
    server = await server_with(7, [])
    if loss == "emptied":
        server.values.clear()
    relay = relays(server)[which]
    relay.wake(8)
    with pytest.raises(CommitRefusedError, match=r"counts [07] rows of output '\w+', and 8 were committed"):
        async with asyncio.timeout(5):
            await relay.run()


async def test_store_that_is_away_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    server = await server_with(7, [])
    server.faults.extend(Fault("read_header", StoreUnavailableError("loading")) for _ in range(2))
    relay = relays(server)[0]
    task = asyncio.create_task(relay.run())
    await until_logged(caplog, "StoreUnavailableError('loading')", 2)
    await stopped(task)


async def test_rows_behind_a_wake_count_as_backlog_until_sent() -> None:
    relay = relays(await server_with(0, []))[0]
    assert relay.backlog == 0
    relay.wake(4)
    relay.wake(2)
    assert relay.backlog == 4


async def test_forward_is_signed_with_the_newest_key_of_its_own_partition_for_its_target() -> None:
    keyring = Keyring(SECRETS)
    server = MemoryServer()
    store = MemoryStore(server, PREFIX)
    header = await store.claim("owner", Header.fresh("topic", 1, "", 0, keyring.root))
    header.keys = keyring.named(["first", "second"])
    await store.commit(Commit(0, header, Records.of([]), {}))
    rows = [OutboxRow(n, n, b"k", b"v", ((ORIGIN_HEADER, b"0:%d" % n), (SEQUENCE_HEADER, b"%d" % n))) for n in (1, 2)]
    signer = Signer(keyring, "engagement.events", lambda: 40)
    signed = await ForwardRelay(store, "engagement.events", NOWHERE, signer=signer)._signed(rows)
    for row, sent, counter in zip(rows, signed, (40, 41), strict=True):
        *before, signature = sent.headers
        assert tuple(before) == row.headers
        assert signature == sign(row.partition, b"k", b"v", row.headers, name="second", counter=counter)
    assert await ForwardRelay(store, "engagement.events", NOWHERE)._signed(rows) == rows
