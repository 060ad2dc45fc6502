"""What a relay does before it reaches a broker, and while it reaches none."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import pytest
from aiokafka.errors import KafkaError

from stream.agents.fence import FenceUnsupportedError
from stream.agents.forwards import ForwardRelay
from stream.agents.relay import Modes, OutboxRelay, Relay
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


class Broker:
    """What stands for every writer: its opening is refused in the modes in ``refused``, and each write succeeds."""

    def __init__(self, *refused: str) -> None:
        self.refused = set(refused)
        self.opened: Counter[str] = Counter()
        self.written: list[tuple[str, int]] = []
        self.values: list[bytes | None] = []
        self.meanwhile: Callable[[int], Awaitable[None]] | None = None
        """Called with the last sequence of each write before it is answered."""

    def __call__(self, _: object, mode: str, _batch_bytes: int) -> Writing:
        return Writing(self, mode)


class Writing:
    """A writer of a broker's: notes the mode in which each row is written."""

    def __init__(self, broker: Broker, mode: str) -> None:
        self.broker = broker
        self.mode = mode
        self.has_written = False

    async def open(self) -> None:
        if self.mode in self.broker.refused:
            message = f"no {self.mode} writes"
            raise FenceUnsupportedError(message)
        self.broker.opened[self.mode] += 1

    async def open_fenced(self, *_: object) -> None:
        await self.open()

    async def renew(self) -> None:
        pass

    def seconds_to_renewal(self) -> None:
        return None

    async def send(self, _: str, _partition: int, rows: Sequence[OutboxRow], first: int) -> int:
        self.broker.written += [(self.mode, row.sequence) for row in rows[first:]]
        self.broker.values += [row.value for row in rows[first:]]
        self.has_written = True
        if self.broker.meanwhile is not None:
            await self.broker.meanwhile(rows[-1].sequence)
        return len(rows) - first

    async def close(self) -> None:
        pass


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """A broker that grants everything."""
    broker = Broker()

    async def last_sequence(*_: object) -> int:
        return max((sequence for _, sequence in broker.written), default=0)

    monkeypatch.setattr("stream.agents.relay.Writer", broker)
    monkeypatch.setattr("stream.agents.relay.last_sequence", last_sequence)
    return broker


def sharing(server: MemoryServer, modes: Modes) -> Relay:
    return Relay(MemoryStore(server, PREFIX), "triggers", "triggers", 0, NOWHERE, "triggers-0", modes=modes)


async def test_broker_that_knows_no_fence_is_written_to_as_well_as_it_can(broker: Broker) -> None:
    broker.refused = {"fenced", "idempotent"}
    relay = sharing(await server_with(0, []), Modes())
    await relay._open("triggers-0", 0)
    assert relay.mode == "plain"
    broker.refused.add("plain")
    with pytest.raises(KafkaError, match="no plain writes"):
        await relay._open("triggers-0", 0)


async def commit_rows(store: MemoryStore, rows: Sequence[OutboxRow], erased: Sequence[str] = ()) -> None:
    header = await store.read_header()
    assert header is not None
    header.sequences["triggers"] = max([header.sequences["triggers"], *[row.sequence for row in rows]])
    await store.commit(Commit(0, header, Records.of([]), {"triggers": list(rows)}, frozenset(erased)))


@pytest.mark.parametrize("taken_bytes", [1, 4, 1000])
async def test_rows_handed_over_are_sent_in_turn_and_what_is_withdrawn_before_its_turn_is_not(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, taken_bytes: int
) -> None:
    monkeypatch.setattr("stream.agents.handover.TAKEN_BYTES", taken_bytes)
    server = await server_with(1, [1])
    store = MemoryStore(server, PREFIX)
    relay = sharing(server, Modes())
    task = asyncio.create_task(relay.run())

    async def all_sent() -> None:
        async with asyncio.timeout(5):
            while relay.backlog or not broker.written:
                await asyncio.sleep(0)

    await all_sent()
    more = [OutboxRow(number, 0, b"k%d" % (number % 2), b"v") for number in range(2, 7)]
    server.faults.append(Fault("outbox", StoreFailedError("a row that is at hand was read")))
    await commit_rows(store, more[:3])
    relay.wake(4, more[:3])
    await all_sent()
    server.faults.clear()

    async def withdraw(sequence: int) -> None:
        if sequence >= 5 and broker.meanwhile is not None:
            broker.meanwhile = None
            relay.forget()
            await commit_rows(store, [], ["k0"])

    broker.meanwhile = withdraw
    await commit_rows(store, more[3:])
    relay.wake(6, more[3:])
    await all_sent()
    await stopped(task)
    assert [sequence for _, sequence in broker.written] == [1, 2, 3, 4, 5, 6]
    assert broker.values == [b"v"] * 5 + [b"v" if taken_bytes == 1000 else None]


async def test_fence_that_was_once_granted_is_not_given_up_by_a_relay_made_later(broker: Broker) -> None:
    """Relays are new at each assignment, and partitions move while a broker restarts."""
    modes = Modes()
    server = await server_with(0, [])
    await sharing(server, modes)._open("triggers-0", 0)
    broker.refused = {"fenced", "idempotent"}
    relay = sharing(server, modes)
    forwards = ForwardRelay(MemoryStore(server, PREFIX), "events", NOWHERE, modes=modes)
    for _ in range(2):
        with pytest.raises(KafkaError, match="no fenced writes"):
            await relay._open("triggers-0", 0)
        with pytest.raises(KafkaError, match="no idempotent writes"):
            await forwards._open(None, -1)
    broker.refused = set()
    await relay._open("triggers-0", 0)
    assert (relay.mode, broker.opened["fenced"]) == ("fenced", 2)


async def test_relay_without_a_fence_takes_one_once_another_was_granted_it(broker: Broker) -> None:
    modes = Modes()
    server = await server_with(2, [1, 2])
    broker.refused = {"fenced"}
    relay = sharing(server, modes)
    task = asyncio.create_task(relay.run())
    async with asyncio.timeout(5):
        while relay.backlog or not broker.written:
            await asyncio.sleep(0)
    broker.refused = set()
    await sharing(server, modes)._open("triggers-0", 0)
    await commit_rows(MemoryStore(server, PREFIX), [OutboxRow(3, 0, b"k", b"v", ())])
    relay.wake(3)
    async with asyncio.timeout(5):
        while relay.backlog:
            await asyncio.sleep(0)
    await stopped(task)
    assert broker.written == [("idempotent", 1), ("idempotent", 2), ("fenced", 3)]


async def test_forwards_are_written_as_well_as_others_were_granted_meanwhile(broker: Broker) -> None:
    modes = Modes()
    server = await server_with(0, [])
    store = MemoryStore(server, PREFIX)
    broker.refused = {"idempotent"}
    relay = ForwardRelay(MemoryStore(server, PREFIX), "events", NOWHERE, modes=modes)
    task = asyncio.create_task(relay.run())
    for sequence, refused in ((1, {"idempotent"}), (2, set())):
        broker.refused = refused
        if not refused:
            await sharing(server, modes)._open("triggers-0", 0)
        header = await store.read_header()
        assert header is not None
        header.sequences["forwards"] = sequence
        await store.commit(Commit(0, header, Records.of([]), {"forwards": [OutboxRow(sequence, 0, b"k", b"v", ())]}))
        relay.wake(sequence)
        async with asyncio.timeout(5):
            while relay.backlog:
                await asyncio.sleep(0)
    await stopped(task)
    assert broker.written == [("plain", 1), ("idempotent", 2)]
